"""Labels that are drawn again, and the choice between old and new masks, in a real window."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt
from scipy import ndimage

from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Prompt
from napari_segany.core.segmenter import ImageEmbedding
from tests.fakes import BrightSegmenter
from tests.widgets.conftest import Hand, Opened, run_command


class Gated(BrightSegmenter):
    """Each prediction waits while the gate is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def _answer(self, embedding: ImageEmbedding, prompt: Prompt, candidates: int) -> list[Mask]:
        self.gate.wait(30)
        return super()._answer(embedding, prompt, candidates)


def discs(planes: int) -> np.ndarray:
    """Two discs on each plane, (z, y, x)."""
    truth = np.zeros((planes, 60, 80), np.uint16)
    y, x = np.indices((60, 80))
    for plane in truth:
        plane[(y - 20) ** 2 + (x - 20) ** 2 <= 8**2] = 4
        plane[(y - 35) ** 2 + (x - 55) ** 2 <= 16**2] = 9
    return truth


def shrunk(truth: np.ndarray) -> np.ndarray:
    return np.stack([np.where(ndimage.binary_erosion(one > 0, iterations=3), one, 0) for one in truth])


@pytest.fixture
def stack(hand: Hand) -> Iterator[Opened]:
    image = np.where(discs(3) > 0, 200, 10).astype(np.uint8)
    opened = Opened(hand, image, Gated(), scale=(3, 1, 1), translate=(0, 5, 5))
    yield opened
    opened.close()


@pytest.fixture
def flat(hand: Hand) -> Iterator[Opened]:
    opened = Opened(hand, np.where(discs(1)[0] > 0, 200, 10).astype(np.uint8), Gated())
    yield opened
    opened.close()


def refined(opened: Opened) -> list[Labels]:
    return [layer for layer in opened.viewer.layers if layer.name.startswith("cellpose refined")]


def rows(opened: Opened) -> list[tuple[bool, ...] | tuple[str, ...]]:
    table = opened.widget.refine_box._table
    return [
        (table.item(row, 0).checkState() == Qt.CheckState.Checked, *(table.item(row, n).text() for n in (1, 2)))
        for row in range(table.rowCount())
    ]


@pytest.mark.parametrize("how", ["key", "palette", "button"])
def test_labels_are_drawn_again_in_a_new_layer(stack: Opened, how: str) -> None:
    given = shrunk(discs(3))
    layer = stack.viewer.add_labels(given.copy(), name="cellpose", scale=(3, 1, 1), translate=(0, 5, 5))
    stack.viewer.layers.selection.active = stack.widget.binding.points
    shares: list[float] = []
    stack.widget.refining.progress.connect(lambda done, _: shares.append(done))
    assert "Refine “cellpose”" in stack.widget.refine_box._refine.text()
    if how == "key":
        stack.hand.press("shift+r")
    elif how == "palette":
        run_command("refine_labels")
    else:
        stack.widget.tabs.show_box(stack.widget.refine_box)
        stack.widget.refine_box._refine.click()
    stack.settle()
    assert np.array_equal(layer.data, given)
    (new,) = refined(stack)
    assert np.array_equal(new.data, discs(3))
    assert new.scale.tolist() == [3, 1, 1]
    assert stack.viewer.layers.selection.active is stack.widget.binding.points
    assert rows(stack) == [(True, "4", "0"), (True, "4", "1"), (True, "4", "2")] + [
        (True, "9", str(z)) for z in range(3)
    ]
    assert "6 objects drawn again" in stack.text
    assert "Refine “cellpose”" in stack.widget.refine_box._refine.text()
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_each_object_is_accepted_or_kept(stack: Opened) -> None:
    given = shrunk(discs(3))
    stack.viewer.add_labels(given.copy(), name="cellpose", scale=(3, 1, 1), translate=(0, 5, 5))
    stack.widget.act("refine_labels")
    stack.settle()
    (new,) = refined(stack)
    table, box = stack.widget.refine_box._table, stack.widget.refine_box
    table.item(1, 0).setCheckState(Qt.CheckState.Unchecked)
    assert np.array_equal(new.data[1] == 4, given[1] == 4)
    assert np.array_equal(new.data[[0, 2]], discs(3)[[0, 2]])
    table.selectRow(2)
    assert stack.viewer.dims.current_step[0] == 2
    assert np.allclose(getattr(stack.viewer, "scene", stack.viewer).camera.center[-2:], (20 + 5, 20 + 5), atol=1)
    box._all[False].click()
    assert np.array_equal(new.data, given)
    assert not any(row[0] for row in rows(stack))
    box._all[True].click()
    assert np.array_equal(new.data, discs(3))
    assert all(row[0] for row in rows(stack))


def test_only_the_shown_slice_on_request(stack: Opened) -> None:
    given = shrunk(discs(3))
    stack.viewer.add_labels(given.copy(), name="cellpose", scale=(3, 1, 1), translate=(0, 5, 5))
    stack.viewer.dims.set_point(0, 3)
    stack.widget.refine_box._slices.setCurrentText("This slice")
    stack.widget.act("refine_labels")
    stack.settle()
    (new,) = refined(stack)
    assert np.array_equal(new.data[1], discs(3)[1])
    assert np.array_equal(new.data[[0, 2]], given[[0, 2]])
    assert len(rows(stack)) == 2


def test_it_is_cancelled_and_what_is_done_stays(stack: Opened) -> None:
    given = shrunk(discs(3))
    stack.viewer.add_labels(given.copy(), name="cellpose", scale=(3, 1, 1), translate=(0, 5, 5))
    segmenter = stack.widget.answers.segmenter
    segmenter.gate.clear()
    stack.hand.press("shift+r")
    assert "Refining 'cellpose'" in stack.text
    stack.widget.cancel()
    segmenter.gate.set()
    stack.settle()
    (new,) = refined(stack)
    assert np.array_equal(new.data, given)
    assert rows(stack) == []
    stack.hand.press("shift+r")
    stack.settle()
    assert len(rows(stack)) == 6


def test_the_active_labels_are_refined_else_those_in_use(flat: Opened) -> None:
    mine = flat.viewer.add_labels(shrunk(discs(1))[0], name="mine")
    other = flat.viewer.add_labels(discs(1)[0], name="other")
    flat.widget.layer_box.labels.value = mine
    flat.viewer.layers.selection.active = flat.widget.binding.points
    assert flat.widget.refining.source is mine
    flat.viewer.layers.selection.active = other
    assert flat.widget.refining.source is other
    other.name = "another"
    assert "another" in flat.widget.refine_box._refine.text()
    flat.widget.act("refine_labels")
    flat.settle()
    assert "another refined" in flat.viewer.layers
    assert np.array_equal(flat.viewer.layers["another refined"].data, discs(1)[0])
    assert flat.widget.refine_box._table.isColumnHidden(2)
    flat.viewer.layers.remove(other)
    flat.viewer.layers.selection.active = flat.viewer.layers["another refined"]
    assert flat.widget.refining.source is mine


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (None, "there is no Labels layer"),
        (np.zeros((60, 80), int), "holds no object"),
        (np.ones((80, 60), int), "has shape (80, 60)"),
        (np.ones((2, 60, 80), int), "has shape (2, 60, 80)"),
    ],
)
def test_labels_that_cannot_be_refined_are_one_line(flat: Opened, monkeypatch, values, reason: str) -> None:
    monkeypatch.setattr("napari_segany.widgets.main.show_error", lambda text: None)
    if values is not None:
        flat.viewer.add_labels(values, name="cellpose")
    before = list(flat.viewer.layers)
    flat.widget.act("refine_labels")
    flat.settle()
    assert reason in flat.text
    assert list(flat.viewer.layers) == before
    assert rows(flat) == []


def test_another_image_ends_the_list_and_its_layer_stays(flat: Opened) -> None:
    flat.viewer.add_labels(shrunk(discs(1))[0], name="cellpose")
    flat.widget.act("refine_labels")
    flat.settle()
    other = flat.viewer.add_image(np.zeros((60, 80), np.uint8), name="other")
    flat.widget.layer_box.image.value = other
    flat.settle()
    assert rows(flat) == []
    assert np.array_equal(refined(flat)[0].data, discs(1)[0])


def test_the_names_of_the_tabs_leave_room_for_the_picture(flat: Opened) -> None:
    assert flat.widget.minimumSizeHint().width() <= 376, "tabs decide how much of the window is left for the picture"
