"""Sample data: the same each time, from no network, and true to its truth."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Layer
from npe2 import PluginManifest
from scipy import ndimage

from napari_segany import sample_data
from napari_segany.sample_data import LayerData

MADE_UP = (sample_data.nuclei, sample_data.nuclei_stack)
SHIPPED = (sample_data.cell, sample_data.tissue, sample_data.coins)


@pytest.mark.parametrize("sample", MADE_UP)
def test_truth_lies_on_the_nuclei(sample: Callable[[], list[LayerData]]) -> None:
    (image, shown, kind), (truth, hidden, truth_kind) = sample()
    assert (kind, truth_kind, hidden["visible"]) == ("image", "labels", False)
    assert shown["scale"] == hidden["scale"]
    assert image.shape == truth.shape
    assert 35 <= truth.max() <= 45
    assert len(np.unique(truth)) == truth.max() + 1
    assert np.bincount(truth.ravel()).min() >= 300
    assert np.median(image[truth > 0]) > 3 * np.median(image[truth == 0])


@pytest.mark.parametrize("sample", MADE_UP)
def test_some_nuclei_touch(sample: Callable[[], list[LayerData]]) -> None:
    truth = sample()[1][0]
    assert ndimage.label(truth > 0)[1] < truth.max()


@pytest.mark.parametrize("sample", MADE_UP)
def test_the_same_every_time(sample: Callable[[], list[LayerData]]) -> None:
    for first, second in zip(sample(), sample(), strict=True):
        np.testing.assert_array_equal(first[0], second[0])


@pytest.mark.parametrize("sample", SHIPPED)
def test_pictures_need_no_network(sample: Callable[[], list[LayerData]], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("a sample asked for the network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    ((image, options, kind),) = sample()
    assert (kind, image.dtype) == ("image", np.uint8)
    assert options.get("rgb", False) == (image.ndim == 3)


def test_napari_finds_every_sample() -> None:
    manifest = PluginManifest.from_file(Path(sample_data.__file__).with_name("napari.yaml"))
    commands = {command.id: command.python_name for command in manifest.contributions.commands}
    names = {str(commands[sample.command]) for sample in manifest.contributions.sample_data}
    assert names == {f"napari_segany.sample_data:{sample.__name__}" for sample in (*MADE_UP, *SHIPPED)}


def test_samples_become_layers_of_napari() -> None:
    layers = [Layer.create(*layer) for sample in (*MADE_UP, *SHIPPED) for layer in sample()]
    assert [layer.ndim for layer in layers] == [2, 2, 3, 3, 2, 2, 2]


def test_samples_import_neither_torch_nor_qt() -> None:
    code = "import sys, napari_segany.sample_data; assert not {'torch', 'qtpy', 'napari'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
