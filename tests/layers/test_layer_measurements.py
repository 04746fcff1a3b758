"""Axes, units and channels of layers, and the same figures as in an exported table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_segany.io.export import export_labels
from napari_segany.layers.layer_measurements import axes_of, layer_channels, measurement_of

PLANE = np.zeros((6, 8), int)
PLANE[1:4, 2:4], PLANE[5, 7] = 3, 9


def ignore(done: float, total: float) -> None:
    """Nothing."""


@pytest.mark.parametrize(
    ("names", "image_names", "axes"),
    [
        (("time", "y", "x"), None, "tyx"),
        (("z", "y", "x"), None, "zyx"),
        (None, ("t", "y", "x"), "tyx"),
        (None, ("a", "y", "x"), "qyx"),
        (None, None, "qyx"),
        (("depth", "rows", "columns"), None, "qyx"),
    ],
)
def test_axes(names: tuple[str, ...] | None, image_names: tuple[str, ...] | None, axes: str) -> None:
    labels = Labels(np.zeros((2, 3, 4), int), axis_labels=names)
    assert axes_of(labels, Image(np.zeros((2, 3, 4)), axis_labels=image_names)) == axes


def test_divisions_make_time() -> None:
    labels = Labels(np.zeros((2, 3, 4), int), metadata={"parents": {2: 1}})
    labels.metadata.update(graph={2: [1]})
    assert axes_of(labels) in ("tyx", "qyx")


def test_channels() -> None:
    labels = Labels(PLANE)
    grey, colours = Image(PLANE * 2.0, name="DAPI"), Image(np.zeros((6, 8, 3), np.uint8), rgb=True, name="HE")
    other = Image(np.zeros((5, 5)))
    assert list(layer_channels(labels, [grey, other, labels])) == [""]
    assert list(layer_channels(labels, [colours])) == ["red", "green", "blue"]
    assert list(layer_channels(labels, [grey, colours])) == ["DAPI", "HE red", "HE green", "HE blue"]
    several = Image(np.zeros((2, 6, 8)), axis_labels=("c", "y", "x"), name="m")
    assert list(layer_channels(labels, [several])) == ["c0", "c1"]
    same = layer_channels(labels, [Image(PLANE * 1.0, name="a"), Image(PLANE * 2.0, name="a")])
    assert len(same) == 2


def test_figures_are_those_of_an_exported_table(tmp_path: Path) -> None:
    image = Image(np.arange(48.0).reshape(6, 8))
    labels = Labels(PLANE, scale=(0.5, 0.5), units=("um", "um"))
    table = measurement_of(labels, [image, labels], image, {}).run(ignore)
    path = export_labels(PLANE, tmp_path / "a.csv", scale=(0.5, 0.5), unit="µm", intensity=image.data)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(table.columns) == list(rows[0])
    for name, values in table.columns.items():
        assert ["" if value is None else str(value) for value in values] == [row[name] for row in rows]
    assert table.labels.tolist() == [3, 9]
    assert table.time is None
