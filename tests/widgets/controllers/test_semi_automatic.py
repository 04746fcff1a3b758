"""Confident found objects are committed and marked, the others are stepped through, in a real window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from napari_segany.core.filters import Filters
from napari_segany.core.masks import Mask
from napari_segany.core.objects import ACCEPTED, AUTOMATIC
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding
from tests.fakes import KnowingSegmenter
from tests.widgets.conftest import Hand, Opened

SCORES = {(12, 20): 0.95, (12, 60): 0.62, (30, 40): 0.9, (48, 20): 0.7, (48, 60): 0.65}
"""Middles of discs, and how sure the model is of each."""
MIDDLES = list(SCORES)


class Graded(KnowingSegmenter):
    """Is surer of some discs than of others."""

    capabilities = Capabilities(proposals=True, filters=Filters(score=0.6, stability=0))

    def segment(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        *,
        candidates: int | None = None,
        at_least: float = -math.inf,
    ) -> list[list[Mask]]:
        found = super().segment(embedding, prompts, candidates=candidates)
        graded = [
            [replace(mask, score=self._score(prompt) - 0.3 * place) for place, mask in enumerate(masks)]
            for prompt, masks in zip(prompts, found, strict=True)
        ]
        return [[mask for mask in masks if mask.score >= at_least] for masks in graded]

    @staticmethod
    def _score(prompt: Prompt) -> float:
        point = prompt.points[0]
        return SCORES.get((round(point.y), round(point.x)), 0.5)


@pytest.fixture
def discs(hand: Hand) -> Iterator[Opened]:
    segmenter = Graded([Point(float(y), float(x)) for y, x in SCORES], radius=5)
    opened = Opened(hand, np.zeros((60, 80), np.uint8), segmenter)
    yield opened
    opened.close()


def search(opened: Opened) -> None:
    opened.hand.press("g")
    opened.hand.qtbot.waitUntil(lambda: opened.widget.finder.found is not None, timeout=20_000)
    opened.settle()


def shown(opened: Opened) -> set[tuple[int, int]]:
    """The discs that the preview shows."""
    preview = opened.widget.binding.preview.layer
    return {place for place in MIDDLES if preview.get_value(opened.viewer.layers[0].data_to_world(place), world=True)}


def kept(opened: Opened) -> dict[tuple[int, int], str]:
    """The discs that have a label, and the state of each."""
    labels, objects = opened.widget.binding.labels, opened.widget.objects_box.objects
    if labels is None:
        return {}
    return {place: objects.about(int(labels.data[place])).state for place in MIDDLES if labels.data[place]}


def test_confident_ones_are_kept_and_marked_and_the_others_stay_offered(discs: Opened) -> None:
    search(discs)
    assert "Shift+K keeps the 2 confident" in discs.text
    discs.hand.press("shift+k")
    discs.settle()
    assert kept(discs) == {MIDDLES[0]: AUTOMATIC, MIDDLES[2]: AUTOMATIC}
    assert "2 objects kept and marked automatic" in discs.text
    assert shown(discs) == {MIDDLES[1], MIDDLES[3], MIDDLES[4]}
    discs.widget.objects_box.update_now()
    assert discs.widget.binding.labels.features["state"].tolist() == [AUTOMATIC] * 2
    discs.hand.press("k")
    discs.settle()
    assert sorted(kept(discs).values()) == ["", "", "", AUTOMATIC, AUTOMATIC]


def test_one_step_takes_them_back(discs: Opened) -> None:
    search(discs)
    discs.hand.press("shift+k")
    discs.settle()
    discs.hand.press("ctrl+z")
    discs.settle()
    assert kept(discs) == {}
    assert shown(discs) == set(MIDDLES)


def test_they_are_kept_at_once_where_that_was_chosen(discs: Opened) -> None:
    discs.widget.everything_box._at_once.setChecked(True)
    search(discs)
    assert kept(discs) == {MIDDLES[0]: AUTOMATIC, MIDDLES[2]: AUTOMATIC}
    assert discs.widget.settings.get("confident") is True


def test_the_slider_says_what_is_confident(discs: Opened) -> None:
    search(discs)
    discs.widget.everything_box._confident.setValue(0.69)
    discs.hand.press("shift+k")
    discs.settle()
    assert set(kept(discs)) == {MIDDLES[0], MIDDLES[2], MIDDLES[3]}
    discs.hand.press("shift+k")
    assert "none of the found objects is above" in discs.text


def test_the_others_are_stepped_through_the_least_certain_first(discs: Opened) -> None:
    search(discs)
    seen = []
    for _ in range(6):
        discs.hand.press("shift+j")
        discs.settle()
        seen += shown(discs)
    order = sorted(MIDDLES, key=lambda place: SCORES[place])
    assert seen == [*order, order[0]]
    assert "Candidate 1 of 5" in discs.text
    assert "score 0.62" in discs.text
    discs.hand.press("q")
    discs.settle()
    assert shown(discs) == set(MIDDLES), "all are shown again"
    discs.hand.press("q")
    discs.settle()
    assert discs.widget.finder.found is None


def test_k_keeps_the_one_that_is_shown_and_goes_on(discs: Opened) -> None:
    search(discs)
    discs.hand.press("shift+j")
    discs.hand.press("k")
    discs.settle()
    assert kept(discs) == {MIDDLES[1]: ""}
    assert shown(discs) == {MIDDLES[4]}
    discs.hand.press("shift+x")
    discs.settle()
    assert shown(discs) == {MIDDLES[3]}, "the one that is shown is rejected, wherever the cursor is"
    for _ in range(3):
        discs.hand.press("k")
        discs.settle()
    assert set(kept(discs)) == set(MIDDLES) - {MIDDLES[4]}
    assert discs.widget.finder.current is None


@pytest.mark.parametrize("key", ["shift+j", "shift+k"])
def test_without_a_search_it_is_one_line(discs: Opened, key: str) -> None:
    discs.hand.press(key)
    assert "find objects first" in discs.text


def test_what_is_changed_or_accepted_is_confirmed_and_only_that_is_learned_from(discs: Opened) -> None:
    search(discs)
    discs.widget.everything_box._confident.setValue(0.6)
    discs.hand.press("shift+k")
    discs.settle()
    discs.widget.tabs.show_box(discs.widget.learn_box)
    discs.settle()
    assert "5 automatic objects left out" in discs.widget.learn_box._masks.text()
    discs.hand.move(*MIDDLES[0])
    discs.hand.press("u")
    discs.wait_for_mask()
    discs.hand.press("k")
    discs.settle()
    assert kept(discs)[MIDDLES[0]] == ""
    box = discs.widget.objects_box
    discs.widget.tabs.show_box(box)
    discs.settle()
    label = int(discs.widget.binding.labels.data[MIDDLES[1]])
    box._rows.choose([label])
    box.review_box.buttons["Accept"].click()
    assert kept(discs)[MIDDLES[1]] == ACCEPTED
    box._rows.choose([label])
    assert not box.review_box.buttons["Accept"].isEnabled()
    assert len(box.objects.unconfirmed) == 3
    discs.widget.learning.count()
    assert "3 automatic objects left out" in discs.widget.learn_box._masks.text()


def marked(opened: Opened) -> tuple[np.ndarray, dict[int, str]]:
    """The labels, and the state of each object."""
    objects = opened.widget.objects_box.objects
    objects.update()
    return opened.widget.binding.labels.data.copy(), {label: objects.about(label).state for label in objects.present}


def accept(opened: Opened, labels: list[int]) -> None:
    box = opened.widget.objects_box
    opened.widget.tabs.show_box(box)
    opened.settle()
    box._rows.choose(labels)
    box.review_box.buttons["Accept"].click()


def change(opened: Opened, labels: list[int]) -> None:
    """Open each of them to change it, and keep it; then some have other pixels, or the same."""
    for label in labels:
        where = np.argwhere(opened.widget.binding.labels.data == label)
        opened.hand.move(*(int(value) for value in np.round(where.mean(0))))
        opened.hand.press("u")
        opened.wait_for_mask()
        opened.hand.press("k")
        opened.settle()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("act", [accept, change])
def test_the_mark_of_what_is_accepted_or_changed_comes_back_with_a_step(discs: Opened, act, count: int) -> None:
    search(discs)
    discs.widget.everything_box._confident.setValue(0.6)
    discs.hand.press("shift+k")
    discs.settle()
    before, states = marked(discs)
    labels = sorted(states)[:count]
    history = discs.widget.session.history
    position = history.position
    assert set(states.values()) == {AUTOMATIC}
    act(discs, labels)
    after = marked(discs)
    wanted = ACCEPTED if act is accept else ""
    assert after[1] == states | dict.fromkeys(labels, wanted)
    # (to open an object to change it is a step, too)
    steps = history.position - position
    assert steps == 1 or act is change
    for _ in range(steps):
        discs.widget.binding.undo()
    discs.settle()
    assert marked(discs)[1] == states
    np.testing.assert_array_equal(marked(discs)[0], before)
    for _ in range(steps):
        discs.widget.binding.redo()
    discs.settle()
    assert marked(discs)[1] == after[1]
    np.testing.assert_array_equal(marked(discs)[0], after[0])


def test_the_key_of_undo_brings_the_mark_back_and_what_was_before_it_is_undone_next(discs: Opened) -> None:
    search(discs)
    discs.hand.press("shift+k")
    discs.settle()
    _, states = marked(discs)
    accept(discs, sorted(states))
    discs.viewer.layers.selection.active = discs.widget.binding.labels
    discs.hand.press("ctrl+z")
    discs.settle()
    assert "Undone: accept" in discs.text
    assert marked(discs)[1] == states
    discs.hand.press("ctrl+z")
    discs.settle()
    assert marked(discs)[1] == {}


def test_all_layers_are_removed_while_found_objects_are_shown(discs: Opened) -> None:
    """The last layer that goes moves napari's sliders: what was found is not drawn again without its image."""
    search(discs)
    assert discs.widget.finder.count
    discs.viewer.layers.clear()
    discs.settle()
    assert len(discs.viewer.layers) == 0
