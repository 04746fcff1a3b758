"""Objects followed through a stack, in a real window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from napari.layers import Tracks

from napari_segany.core.confidence import Gates
from napari_segany.core.segmenter import Capabilities
from napari_segany.layers.reopening import reopen_under
from tests.fakes import FakeSegmenter, SightedSegmenter
from tests.widgets.conftest import Hand, Opened


def discs() -> np.ndarray:
    """Two bright discs of radius 8 that drift by a pixel a slice."""
    z, y, x = np.indices((9, 60, 80))
    first = np.hypot(y - 20 - z, x - 20 - z) < 8
    second = np.hypot(y - 40, x - 60 + z) < 8
    return np.where(first | second, 200, 20).astype(np.uint8)


class Modest(FakeSegmenter):
    """Its masks, which are discs around clicks, weigh little next to the slice before, as those of `tiny`."""

    capabilities = Capabilities(gates=Gates(score_power=20))


@pytest.fixture
def stack(hand: Hand) -> Iterator[Opened]:
    opened = Opened(hand, discs(), Modest(radius=8))
    opened.viewer.dims.set_point(0, 4)
    opened.settle()
    yield opened
    opened.close()


def keep(opened: Opened, *places: tuple[int, int]) -> None:
    for place in places:
        opened.hand.click(*place)
        opened.wait_for_mask()
        opened.hand.press("k")


def wait(opened: Opened) -> None:
    opened.hand.qtbot.waitUntil(lambda: "racked" in opened.widget.stack_box.text, timeout=30_000)


def extent(opened: Opened, label: int) -> list[int]:
    return np.flatnonzero((opened.widget.binding.labels.data == label).any(axis=(1, 2))).tolist()


def test_all_objects_are_followed_both_ways_and_taken_back(stack: Opened) -> None:
    keep(stack, (24, 24), (40, 56))
    labels = stack.widget.binding.labels
    before = labels.data.copy()
    stack.hand.press("shift+g")
    wait(stack)
    truth = discs() > 100
    assert extent(stack, 1) == extent(stack, 2) == list(range(9))
    found = labels.data > 0
    assert (found & truth).sum() / (found | truth).sum() > 0.85
    assert stack.viewer.dims.current_step[0] == 4
    stack.widget.stack_box._back.click()
    np.testing.assert_array_equal(labels.data, before)
    assert not stack.widget.stack_box._back.isEnabled()


def test_what_is_there_stays_and_only_one_way_is_gone(stack: Opened) -> None:
    keep(stack, (24, 24))
    widget, labels = stack.widget, stack.widget.binding.labels
    labels.data[6, 26, 26] = 7
    labels.refresh()
    widget.stack_box._way.setCurrentIndex(1)
    widget.stack_box._reach.setValue(3)
    stack.hand.press("shift+g")
    wait(stack)
    assert extent(stack, 1) == [4, 5, 6, 7]
    assert labels.data[6, 26, 26] == 7


def test_doubtful_slices_are_shown_and_what_was_mended_is_kept(stack: Opened) -> None:
    keep(stack, (24, 24))
    widget, labels = stack.widget, stack.widget.binding.labels
    stack.hand.press("shift+g")
    wait(stack)
    place, other = (1, widget.binding.planes.shown), widget.follower.followed
    first = next(view for label, view in other.verdicts if view.position[0] == 7)
    other.verdicts[1, first] = type(other.verdicts[1, first])(0.2, ("area jump",))
    stack.hand.press("shift+n")
    assert stack.viewer.dims.current_step[0] == 7
    assert "expected IoU 0.20 (area jump)" in widget.stack_box.text
    assert place[1].position[0] == 4
    # mended by hand, it is fixed, and what lies between is found again from both sides
    labels.data[7] = 0
    labels.data[7, 20:34, 20:34] = 1
    labels.refresh()
    mended = labels.data[7].copy()
    stack.hand.press("shift+g")
    wait(stack)
    stack.hand.qtbot.waitUntil(lambda: not widget.jobs._open)
    np.testing.assert_array_equal(labels.data[7], mended)
    assert extent(stack, 1) == list(range(9))


def test_cancelled_it_keeps_what_is_done(stack: Opened) -> None:
    keep(stack, (24, 24))
    stack.widget.follow()
    stack.hand.qtbot.waitUntil(lambda: len(extent(stack, 1)) > 2)
    stack.widget.cancel()
    done = extent(stack, 1)
    stack.settle()
    assert extent(stack, 1) == done
    assert stack.widget.stack_box._back.isEnabled()


def test_without_an_object_it_says_what_to_do_first(stack: Opened) -> None:
    stack.hand.press("shift+g")
    assert "keep an object on this slice first" in stack.text


@pytest.fixture
def seen(hand: Hand) -> Iterator[Opened]:
    opened = Opened(hand, discs(), SightedSegmenter(radius=8))
    opened.viewer.dims.set_point(0, 4)
    opened.settle()
    yield opened
    opened.close()


def find(opened: Opened) -> None:
    opened.widget.stack_box._objects.setCurrentIndex(2)
    opened.hand.press("shift+g")
    opened.hand.qtbot.waitUntil(lambda: "Found" in opened.widget.stack_box.text, timeout=30_000)


def test_everything_is_found_on_every_slice_as_linked_objects(seen: Opened) -> None:
    keep(seen, (24, 24))
    widget = seen.widget
    before = widget.binding.labels.data.copy()
    find(seen)
    labels = widget.binding.labels
    np.testing.assert_array_equal(labels.data[before > 0], 1)
    assert extent(seen, 1) == [4], "what was kept is not found a second time"
    assert extent(seen, 2) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert extent(seen, 3) == list(range(9))
    assert labels.data.max() == 3
    widget.objects_box.update_now()
    rows = widget.objects_box.objects.table()
    assert rows.loc[3, "how"] == "everything"
    assert rows.loc[3, "confidence"] == pytest.approx(0.9)
    table = labels.metadata["confidence"]
    assert len(table[table.label == 3]) == 9
    widget.stack_box._back.click()
    np.testing.assert_array_equal(labels.data, before)


def test_tracks_are_shown_and_renewed(seen: Opened) -> None:
    find(seen)
    widget, viewer = seen.widget, seen.viewer
    widget.stack_box._tracks.click()
    seen.hand.qtbot.waitUntil(lambda: any(isinstance(layer, Tracks) for layer in viewer.layers))
    (tracks,) = (layer for layer in viewer.layers if isinstance(layer, Tracks))
    assert len(np.unique(tracks.data[:, 0])) == 2
    assert viewer.layers.selection.active is widget.binding.points
    widget.objects_box.delete([1])
    widget.stack_box._tracks.click()
    seen.hand.qtbot.waitUntil(lambda: len(np.unique(tracks.data[:, 0])) == 1)


def dividing() -> np.ndarray:
    """A block that is two from the third slice on."""
    labels = np.zeros((9, 60, 80), np.int32)
    labels[:, 20:40, 20:34] = 3
    labels[:2, 20:40, 34:50] = 3
    labels[2:, 20:40, 36:50] = 4
    return labels


@pytest.mark.parametrize(("axis", "divisions"), [("t", 1), ("axis -3", 1), ("z", 0)])
def test_divisions_are_the_graph_of_the_tracks(seen: Opened, axis: str, divisions: int) -> None:
    widget, viewer = seen.widget, seen.viewer
    labels = widget.binding.output.ensure()
    labels.data[...] = dividing()
    labels.axis_labels = (axis, "y", "x")
    widget.stack_box._tracks.click()
    seen.hand.qtbot.waitUntil(lambda: any(isinstance(layer, Tracks) for layer in viewer.layers))
    (tracks,) = (layer for layer in viewer.layers if isinstance(layer, Tracks))
    # the daughter that keeps the label of its mother is another track
    assert tracks.graph == ({4: [3], 5: [3]} if divisions else {})
    assert len(np.unique(tracks.data[:, 0])) == 2 + divisions
    assert ("1 division" in widget.status_box.text) == bool(divisions)
    # renewed without the daughter, then with it
    for there in (labels.data * (labels.data == 3), dividing()):
        labels.data[...] = there
        count = len(np.unique(there)) - 1 + (divisions if there.max() == 4 else 0)
        widget.stack_box._tracks.click()
        seen.hand.qtbot.waitUntil(lambda count=count: len(np.unique(tracks.data[:, 0])) == count)
        assert bool(tracks.graph) == (count == 3)


def test_tracks_of_nothing_are_refused(seen: Opened) -> None:
    seen.widget.stack_box._tracks.click()
    assert "there are none" in seen.text


def test_what_is_kept_meanwhile_has_a_label_of_its_own(seen: Opened) -> None:
    widget = seen.widget
    widget.stack_box._objects.setCurrentIndex(2)
    widget.follow()
    seen.hand.qtbot.waitUntil(lambda: widget.binding.labels is not None and widget.binding.labels.data[0].any())
    view = widget.binding.planes.view()
    widget.binding.keeping.keep_all(view, np.pad(np.ones((3, 3), int), ((0, 57), (0, 77))))
    widget.stack_box._objects.setCurrentIndex(1)
    seen.hand.qtbot.waitUntil(lambda: "Found" in widget.stack_box.text, timeout=30_000)
    labels = widget.binding.labels.data
    own = labels[4, 1, 1]
    assert (labels == own).sum() == 9
    assert len(np.unique(labels[labels > 0])) == 3


def test_without_a_label_left_it_stops_and_says_so(seen: Opened) -> None:
    widget = seen.widget
    labels = seen.viewer.add_labels(np.zeros((9, 60, 80), np.uint8))
    widget.layer_box.labels.value = labels
    labels.data[8].flat[:254] = np.arange(1, 255)
    widget.stack_box._objects.setCurrentIndex(2)
    widget.follow()
    seen.hand.qtbot.waitUntil(lambda: "no label left" in seen.text, timeout=30_000)
    assert set(np.unique(labels.data)) == set(range(255))


def test_an_object_that_is_being_changed_meanwhile_keeps_its_label(seen: Opened) -> None:
    keep(seen, (24, 24))
    widget = seen.widget
    reopen_under(widget.binding, (4, 24, 24))
    assert widget.session.label == 1
    find(seen)
    assert widget.session.label == 1, "it is still being changed"
    labels = widget.binding.labels.data
    assert extent(seen, 1) == [4]
    assert len(np.unique(labels[labels > 0])) == 3
