"""Edges of an image become a file of their own, where the image is, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segany.batch.edge_file import edges_of_file
from napari_segany.cli import main
from napari_segany.core.errors import InputError
from napari_segany.io.images import read_image
from tests.engine.test_edges import Halves


def image_of(path: Path, shape: tuple[int, ...], **options: object) -> Path:
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 255, shape, np.uint8), imagej=True, **options)
    return path


@pytest.mark.parametrize(("shape", "axes"), [((64, 64), "YX"), ((3, 64, 64), "ZYX")])
def test_each_plane_has_its_edges_at_the_place_of_the_image(tmp_path: Path, shape: tuple[int, ...], axes: str) -> None:
    metadata = {"axes": axes, "unit": "um", "spacing": 2.0}
    image = image_of(tmp_path / "image.tif", shape, resolution=(2.0, 2.0), metadata=metadata)
    done: list[int] = []
    out = edges_of_file(image, tmp_path / "edges.tif", Halves, progress=done.append)
    edges = tifffile.imread(out)
    assert (edges.shape, edges.dtype) == (shape, np.float32)
    assert edges.max() == 1
    assert set(np.unique(np.nonzero(edges[..., 4:-4, :])[-1])) <= {31, 32}
    assert done == list(range(1, len(done) + 1))
    assert read_image(out).label_calibration.scale == pytest.approx(read_image(image).label_calibration.scale)


def test_nothing_is_lost(tmp_path: Path) -> None:
    image = image_of(tmp_path / "image.tif", (64, 64))
    before = image.read_bytes()
    for out in (image, tmp_path / "edges.zarr", tmp_path / "none" / "edges.tif"):
        with pytest.raises(InputError):
            edges_of_file(image, out, Halves, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["image.tif"]
    assert image.read_bytes() == before


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = image_of(tmp_path / "image.tif", (48, 64))
    assert main(["segment", str(image), "--edges", "-o", str(tmp_path / "edges.tif"), "--device", "cpu"]) == 0
    assert tifffile.imread(tmp_path / "edges.tif").shape == (48, 64)
    assert main(["segment", str(image), "--edges", "--everything", "-o", str(tmp_path / "more.tif")]) == 2
    assert "--edges takes the image alone" in capsys.readouterr().err
