import gc
import weakref

import numpy as np
import pytest
from app_model.types import KeyCode, KeyMod
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.layers import Labels, Points
from napari.utils.key_bindings import KeymapHandler

from napari_segany.layers.mirror import Mirror
from napari_segany.session.events import PromptEvent
from napari_segany.session.history import Step
from tests.layers.desk import Desk

SHAPE = (3, 24, 30)
KEYS = {"undo": KeyMod.CtrlCmd | KeyCode.KeyZ, "redo": KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ}


@pytest.fixture
def desk() -> Desk:
    return Desk(np.zeros(SHAPE[1:], np.uint8))


@pytest.fixture
def volume() -> Desk:
    return Desk(np.zeros(SHAPE, np.uint8), scale=(3, 1, 1), translate=(0, 5, 5))


def press(desk: Desk, layer, which: str) -> None:
    """As napari does it: the active layer's keys come first."""
    handler = KeymapHandler()
    handler.keymap_providers = [layer, desk.viewer]
    assert handler.press_key(KEYS[which])


def test_prompts_keep_and_preview_go_back_and_forth(desk):
    states, previews = [desk.state()], [desk.preview()]
    for act in (
        lambda: desk.click(10, 10),
        lambda: desk.click(10, 15),
        lambda: desk.click(12, 10, positive=False),
        lambda: desk.session.choose(0),
    ):
        act()
        states.append(desk.state())
        previews.append(desk.preview())
    assert desk.steps == 3, "the same candidate is no step"
    states.pop(), previews.pop()
    assert desk.binding.keep()
    assert desk.steps == 4
    kept = desk.labels.tobytes()
    assert desk.binding.undo()
    assert not desk.labels.any()
    assert desk.preview() == previews[-1], "asked with the mask that it was asked with before"
    assert len(desk.session.result.request.prompt.points) == 3
    desk.binding.undo()
    desk.binding.undo()
    assert desk.preview() == previews[1]
    desk.binding.undo()
    assert desk.state()[1:] == states[0][1:]
    assert desk.preview() == b""
    assert not desk.binding.undo()
    assert desk.problems[-1] == "there is nothing to undo"
    for preview in previews[1:]:
        assert desk.binding.redo()
        assert desk.preview() == preview
    desk.binding.redo()
    assert desk.labels.tobytes() == kept
    assert not desk.binding.redo()
    assert desk.session.label == 2


def test_what_is_restored_is_not_recorded_and_asked_once(desk):
    desk.click(10, 10)
    desk.click(10, 15)
    desk.binding.keep()
    asked, said = len(desk.asked), sum(isinstance(event, PromptEvent) for event in desk.events)
    desk.binding.undo()
    assert len(desk.asked) == asked + 1
    assert sum(isinstance(event, PromptEvent) for event in desk.events) == said + 1
    assert desk.steps == 3
    assert desk.session.history.can_redo


def test_the_chosen_candidate_is_a_step_and_comes_back_with_its_prompt(desk):
    desk.click(10, 10)
    desk.session.choose(2)
    chosen = desk.preview()
    desk.click(10, 15)
    desk.binding.undo()
    assert desk.preview() == chosen
    desk.binding.keep()
    desk.binding.undo()
    assert desk.preview() == chosen
    desk.binding.undo()
    assert desk.session.choice == 0
    desk.binding.redo()
    assert desk.preview() == chosen


def test_a_choice_waits_for_an_answer_that_comes_late(desk):
    desk.click(10, 10)
    desk.session.choose(1)
    desk.binding.keep()
    desk.late = True
    desk.binding.undo()
    assert desk.session.waiting
    desk.answer(desk.asked[-1])
    assert desk.session.choice == 1


class Painter:
    """All the ways in which labels are painted without us; each is one step."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels

    def brush(self, mode: str = "paint", label: int = 7) -> None:
        self.labels.mode = mode
        with self.labels.block_history():
            for x in range(3, 12):
                self.labels.paint((5, x), label)

    def eraser(self) -> None:
        self.brush("erase", 0)

    def fill(self) -> None:
        self.labels.mode = "fill"
        self.labels.fill((20, 20), 9)

    def polygon(self) -> None:
        self.labels.mode = "polygon"
        self.labels.paint_polygon([[15, 15], [15, 20], [20, 20]], 11)
        self.labels.mode = "pan_zoom"

    def data_setitem(self) -> None:
        self.labels.data_setitem((np.array([1, 2]), np.array([1, 2])), np.array([3, 4]))

    def one_dab(self) -> None:
        self.labels.paint((12, 12), 5)

    def new_data(self) -> None:
        self.labels.data = np.where(self.labels.data == 9, 8, self.labels.data)

    def behind_the_back(self) -> None:
        self.labels.data[0, :] = 6
        self.labels.refresh()

    def napari_undo(self) -> None:
        self.labels.undo()


WAYS = {
    "brush": "brush", "eraser": "eraser", "fill": "fill", "polygon": "polygon", "data_setitem": "edit",
    "one_dab": "edit", "new_data": "edit", "behind_the_back": "edit", "napari_undo": "edit",
}  # fmt: skip


def test_each_way_of_painting_is_one_step(desk):
    desk.click(10, 10)
    desk.binding.keep()
    painter, states = Painter(desk.binding.labels), [desk.labels.copy()]
    for way, name in WAYS.items():
        before = desk.steps
        getattr(painter, way)()
        assert desk.steps == before + 1, way
        assert desk.session.history.undo_name == name
        states.append(desk.labels.copy())
    for state in states[-2::-1]:
        desk.binding.undo()
        np.testing.assert_array_equal(desk.labels, state)
    for state in states[1:]:
        desk.binding.redo()
        np.testing.assert_array_equal(desk.labels, state)


def test_what_nobody_told_of_is_a_step_before_the_next_one(desk):
    desk.click(10, 10)
    desk.binding.keep()
    before = desk.labels.copy()
    desk.labels[0, 0] = 5
    desk.click(20, 20)
    desk.binding.keep()
    desk.binding.undo()
    assert desk.labels[0, 0] == 5
    assert desk.session.history.undo_name == "edit"
    desk.labels[0, 1] = 6
    desk.binding.undo()
    assert desk.labels[0, 1] == 0
    assert desk.labels[0, 0] == 5
    desk.binding.undo()
    np.testing.assert_array_equal(desk.labels, before)


def test_undo_goes_across_slices_and_shows_where_it_goes(volume):
    desk = volume
    for z in range(3):
        desk.viewer.dims.set_point(0, 3 * z)
        desk.click(z, 10, 10)
        desk.binding.keep()
    labels = desk.binding.labels
    for z in (2, 1, 0):
        desk.viewer.dims.set_point(0, 3 * ((z + 1) % 3))
        desk.binding.undo()
        assert not labels.data[z].any()
        assert desk.viewer.dims.point[0] == 3 * z
        assert desk.session.result is not None, "the click is back, and so is its mask"
        desk.viewer.dims.set_point(0, 3 * ((z + 1) % 3))
        desk.binding.undo()
        assert desk.viewer.dims.point[0] == 3 * z
    assert not labels.data.any()
    assert len(desk.binding.points.data) == 0


def test_undo_goes_across_layers(desk):
    desk.click(10, 10)
    desk.binding.keep()
    first = desk.binding.labels
    second = desk.viewer.add_layer(Labels(np.full(SHAPE[1:], 5, np.uint8)))
    desk.binding.set_labels(second)
    desk.binding.output.overwrite = True
    desk.click(10, 10)
    desk.binding.keep()
    mine = desk.viewer.add_layer(Points([[3, 3]]))
    desk.binding.prompts.adopt(mine)
    mine.add([20, 20])
    for _ in range(2):
        desk.binding.undo()
    assert (second.data == 5).all()
    np.testing.assert_array_equal(mine.data, [[3, 3]])
    assert first.data.any()
    desk.binding.undo()
    desk.binding.undo()
    assert not first.data.any()
    desk.viewer.layers.remove(first)
    desk.binding.redo()
    assert first.data.any()
    assert "no longer there" in desk.problems[-1]


def test_labels_of_another_shape_are_another_layer_to_the_history(desk):
    desk.click(10, 10)
    desk.binding.keep()
    labels = desk.binding.labels
    labels.data = np.zeros((5, 5), np.int32)
    assert desk.binding.undo()
    assert not labels.data.any()
    labels.data = np.ones(SHAPE[1:], np.int64)
    labels.data_setitem((np.array([0]), np.array([0])), 3)
    desk.binding.undo()
    assert (labels.data == 1).all()


def test_the_keys_of_our_layers_are_ours_and_are_given_back(desk):
    desk.click(10, 10)
    desk.binding.keep()
    layers = [desk.binding.labels, desk.binding.points, desk.binding.shapes, desk.binding.preview.layer]
    for layer in layers:
        press(desk, layer, "undo")
        assert not desk.labels.any()
        press(desk, layer, "redo")
        assert desk.labels.any()
    desk.binding.close()
    assert not any(layer.keymap for layer in layers)
    labels = layers[0]
    press(desk, labels, "undo")
    assert not labels.data.any(), "napari's own undo is back"


def test_keys_that_a_layer_had_are_left_as_they_were(desk):
    pressed = []
    mine = desk.viewer.add_layer(Points(ndim=2))
    mine.bind_key(KEYS["undo"], lambda layer: pressed.append("mine"))
    desk.binding.prompts.adopt(mine)
    press(desk, mine, "undo")
    desk.binding.close()
    assert pressed == []
    press(desk, mine, "undo")
    assert pressed == ["mine"]


def test_a_closed_binding_notices_nothing_and_is_gone(desk):
    desk.click(10, 10)
    desk.binding.keep()
    labels, events = desk.binding.labels, len(desk.events)
    desk.binding.close()
    labels.data_setitem((np.array([0]), np.array([0])), 3)
    assert len(desk.events) == events
    gone = weakref.ref(desk.binding)
    desk.binding = None
    gc.collect()
    assert gone() is None


def test_user_features_and_integer_places_come_back(desk):
    mine = desk.viewer.add_layer(
        Points(np.array([[3, 3], [4, 4]]), features={"size": [1.5, np.nan], "name": ["a", "b"]}, size=[3, 4])
    )
    desk.binding.prompts.adopt(mine)
    before = mine.data.dtype, mine.features.copy()
    mine.add([7, 7])
    mine.features = mine.features.assign(name=["x", "y", "z"])
    assert desk.steps == 2
    for _ in range(2):
        desk.binding.undo()
    assert mine.data.dtype == before[0]
    assert mine.features.equals(before[1])
    assert list(mine.size) == [3, 4]


PLACES = st.tuples(st.integers(0, 2), st.integers(0, 23), st.integers(0, 29))
ACTS = st.one_of(
    st.tuples(st.sampled_from(["click", "negative", "box", "path", "brush", "erase", "fill", "setitem"]), PLACES),
    st.tuples(st.sampled_from(["keep", "clear", "move", "choose", "delete", "merge", "undo", "redo", "raw"]), PLACES),
)


def act(desk: Desk, what: str, place: tuple[int, int, int]) -> None:
    """One thing that a user may do."""
    z, y, x = place
    desk.viewer.dims.set_point(0, z)
    binding, labels = desk.binding, desk.binding.labels
    if what in ("click", "negative"):
        desk.click(z, y, x, positive=what == "click")
    elif what == "box":
        binding.shapes.add_rectangles(np.array([[z, y, x], [z, y + 4, x], [z, y + 4, x + 5], [z, y, x + 5]]))
    elif what == "path":
        binding.shapes.add_paths(np.array([[z, y, x], [z, y + 0.1, x], [z, y + 4, x + 5]]))
    elif what == "move" and len(binding.points.data):
        binding.points.data = binding.points.data + np.array([0, 0.3, 0])
    elif what == "choose":
        desk.session.choose(y % 3)
    elif what in ("keep", "clear", "undo", "redo"):
        getattr(binding, "clear_prompts" if what == "clear" else what)()
    elif labels is not None:
        paint(desk, labels, what, place)


def paint(desk: Desk, labels: Labels, what: str, place: tuple[int, int, int]) -> None:
    z, y, x = place
    if what in ("brush", "erase"):
        with labels.block_history():
            for step in range(3):
                labels.paint((z, y, x + step), x % 4 if what == "brush" else 0)
    elif what == "fill":
        labels.fill(place, y % 5)
    elif what == "setitem":
        labels.data_setitem(tuple(np.array([i]) for i in place), x % 3)
    elif what == "raw":
        labels.data[z, y] = x % 3
    elif what in ("delete", "merge"):
        with desk.binding.undo_stack.step(Step(what)):
            value = labels.data.max()
            labels.data_setitem(np.nonzero(labels.data == value), 0 if what == "delete" else min(1, value))


@settings(max_examples=25, deadline=None)
@given(st.lists(ACTS, max_size=14))
def test_whatever_was_done_is_undone_to_the_byte_and_done_again(acts):
    desk = Desk(np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint16))
    # what the layers are before, and what they come to in each of the steps
    first = desk.state()
    for what, place in acts:
        act(desk, what, place)
    desk.binding.recorder.sync()
    history = desk.session.history
    while history.can_redo:
        desk.binding.redo()
    states, count = [desk.state()], len(history)
    for _ in range(count):
        assert desk.binding.undo()
        states.append(desk.state())
    assert not desk.binding.undo()
    assert states[-1] == first
    for state in states[-2::-1]:
        assert desk.binding.redo()
        assert desk.state() == state
    assert not desk.binding.redo()
    assert len(history) == count


def test_a_step_without_pixels_compares_none_and_keeps_what_was_written_for_a_later_step(desk, monkeypatch):
    desk.click(10, 10)
    assert desk.binding.keep()
    compared, change = [], Mirror.change
    monkeypatch.setattr(Mirror, "change", lambda self: compared.append(self.window) or change(self))
    steps, labels = desk.steps, desk.binding.labels
    labels.data[0, 0] = 9
    with desk.binding.undo_stack.step(Step("class", classes=((1, "", "cell"),)), pixels=False):
        pass
    assert desk.steps == steps + 1
    assert set(compared) == {None}
    desk.binding.undo()
    assert labels.data[0, 0] == 0, "what was written is the last step"
