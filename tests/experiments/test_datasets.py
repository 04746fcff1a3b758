"""Labelled images in the layouts of the public sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_segany.core.errors import InputError
from napari_segany.experiments.datasets import labelled_planes, targets

RNG = np.random.default_rng(0)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, array, photometric="minisblack")
    else:
        Image.fromarray(array).save(path)


def gray(*shape: int) -> np.ndarray:
    return RNG.integers(0, 255, shape, dtype=np.uint8)


def test_a_folder_of_images(tmp_path: Path) -> None:
    colours, labels = gray(20, 30, 3), RNG.integers(0, 4, (20, 30)).astype(np.uint16)
    save(tmp_path / "images" / "b.jpg", gray(20, 30))
    save(tmp_path / "images" / "a.png", colours)
    save(tmp_path / "images" / "without_labels.png", colours)
    for name in "ab":
        save(tmp_path / "labels" / f"{name}.png", labels)
    first, second = labelled_planes(tmp_path)
    assert (first.name, second.name) == ("a", "b")
    np.testing.assert_array_equal(first.plane, colours)
    np.testing.assert_array_equal(first.labels, labels)
    assert second.plane.shape == (20, 30, 3)


def test_volumes_slice_by_slice_on_one_range(tmp_path: Path) -> None:
    volume = np.zeros((3, 20, 30), np.uint16)
    volume[:, 5:10] = np.array([100, 200, 400])[:, None, None]
    save(tmp_path / "one_image.tif", volume)
    save(tmp_path / "one_labels.tif", (volume > 0).astype(np.uint16))
    planes = list(labelled_planes(tmp_path))
    assert [plane.name for plane in planes] == ["one/0", "one/1", "one/2"]
    assert [int(plane.plane.max()) for plane in planes] == [64, 128, 255]
    assert all(plane.labels.sum() == 150 for plane in planes)


def test_mitochondria_are_the_connected_components_of_their_bit(tmp_path: Path) -> None:
    bits = np.zeros((20, 30), np.uint16)
    bits[2:8, 2:8], bits[2:8, 12:18], bits[12:18, 2:8] = 1 + 2, 1 + 32, 4
    (tmp_path / "classes.json").write_text(json.dumps({"1": "mitochondrion", "4": "vesicles"}))
    for name in ("s0", "s1"):
        save(tmp_path / "images" / f"{name}.png", gray(20, 30))
        save(tmp_path / "labels_bits" / f"{name}.png", bits)
    planes = list(labelled_planes(tmp_path))
    assert [len(targets(plane.labels)) for plane in planes] == [2, 2]
    (tmp_path / "classes.json").write_text("{}")
    with pytest.raises(InputError, match="does not define which value is a mitochondrion"):
        list(labelled_planes(tmp_path))


def test_folders_that_are_no_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        labelled_planes(tmp_path / "gone")
    with pytest.raises(InputError, match="holds neither"):
        labelled_planes(tmp_path)
    (tmp_path / "labels").mkdir()
    with pytest.raises(InputError, match="no label image"):
        list(labelled_planes(tmp_path))
    save(tmp_path / "labels" / "a.png", gray(20, 30))
    with pytest.raises(InputError, match="no image a"):
        list(labelled_planes(tmp_path))
    save(tmp_path / "images" / "a.png", gray(20, 31))
    with pytest.raises(InputError, match=r"labels of shape \(20, 30\) for an image of \(20, 31\)"):
        list(labelled_planes(tmp_path))


def test_targets() -> None:
    labels = np.zeros((40, 50), np.uint32)
    labels[2:13, 4:11] = 4_000_000_000
    labels[20:25, 20:23] = 3  # 15 pixels
    labels[0:4, 46:50] = 7
    corner, large = targets(labels)
    assert (corner.point.y, corner.point.x) in {(1, 47), (1, 48), (2, 47), (2, 48)}
    assert (large.point.x, large.box.y0, large.box.x0, large.box.y1, large.box.x1) == (7, 2, 4, 12, 10)
    assert large.iou(labels == 4_000_000_000) == 1
    assert large.iou(labels > 0) == pytest.approx(77 / (77 + 15 + 16))
    assert large.iou(labels == 3) == 0
    assert targets(np.zeros((5, 5), int)) == []
    assert len(targets(np.ones((5, 5), int))) == 1


@pytest.mark.parametrize(("name", "planes"), [("dsb2018", 76), ("usiigaci", 5), ("epfl6", 20), ("plant3d", 296)])
def test_the_public_sets(data_dir: Path, name: str, planes: int) -> None:
    found = labelled_planes(data_dir / "dev" / name)
    first = next(found)
    assert first.plane.shape == (*first.labels.shape, 3)
    assert targets(first.labels)
    if name in ("epfl6", "plant3d"):
        assert 1 + sum(1 for _ in found) == planes


def test_what_systems_leave_in_folders_is_no_image(tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        save(tmp_path / kind / "a.png", np.ones((20, 30), np.uint8))
        (tmp_path / kind / "._a.png").write_bytes(b"\x00\x05\x16\x07")
        (tmp_path / kind / ".DS_Store").write_bytes(b"x")
    assert [one.name for one in labelled_planes(tmp_path)] == ["a"]
