"""A plane larger than can be painted, worked on region by region in a real window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_segany.io.labels import read_labels
from napari_segany.layers import region
from tests.fakes import FakeSegmenter
from tests.widgets.conftest import Hand, Opened


@pytest.fixture
def large(hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    monkeypatch.setattr(region, "SIDE", 100)
    monkeypatch.setattr(region, "LARGE_VOXELS", 10_000)
    monkeypatch.setattr(
        "napari_segany.widgets.controllers.large_image_controller.windowed_labels_path",
        lambda *_: tmp_path / "all.zarr",
    )
    opened = Opened(hand, np.zeros((300, 400), np.uint8), FakeSegmenter(radius=8))
    yield opened
    opened.close()


def enter(opened: Opened, y: float, x: float) -> None:
    viewer, widget = opened.viewer, opened.widget
    getattr(viewer, "scene", viewer).camera.center = (0, y, x)
    before = widget.large.region
    opened.hand.press("shift+w")
    opened.hand.qtbot.waitUntil(
        lambda: widget.large.region not in (None, before) and widget.binding is not None, timeout=20_000
    )
    opened.settle()
    opened.hand.draw()


def test_what_is_kept_in_regions_is_in_one_file(large: Opened, tmp_path: Path) -> None:
    widget = large.widget
    assert widget.binding is None
    assert "too large" in large.text
    assert widget.layer_box._part.isVisible()
    enter(large, 100, 100)
    assert widget.layer_box._part.isVisible()
    assert str(tmp_path / "all.zarr") in widget.layer_box._part.toolTip()
    assert widget.binding.image.data.shape == (100, 100)
    large.hand.click(110, 120)
    large.wait_for_mask()
    large.hand.press("k")
    enter(large, 150, 300)
    assert not widget.binding.labels.data.any()
    large.hand.click(160, 310)
    large.wait_for_mask()
    large.hand.press("k")
    enter(large, 100, 100)
    assert widget.binding.labels.data[60, 70] == 1
    labels = read_labels(tmp_path / "all.zarr")
    assert labels.shape == (300, 400)
    assert (labels[110, 120], labels[160, 310]) == (1, 2)


def test_undo_reaches_the_file(large: Opened, tmp_path: Path) -> None:
    enter(large, 100, 100)
    large.hand.click(110, 120)
    large.wait_for_mask()
    large.hand.press("k")
    large.hand.qtbot.waitUntil(lambda: read_labels(tmp_path / "all.zarr").any(), timeout=10_000)
    large.hand.press("ctrl+z")
    large.hand.qtbot.waitUntil(lambda: not read_labels(tmp_path / "all.zarr").any(), timeout=10_000)


def test_what_is_painted_while_the_next_region_is_read_is_in_it(large: Opened) -> None:
    enter(large, 100, 100)
    widget, first = large.widget, large.widget.large.region
    getattr(large.viewer, "scene", large.viewer).camera.center = (0, 110, 110)
    widget.regions.work_here()
    first.labels.data_setitem((np.array([70]), np.array([70])), np.array([5]))
    large.hand.qtbot.waitUntil(lambda: widget.large.region is not first, timeout=20_000)
    assert widget.binding.labels.data[60, 60] == 5
    assert widget.session.label == 6


def test_what_is_painted_while_another_image_is_in_use_is_not_lost(large: Opened, tmp_path: Path) -> None:
    enter(large, 100, 100)
    widget, first = large.widget, large.widget.large.region
    widget.layer_box.image.value = large.viewer.add_image(np.zeros((30, 30), np.uint8))
    assert widget.binding.image is not first.image
    first.labels.data[20, 30] = 7
    widget.layer_box.image.value = large.image
    enter(large, 150, 300)
    assert read_labels(tmp_path / "all.zarr")[70, 80] == 7
    assert widget.session.label == 8


def test_whoever_comes_back_to_a_region_goes_on_in_its_labels(large: Opened) -> None:
    enter(large, 100, 100)
    widget, region_now = large.widget, large.widget.large.region
    widget.layer_box.image.value = large.viewer.add_image(np.zeros((30, 30), np.uint8))
    widget.layer_box.image.value = region_now.image
    assert widget.binding.labels is region_now.labels


def test_a_button_offers_the_part_that_is_shown_of_large_images_alone(large: Opened) -> None:
    button, widget = large.widget.layer_box._part, large.widget
    button.click()
    large.hand.qtbot.waitUntil(lambda: widget.large.region is not None and widget.binding is not None, timeout=20_000)
    assert button.isVisible()
    large.settle()
    large.hand.draw()
    widget.layer_box.image.value = large.viewer.add_image(np.zeros((30, 30), np.uint8))
    assert not button.isVisible()
