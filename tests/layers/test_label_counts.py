import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segany.layers import label_counts
from napari_segany.layers.label_counts import LabelCounter, add_up, tally_block

FIELDS = ("labels", "pixels", "sums", "starts", "stops", "slices")


def counted(counter: LabelCounter) -> dict[str, list]:
    for _ in counter.sweep():
        pass
    return {name: getattr(counter.total, name).tolist() for name in FIELDS}


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 12), min_size=2, max_size=4),
    edits=st.lists(st.tuples(st.integers(0, 2**31), st.integers(0, 6)), min_size=1, max_size=12),
    block=st.integers(1, 200),
)
def test_counted_step_by_step_as_if_counted_anew(shape, edits, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_counts, "BLOCK_PIXELS", block)
        array = np.zeros(shape, np.int64)
        values = np.arange(array.size, dtype=float).reshape(shape)
        counter = LabelCounter(array, values)
        for seed, label in edits:
            rng = np.random.default_rng(seed)
            start = [int(rng.integers(0, length)) for length in shape]
            # two labels that are far apart, and one below zero
            array[tuple(slice(s, s + int(rng.integers(1, 6))) for s in start)] = {5: 2**40, 6: -4}.get(label, label)
            found = counted(counter)
            assert found == counted(LabelCounter(array, values))
        labels = [label for label in np.unique(array) if label]
        assert found["labels"] == labels
        for row, label in enumerate(labels):
            mine = array == label
            where = np.nonzero(mine)
            assert found["pixels"][row] == mine.sum()
            assert found["sums"][row] == values[mine].sum()
            assert found["starts"][row] == [axis.min() for axis in where]
            assert found["stops"][row] == [axis.max() + 1 for axis in where]
            assert found["slices"][row] == mine.any(axis=(-1, -2)).sum()
            middle = counter.middle(int(label))
            assert mine[tuple(middle[:-2].astype(int))].any(), "the middle slice is one of the object's"


def test_nothing_is_counted_twice(monkeypatch):
    asked: list[tuple] = []
    monkeypatch.setattr(
        label_counts,
        "tally_block",
        lambda block, values, place: asked.append(place) or tally_block(block, values, place),
    )
    monkeypatch.setattr(label_counts, "BLOCK_PIXELS", 40)
    array = np.zeros((3, 20, 10), np.uint8)
    counter = LabelCounter(array)
    counted(counter)
    assert len(asked) == 15
    array[1, 9, 9] = 4
    counted(counter)
    assert asked[15:] == [(1, 8, 0)]


def test_nothing_at_all():
    assert add_up([], 3).starts.shape == (0, 3)
    assert counted(LabelCounter(np.zeros((0, 5), int)))["labels"] == []
