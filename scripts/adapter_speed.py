"""Seconds and memory of SAM 2.1 tiny and EdgeTAM at their full size next to `tiny` and ViT-B, with random weights.

Weights do not change what a model costs. Each model is loaded in a process of its own: one plane of 1024 x 1024 pixels
is encoded, clicked on, and an object is followed through ten slices, by the memory of the model where it has one; all
have the features of the first, as the time to encode a slice is known then.

    OMP_NUM_THREADS=2 python scripts/adapter_speed.py
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from napari_segany.core.planes import Stack
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.propagate import propagate
from napari_segany.core.segmenter import Segmenter

SIDE, SLICES = 1024, 10


def sam2_folder(folder: Path) -> Path:
    """SAM 2.1 tiny as its authors configure it."""
    import transformers

    transformers.Sam2VideoModel(transformers.Sam2VideoConfig()).save_pretrained(folder)
    return folder


def edgetam_folder(folder: Path) -> Path:
    """EdgeTAM as its authors configure it."""
    import transformers

    model = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
    backbone = transformers.TimmWrapperConfig(architecture="repvit_m1", model_args=model)
    vision = transformers.EdgeTamVisionConfig(backbone_config=backbone)
    transformers.EdgeTamVideoModel(transformers.EdgeTamVideoConfig(vision_config=vision)).save_pretrained(folder)
    return folder


def sam_hq_folder(folder: Path) -> Path:
    """SAM-HQ with ViT-B."""
    import transformers

    transformers.SamHQModel(transformers.SamHQConfig()).save_pretrained(folder)
    return folder


def vit_b_file(folder: Path) -> Path:
    """SAM with ViT-B."""
    from napari_segany.models.sam.model import build_sam

    folder.mkdir()
    torch.save(build_sam("vit_b").state_dict(), folder / "vit_b.pt")
    return folder / "vit_b.pt"


MODELS: dict[str, Callable[[Path], Path] | None] = {
    "tiny": None,
    "ViT-B": vit_b_file,
    "SAM-HQ ViT-B": sam_hq_folder,
    "SAM 2.1 tiny": sam2_folder,
    "EdgeTAM": edgetam_folder,
}


def slices() -> np.ndarray:
    """(n, y, x) uint8: a bright disc that drifts over noise."""
    rows, columns = np.indices((SIDE, SIDE))
    random = np.random.default_rng(0)
    found = random.integers(0, 60, (SLICES + 1, SIDE, SIDE), dtype=np.uint8)
    for number in range(len(found)):
        found[number][(rows - 500 - 5 * number) ** 2 + (columns - 480) ** 2 < 80**2] = 200
    return found


def seconds(work: Callable[[], object], times: int) -> float:
    """The median time of some work; the first time does not count."""
    work()
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


def followed(segmenter: Segmenter, stack: Stack) -> float:
    """Seconds for each slice of one object, encoding left out."""
    known = {0: {1: stack.plane(0)[..., 0] > 127}}
    kept = segmenter.embed(stack.plane(0))
    begin = time.perf_counter()
    list(propagate(segmenter, stack, known, embed=lambda number: kept))
    return (time.perf_counter() - begin) / SLICES


def measured(model: str) -> dict[str, float | str]:
    """What a model costs in this process."""
    from napari_segany.models.loading import load_segmenter

    begin = time.perf_counter()
    segmenter = load_segmenter(model, "cpu", "float32")
    loaded = time.perf_counter() - begin
    stack = Stack(slices(), limits=(0, 255))
    embedding = segmenter.embed(stack.plane(0))
    click = [Prompt((Point(500, 480),))]
    row: dict[str, float | str] = {
        "load": round(loaded, 1),
        "embed": round(seconds(lambda: segmenter.embed(stack.plane(0)), 1), 2),
        "click": round(seconds(lambda: segmenter.segment(embedding, click), 5), 3),
        "features": round(embedding.nbytes / 1e6, 1),
    }
    row["peak"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    row["slice"] = round(followed(segmenter, stack), 2)
    row["memory"] = "own" if segmenter.capabilities.memory else "optical flow"
    loose = getattr(segmenter, "model", None)
    row["weights"] = round(sum(one.numel() for one in loose.parameters()) / 1e6, 1) if loose is not None else 0.0
    return row


def main() -> None:
    """Measure all models, each in its own process, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", help="measure this model in this process")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(given.one)))
        return
    print(f"{torch.get_num_threads()} threads")
    print("| model | million weights | load, s | embed, s | click, s | a slice, s | features, MB | peak memory, GB |")
    print("|---|---|---|---|---|---|---|---|")
    for name, make in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(0)
            path = "tiny" if make is None else str(make(Path(folder) / "model"))
            command = [sys.executable, __file__, "--one", path]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        cells = [row[key] for key in ("weights", "load", "embed", "click", "slice", "features", "peak")]
        print(f"| {name} | {' | '.join(str(cell) for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main()
