"""Ablations of the training (Kirillov et al. 2023, section 7.6 and appendix A), from short runs that are alike.

python scripts/ablations.py --data "$SEGANY_DATA/train" --dev "$SEGANY_DATA/dev/dsb2018" --out runs/ablations

Each run is `train sam paper` with one setting changed, on 128-pixel crops of one source. All begin with `tiny`, of
which the parts that make masks and predicted IoU of the decoder's tokens begin at random, and the image encoder stays
as it is: with a whole decoder of random weights nothing is learned in a few minutes, and from all weights of the
package a short run would hardly move. Each run writes its row, and is left out where the row is there; `--page` writes
the table of all rows into a page between the lines "table: ablations" and "end of table".
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from napari_segany.core.masks import Mask
from napari_segany.core.metrics import summarise
from napari_segany.core.prompts import Prompt
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.experiments.benchmark import commit, drawn_targets
from napari_segany.experiments.datasets import labelled_planes
from napari_segany.experiments.scores import Row
from napari_segany.experiments.simulated_users import click_prompts
from napari_segany.models.loading import load_model
from napari_segany.models.sam_segmenter import SamSegmenter
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.training import train_sam
from napari_segany.training.train_sam import TrainConfig

PAPER = Path(train_sam.__file__).parent / "configs" / "paper.toml"
SOURCE = "dsb2018"
"""The only source, so that its pictures can be counted."""
AGAIN = tuple(
    f"mask_decoder.{part}" for part in ("iou_token", "mask_tokens", "output_hypernetworks_mlps", "iou_prediction_head")
)
"""Weights that begin at random: what makes masks and predicted IoU of what the transformer gives."""
CLICKS = 3
BASE_ROUNDS = 3
"""Of the runs that change something else: eleven take four times as long."""
COLUMNS = (
    "changed",
    "value",
    "seed",
    "1 click",
    "less the base",
    "oracle",
    "3 clicks",
    "less the base",
    "CPU seconds a step",
)


@dataclass(frozen=True)
class Run:
    """A run: what of the base differs.

    Parameters
    ----------
    changed, value : str
        For the table.
    task : dict of str to value
        Settings of the task.
    images : int, optional
        So many training images only.
    seed : int
        Of weights, crops and simulated users.
    """

    changed: str
    value: str
    task: dict[str, Any] = field(default_factory=dict)
    images: int | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """For files."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.changed} {self.value} seed {self.seed}".lower()).strip("-")


RUNS = (
    Run("base", "3 rounds, 20 : 1, 505 images"),
    *(Run("rounds", str(count), {"rounds": {count: 1.0}}) for count in (1, 5, 8, 11)),
    Run("focal : dice", "2 : 1", {"focal_weight": 2.0}),
    Run("focal : dice", "1 : 1", {"focal_weight": 1.0}),
    Run("focal : dice", "2 : 1 by object area, as `tiny`", {"focal_weight": 2.0, "focal_area": "object"}),
    Run("ambiguity", "one mask", {"ambiguity": False}),
    *(Run("training images", str(count), images=count) for count in (8, 64)),
    Run("rounds that learn", "first and last", {"all_rounds": False}),
)


class SingleMask:
    """A segmenter whose every prompt has the single mask."""

    def __init__(self, segmenter: SamSegmenter) -> None:
        self.segmenter = segmenter

    def segment(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], *, candidates: int | None = None
    ) -> list[list[Mask]]:
        """See :class:`SamSegmenter`; `candidates` has no effect."""
        return self.segmenter.segment(embedding, prompts, candidates=1)


def start(path: Path) -> None:
    """Write `tiny` with random weights of what is to be learned again."""
    torch.manual_seed(0)
    fresh, known = TinySam().state_dict(), load_model("tiny").state_dict()
    state = {name: value if name.startswith(AGAIN) else known[name].float() for name, value in fresh.items()}
    save_file({name: value.contiguous() for name, value in state.items()}, path)


def configured(run: Run, begin: Path, steps: int) -> TrainConfig:
    """The settings of the paper with what is smaller here, and with what the run changes."""
    config = train_sam.read_config(PAPER)
    loop = replace(config.loop.of_length(steps), average=0.98, save_every=50, log_every=10, workers=0)
    task = replace(config.task, **{"prompts_only": True, "rounds": {BASE_ROUNDS: 1.0}, **run.task})
    batch = replace(config.phases[0][1], crops=4, masks=4, sizes={128: 1.0})
    sources = replace(config.sources, shares={SOURCE: 1.0}, at_most={SOURCE: run.images} if run.images else {})
    return replace(config, sources=sources, seed=run.seed, start=str(begin), loop=loop, task=task, phases=((0, batch),))


def measured(weights: Path, dev: Path, limit: int, per_image: int, *, single: bool) -> Row:
    """MIoU of one and three clicks, of the mask of highest predicted IoU; no crops are magnified."""
    segmenter = SamSegmenter(load_model(weights), "trained")
    prompted = SingleMask(segmenter) if single else segmenter
    planes = [(one.plane, drawn_targets(one.labels, per_image)) for one in islice(labelled_planes(dev), limit)]
    scores = [click_prompts(prompted, segmenter.embed(plane), objects, CLICKS) for plane, objects in planes if objects]
    return {
        "oracle": float(np.concatenate([one.oracle for one in scores]).mean()),
        "n": sum(len(one.oracle) for one in scores),
        "images": len(scores),
        "iou": {str(number): [one.chosen[:, number - 1].tolist() for one in scores] for number in (1, CLICKS)},
    }


def rows_of(runs: Iterable[Run], given: argparse.Namespace) -> Iterator[Row]:
    """Train and measure what has no row; rows that are there come as they are."""
    folder = given.out / "rows"
    folder.mkdir(parents=True, exist_ok=True)
    begin = given.out / "start.safetensors"
    if not begin.exists():
        start(begin)
    for run in runs:
        settings = {**asdict(run), "steps": given.steps, "limit": given.limit, "per_image": given.per_image}
        settings = json.loads(json.dumps(settings))
        path = folder / f"{run.name}.json"
        if path.exists():
            row = json.loads(path.read_text(encoding="utf-8"))
            if row["settings"] != settings:
                raise SystemExit(f"{path} is a row of other settings; choose another --out, or remove it")
            yield row
            continue
        begun = time.process_time()
        config = configured(run, begin, given.steps)
        weights = train_sam.train(config, given.data, given.out / run.name, torch.device("cpu"))
        seconds = (time.process_time() - begun) / given.steps
        found = measured(weights, given.dev, given.limit, given.per_image, single=not config.task.ambiguity)
        row = {**found, "step_seconds": seconds, "commit": commit()}
        row["settings"] = settings
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(row, indent=1), encoding="utf-8")
        partial.replace(path)
        yield row


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown, compared object by object with the first one of the same seed."""
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    for row in sorted(rows, key=lambda row: _place(rows, row)):
        settings = row["settings"]
        base = next(one for one in rows if one["settings"]["seed"] == settings["seed"])
        single, several = (_compared(row, base, str(number)) for number in (1, CLICKS))
        speed = f"{row['step_seconds']:.2f}"
        what = settings["changed"], settings["value"], str(settings["seed"])
        lines.append((*what, *single, f"{row['oracle']:.3f}", *several, speed))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _place(rows: Sequence[Row], row: Row) -> int:
    """Where the setting of a row is first; the seeds of a setting come one below the other."""
    kinds = [(one["settings"]["changed"], one["settings"]["value"]) for one in rows]
    return kinds.index((row["settings"]["changed"], row["settings"]["value"]))


def _compared(row: Row, base: Row, clicks: str) -> tuple[str, str]:
    """MIoU, and its difference from that of the base with a 95 % interval (bootstrap over images)."""
    own, other = ([np.array(one) for one in each["iou"][clicks]] for each in (row, base))
    found = summarise([one - known for one, known in zip(own, other, strict=True)])
    mean = f"{np.concatenate(own).mean():.3f}"
    return mean, "" if row is base else f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def written(text: str, made: str) -> str:
    """A page with the table in its place."""
    pattern = r"(?m)^([^\n]*table: ablations\b[^\n]*\n).*?(^[^\n]*end of table)"
    parts = re.split(pattern, text, flags=re.DOTALL)
    if len(parts) != 4:
        raise SystemExit(f"the page has {len(parts) // 3} places for the table ablations")
    return f"{parts[0]}{parts[1]}\n{made}\n\n{parts[2]}{parts[3]}"


def main() -> None:
    """Run all, print the table and write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the training source dsb2018")
    parser.add_argument("--dev", type=Path, required=True, help="set to measure on; never one that is learned from")
    parser.add_argument("--out", type=Path, required=True, help="where runs and rows go")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=2, help="runs of each setting")
    parser.add_argument("--limit", type=int, default=12, help="images that are measured on")
    parser.add_argument("--per-image", type=int, default=8)
    parser.add_argument("--page", type=Path, help="page whose table is written")
    given = parser.parse_args()
    if given.dev.resolve() == (given.data / SOURCE).resolve():
        raise SystemExit("measure on other images than those that are learned from")
    rows = list(rows_of((replace(run, seed=seed) for seed in range(given.seeds) for run in RUNS), given))
    print(table(rows))
    if given.page:
        given.page.write_text(written(given.page.read_text(encoding="utf-8"), table(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
