"""How much memory encoding and automatic masks take, next to segment-anything: each in a separate process.

python benchmarks/peak_memory.py [--side 16]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys

import numpy as np

CASES = ("ours embed", "theirs embed", "ours everything", "theirs everything")


def peak() -> float:
    """MiB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(case: str, side: int) -> dict[str, object]:
    """Do one thing, in float32; what is there before it begins, imports and weights, is told apart."""
    import torch

    from napari_segany.core.automatic_masks import Grid, filter_candidates, generate_candidates
    from napari_segany.core.filters import Filters
    from napari_segany.core.segmenter import ImageEmbedding
    from napari_segany.experiments.rivals import SegmentAnything
    from napari_segany.experiments.untrained import random_vit_b
    from napari_segany.models.sam_segmenter import SamSegmenter

    model = random_vit_b()
    rng = np.random.default_rng(0)
    plane = rng.integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    made = rng.normal(0, 0.3, (1, 256, 64, 64)).astype(np.float32)
    who, what = case.split()
    ours = SamSegmenter(model, "vit_b") if who == "ours" else None
    theirs = SegmentAnything(model) if who == "theirs" else None
    if theirs is not None and what == "everything":
        theirs.predictor.features = torch.from_numpy(made)
        theirs.predictor.original_size = theirs.predictor.input_size = (1024, 1024)
        theirs.predictor.is_image_set = True
    before = peak()
    if what == "embed":
        (ours or theirs).embed(plane)
    elif ours is not None:
        embedding = ImageEmbedding({"image_embed": made}, (1024, 1024), "vit_b")
        found = generate_candidates(ours, plane, Grid(side), embedding=embedding, least=Filters().score)
        filter_candidates([one for _, batch in found for one in batch], Filters(), (1024, 1024))
    else:
        theirs.everything(plane, side)
    return {"case": case, "before_mib": round(before), "peak_mib": round(peak()), "added_mib": round(peak() - before)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=16, help="clicks along each side of the grid of automatic masks")
    parser.add_argument("--case", choices=CASES)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(arguments.case, arguments.side)))
        return
    for case in CASES:
        subprocess.run([sys.executable, __file__, "--side", str(arguments.side), "--case", case], check=True)


if __name__ == "__main__":
    main()
