"""One to nine points on several sets; the figures were worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.experiments.click_baselines import CLICK_BASELINES
from napari_segany.experiments.single_point import PointsConfig, measured_points
from tests.fakes import FakeSegmenter

Y, X = np.mgrid[:64, :80]
DISC = (Y - 32) ** 2 + (X - 30) ** 2 <= 100
PLANE = np.repeat(np.where(DISC, 180, 40).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    """Two sets: a disc that the fake paints as it is, and one of half the radius."""
    for name, labels in (("same", DISC), ("small", (Y - 32) ** 2 + (X - 30) ** 2 <= 25)):
        for kind in ("images", "labels"):
            (tmp_path / name / kind).mkdir(parents=True)
        tifffile.imwrite(tmp_path / name / "images/0.tif", PLANE[..., 0])
        tifffile.imwrite(tmp_path / name / "labels/0.tif", labels.astype(np.uint8))
    return tmp_path / "same", tmp_path / "small"


def test_each_set_method_start_and_number(data: tuple[Path, Path]) -> None:
    config = PointsConfig(data, points=(1, 3))
    rows = list(measured_points(config, lambda: FakeSegmenter(10)))
    assert len(rows) == 2 * 3 * 2 * 2
    known = {(row["set"], row["model"], row["start"], row["points"]): row for row in rows}
    assert known["same", "fake", "centre", 1]["miou"] == 1
    # 81 pixels of 317: the fake paints a disc of twice the radius, and its second candidate fits
    small = known["small", "fake", "centre", 1]
    assert small["miou"] == pytest.approx(81 / 317, abs=1e-3)
    assert small["oracle"] == 1
    assert np.isnan(known["small", "fake", "centre", 3]["oracle"])
    assert known["same", "fake", "random", 1]["miou"] < 1
    # what is flat and apart from all else is found by methods that see edges
    assert known["same", "watershed", "centre", 1]["miou"] > 0.7
    assert known["same", "random walker", "centre", 1]["miou"] > 0.7


@pytest.mark.parametrize("name", list(CLICK_BASELINES))
def test_a_click_off_the_object_takes_its_part_away(name: str) -> None:
    method = CLICK_BASELINES[name]()
    plane = PLANE.copy()
    plane[25:40, 50:65] = 180
    embedding = method.embed(plane)
    both = Prompt((Point(32, 30), Point(32, 57)))
    one = Prompt((Point(32, 30), Point(32, 57, positive=False)))
    (first,), (second,) = method.segment(embedding, [both, one])
    assert first.pixels[32, 30]
    assert first.pixels[32, 57]
    assert second.pixels[32, 30]
    assert not second.pixels[32, 57]
    flat = method.segment(method.embed(np.zeros_like(plane)), [both])[0][0]
    assert flat.pixels.shape == (64, 80)


@pytest.mark.parametrize("change", [{"points": ()}, {"points": (0,)}, {"starts": ("edge",)}])
def test_what_cannot_be_measured(data: tuple[Path, Path], change: dict) -> None:
    with pytest.raises(InputError, match="counted from 1 and start at"):
        list(measured_points(PointsConfig(data, **change), FakeSegmenter))
