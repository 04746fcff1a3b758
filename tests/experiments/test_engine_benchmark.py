"""An annotator is simulated on a series of images: costs that are known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_segany import cli
from napari_segany.core.prompts import Point
from napari_segany.experiments import engine_benchmark as module
from napari_segany.experiments.datasets import labelled_planes, targets
from napari_segany.experiments.engine_benchmark import EngineConfig, rows_of_engine
from napari_segany.experiments.simulated_users import click_until
from napari_segany.training.data import Sample
from tests.fakes import BrightSegmenter, FakeSegmenter, KnowingSegmenter

PLACES = [(20, 20), (20, 70), (60, 20), (60, 70)]
CLICK, ACCEPT, REJECT, HAND = (
    module.SECONDS_A_CLICK,
    module.SECONDS_AN_ACCEPT,
    module.SECONDS_A_REJECT,
    module.SECONDS_BY_HAND,
)


def write_image(folder: Path, name: str, radius: int = 10, others: int = 0) -> None:
    """Four bright discs with labels, and so many small gray squares without."""
    rows, columns = np.indices((80, 120))
    labels = np.zeros((80, 120), np.uint8)
    for label, (y, x) in enumerate(PLACES, start=1):
        labels[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = label
    image = np.where(labels, 250, 20).astype(np.uint8)
    for k in range(others):
        image[2 + 12 * k : 6 + 12 * k, 100:104] = 120
    for kind, array in (("images", image), ("labels", labels)):
        (folder / kind).mkdir(exist_ok=True)
        Image.fromarray(array).save(folder / kind / f"{name}.png")


def one_way(folder: Path, segmenter: FakeSegmenter, way: str, **options: int) -> list[dict]:
    return list(rows_of_engine(EngineConfig(folder, ways=(way,), **options), lambda: segmenter))


def test_clicks_until_good_enough(tmp_path: Path) -> None:
    write_image(tmp_path, "a")
    (one,) = labelled_planes(tmp_path)
    target = targets(one.labels)[0]
    fitting, small = FakeSegmenter(radius=10), FakeSegmenter(radius=5)
    found = click_until(fitting, fitting.embed(one.plane), target, 0.85, 8)
    assert (found.clicks, found.reached, len(found.candidates)) == (1, True, 3)
    # its second candidate is half as large, and what is lacking is clicked
    found = click_until(fitting, fitting.embed(one.plane), target, 0.85, 8, lambda masks: 1)
    assert found.clicks > 1
    found = click_until(small, small.embed(one.plane), target, 0.99, 3)
    assert (found.clicks, found.reached) == (3, False)


def test_automatic_masks_that_are_right_and_wrong(tmp_path: Path) -> None:
    write_image(tmp_path, "a")
    # two of four objects, and one where there is none
    known = KnowingSegmenter([Point(20, 20), Point(60, 70), Point(40, 105)])
    (row,) = one_way(tmp_path, known, "plain")
    assert (row["set"], row["way"], row["image"], row["objects"]) == (tmp_path.name, "plain", 1, 4)
    assert (row["clicks"], row["accepts"], row["rejects"], row["painted"]) == (2 / 4, 2, 1, 0)
    assert row["seconds"] == pytest.approx((2 * CLICK + 2 * ACCEPT + REJECT) / 4)
    assert (row["automatic"], row["prefilled"], row["clicked"], row["generation"]) == (0.5, 0, 0.5, 0)


def test_masks_that_are_mostly_wrong_are_dismissed_at_once(tmp_path: Path) -> None:
    write_image(tmp_path, "a")
    (row,) = one_way(tmp_path, KnowingSegmenter([Point(20, 20), Point(40, 105), Point(40, 45)]), "plain")
    assert (row["clicks"], row["accepts"], row["rejects"]) == (1, 0, 1)
    assert row["seconds"] == pytest.approx((4 * CLICK + REJECT) / 4)


def test_objects_that_clicks_do_not_reach_are_painted(tmp_path: Path) -> None:
    write_image(tmp_path, "a", radius=14)
    (row,) = one_way(tmp_path, KnowingSegmenter([Point(40, 105)], radius=1), "plain", objects=2)
    assert (row["objects"], row["clicks"], row["painted"], row["rejects"]) == (2, 8, 2, 1)
    assert row["seconds"] == pytest.approx((16 * CLICK + REJECT + 2 * HAND) / 2)
    assert row["clicked"] == 1


def test_objects_outside_the_task_are_neither_right_nor_wrong(tmp_path: Path) -> None:
    write_image(tmp_path, "a")
    (row,) = one_way(tmp_path, KnowingSegmenter([Point(y, x) for y, x in PLACES]), "plain", objects=1)
    assert (row["objects"], row["clicks"], row["accepts"], row["rejects"]) == (1, 0, 1, 0)


def test_objects_like_the_committed_ones_are_prefilled(tmp_path: Path) -> None:
    for name in "ab":
        write_image(tmp_path, name, others=6)
    first, second = one_way(tmp_path, BrightSegmenter(), "alike")
    # ten bright parts, of which four are objects: dismissed; three are clicked, and the fourth is like them
    assert (first["clicks"], first["accepts"], first["rejects"]) == (3 / 4, 1, 1)
    assert (first["automatic"], first["prefilled"], first["clicked"]) == (0, 1 / 4, 3 / 4)
    assert (second["clicks"], second["accepts"], second["rejects"], second["prefilled"]) == (0, 4, 0, 1)
    assert second["seconds"] == pytest.approx(ACCEPT)
    plain = one_way(tmp_path, BrightSegmenter(), "plain")
    assert [(row["clicks"], row["rejects"]) for row in plain] == [(1, 1), (1, 1)]


def test_a_model_is_fine_tuned_between_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcd":
        write_image(tmp_path, name)
    seen: list[list[int]] = []

    def learned(samples: Mapping[str, Sample], seed: int) -> FakeSegmenter | None:
        seen.append([int(sample.levels[0].max()) for sample in samples.values()])
        # the first attempt is no better
        return KnowingSegmenter([Point(y, x) for y, x in PLACES]) if len(seen) > 1 else None

    monkeypatch.setattr(module, "learned", learned)
    blind = KnowingSegmenter([Point(40, 105)])
    rows = one_way(tmp_path, blind, "fine-tuned", after=(1, 2, 4))
    assert [row["generation"] for row in rows] == [0, 0, 1, 1]
    assert [row["clicks"] for row in rows] == [1, 1, 0, 0]
    assert seen == [[4], [4, 4]], "there is nothing to be learned for after the last image"


def test_too_few_objects_are_not_learned_from() -> None:
    labels = np.zeros((9, 9), np.int32)
    labels[2:8, 2:8] = 3
    assert module.learned({"a": Sample(np.zeros((9, 9, 3), np.uint8), (labels,))}, 0) is None


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "engine", "--data", str(tmp_path), "--way", "magic"]) == 2
    assert "there is no way 'magic'; there are plain, alike, fine-tuned, all" in capsys.readouterr().err
