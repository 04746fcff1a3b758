"""What is found when nobody points at anything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_segany import cli
from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point
from napari_segany.experiments.instance_scores import rows_of_everything
from napari_segany.models import loading
from tests.fakes import FakeSegmenter, KnowingSegmenter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two planes with two discs of radius 10 each."""
    rows, columns = np.indices((64, 96))
    labels = np.zeros((64, 96), np.uint8)
    for number, (y, x) in enumerate([(20, 20), (40, 70)], start=1):
        labels[(rows - y) ** 2 + (columns - x) ** 2 <= 100] = number
    for kind, array in (("images", 100 * labels), ("labels", labels)):
        (tmp_path / kind).mkdir()
        for name in "ab":
            Image.fromarray(array).save(tmp_path / kind / f"{name}.png")
    return tmp_path


def test_all_of_what_is_known_is_found(folder: Path) -> None:
    (row,) = rows_of_everything(folder, lambda: KnowingSegmenter([Point(20, 20), Point(40, 70)]))
    assert (row["method"], row["images"], row["n"], row["found"]) == ("seeds", 2, 4, 4)
    assert row["ap50"] == row["msa"] == 1.0
    assert row["seconds_per_image"] > 0


def test_half_of_it(folder: Path) -> None:
    (row,) = rows_of_everything(folder, lambda: KnowingSegmenter([Point(20, 20)], radius=8), limit=1)
    # a disc of radius 8 in one of radius 10 has an IoU of 0.62
    assert (row["ap50"], row["n"]) == (0.5, 2)
    assert row["msa"] == pytest.approx(0.5 * 3 / 10)


def test_a_model_without_seeds_is_asked_on_a_grid(folder: Path) -> None:
    (row,) = rows_of_everything(folder, FakeSegmenter, limit=1)
    assert row["method"] == "grid"
    with pytest.raises(InputError, match="has no seeds"):
        rows_of_everything(folder, FakeSegmenter, ("seeds",))
    with pytest.raises(InputError, match="unknown method guess"):
        rows_of_everything(folder, FakeSegmenter, ("guess",))


def test_both_from_the_command_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "load_segmenter", lambda *_, **__: KnowingSegmenter([Point(20, 20)]))
    out = folder / "rows.json"
    words = ["bench", "everything", "--data", str(folder), "--json", str(out), "--method", "seeds", "--method", "grid"]
    assert cli.main(words) == 0
    assert [row["method"] for row in json.loads(out.read_text())] == ["seeds", "grid"]
