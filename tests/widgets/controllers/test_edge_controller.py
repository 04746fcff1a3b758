"""Edges of a slice as a layer, and crops for small objects, in a real window."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from napari_segany.core.automatic_masks import Grid, Proposals, grid_of
from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Prompt
from tests.fakes import FakeSegmenter
from tests.widgets.conftest import Hand, Opened, run_command


class Halves(FakeSegmenter):
    """Its mask is the left half of the plane; each waits while the gate is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def _mask(self, shape: tuple[int, int], prompt: Prompt, radius: float, score: float) -> Mask:
        self.gate.wait(30)
        pixels = np.zeros(shape, bool)
        pixels[:, : shape[1] // 2] = True
        logits = np.broadcast_to(8.0 * (31.5 - np.arange(64)) / 16, (64, 64)).astype(np.float32).copy()
        return Mask(pixels, score, logits, 1.0)


@pytest.fixture
def stack(hand: Hand) -> Iterator[Opened]:
    opened = Opened(hand, np.zeros((3, 60, 80), np.uint8), Halves(), scale=(3, 1, 1), translate=(0, 5, 5))
    yield opened
    opened.close()


def edges(opened: Opened) -> list:
    return [layer for layer in opened.viewer.layers if layer.name.startswith("edges")]


def compute(opened: Opened, how: str) -> None:
    if how == "key":
        opened.hand.press("shift+e")
    elif how == "palette":
        run_command("find_edges")
    else:
        opened.widget.tabs.show_box(opened.widget.everything_box)
        opened.widget.everything_box._edges.click()
    opened.settle()


@pytest.mark.parametrize("how", ["key", "palette", "button"])
def test_edges_of_the_shown_slice_are_a_layer_on_the_image(stack: Opened, how: str) -> None:
    mine = stack.viewer.add_image(np.ones((3, 60, 80)), name="edges", visible=False)
    stack.viewer.dims.set_point(0, 3)
    used = stack.viewer.layers.selection.active = stack.widget.binding.points
    shares: list[float] = []
    stack.widget.edges.progress.connect(lambda done, _: shares.append(done))
    compute(stack, how)
    (layer,) = (one for one in edges(stack) if one is not mine)
    assert layer.scale.tolist() == [3, 1, 1]
    assert layer.translate.tolist() == [0, 5, 5]
    assert np.flatnonzero(layer.data.any(axis=(1, 2))).tolist() == [1]
    assert layer.data.max() == 1
    assert (mine.data == 1).all()
    assert stack.viewer.layers.selection.active is used
    assert f"in the layer {layer.name!r}" in stack.text
    for active in (used, layer):
        stack.viewer.layers.selection.active = active
        assert layer not in stack.widget.layer_box._offered.values(), "it is no other image to segment"
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] <= 1
    stack.viewer.dims.set_point(0, 6)
    compute(stack, how)
    assert np.flatnonzero(layer.data.any(axis=(1, 2))).tolist() == [1, 2]
    assert len(edges(stack)) == 2


def test_they_are_cancelled_and_nothing_is_shown(stack: Opened) -> None:
    segmenter = stack.widget.answers.segmenter
    segmenter.gate.clear()
    stack.hand.press("shift+e")
    assert "Computing the edges" in stack.text
    stack.widget.cancel()
    segmenter.gate.set()
    stack.settle()
    assert not edges(stack)
    assert not stack.widget.jobs._open
    compute(stack, "key")
    assert len(edges(stack)) == 1


def test_in_3d_one_line_says_why_there_are_none(stack: Opened) -> None:
    stack.viewer.dims.ndisplay = 3
    stack.widget.act("find_edges")
    stack.settle()
    assert not edges(stack)
    assert "3D" in stack.text


@pytest.mark.parametrize(("layers", "crops"), [(0, 0), (1, 4), (2, 20)])
def test_crops_are_searched_where_that_was_chosen(stack: Opened, layers: int, crops: int) -> None:
    box, segmenter = stack.widget.everything_box, stack.widget.answers.segmenter
    box._crop_layers.setValue(layers)
    assert stack.widget.settings.get("crop_layers") == layers
    stack.settle()
    segmenter.embedded.clear()
    stack.hand.press("g")
    stack.settle()
    assert stack.widget.finder.found.query.grid == grid_of(crop_layers=layers)
    assert len([plane for plane in segmenter.embedded if plane.shape[:2] != (60, 80)]) == crops
    assert box.query_maker()(segmenter).grid == (Grid(32, layers, 2) if layers else None)


def test_the_number_of_layers_is_chosen_again_next_time_within_its_range(stack: Opened) -> None:
    box = stack.widget.everything_box
    box.choose(at_once=False, crop_layers=3)
    assert stack.widget.settings.get("crop_layers") == 3
    box.choose(at_once=False, crop_layers=99)
    assert box.grid == Grid(32, 4, 2)
    assert box.query_maker("cells").keywords["grid"] is None, "a text finds what it names by itself"


def test_objects_by_clicks_are_chosen_and_remembered(stack: Opened) -> None:
    box = stack.widget.everything_box
    assert box.grid is None
    assert not box._clicks.isVisibleTo(box), "this model has no decoder that draws all objects"
    box.offer_clicks(True)
    assert box._clicks.isVisibleTo(box)
    box._clicks.setChecked(True)
    assert stack.widget.settings.get("clicks") is True
    stack.hand.press("g")
    stack.settle()
    assert stack.widget.finder.found.query.grid == Proposals()
    box._crop_layers.setValue(1)
    assert box.grid == Grid(32, 1, 2)
