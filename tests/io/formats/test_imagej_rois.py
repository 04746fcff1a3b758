"""ImageJ's regions, read back by roifile, cover the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import roifile
from hypothesis import given, settings

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectInfo
from napari_segany.io.export import export_labels
from napari_segany.io.formats import imagej_rois
from tests.filling import few_labels, filled


def label_of(roi: roifile.ImagejRoi) -> int:
    return int(dict(line.split(": ") for line in roi.props.splitlines())["label"])


def pixels_of(roi: roifile.ImagejRoi, shape: tuple[int, int]) -> np.ndarray:
    """(y, x) bool of what a region covers."""
    return filled([np.asarray(ring)[:, ::-1] for ring in roi.coordinates(multi=True)], shape)


@settings(deadline=None)
@given(few_labels)
def test_any_labels(tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray) -> None:
    path = export_labels(labels, tmp_path_factory.mktemp("rois") / "a.zip")
    back = np.zeros_like(labels)
    for roi in roifile.roiread(path):
        mask = pixels_of(roi, labels.shape)
        back[mask] = label_of(roi)
        rows, columns = np.nonzero(mask)
        assert (roi.top, roi.left) == (rows.min(), columns.min())
        assert (roi.bottom, roi.right) == (rows.max() + 1, columns.max() + 1)
    np.testing.assert_array_equal(back, labels)


@pytest.mark.parametrize("axes", ["zyx", "tyx"])
def test_stacks(tmp_path: Path, axes: str) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (3, 9, 11))
    back = np.zeros_like(labels)
    for roi in roifile.roiread(export_labels(labels, tmp_path / "a.zip", axes=axes)):
        assert (roi.z_position, roi.t_position) == (0, 0)
        back[roi.position - 1][pixels_of(roi, labels.shape[1:])] = label_of(roi)
    np.testing.assert_array_equal(back, labels)


def test_stacks_over_time(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (2, 3, 9, 11))
    back = np.zeros_like(labels)
    for roi in roifile.roiread(export_labels(labels, tmp_path / "a.zip")):
        assert roi.position == 0
        back[roi.t_position - 1, roi.z_position - 1][pixels_of(roi, labels.shape[2:])] = label_of(roi)
    np.testing.assert_array_equal(back, labels)


def test_kinds_and_places(tmp_path: Path) -> None:
    labels = np.zeros((9, 9), int)
    labels[1:4, 2:4] = 5
    labels[5:8, 5:8] = 6
    labels[6, 6] = 0
    whole, holed = roifile.roiread(export_labels(labels, tmp_path / "a.zip"))
    assert (whole.roitype, whole.composite) == (roifile.ROI_TYPE.TRACED, False)
    assert sorted(whole.coordinates().tolist()) == [[2, 1], [2, 4], [4, 1], [4, 4]]
    assert (holed.roitype, holed.composite) == (roifile.ROI_TYPE.RECT, True)
    assert len(holed.coordinates(multi=True)) == 2


def test_what_is_known(tmp_path: Path) -> None:
    known = ObjectInfo(1, "Zelle ä/1: \N{GRINNING FACE}", "nu:cleus", 0.75, float("nan"), source="two\nclicks")
    for labels, where in ((np.ones((2, 2), int), ""), (np.ones((1, 2, 2), int), " z0001")):
        (roi,) = roifile.roiread(export_labels(labels, tmp_path / "a.zip", objects=[known], overwrite=True))
        assert roi.name == f"00001{where} Zelle ä_1_ _"
        assert roi.props == "label: 1\nscore: 0.75\nname: Zelle ä/1: _\nclass: nu:cleus\nhow: two_clicks\n"


def test_objects_of_one_name_are_told_apart(tmp_path: Path) -> None:
    objects = [ObjectInfo(label, "cell") for label in (1, 2)]
    assert len(roifile.roiread(export_labels(np.array([[[1, 2]], [[1, 2]]]), tmp_path / "a.zip", objects=objects))) == 4


def test_nothing(tmp_path: Path) -> None:
    assert roifile.roiread(export_labels(np.zeros((2, 2), int), tmp_path / "a.zip")) == []


def test_far_away_pixels(tmp_path: Path) -> None:
    labels = np.zeros((2, imagej_rois.LARGEST), np.uint8)
    labels[:, -3:] = 1
    labels[0, 40_000] = 2
    back = np.zeros_like(labels)
    for roi in roifile.roiread(export_labels(labels, tmp_path / "a.zip")):
        back[pixels_of(roi, labels.shape)] = label_of(roi)
    np.testing.assert_array_equal(back, labels)
    with pytest.raises(InputError, match="end at pixel"):
        export_labels(np.zeros((2, imagej_rois.LARGEST + 1), np.uint8), tmp_path / "b.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
