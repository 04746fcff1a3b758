"""Committed objects choose among the masks of the next click, in a real window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_segany.core.masks import Mask
from napari_segany.core.objects import ACCEPTED, AUTOMATIC, UNCERTAIN, ObjectInfo
from napari_segany.core.prompts import Prompt
from tests.fakes import FakeSegmenter
from tests.widgets.conftest import Hand, Opened


class Undecided(FakeSegmenter):
    """What a click may mean is almost equally likely."""

    def _mask(self, shape: tuple[int, int], prompt: Prompt, radius: float, score: float) -> Mask:
        return super()._mask(shape, prompt, radius, 0.8 + score / 100)


@pytest.fixture
def wide(hand: Hand) -> Iterator[Opened]:
    """A click may mean a disc of radius 4, 2 or 6, in the order of their scores."""
    opened = Opened(hand, np.zeros((60, 80), np.uint8), Undecided(radius=4))
    yield opened
    opened.close()


def commit(opened: Opened, y: float, x: float, choice: int) -> None:
    """Click, take one of the masks, and keep it."""
    opened.hand.click(y, x)
    opened.wait_for_mask()
    while opened.widget.session.choice != choice:
        opened.hand.press("j")
    opened.hand.press("k")
    opened.settle()


def test_objects_of_one_size_choose_that_size(wide: Opened) -> None:
    session = wide.widget.session
    commit(wide, 30, 25, 2)
    for x in (42, 60):
        wide.hand.click(30, x)
        wide.wait_for_mask()
        assert session.choice == 2, "the mask of the size that was kept before"
        wide.hand.press("k")
        wide.settle()
    sizes = np.bincount(wide.widget.binding.labels.data.ravel())[1:]
    assert len(sizes) == 3
    assert min(sizes) > 100, "a disc of the first candidate has 49 pixels"


def test_j_goes_on_from_there_and_the_next_click_mends_it(wide: Opened) -> None:
    commit(wide, 30, 25, 2)
    wide.hand.click(30, 60)
    wide.wait_for_mask()
    assert wide.widget.session.choice == 2
    wide.hand.press("j")
    assert wide.widget.session.choice == 0


def test_it_can_be_switched_off_and_begins_anew_with_another_image(wide: Opened) -> None:
    commit(wide, 30, 25, 2)
    box = wide.widget.prompt_box._rank
    box.click()
    wide.hand.click(30, 60)
    wide.wait_for_mask()
    assert wide.widget.session.choice == 0
    assert wide.widget.settings.get("rank") is False
    box.click()
    assert wide.widget.settings.get("rank") is True


def shown_choice(opened: Opened, y: float, x: float) -> int:
    """Which mask a click shows; the click is withdrawn again."""
    opened.hand.click(y, x)
    opened.wait_for_mask()
    choice = opened.widget.session.choice
    opened.hand.press("q")
    opened.settle()
    # a second press at one place soon after the first would be a double click
    opened.hand.qtbot.wait(QApplication.doubleClickInterval())
    return choice


@pytest.mark.parametrize("steps", ["undo", "undo twice", "undo, another click"])
def test_an_object_that_is_undone_does_not_count(wide: Opened, steps: str) -> None:
    commit(wide, 30, 25, 2)
    wide.widget.binding.undo()
    if steps == "undo twice":
        wide.widget.binding.undo()
    wide.settle()
    wide.hand.press("q")
    wide.settle()
    if steps == "undo, another click":
        assert shown_choice(wide, 30, 45) == 0
    assert shown_choice(wide, 30, 60) == 0


def test_an_object_that_is_redone_counts_again(wide: Opened) -> None:
    commit(wide, 30, 25, 2)
    wide.widget.binding.undo()
    wide.settle()
    wide.widget.binding.redo()
    wide.settle()
    assert shown_choice(wide, 30, 60) == 2


def test_only_the_object_that_is_undone_is_forgotten(wide: Opened) -> None:
    commit(wide, 30, 15, 2)
    # (it is unlike the first one, so that both together leave the order as it is)
    commit(wide, 30, 40, 1)
    wide.widget.binding.undo()
    wide.settle()
    wide.hand.press("q")
    wide.settle()
    ranking = wide.widget.ranking
    assert len(ranking._prior.objects) == 1
    assert shown_choice(wide, 30, 60) == 2
    commit(wide, 30, 40, 2)
    assert len(ranking._prior.objects) == 2


@pytest.mark.parametrize("state", [AUTOMATIC, UNCERTAIN])
def test_an_object_that_is_not_confirmed_does_not_count(wide: Opened, state: str) -> None:
    commit(wide, 30, 25, 2)
    objects = wide.widget.objects_box.objects
    objects.set_state([1], state)
    assert shown_choice(wide, 30, 60) == 0
    objects.set_state([1], ACCEPTED)
    assert shown_choice(wide, 30, 60) == 2
    wide.widget.binding.undo()
    wide.settle()
    assert shown_choice(wide, 30, 60) == 0, "the mark is back"


def test_objects_that_were_kept_by_themselves_do_not_count(wide: Opened) -> None:
    finder, binding = wide.widget.finder, wide.widget.binding
    found = np.zeros((60, 80), np.int32)
    found[20:41, 10:31] = 1
    binding.keeping.keep_all(binding.planes.view(), found)
    wide.widget.objects_box.note(ObjectInfo(1, source="everything", state=AUTOMATIC))
    assert finder.found is None
    assert shown_choice(wide, 30, 60) == 0
