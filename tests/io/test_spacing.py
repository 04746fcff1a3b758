"""Distances in TIFF files, as OME and ImageJ write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segany.io.images import read_image


def write(path: Path, axes: str, **options: object) -> Path:
    shape = tuple({"t": 2, "c": 2, "z": 3, "y": 20, "x": 30}[axis] for axis in axes)
    tifffile.imwrite(path, np.zeros(shape, np.uint8), photometric="minisblack", **options)
    return path


def test_ome_in_the_units_that_it_says(tmp_path: Path) -> None:
    said = {"axes": "TCZYX", "PhysicalSizeX": 200.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.2}
    said |= {"PhysicalSizeYUnit": "µm", "PhysicalSizeZ": 1.5, "TimeIncrement": 2.0, "TimeIncrementUnit": "min"}
    image = read_image(write(tmp_path / "a.ome.tif", "tczyx", metadata=said, ome=True))
    assert image.axes == "tczyx"
    assert image.scale == pytest.approx((120, 1, 1.5, 0.2, 0.2))
    assert image.label_axes == "tzyx"
    assert image.label_scale == pytest.approx((120, 1.5, 0.2, 0.2))


def test_imagej(tmp_path: Path) -> None:
    said = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    path = write(tmp_path / "a.tif", "zyx", imagej=True, resolution=(4.0, 5.0), metadata=said)
    assert read_image(path).scale == pytest.approx((2, 0.2, 0.25))
    said = {"axes": "TYX", "finterval": 30.0, "unit": "nm"}
    path = write(tmp_path / "b.tif", "tyx", imagej=True, resolution=(4.0, 5.0), metadata=said)
    assert read_image(path).scale == pytest.approx((30, 0.0002, 0.00025))


def test_what_says_nothing_or_nonsense(tmp_path: Path) -> None:
    assert read_image(write(tmp_path / "a.tif", "zyx", metadata={"axes": "ZYX"})).scale == (1, 1, 1)
    nonsense = {"axes": "ZYX", "PhysicalSizeX": -1.0, "PhysicalSizeZ": 0.0}
    path = write(tmp_path / "a.ome.tif", "zyx", metadata=nonsense, ome=True)
    assert read_image(path).scale == (1, 1, 1)
    text = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image/></OME>'
    path = write(tmp_path / "b.ome.tif", "yx", description=text, metadata=None)
    assert read_image(path).scale == (1, 1)
