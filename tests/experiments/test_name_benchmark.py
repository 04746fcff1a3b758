"""Names of labelled objects, measured on made-up sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.io import imsave

from napari_segany.core.errors import InputError, ModelError
from napari_segany.experiments.name_benchmark import NameBenchConfig, rows_of_names
from tests.fakes import FakeSegmenter, NamingSegmenter


def made(folder: Path, values: list[int]) -> Path:
    """A set of one picture with an object of each brightness."""
    plane, labels = np.full((40, 20 * len(values)), 100, np.uint8), np.zeros((40, 20 * len(values)), np.uint16)
    plane[0, :2] = 0, 255
    for number, value in enumerate(values):
        part = np.s_[10:20, 20 * number + 5 : 20 * number + 15]
        plane[part], labels[part] = value, number + 1
    for kind, image in (("images", plane), ("labels", labels)):
        (folder / kind).mkdir(parents=True)
        imsave(folder / kind / "a.png", image, check_contrast=False)
    return folder


def test_sets_with_known_objects_are_measured_one_by_one_and_together(tmp_path: Path) -> None:
    sets = made(tmp_path / "dsb2018", [250, 250, 5, 100]), made(tmp_path / "rbc_flow", [5, 5])
    nuclei, cells, every, mean = rows_of_names(NameBenchConfig(sets), NamingSegmenter)
    assert (nuclei["set"], nuclei["name"], nuclei["objects"], nuclei["most"]) == ("dsb2018", "nucleus", 4, "cell")
    assert 0.5 <= nuclei["top1"] <= 0.75
    assert nuclei["named"] == 0.75
    assert nuclei["right_named"] == pytest.approx(2 / 3)
    assert cells["top1"] == 1
    assert every["objects"] == 6
    assert every["top1"] == pytest.approx((4 * nuclei["top1"] + 2) / 6)
    assert mean["top1"] == pytest.approx((nuclei["top1"] + 1) / 2)


@pytest.mark.parametrize(("name", "right"), [("nucleus", 1.0), ("nuclei", 1.0), ("axon", 0.0)])
def test_the_name_of_a_set_can_be_given(tmp_path: Path, name: str, right: float) -> None:
    (row,) = rows_of_names(NameBenchConfig((made(tmp_path / "mine", [250, 245]),), name), NamingSegmenter)
    assert row["top1"] == right


def test_objects_can_be_drawn(tmp_path: Path) -> None:
    config = NameBenchConfig((made(tmp_path / "dsb2018", [250] * 5),), per_image=2)
    assert next(rows_of_names(config, NamingSegmenter))["objects"] == 2


def test_what_cannot_be_measured_is_refused_in_one_line(tmp_path: Path) -> None:
    config = NameBenchConfig((made(tmp_path / "mine", [250]),))
    with pytest.raises(InputError, match="--name"):
        next(rows_of_names(config, NamingSegmenter))
    with pytest.raises(ModelError, match="knows no names"):
        next(rows_of_names(NameBenchConfig(config.data, "cell"), FakeSegmenter))
