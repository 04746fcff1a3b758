"""Edges are matched with boundaries one to one, by examples worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from skimage import io

from napari_segany.core.errors import InputError
from napari_segany.experiments.edge_benchmark import EdgeChoice, edge_cases, edge_counts, rows_of_edges, summary


def line(column: int, rows: slice = slice(None)) -> np.ndarray:
    found = np.zeros((100, 100), bool)
    found[rows, column] = True
    return found


def test_pixels_are_matched_one_to_one() -> None:
    # the reach is .0075 x 141.4 = 1.06 pixels: a line next to the boundary matches, two columns away it does not
    near = edge_counts(line(51).astype(float), [line(50)], 1)
    assert (near.found[0], near.found_matched[0], near.true[0], near.true_matched[0]) == (100, 100, 100, 100)
    far = edge_counts(line(52).astype(float), [line(50)], 1)
    assert (far.found_matched[0], far.true_matched[0]) == (0, 0)
    # half of the boundary found: precision 1, recall 1/2, F1 2/3
    half = edge_counts(line(50, slice(0, 50)).astype(float), [line(50)], 1)
    assert (half.precision[0], half.recall[0]) == (1, 0.5)
    assert half.f1[0] == pytest.approx(2 / 3)


def test_any_annotator_makes_an_edge_right_and_each_is_to_be_found() -> None:
    # edges at 20 and 70; one annotator drew 20, another 20 and 50: precision 1/2, recall 2/3
    edges = (line(20) | line(70)).astype(float)
    found = edge_counts(edges, [line(20), line(20) | line(50)], 1)
    assert found.precision[0] == pytest.approx(1 / 2)
    assert found.recall[0] == pytest.approx(2 / 3)


def test_the_best_threshold_of_the_set_and_of_each_image() -> None:
    # image 1 has its edge at .3 and noise at .1, image 2 its edge at .8 and noise at .5
    first = np.where(line(20), 0.35, np.where(line(80), 0.15, 0))
    second = np.where(line(20), 0.85, np.where(line(80), 0.55, 0))
    counts = [edge_counts(one, [line(20)], 9) for one in (first, second)]
    found = summary(counts)
    assert found["ois"] == pytest.approx(1)
    # from .2 to .3 both edges and the noise of the second: 200 of 300 right, all found
    assert found["ods"] == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))
    assert found["r50"] == pytest.approx(1)


def test_a_folder_as_bsds_is_laid_out(tmp_path: Path) -> None:
    for kind in ("images", "groundTruth"):
        (tmp_path / kind).mkdir()
    image = np.zeros((160, 160, 3), np.uint8)
    image[:, 80:] = 200
    io.imsave(tmp_path / "images/1.png", image, check_contrast=False)
    boundary = np.zeros((160, 160), np.uint8)
    boundary[:, 80] = 1
    truth = np.empty((1, 1), object)
    truth[0, 0] = {"Boundaries": boundary, "Segmentation": boundary}
    savemat(tmp_path / "groundTruth/1.mat", {"groundTruth": truth})
    (row,) = rows_of_edges(tmp_path, lambda: pytest.fail("loaded"), ["sobel"])
    assert row["ods"] > 0.95
    with pytest.raises(InputError, match="unknown method magic"):
        list(rows_of_edges(tmp_path, lambda: pytest.fail("loaded"), ["magic"]))
    with pytest.raises(InputError, match="holds no groundTruth"):
        list(rows_of_edges(tmp_path / "images", lambda: pytest.fail("loaded")))


def stripes(folder: Path, count: int, step: int = 200) -> None:
    """`count` pictures of two halves; the border of picture k lies at column 60 + k."""
    (folder / "images").mkdir(parents=True)
    for number in range(count):
        image = np.zeros((160, 160), np.uint8)
        image[:, 60 + number :] = step
        io.imsave(folder / f"images/{number}.png", image, check_contrast=False)


@pytest.mark.parametrize("background", [False, True])
def test_borders_of_labels_are_boundaries(tmp_path: Path, background: bool) -> None:
    """One line for each border, whether another object or background is behind it."""
    stripes(tmp_path, 1)
    (tmp_path / "labels").mkdir()
    labels = np.full((160, 160), 0 if background else 1, np.uint16)
    labels[:, 60:] = 2
    io.imsave(tmp_path / "labels/0.png", labels, check_contrast=False)
    ((plane, (boundary,), name),) = [(one.plane, one.boundaries, one.name) for one in edge_cases(tmp_path)]
    assert (name, plane.shape) == ("0", (160, 160, 3))
    assert 158 <= boundary.sum() <= 160
    assert set(np.nonzero(boundary)[1]) <= {59, 60}
    (row,) = rows_of_edges(tmp_path, lambda: pytest.fail("loaded"), ["sobel"])
    assert row["ods"] > 0.95


def test_membranes_of_a_volume_are_boundaries(tmp_path: Path) -> None:
    """A membrane of five pixels is one line in its middle; other classes are none."""
    stripes(tmp_path, 2)
    (tmp_path / "labels_bits").mkdir()
    (tmp_path / "classes.json").write_text('{"1": "mitochondrion", "32": "membranes"}')
    for number in range(2):
        bits = np.zeros((160, 160), np.uint8)
        bits[:, 98:103] = 32
        bits[:, 20:30] |= 1
        io.imsave(tmp_path / f"labels_bits/{number}.png", bits, check_contrast=False)
    first, second = edge_cases(tmp_path)
    for one in (first, second):
        assert set(np.nonzero(one.boundaries[0][10:150])[1]) == {100}
    assert [one.plane[0, 60, 0] > 100 for one in (first, second)] == [True, False]


def test_some_planes_only(tmp_path: Path) -> None:
    volume = np.zeros((12, 40, 40), np.uint8)
    for name in ("wall", "nucleus"):
        for kind in ("image", "labels"):
            io.imsave(tmp_path / f"{name}_{kind}.tif", volume + (kind == "labels"), check_contrast=False)
    names = [one.name for one in edge_cases(tmp_path, EdgeChoice("wall", 4))]
    assert names == ["wall/2", "wall/6", "wall/10"]
    assert len(list(edge_cases(tmp_path))) == 24
    with pytest.raises(InputError, match="no image whose name contains 'leaf'"):
        list(rows_of_edges(tmp_path, lambda: pytest.fail("loaded"), ["sobel"], choice=EdgeChoice("leaf")))


@pytest.mark.parametrize("bright", [True, False])
def test_a_wall_is_found_as_a_ridge_and_not_as_two_edges(tmp_path: Path, bright: bool) -> None:
    """The middle of a wall of seven pixels is farther from its sides than the reach of 1.7 pixels."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    image = np.full((160, 160), 50 if bright else 200, np.uint8)
    image[:, 77:84] = 200 if bright else 50
    labels = np.ones((160, 160), np.uint16)
    labels[:, 80:] = 2
    io.imsave(tmp_path / "images/0.png", image, check_contrast=False)
    io.imsave(tmp_path / "labels/0.png", labels, check_contrast=False)
    found = {
        row["method"]: row["ods"]
        for row in rows_of_edges(tmp_path, lambda: pytest.fail("loaded"), ["sobel", "canny", "ridges"])
    }
    assert found["ridges"] > 0.9
    assert found["sobel"] == found["canny"] == 0
