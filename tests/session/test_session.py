import numpy as np
import pytest

from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.views import View
from napari_segany.session.session import Committed, SegmentRequest, SegmentResult, Session

PLANE = View((0, 1), (0, 0))
CLICK = Prompt((Point(3, 4),))


def answer(request: SegmentRequest, score: float = 0.9, masks: int = 1) -> SegmentResult:
    return SegmentResult(
        request, tuple(Mask(np.ones((8, 8), bool), score, np.zeros((2, 2), np.float32)) for _ in range(masks))
    )


@pytest.fixture
def asked() -> tuple[Session, list[SegmentRequest]]:
    session, requests = Session(), []
    session.requested.connect(requests.append)
    return session, requests


def test_a_prompt_asks_and_its_answer_is_shown(asked):
    session, requests = asked
    session.set_prompt(PLANE, CLICK)
    assert session.waiting
    assert session.accept(answer(requests[-1]))
    assert not session.waiting
    assert session.result is not None


def test_a_stale_answer_is_dropped(asked):
    session, requests = asked
    session.set_prompt(PLANE, CLICK)
    session.set_prompt(PLANE, Prompt((Point(3, 4), Point(5, 5, positive=False))))
    assert not session.accept(answer(requests[0]))
    assert session.result is None
    assert session.accept(answer(requests[1]))


def test_an_answer_after_discarding_is_dropped(asked):
    session, requests = asked
    session.set_prompt(PLANE, CLICK)
    session.discard()
    assert not session.accept(answer(requests[0]))


def test_nothing_is_asked_of_negative_points_alone(asked):
    session, requests = asked
    session.set_prompt(PLANE, Prompt((Point(3, 4, positive=False),)))
    assert requests == []
    session.set_prompt(PLANE, Prompt((Point(3, 4, positive=False),), Box(0, 0, 5, 5)))
    assert len(requests) == 1


def test_the_last_mask_stays_until_the_new_one_comes_on_the_same_plane_only(asked):
    session, requests = asked
    session.set_prompt(PLANE, CLICK)
    session.accept(answer(requests[-1]))
    session.set_prompt(PLANE, Prompt((Point(3, 4), Point(6, 6))))
    assert session.result is not None
    session.set_prompt(View((1, 2), (5, 0, 0)), CLICK)
    assert session.result is None


def test_further_clicks_take_the_shown_mask_along(asked):
    session, requests = asked
    session.set_prompt(PLANE, CLICK)
    assert requests[-1].prompt.mask is None
    session.accept(answer(requests[-1]))
    logits = session.result.masks[0].logits
    session.set_prompt(PLANE, Prompt((*CLICK.points, Point(6, 6, positive=False))))
    assert requests[-1].prompt.mask is logits
    session.set_prompt(PLANE, Prompt((*CLICK.points, Point(6, 6, positive=False), Point(1, 1))))
    assert requests[-1].prompt.mask is logits, "the answer to the second click is not there yet"
    session.accept(answer(requests[-1]))
    kept = session.commit()
    assert kept.prompt.mask is None, "that is not what the user said"


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt((Point(9, 9),)),
        Prompt((Point(9, 9), Point(6, 6))),
        Prompt((*CLICK.points, Point(6, 6)), Box(0, 0, 5, 5)),
        CLICK,
    ],
)
def test_another_prompt_begins_anew(asked, prompt):
    session, requests = asked
    session.set_prompt(PLANE, CLICK)
    session.accept(answer(requests[-1]))
    session.set_prompt(PLANE, prompt)
    assert requests[-1].prompt is prompt


def test_a_mask_that_the_user_gave_is_kept(asked):
    session, requests = asked
    given = np.ones((8, 8), bool)
    session.set_prompt(PLANE, Prompt(CLICK.points, mask=given))
    session.accept(answer(requests[-1]))
    session.set_prompt(PLANE, Prompt((*CLICK.points, Point(6, 6)), mask=given))
    assert requests[-1].prompt.mask is given


def test_no_mask_goes_to_another_plane(asked):
    session, requests = asked
    session.set_prompt(PLANE, CLICK)
    session.accept(answer(requests[-1]))
    session.set_prompt(View((1, 2), (5, 0, 0)), Prompt((*CLICK.points, Point(6, 6))))
    assert requests[-1].prompt.mask is None


def test_commit_hands_over_the_mask_and_counts_on(asked):
    session, requests = asked
    kept: list[Committed] = []
    session.committed.connect(kept.append)
    session.set_prompt(PLANE, CLICK)
    assert session.commit() is None, "nothing has been answered yet"
    session.accept(answer(requests[-1]))
    session.commit()
    assert [item.label for item in kept] == [1]
    assert session.label == 2
    assert session.result is None
    assert session.commit() is None


def test_an_outdated_mask_cannot_be_kept(asked):
    session, requests = asked
    session.set_prompt(PLANE, CLICK)
    session.accept(answer(requests[-1]))
    session.set_prompt(PLANE, Prompt((Point(3, 4), Point(6, 6))))
    assert session.commit() is None


def test_repeat_asks_the_same_again(asked):
    session, requests = asked
    session.repeat()
    assert requests == []
    session.set_prompt(PLANE, CLICK)
    session.repeat()
    assert [request.prompt for request in requests] == [CLICK, CLICK]


def test_another_candidate_is_shown_mended_and_kept(asked):
    session, requests = asked
    shown = []
    session.preview_changed.connect(lambda: shown.append(session.mask))
    session.set_prompt(PLANE, CLICK)
    session.accept(answer(requests[-1], masks=3))
    session.choose(2)
    assert session.mask is session.result.masks[2] is shown[-1]
    session.choose(2)
    session.choose(3)
    session.choose(-1)
    assert len(shown) == 2
    assert session.mask is session.result.masks[2]
    session.set_prompt(PLANE, Prompt((*CLICK.points, Point(6, 6, positive=False))))
    assert requests[-1].prompt.mask is session.result.masks[2].logits
    session.accept(answer(requests[-1]))
    assert session.mask is session.result.masks[0]


def test_the_chosen_candidate_is_the_one_that_is_kept(asked):
    session, requests = asked
    session.set_prompt(PLANE, CLICK)
    session.accept(answer(requests[-1], masks=3))
    session.choose(1)
    chosen = session.mask
    assert session.commit().mask is chosen
    assert session.choice == 0
