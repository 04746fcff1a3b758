"""How far labels that were made worse come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segany.core.errors import InputError
from napari_segany.experiments.refinement_benchmark import (
    CHANGES,
    RefineBenchConfig,
    eroded,
    rows_of_refinement,
)
from tests.fakes import BrightSegmenter


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three planes with two bright discs each."""
    y, x = np.indices((80, 100))
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for number in range(3):
        labels = np.zeros((80, 100), np.uint16)
        labels[(y - 30) ** 2 + (x - 30) ** 2 <= (10 + number) ** 2] = 1
        labels[(y - 45) ** 2 + (x - 70) ** 2 <= 15**2] = 2
        tifffile.imwrite(tmp_path / "images" / f"{number}.tif", np.where(labels > 0, 200, 0).astype(np.uint8))
        tifffile.imwrite(tmp_path / "labels" / f"{number}.tif", labels)
    return tmp_path


def test_labels_come_back_to_the_truth(data: Path) -> None:
    done: list[int] = []
    rows = list(rows_of_refinement(RefineBenchConfig(data, skip=1), BrightSegmenter, done.append))
    assert [row["change"] for row in rows] == list(CHANGES)
    assert done == [1, 2]
    for row in rows:
        assert (row["planes"], row["objects"], row["after"], row["kept"]) == (2, 4, 1.0, 0.0)
        assert row["before"] == 1.0 if row["change"] == "none" else row["before"] < 0.9
        assert row["better"] == (row["change"] != "none")


def test_nothing_left_is_one_line(data: Path) -> None:
    with pytest.raises(InputError, match="no labelled object is left"):
        list(rows_of_refinement(RefineBenchConfig(data, skip=3), BrightSegmenter))


def test_objects_that_would_vanish_stay() -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[2:4, 2:4], labels[8:18, 8:18] = 1, 2
    found = eroded(labels, 3)
    assert (found == 1).sum() == 4
    assert (found == 2).sum() == 4 * 4
