"""Classes of cells from a few of each, on made-up smears."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.io import imsave

from napari_segany.core.errors import InputError
from napari_segany.experiments.class_benchmark import ClassBenchConfig, rows_of_classes
from tests.fakes import FakeSegmenter


@pytest.fixture
def smears(tmp_path: Path) -> Path:
    """Ten images with a bright cell, ten with a dark one, and one of a class of its own."""
    for folder in ("images", "labels_class"):
        (tmp_path / folder).mkdir()
    rows, columns = np.ogrid[:40, :40]
    disc = (rows - 20) ** 2 + (columns - 20) ** 2 < 80
    lines = ["image ID,class label"]
    for number in range(1, 22):
        plane = np.random.default_rng(number).integers(90, 110, (40, 40, 3), np.uint8)
        plane[disc] += 80 if number <= 10 else 0
        plane[disc & (rows > 18)] -= 60
        imsave(tmp_path / "images" / f"{number:03}.png", plane, check_contrast=False)
        imsave(tmp_path / "labels_class" / f"{number:03}.png", disc.astype(np.uint8) * 128, check_contrast=False)
        lines.append(f"{number},{1 if number <= 10 else 2 if number <= 20 else 5}")
    (tmp_path / "class_labels.csv").write_text("\n".join(lines))
    return tmp_path


def test_what_is_measured(smears: Path) -> None:
    rows = list(rows_of_classes(ClassBenchConfig(smears, (2, 5), seeds=2), FakeSegmenter))
    assert [(row["method"], row["of_each"]) for row in rows] == [
        (method, count) for count in (2, 5) for method in ("classes", "mask features alone", "chance")
    ]
    for row in rows:
        assert row["classes"] == 2
        assert row["objects"] == 20 - 2 * row["of_each"]
        if row["method"] == "chance":
            assert row["accuracy"] == 0.5
        else:
            assert row["accuracy"] > 0.9
            assert row["low"] <= row["accuracy"] <= row["high"]


@pytest.mark.parametrize(
    ("table", "line"),
    [(None, "no table"), ("x,y\nz,1", "no table"), ("image ID,class label\n1,1", "has no class for the image 002")],
)
def test_a_table_that_does_not_fit_is_refused(smears: Path, table: str | None, line: str) -> None:
    path = smears / "class_labels.csv"
    path.unlink() if table is None else path.write_text(table)
    with pytest.raises(InputError, match=line):
        list(rows_of_classes(ClassBenchConfig(smears), FakeSegmenter))


def test_too_few_objects_are_refused(smears: Path) -> None:
    with pytest.raises(InputError, match="no two classes with 13 objects"):
        list(rows_of_classes(ClassBenchConfig(smears, (10,)), FakeSegmenter))
