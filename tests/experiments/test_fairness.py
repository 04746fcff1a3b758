"""Groups are compared by their intervals; the figures were worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segany.core.errors import InputError
from napari_segany.experiments.fairness import FairnessConfig, read_groups, rows_of_fairness
from tests.fakes import FakeSegmenter

Y, X = np.mgrid[:64, :64]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two images of discs of the radius that the fake paints, and two of discs of twice the area or more."""
    for kind in ("images", "labels"):
        (tmp_path / "set" / kind).mkdir(parents=True)
    radius = FakeSegmenter().radius
    for number in range(4):
        labels = ((radius * (1 if number < 2 else 2)) ** 2 >= (Y - 32) ** 2 + (X - 32) ** 2).astype(np.uint8)
        tifffile.imwrite(tmp_path / f"set/images/{number}.tif", (labels * 100).astype(np.uint8))
        tifffile.imwrite(tmp_path / f"set/labels/{number}.tif", labels)
    return tmp_path / "set"


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_groups_of_a_table(data: Path, tmp_path: Path) -> None:
    groups = table(tmp_path / "groups.csv", "image,stain\n0.tif,blue\n1,blue\n2,red\n3,red\n")
    blue, red = rows_of_fairness(FairnessConfig(data, groups, (1,)), FakeSegmenter)
    assert (blue["group"], blue["n"], blue["images"], blue["clicks"]) == ("blue", 2, 2, 1)
    # the fake paints the disc itself; a disc of half the radius is about a quarter of the other
    assert blue["miou"] == pytest.approx(1.0)
    assert red["miou"] == pytest.approx(0.25, abs=0.03)
    assert (blue["differs"], red["differs"]) == ("red", "blue")
    assert blue["low"] <= blue["miou"] <= blue["high"]


def test_sizes_and_kinds_without_a_table(data: Path) -> None:
    rows = rows_of_fairness(FairnessConfig(data, clicks=(1, 3)), FakeSegmenter)
    assert {row["attribute"] for row in rows} == {"kind of picture", "size"}
    assert {row["clicks"] for row in rows} == {1, 3}
    sizes = [row for row in rows if row["attribute"] == "size" and row["clicks"] == 1]
    assert [row["n"] for row in sizes] == [2, 2]
    assert sizes[0]["differs"] == sizes[1]["group"]


def test_a_group_of_one_image_has_no_interval(data: Path, tmp_path: Path) -> None:
    groups = table(tmp_path / "groups.csv", "image,stain\n0,blue\n1,blue\n2,red\n")
    blue, red = rows_of_fairness(FairnessConfig(data, groups, (1,)), FakeSegmenter)
    assert np.isnan([red["low"], red["high"]]).all()
    assert (blue["differs"], red["differs"]) == ("", "")


@pytest.mark.parametrize("text", ["", "name,stain\na,b\n", "image\na\n"])
def test_tables_that_name_no_groups(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="column image"):
        read_groups(table(tmp_path / "groups.csv", text))


def test_a_table_of_other_images(data: Path, tmp_path: Path) -> None:
    groups = table(tmp_path / "groups.csv", "image,stain\nelsewhere,blue\n")
    with pytest.raises(InputError, match="names none of the images"):
        rows_of_fairness(FairnessConfig(data, groups), FakeSegmenter)
