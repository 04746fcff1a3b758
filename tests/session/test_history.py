import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_segany.session.history import History, Mark, MarksPatch, Patch, Step

DTYPES = ("<i4", ">i4", "u1", "<u8", "<i2")


def shapes() -> st.SearchStrategy[tuple[int, ...]]:
    return hnp.array_shapes(min_dims=1, max_dims=4, max_side=6)


@given(st.data(), shapes(), st.sampled_from(DTYPES))
def test_a_patch_goes_there_and_back_to_the_byte_also_through_json(data, shape, dtype):
    values = hnp.arrays(dtype, shape, elements=st.integers(0, 3))
    before, after = data.draw(values), data.draw(values)
    patch = Patch.between(before, after)
    if patch is None:
        assert before.tobytes() == after.tobytes()
        return
    patch = msgspec.json.decode(msgspec.json.encode(patch), type=Patch)
    array = before.copy()
    patch.apply(array)
    assert array.tobytes() == after.tobytes()
    patch.inverse().apply(array)
    assert array.tobytes() == before.tobytes()
    assert array.dtype.str == dtype.replace("u1", "|u1")


def test_a_patch_holds_the_changed_window_only():
    before = np.zeros((50, 400, 400), np.int32)
    after = before.copy()
    after[7, 10:20, 30:35] = 3
    after[9, 12, 31] = 4
    patch = Patch.between(before, after)
    assert (patch.start, patch.shape) == ((7, 10, 30), (3, 10, 5))
    assert len(patch.before) + len(patch.after) < 200
    assert Patch.between(before, after, (slice(0, 7), slice(0, 400), slice(0, 400))) is None
    inside = Patch.between(before, after, (slice(8, 50), slice(5, 400), slice(0, 400)))
    assert (inside.start, inside.shape) == ((9, 12, 31), (1, 1, 1))


def test_pixels_that_a_change_left_alone_are_left_alone():
    before, after = np.zeros((4, 4), int), np.zeros((4, 4), int)
    after[0, 0] = after[3, 3] = 1
    other = np.full((4, 4), 9)
    Patch.between(before, after).apply(other)
    assert (other == 9).sum() == 14


MARKS = st.lists(st.sampled_from([Mark("point", ((float(i), 0.1),), (("sign", "positive"),)) for i in range(4)])).map(
    tuple
)


@given(MARKS, MARKS)
def test_marks_go_there_and_back_also_through_json(before, after):
    patch = MarksPatch.between(before, after)
    if patch is None:
        assert before == after
        return
    step = Step("prompt", marks=((2, patch),), choice=(1, 0))
    assert msgspec.json.decode(msgspec.json.encode(step), type=Step) == step
    assert patch.apply(before) == after
    assert patch.inverse().apply(after) == before


def test_one_more_click_is_one_more_mark():
    marks = tuple(Mark("point", ((float(i), 0.0),)) for i in range(1000))
    assert MarksPatch.between(marks[:-1], marks) == MarksPatch(999, (), marks[-1:])
    assert MarksPatch.between(marks, marks[1:]) == MarksPatch(0, marks[:1], ())


@given(st.lists(st.sampled_from(["do", "undo", "redo"]), max_size=60))
def test_history_is_a_list_with_a_place_in_it(acts):
    history, done, undone = History(), [], []
    for number, act in enumerate(acts):
        if act == "do":
            step = Step(str(number), choice=(0, number + 1))
            history.do(step)
            done, undone = [*done, step], []
        elif act == "undo":
            step = history.undo()
            assert (step is None) == (not done)
            if step is not None:
                assert step == done[-1].inverse()
                undone.append(done.pop())
        else:
            step = history.redo()
            assert (step is None) == (not undone)
            if step is not None:
                assert step == undone[-1]
                done.append(undone.pop())
        assert (history.can_undo, history.can_redo) == (bool(done), bool(undone))
        assert history.undo_name == (done[-1].kind if done else "")
        assert history.redo_name == (undone[-1].kind if undone else "")
        assert (history.position, len(history)) == (len(done), len(done) + len(undone))


def test_history_has_no_limit():
    history = History()
    for number in range(5000):
        history.do(Step("choose", choice=(number, number + 1)))
    assert all(history.undo() for _ in range(5000))


@pytest.mark.parametrize("empty", [Step("prompt"), Step("choose", choice=(2, 2))])
def test_a_step_that_changes_nothing_is_none(empty):
    assert not empty
