"""One click and one box of several models on the fifth of each training source that was held out.

python scripts/held_out.py --data "$SEGANY_DATA/train" tiny OTHER/weights.safetensors

Prints a table: mean IoU of a click, of the best of three masks and of a box, for each source and model, and the means
over the sources.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from napari_segany.core.segmenter import Segmenter
from napari_segany.experiments.benchmark import drawn_targets
from napari_segany.experiments.datasets import LabelledPlane
from napari_segany.experiments.simulated_users import box_prompts, click_prompts
from napari_segany.models.loading import load_segmenter
from napari_segany.training.data import read_folder, split
from napari_segany.training.train_sam import read_config

CONFIG = Path(__file__).parents[1] / "src/napari_segany/training/configs/tiny-eighth.toml"
"""The run whose held-out images these are."""


def held_out_planes(data: Path) -> dict[str, list[LabelledPlane]]:
    """By source, the planes that the run did not learn from."""
    return {
        name: [
            LabelledPlane(f"{name}/{image}", sample.image, sample.levels[0])
            for image, sample in split(read_folder(data / name), every)[1].items()
        ]
        for name, every in read_config(CONFIG).sources.held_out.items()
    }


def measured(segmenter: Segmenter, planes: list[LabelledPlane], images: int, objects: int) -> np.ndarray:
    """IoU of a click, of the best of its masks and of a box: (3, objects) of some objects of some planes."""
    found = [_measured_plane(segmenter, one, objects) for one in islice(_with_objects(planes), images)]
    return np.concatenate(found, axis=1) if found else np.zeros((3, 0))


def _with_objects(planes: list[LabelledPlane]) -> Iterator[LabelledPlane]:
    return (one for one in planes if drawn_targets(one.labels, 1))


def _measured_plane(segmenter: Segmenter, one: LabelledPlane, objects: int) -> np.ndarray:
    targets = drawn_targets(one.labels, objects)
    embedding = segmenter.embed(one.plane)
    click = click_prompts(segmenter, embedding, targets, 1)
    box = box_prompts(segmenter, embedding, targets)
    return np.stack([click.chosen[:, 0], click.oracle, box.chosen[:, 0]])


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", type=Path, required=True, help="folder of the training sources")
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--objects", type=int, default=8)
    given = parser.parse_args()
    segmenters = [load_segmenter(name, "cpu") for name in given.models]
    means = []
    print("| source | objects |" + " click, best of three, box |" * len(segmenters))
    print("|---|---|" + "---|" * len(segmenters))
    for name, planes in held_out_planes(given.data).items():
        scores = [measured(one, planes, given.images, given.objects) for one in segmenters]
        if not scores[0].size:
            continue  # what was held out shows no object
        means.append([one.mean(axis=1) for one in scores])
        print(f"| {name} | {scores[0].shape[1]} |" + "".join(_cell(one) for one in means[-1]), flush=True)
    print("| mean | |" + "".join(_cell(one) for one in np.mean(means, axis=0)))


def _cell(values: np.ndarray) -> str:
    return " " + ", ".join(f"{value:.3f}" for value in values) + " |"


if __name__ == "__main__":
    main()
