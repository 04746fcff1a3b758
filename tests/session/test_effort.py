"""Seconds, clicks and origins of masks, against journals whose values are worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from napari_segany.core.objects import ObjectInfo
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.views import View
from napari_segany.session.effort import ORIGINS, ModelEffort, measure_effort
from napari_segany.session.events import ActionEvent, Event, LayerEvent, ModelEvent, PromptEvent
from napari_segany.session.fingerprint import fingerprint_of
from napari_segany.session.history import Mark, MarksPatch, Patch, Step
from napari_segany.session.journal import Header, Journal, JournalFile, read_journal

SHAPE = (3, 20, 30)
IMAGE = fingerprint_of(np.zeros(SHAPE, np.uint8))
CLICK = Mark("point", ((0.0, 3.0, 4.0),))


def journal(*timed: tuple[float, Event], model: str = "tiny") -> JournalFile:
    events, times = tuple(event for _, event in timed), tuple(time for time, _ in timed)
    return JournalFile(Header("1", ModelEvent(model, "x"), IMAGE), events, 0, times=times)


class Canvas:
    """Labels, and the steps that change them."""

    def __init__(self) -> None:
        self.now = np.zeros(SHAPE, np.int32)

    def step(self, kind: str, labels: Sequence[int], planes: Sequence[int] = (0,)) -> Step:
        """Paint a row of ten pixels for each label."""
        before = self.now.copy()
        for label in labels:
            for z in planes:
                self.now[z, label, :10] = label
        return Step(kind, ((1, Patch.between(before, self.now)),))

    def gone(self, label: int) -> Step:
        before = self.now.copy()
        self.now[self.now == label] = 0
        return Step("delete", ((1, Patch.between(before, self.now)),))


def click(number: int = 0) -> Step:
    return Step("prompt", marks=((2, MarksPatch(number, (), (CLICK,))),))


def test_an_hour_of_work_comes_to_what_was_worked_out_by_hand() -> None:
    canvas = Canvas()
    session = journal(
        (1000.0, click()),
        (1002.0, PromptEvent(View((1, 2), (0, 0, 0)), Prompt((Point(3, 4),)))),
        (1003.0, ActionEvent("accepted", 1)),
        (1005.0, click(1)),
        (1008.0, canvas.step("keep", [1])),  # 8 s, 2 clicks: a mask from prompts
        (1008.0, ObjectInfo(1, source="2 clicks")),
        # coffee of ten minutes is no work
        (1608.0, canvas.step("keep all", [2, 3, 4])),
        *((1608.0, ObjectInfo(label, source="everything")) for label in (2, 3, 4)),
        (1610.0, canvas.gone(4)),  # 2 s, and one of them goes
        (1620.0, canvas.step("follow", [1], planes=[1, 2])),  # 10 s: two masks of object 1
        (1650.0, ModelEvent("mine", "y")),  # 30 s that belong to the other model
        (1654.0, canvas.step("keep all", [5, 6])),  # 4 s
        *((1654.0, ObjectInfo(label, source="exemplars")) for label in (5, 6)),
        (1660.0, canvas.step("brush", [7])),  # 6 s, a stroke
        (1661.0, click()),  # 1 s
        (1721.0, canvas.step("keep", [8])),  # a minute is just no pause
        (1722.0, ActionEvent("undone")),  # 1 s, and object 8 is gone
    )
    first, second = measure_effort([session])
    name = IMAGE.sample or IMAGE.hash
    assert first == ModelEffort(
        "tiny", frozenset([name]), 20.0, 2, {"prompts": 1, "automatic masks": 2, "propagation": 2}, 3, 3
    )
    assert second == ModelEffort("mine", frozenset([name]), 102.0, 2, {"exemplars": 2, "painting": 1}, 3, 3)
    assert first.seconds_each == pytest.approx(20 / 3)
    assert first.clicks_each == pytest.approx(2 / 3)
    assert first.masks_each_image == 5
    assert [first.share(origin) for origin in ORIGINS] == [0.2, 0.4, 0.0, 0.4, 0.0]


@pytest.mark.parametrize(
    ("seconds", "work"), [(0.0, 0.0), (59.9, 59.9), (60.0, 60.0), (60.1, 0.0), (1e6, 0.0), (-5.0, 0.0), (math.nan, 0.0)]
)
def test_pauses_and_clocks_that_go_back_are_no_work(seconds: float, work: float) -> None:
    canvas = Canvas()
    (one,) = measure_effort([journal((100.0, click()), (100.0 + seconds, canvas.step("keep", [1])))])
    assert one.seconds == pytest.approx(work)
    assert one.objects == 1


def test_a_journal_without_times_gives_clicks_and_no_seconds() -> None:
    canvas = Canvas()
    (one,) = measure_effort([journal((math.nan, click()), (math.nan, canvas.step("keep", [1])))])
    assert (one.clicks_each, one.objects) == (1.0, 1)
    assert math.isnan(one.seconds_each)


def test_a_click_belongs_to_the_model_that_answered_it() -> None:
    canvas = Canvas()
    session = journal(
        (0.0, click()),
        (2.0, canvas.step("keep", [1])),
        (5.0, click()),
        (6.0, ModelEvent("mine", "y")),
        (6.0, ActionEvent("accepted", 2)),
        (9.0, canvas.step("keep", [2])),
        (11.0, ActionEvent("closed")),
    )
    first, second = measure_effort([session])
    assert (first.model, first.seconds, first.clicks, first.objects) == ("tiny", 2.0, 1, 1)
    assert (second.model, second.seconds, second.clicks, second.objects) == ("mine", 9.0, 1, 1)


def test_what_is_undone_and_done_again_counts_once() -> None:
    canvas = Canvas()
    events = [click(), canvas.step("keep", [1])]
    events += [ActionEvent(what) for what in ("undone", "redone", "undone", "redone")]
    (one,) = measure_effort([journal(*((float(k), event) for k, event in enumerate(events)))])
    assert (one.masks, one.clicks, one.seconds) == ({"prompts": 1}, 1, 5.0)


def test_labels_that_were_there_before_are_no_work() -> None:
    before = np.zeros(SHAPE, np.int32)
    before[0, 1, :10] = 1
    layer = LayerEvent(1, "labels", SHAPE, "<i4", Patch.between(np.zeros_like(before), before))
    canvas = Canvas()
    canvas.now = before.copy()
    (one,) = measure_effort([journal((0.0, layer), (1.0, canvas.step("keep", [2])), (2.0, layer))])
    assert one.masks == {"prompts": 1}


def test_a_label_that_is_used_again_is_another_mask() -> None:
    canvas = Canvas()
    session = journal((0.0, canvas.step("keep", [1])), (1.0, canvas.gone(1)), (2.0, canvas.step("polygon", [1])))
    assert measure_effort([session])[0].masks == {"painting": 1}


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        ("everything", "automatic masks"), ("text", "automatic masks"), ("exemplars", "exemplars"),
        ("1 click", "prompts"), ("box", "prompts"), ("", "automatic masks"),
    ],
)  # fmt: skip
def test_the_source_of_found_objects_tells_where_they_came_from(source: str, origin: str) -> None:
    session = journal((0.0, Canvas().step("keep all", [1])), (0.1, ObjectInfo(1, source=source)))
    assert measure_effort([session])[0].masks == {origin: 1}


def test_objects_that_were_found_on_all_slices_are_not_propagated() -> None:
    session = journal((0.0, Canvas().step("follow", [1], [0, 1, 2])), (0.1, ObjectInfo(1, source="everything")))
    assert measure_effort([session])[0].masks == {"automatic masks": 3}


def test_sessions_are_added_by_model_and_images_counted_once() -> None:
    one = journal((0.0, click()), (4.0, Canvas().step("keep", [1])))
    (both,) = measure_effort([one, one])
    assert (both.seconds, both.clicks, both.objects, len(both.images)) == (8.0, 2, 2, 1)
    assert measure_effort([]) == []


def test_times_are_written_and_read_and_older_files_have_none(tmp_path: Path) -> None:
    file = Journal.create(tmp_path / "a.jsonl", Header("1", ModelEvent("tiny", "x"), IMAGE))
    file.write(click(), 1234.5678)
    file.write(ActionEvent("accepted", 1))
    file.close()
    found = read_journal(tmp_path / "a.jsonl")
    assert found.times[0] == 1234.568
    assert math.isnan(found.times[1])
    assert found.until(1, "").times == found.times[:1]
