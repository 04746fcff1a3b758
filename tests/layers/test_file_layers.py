"""Layers of files that this package reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.layers import Image

from napari_segany.core.errors import InputError
from napari_segany.io.images import read_image
from napari_segany.layers.file_layers import image_layer, labels_layer


def test_size_and_place_of_pixels_come_with_the_file(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeZ": 2.0}
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((3, 4, 5), np.uint8), metadata=metadata)
    layer = image_layer(read_image(tmp_path / "a.ome.tif"), tmp_path / "a.ome.tif")
    assert tuple(layer.scale) == (2, 1, 0.5)
    assert layer.source.path == str(tmp_path / "a.ome.tif")
    assert layer.name == "a.ome"


@pytest.mark.parametrize(("shape", "rgb"), [((6, 7), False), ((2, 6, 7), False), ((6, 7, 3), True)])
def test_files_that_tell_no_size_are_as_napari_opens_them(tmp_path: Path, shape: tuple[int, ...], rgb: bool) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint8), photometric="rgb" if rgb else "minisblack")
    layer = image_layer(read_image(tmp_path / "a.tif"), tmp_path / "a.tif")
    plain = Image(np.zeros(shape, np.uint8), rgb=rgb)
    assert (layer.rgb, layer.ndim, tuple(layer.scale)) == (rgb, plain.ndim, tuple(plain.scale))
    assert layer.units == plain.units


def test_labels_of_another_shape_are_refused(tmp_path: Path) -> None:
    image = Image(np.zeros((6, 7), np.uint8), scale=(2, 2))
    assert tuple(labels_layer(np.ones((6, 7), int), tmp_path / "a.tif", image).scale) == (2, 2)
    with pytest.raises(InputError, match="shape"):
        labels_layer(np.ones((3, 6, 7), int), tmp_path / "a.tif", image)
