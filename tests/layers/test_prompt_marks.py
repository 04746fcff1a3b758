"""Marks of prompt layers are read and written as far as they changed, however many there are."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Points, Shapes

from napari_segany.layers import prompt_marks
from napari_segany.layers.prompt_marks import MarksReader, read_marks
from tests.layers.desk import Desk

SIDE = 400
BEYOND = 0.03
"""Seconds that a click or a shape may take beyond what napari itself takes."""


def many_points(count: int) -> Points:
    places = np.random.default_rng(1).uniform(0, SIDE, (count, 2))
    return Points(places, features={"sign": np.full(count, "positive", object)})


def many_shapes(kind: str, count: int) -> Shapes:
    square = np.array([[0, 0], [0, 9], [9, 9], [9, 0]])
    corners = np.random.default_rng(1).uniform(0, SIDE - 20, (count, 1, 2)) + square
    return Shapes(list(corners), shape_type=kind, features={"sign": np.full(count, "positive", object)})


def box(layer: Shapes) -> None:
    layer.add_rectangles([[3, 3], [3, 20], [20, 20], [20, 3]])


def take(layer: Points | Shapes) -> None:
    layer.selected_data = {len(layer.data) - 1}
    layer.remove_selected()


CROWDS = {
    "points": (lambda: many_points(5000), lambda layer: layer.add([5, 6])),
    "rectangles": (lambda: many_shapes("rectangle", 1000), box),
    "polygons": (lambda: many_shapes("polygon", 1000), box),
}


def seconds(act: Callable[[], object]) -> float:
    """Of this thread, the shortest of a few times, as the machine may be busy.

    What other tests of the process have imported and left behind is not collected meanwhile.
    """
    taken = []
    gc.collect()
    gc.freeze()
    for _ in range(5):
        began = time.thread_time()
        act()
        taken.append(time.thread_time() - began)
    gc.unfreeze()
    return min(taken)


@pytest.mark.parametrize("crowd", CROWDS)
@pytest.mark.parametrize("several", [False, True])
def test_one_more_takes_little_longer_than_in_napari(crowd: str, several: bool) -> None:
    make, add = CROWDS[crowd]
    if several and crowd == "polygons":
        pytest.skip("each of them is a mask of its own")
    bare, alone = ViewerModel(), make()
    bare.add_layer(Image(np.zeros((SIDE, SIDE), np.uint8)))
    bare.add_layer(alone)
    add(alone)
    desk = Desk(np.zeros((SIDE, SIDE), np.uint8))
    desk.late = True
    desk.binding.reader.several = several
    layer = make()
    desk.viewer.add_layer(layer)
    desk.binding.prompts.adopt(layer)
    add(layer)
    assert seconds(lambda: add(layer)) < seconds(lambda: add(alone)) + BEYOND
    count = len(layer.data)
    assert seconds(desk.binding.undo) < seconds(lambda: take(alone)) + BEYOND
    assert len(layer.data) == count - 5


@pytest.mark.parametrize("crowd", CROWDS)
def test_only_what_changed_is_made_again(crowd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, add = CROWDS[crowd]
    layer = make()
    reader = MarksReader(layer)
    before = reader.read()
    made = []
    make_mark = prompt_marks._mark
    monkeypatch.setattr(prompt_marks, "_mark", lambda *args: made.append(args) or make_mark(*args))
    assert reader.read() == before
    assert not made
    add(layer)
    assert reader.read()[:-1] == before
    assert len(made) == 1
    layer.selected_data = {17}
    layer.remove_selected()
    assert len(reader.read()) == len(before)
    assert len(made) == 1
    table = layer.features.copy()
    table.loc[500, "sign"] = "negative"
    layer.features = table
    assert dict(reader.read()[500].features)["sign"] == "negative"
    assert len(made) == 2
    assert reader.read() == read_marks(layer)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")  # napari's thumbnail
def test_points_that_are_nowhere_are_no_news() -> None:
    desk = Desk(np.zeros((60, 80), np.uint8))
    desk.click(20, 30)
    desk.click(np.nan, np.nan)
    asked, steps = len(desk.asked), desk.steps
    for _ in range(3):
        desk.binding._prompted()
    assert (len(desk.asked), desk.steps) == (asked, steps)
    said = desk.binding.prompts.read(desk.binding.planes.view()).points
    assert [(point.y, point.x) for point in said] == [(20, 30)]
    for _ in range(2):
        assert desk.binding.undo()
    assert not len(desk.binding.points.data)
