import numpy as np
import pytest
from napari.layers import Labels

from napari_segany.core.objects import ObjectInfo
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.layers.feature_columns import known_text, physical, read_rows


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (Prompt((Point(1, 1),)), "1 click"),
        (Prompt((Point(1, 1), Point(2, 2, False)), Box(0, 0, 3, 3)), "2 clicks, box"),
        (Prompt(mask=np.ones((2, 2), bool), text=" nucleus "), "outline, text “nucleus”"),
    ],
)
def test_what_was_said(prompt, words):
    assert known_text(prompt) == words


def test_rows_of_somebody_else():
    labels = Labels(
        np.eye(4, dtype=int), features={"index": [3, 3, 1], "name": ["a", "b", None], "score": ["?", "", "0.5"]}
    )
    known, theirs = read_rows(labels.features)
    assert known[3] == ObjectInfo(3, "a")
    assert known[1] == ObjectInfo(1, score=0.5)
    assert theirs.shape == (2, 0)


def test_somebody_elses_measures_stay():
    known, theirs = read_rows(Labels(np.eye(4, dtype=int), features={"intensity_mean": [0.0, 3.0]}).features)
    assert not known
    assert theirs["intensity_mean"].to_dict() == {0: 0, 1: 3}


def test_time_is_no_part_of_a_size():
    labels = Labels(
        np.zeros((2, 3, 4), int), scale=(60, 0.5, 0.25), units=("s", "um", "um"), axis_labels=("time", "y", "x")
    )
    assert physical(labels) == ((60, 0.5, 0.25), "µm", [1, 2])
