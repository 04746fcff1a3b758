"""Labels layers as other programs make them: huge numbers, masks of 0 and 255, read-only arrays, tables with gaps."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from napari.settings import get_settings

from napari_segany.core.errors import InputError
from napari_segany.layers.object_features import ObjectFeatures
from napari_segany.layers.reopening import close_reopened
from napari_segany.layers.write import free_label, numbered
from tests.layers.desk import Desk

HUGE = [
    (np.int32, 2**31 - 2),
    (np.uint32, 2**31 - 1),
    (np.uint32, 2**31),
    (np.uint32, 2**32 - 2),
    (np.int64, 2**31),
    (np.int64, 2**62),
    (np.uint64, 2**40),
    (np.uint64, 2**63),
    (np.uint64, 2**64 - 2),
]


def blank(dtype: type, *values: int) -> np.ndarray:
    """Labels with a few pixels of each value in the corner."""
    array = np.zeros((60, 80), dtype)
    for place, value in enumerate(values):
        array[place // 40, 2 * (place % 40)] = value
    return array


@pytest.mark.parametrize(("dtype", "highest"), HUGE)
def test_huge_labels_are_previewed_kept_listed_and_undone(dtype: type, highest: int) -> None:
    desk = Desk(np.zeros((60, 80), np.uint8), blank(dtype, highest))
    before = desk.labels.copy()
    desk.click(30, 40)
    assert set(np.unique(desk.binding.preview.layer.data).tolist()) == {0, highest + 1}
    assert desk.binding.keep()
    assert int(desk.labels[30, 40]) == highest + 1
    objects = ObjectFeatures(desk.viewer, desk.binding.labels, desk.image)
    objects.update()
    assert objects.present == [highest, highest + 1]
    objects.delete([highest + 1])
    objects.close()
    np.testing.assert_array_equal(desk.labels, before)
    assert desk.binding.undo()
    assert desk.binding.undo()
    np.testing.assert_array_equal(desk.labels, before)


@pytest.mark.parametrize(("dtype", "highest"), HUGE[:-1])
def test_the_brush_and_all_that_was_found_have_huge_labels_too(dtype: type, highest: int) -> None:
    desk = Desk(np.zeros((60, 80), np.uint8), blank(dtype, highest))
    desk.binding.mask_preview.ready_to_paint()
    assert int(desk.binding.preview.layer.selected_label) == highest + 1
    found = np.zeros((60, 80), np.int32)
    found[20:30, 20:30] = 1
    view = desk.binding.planes.view()
    desk.binding.mask_preview.show_labels(view, numbered(found, desk.session.label), {})
    assert int(desk.binding.preview.layer.data.max()) == highest + 1
    assert desk.binding.keeping.keep_all(view, found) == {highest + 1: 1}


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (np.uint8, (255,)),
        (np.uint8, (1, 2, 254, 255)),
        (np.int8, (127,)),
        (np.uint16, (65535,)),
        (np.int16, (-1, 32767)),
        (np.uint32, (2**32 - 1, 1)),
        (np.int32, (2**31 - 1,)),
        (np.uint64, (2**64 - 1,)),
        (np.uint16, (*range(1, 40), 65535)),
    ],
)
def test_lower_labels_are_given_where_the_last_one_is_taken(dtype: type, values: tuple[int, ...]) -> None:
    desk = Desk(np.zeros((60, 80), np.uint8), blank(dtype, *values))
    before = desk.labels.copy()
    new = []
    for place in ((30, 40), (50, 10), (40, 70)):
        desk.click(*place)
        assert desk.binding.keep(), desk.problems[-1]
        new.append(int(desk.labels[place]))
    assert len({0, *values, *new}) == 1 + len(values) + 3, "each has a label that nothing else has"
    np.testing.assert_array_equal(desk.labels[before != 0], before[before != 0])


def test_objects_in_a_row_get_labels_in_a_row_and_pieces_too() -> None:
    labels = Labels(blank(np.uint8, 3, 10, 255))
    assert free_label(labels, None, 1) == 1
    assert free_label(labels, None, 2) == 2
    assert free_label(labels, None, 3, count=6) == 4
    assert free_label(labels, None, 1, count=7) == 11
    assert free_label(labels, None, 250, count=7) == 11
    with pytest.raises(InputError, match="no label left for 245 objects"):
        free_label(labels, None, 1, count=245)
    labels.data[20:22, 20:22] = labels.data[40:43, 40:43] = 10
    viewer = ViewerModel()
    viewer.add_layer(labels)
    objects = ObjectFeatures(viewer, labels)
    assert objects.split(10) == [10, 1, 2]
    objects.close()


def test_a_layer_without_a_free_label_says_so() -> None:
    desk = Desk(np.zeros((60, 80), np.uint8), blank(np.uint8, *range(1, 256)))
    desk.click(30, 40)
    assert not desk.binding.keep()
    assert "no label left" in desk.problems[-1]
    close_reopened(desk.binding)


def read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


@pytest.mark.parametrize(
    "data",
    [
        read_only(np.zeros((60, 80), np.int32)),
        np.broadcast_to(np.zeros(80, np.int32), (60, 80)),
        np.frombuffer(bytes(4 * 60 * 80), np.int32).reshape(60, 80),
    ],
    ids=["frozen", "broadcast", "buffer"],
)
def test_labels_that_cannot_be_written_are_refused(data: np.ndarray) -> None:
    with pytest.raises(InputError, match="read-only"):
        Desk(np.zeros((60, 80), np.uint8), data)


def test_labels_that_become_read_only_are_refused_when_something_is_kept() -> None:
    desk = Desk(np.zeros((60, 80), np.uint8), np.zeros((60, 80), np.int32))
    desk.click(30, 40)
    desk.labels.setflags(write=False)
    assert not desk.binding.keep()
    assert "read-only" in desk.problems[-1]
    assert len(desk.binding.points.data) == 1


GAPS = {
    "missing": [1.0, math.nan],
    "missing first": [math.nan, 1.0],
    "words": ["1", "none"],
    "fraction": [1.0, 2.5],
    "infinite": [1.0, math.inf],
    "nothing": [1, None],
    "twice": [1, 1],
    "all": [math.nan, math.nan],
}


@pytest.mark.parametrize("index", GAPS.values(), ids=GAPS)
def test_rows_that_name_no_label_stay_as_they_are(index: list) -> None:
    values = np.zeros((60, 80), np.int32)
    values[:5, :5], values[9:12, 9:12] = 1, 7
    table = pd.DataFrame({"index": index, "kind": ["a", "b"], "size": [1.5, 2.5]})
    labels = Labels(values, features=table)
    viewer = ViewerModel()
    viewer.add_layer(labels)
    for name in ("seven", "eight"):
        objects = ObjectFeatures(viewer, labels)
        objects.update()
        assert objects.table().index.tolist() == [1, 7]
        objects.rename(7, name)
        objects.close()
        assert sorted(labels.features["kind"].dropna()) == ["a", "b"]
        assert sorted(labels.features["size"].dropna()) == [1.5, 2.5]
        kept = [value for value in labels.features["index"] if value != value or value not in (1, 7, "1")]
        assert len(kept) == sum(value not in (1, 7, "1") for value in index)


@pytest.mark.parametrize("hidden", ["asynchronous", "hidden", "hidden and moved"])
def test_objects_are_kept_whenever_napari_draws(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = None if hidden == "asynchronous" else np.zeros((5, 60, 80), np.uint16)
    if given is not None:
        given[0, 0, 0] = 300
    desk = Desk(np.zeros((5, 60, 80), np.uint8), given)
    if given is None:
        monkeypatch.setattr(get_settings().experimental, "async_", True)
    else:
        desk.binding.labels.visible = False
    desk.viewer.dims.set_current_step(0, 3 if hidden == "hidden and moved" else 0)
    z = desk.viewer.dims.current_step[0]
    for number, place in enumerate(((20, 30), (40, 60))):
        desk.click(z, *place)
        assert desk.binding.keep()
        assert int(desk.labels[z, *place]) == (1 if given is None else 301) + number
        assert not len(desk.binding.points.data)
    assert [step.kind for step in desk.session.history._steps] == ["prompt", "keep"] * 2
    for _ in range(4):
        desk.binding.undo()
    assert int(desk.labels.max()) == (0 if given is None else 300)
