import numpy as np

from napari_segany.core.planes import Stack
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.views import View
from napari_segany.engine.prediction import PredictionService
from napari_segany.session.session import SegmentRequest
from tests.fakes import FakeSegmenter


def request(generation: int) -> SegmentRequest:
    return SegmentRequest(generation, View((1, 2), (0, 0, 0)), 1, Prompt((Point(3, 3),)))


def test_a_plane_is_encoded_once_and_the_model_loaded_when_needed():
    made = []

    def load() -> FakeSegmenter:
        made.append(FakeSegmenter())
        return made[-1]

    answers, stack = PredictionService(load), Stack(np.zeros((2, 20, 20)))
    assert made == []
    first, second = (answers.answer(stack, 0, request(i)) for i in range(2))
    answers.answer(stack, 1, request(2))
    assert len(made) == 1
    assert len(made[0].embedded) == 2
    assert (first.request.generation, second.request.generation) == (0, 1)
    assert len(first.masks) == 3


def test_another_stack_is_another_picture():
    answers = PredictionService(FakeSegmenter)
    for _ in range(2):
        answers.answer(Stack(np.zeros((20, 20))), 0, request(0))
    assert len(answers.segmenter.embedded) == 2


def test_a_click_where_the_cursor_was_is_not_worked_out_twice() -> None:
    segmenter = FakeSegmenter()
    answers = PredictionService(lambda: segmenter)
    stack, view = Stack(np.zeros((20, 30), np.uint8)), View((0, 1), (0, 0))
    first = answers.answer(stack, 0, SegmentRequest(-1, view, 0, Prompt((Point(5, 6),))))
    again = answers.answer(stack, 0, SegmentRequest(7, view, 1, Prompt((Point(5, 6 + 1e-9),))))
    assert again.masks is first.masks
    assert again.request.generation == 7
    answers.answer(stack, 0, SegmentRequest(8, view, 1, Prompt((Point(5, 6.01),))))
    answers.answer(stack, 0, SegmentRequest(9, view, 1, Prompt((Point(5, 6.01, positive=False), Point(1, 1)))))
    assert len(segmenter.asked) == 3


def test_a_click_has_the_same_answer_with_the_cursor_and_without_it() -> None:
    stack, view = Stack(np.zeros((20, 30), np.uint8)), View((0, 1), (0, 0))
    asked = []
    for hovered in (6 - 1e-9, 6 + 1e-9, None):
        segmenter = FakeSegmenter()
        answers = PredictionService(lambda segmenter=segmenter: segmenter)
        for x in (hovered, 6):
            if x is not None:
                answers.answer(stack, 0, SegmentRequest(1, view, 1, Prompt((Point(5, x),))))
        assert len(segmenter.asked) == 1
        asked.append(segmenter.asked[0][0].points)
    assert asked[0] == asked[1] == asked[2]
