"""What was followed: which slices, what still is as it was found, and where somebody should look."""

from __future__ import annotations

import numpy as np
from napari.layers import Labels

from napari_segany.core.confidence import DROP, LOST, SPLIT, SliceConfidence
from napari_segany.core.views import View
from napari_segany.layers.propagated_objects import PropagatedObjects, planes_along


def plane(z: int) -> View:
    return View((1, 2), (z, 0, 0))


def test_planes_go_from_here_along_the_last_axis_that_is_not_shown() -> None:
    view = View((2, 3), (1, 4, 0, 0))
    positions = [one.position for one in planes_along(view, 10, up=True, down=True, reach=2)]
    assert positions == [(1, z, 0, 0) for z in (2, 3, 4, 5, 6)]
    assert [one.position[1] for one in planes_along(view, 10, up=True, down=False)] == [4, 5, 6, 7, 8, 9]
    assert [one.position[1] for one in planes_along(view, 10, up=False, down=True)] == [0, 1, 2, 3, 4]
    rolled = View((0, 2), (0, 3, 0))
    assert [one.position for one in planes_along(rolled, 5, up=True, down=False)] == [(0, 3, 0), (0, 4, 0)]


def followed() -> tuple[PropagatedObjects, Labels]:
    labels = Labels(np.zeros((7, 8, 8), np.int32))
    labels.data[:, 2:5, 2:5] = 1
    known = PropagatedObjects()
    for z, sure in ((0, 0.9), (1, 0.3), (2, 0.8), (4, 0.9), (5, 0.5), (6, 0.9)):
        known.note(labels, plane(z), {1: SliceConfidence(sure, (SPLIT,) if z == 2 else (DROP,) if z == 4 else ())})
    return known, labels


def test_only_what_depends_on_a_slice_is_found_anew() -> None:
    known, labels = followed()
    views = [plane(z) for z in range(7)]
    assert [view.position[0] for _, view in known.depending(labels, [1], views, plane(3))] == [4, 5, 6, 2, 1, 0]
    # somebody mended slice 5: it is known now, and what lies behind it does not hang on slice 3 any more
    labels.data[5, 4, 4] = 0
    assert [view.position[0] for _, view in known.depending(labels, [1], views, plane(3))] == [4, 2, 1, 0]
    assert known.depending(labels, [2], views, plane(3)) == []


def test_the_worst_comes_first_and_what_was_mended_is_no_matter_of_doubt() -> None:
    known, labels = followed()
    known.verdicts[1, plane(0)] = SliceConfidence(0.0, (LOST,))
    shown = [known.next_uncertain(labels, 0.6)[1].position[0] for _ in range(4)]
    assert shown == [1, 5, 2, 1], "then from the start"
    labels.data[1, 2, 2] = 0
    assert [known.next_uncertain(labels, 0.6)[1].position[0] for _ in range(3)] == [5, 2, 5]
    assert known.remarks(0.6)[1][0] == "uncertain on 3 slices, overlap drop, split"
    assert PropagatedObjects().next_uncertain(labels, 0.6) is None
