"""What bridges the gap between vectors of image crops and of texts: the head trained with each, asked by text.

python scripts/text_ablation.py --data "$SEGANY_DATA/dev" --views RUN/views --steps 200

RUN is the folder of ``napari-segany train text tiny-text``, which keeps embeddings and vectors. Only what the head says
by itself is trained and measured, the map of relevance and the presence: no decoder, so that a run takes a few minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from napari_segany.core.metrics import auroc
from napari_segany.core.text_query import Phrase
from napari_segany.experiments.named_sets import TRUTH, text_cases
from napari_segany.models.geometry import Frame
from napari_segany.models.inference_config import tiny_inference_config
from napari_segany.models.loading import load_model
from napari_segany.models.sam.model import Sam
from napari_segany.models.sam_segmenter import SamSegmenter
from napari_segany.models.text.clip import load_clip
from napari_segany.models.text.prompt_head import TextPromptHead
from napari_segany.models.text.text_prompter import TextPrompter
from napari_segany.training.text_bank import TextBank, make_bank
from napari_segany.training.text_head import HeadConfig, HeadTask, TextSampler
from napari_segany.training.train_text import head_parts

PLAIN = {"noise": 0.0, "centring": False, "text_share": 0.0}
CROPS = {**PLAIN, "prototypes": 0.6}
RUNS = {
    "none": PLAIN,
    "noise": {**PLAIN, "noise": 0.7},
    "centring": {**PLAIN, "centring": True},
    "noise and centring": {"noise": 0.7, "centring": True, "text_share": 0.0},
    "noise, centring and text vectors": {"noise": 0.7, "centring": True, "text_share": 0.5},
    "prototypes": CROPS,
    "prototypes and memory": {**CROPS, "memory": 400},
    "text vectors alone": {**PLAIN, "text_share": 1.0, "centring": True},
}
LIMIT = 8


@dataclass(frozen=True)
class Seen:
    """The embedding of a plane, how many of its cells are picture, what is there, and its words."""

    group: str
    image: torch.Tensor
    cells: tuple[int, int]
    targets: dict[str, torch.Tensor]
    truth: dict[str, bool]


@torch.inference_mode()
def seen(sam: Sam, data: Path) -> Iterator[Seen]:
    """Planes of all sets, encoded."""
    segmenter = SamSegmenter(sam, "tiny", dtype=torch.bfloat16)
    for group in TRUTH:
        for one in islice(text_cases(data / group), LIMIT):
            image = torch.from_numpy(segmenter.embed(one.plane).features["image_embed"]).float()
            frame = Frame(one.plane.shape[:2], sam.image_size)
            size = image.shape[-1]
            rows, columns = (-(-length * size // sam.image_size) for length in frame.resized)
            targets = {
                name: F.adaptive_avg_pool2d(torch.tensor(labels > 0)[None].float(), (rows, columns))[0] > 0.5
                for name, labels in one.labels.items()
            }
            yield Seen(group, image, (rows, columns), targets, dict(one.truth))


def trained(sam: Sam, bank: TextBank, paths: list[Path], config: HeadConfig, steps: int) -> TextPromptHead:
    """A head that has learned where things are and whether they are there."""
    torch.manual_seed(0)
    task = HeadTask(sam, head_parts(sam, bank, config), config, torch.from_numpy(bank.spread))
    head = task.model["head"]
    optimizer = torch.optim.AdamW(head.parameters(), 1e-3)
    batches = TextSampler(paths, bank, config, sam.image_size / sam.mask_size[0]).batches(0, 0)
    for step, batch in enumerate(islice(batches, steps)):
        optimizer.param_groups[0]["lr"] = 1e-3 * min(1, (step + 1) / 20, (steps - step) / (0.7 * steps))
        features = {"image_embed": batch["feature_image_embed"].float()}
        where, there = task._everywhere(head, features, batch, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (where + 0.5 * there).backward()
        optimizer.step()
    return head.eval()


def figures(texts: TextPrompter, planes: list[Seen]) -> tuple[float, float, float]:
    """IoU of "nucleus" on dsb2018 and "cell" on usiigaci, on the grid of the embedding; AUROC of presence."""
    overlaps: dict[str, list[float]] = {"dsb2018": [], "usiigaci": []}
    there, absent = [], []
    for one in planes:
        for word, is_there in one.truth.items():
            if texts.clip.vocabulary is not None and not texts.clip.vocabulary.knows(word):
                (there if is_there else absent).append(0.0)
                continue
            found = texts.found(Phrase(word), one.image, one.cells, tiny_inference_config().text.scene_share)
            (there if is_there else absent).append(found.presence)
            if one.group in overlaps and word in one.targets:
                ours = found.relevance[: one.cells[0], : one.cells[1]] > 0.5
                theirs = one.targets[word].numpy()
                overlaps[one.group].append(float((ours & theirs).sum() / max((ours | theirs).sum(), 1)))
    nucleus, cell = (float(np.mean(values)) for values in overlaps.values())
    return nucleus, cell, auroc(np.array(there), np.array(absent))


def main() -> None:
    """Train each and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--views", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    given = parser.parse_args()
    sam = load_model("tiny").float().eval().to(memory_format=torch.channels_last)
    clip = load_clip()
    paths = sorted(path for path in given.views.glob("*-whole-????.npz"))
    bank = make_bank(
        clip, [*paths, *sorted(given.views.glob("*-close-????.npz"))], given.views / "vectors-tiny-text.npz"
    )
    planes = list(seen(sam, given.data))
    print("| bridge | nucleus, dsb2018 | cell, usiigaci | presence |\n|---|---|---|---|", flush=True)
    heads: dict[HeadConfig, TextPromptHead] = {}
    for name, change in RUNS.items():
        config = HeadConfig(whole=4, **change)
        learned = replace(config, memory=0)
        if learned not in heads:
            heads[learned] = trained(sam, bank, paths, learned, given.steps)
        head = heads[learned]
        if config.memory:
            head.remember(torch.from_numpy(bank.some(config.memory)))
        numbers = figures(TextPrompter(lambda: clip, head, torch.nn.Identity(), torch.device("cpu")), planes)
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in numbers)} |", flush=True)


if __name__ == "__main__":
    main()
