import gc
import math
import time
import weakref
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from skimage.measure import regionprops

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ACCEPTED, AUTOMATIC, PROPOSED, REJECTED, UNCERTAIN, ObjectInfo
from napari_segany.layers import label_counts, object_features
from napari_segany.layers.feature_columns import MeasuredColumns
from napari_segany.layers.object_features import ObjectFeatures


def blobs(shape: tuple[int, ...], count: int, seed: int = 0) -> np.ndarray:
    """Boxes of random places and sizes; later ones cut into earlier ones, and some vanish."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    for label in rng.permutation(3 * count)[:count] + 1:
        start = [rng.integers(0, length) for length in shape]
        labels[tuple(slice(s, s + rng.integers(1, 12)) for s in start)] = label
    return labels


class Desk:
    """A viewer without a window, and what is kept of the objects in it."""

    def __init__(self, data, image=None, **options) -> None:
        self.viewer = ViewerModel()
        self.image = None if image is None else self.viewer.add_image(image)
        self.labels = self.viewer.add_labels(data, **options)
        self.objects = ObjectFeatures(self.viewer, self.labels, self.image)
        self.objects.update()
        self.told: list[str] = []
        self.objects.stale.connect(lambda: self.told.append("stale"))

    @property
    def table(self):
        return self.objects.table()


@pytest.fixture
def desk() -> Desk:
    data = np.zeros((30, 40), np.uint8)
    data[2:6, 2:6], data[10:14, 10:12], data[20:22, 0:5] = 1, 2, 5
    data[12:14, 30:35] = 2
    return Desk(data)


@pytest.mark.parametrize(
    ("shape", "scale", "size"),
    [
        ((50, 60), (0.5, 0.25), "area [µm^2]"),
        ((7, 40, 50), (3, 0.5, 0.25), "volume [µm^3]"),
        ((2, 5, 30, 40), (1, 3, 0.5, 0.25), "volume, all times [µm^3]"),
    ],
)
@pytest.mark.parametrize("block", [100, 2**18])
def test_measures_are_those_of_regionprops(shape, scale, size, block, monkeypatch):
    monkeypatch.setattr(label_counts, "BLOCK_PIXELS", block)
    data = blobs(shape, 40)
    values = np.random.default_rng(1).random(shape)
    names = ("t", "z", "y", "x")[-len(shape) :]
    desk = Desk(data, values, scale=scale, units=("s", "um", "um", "um")[-len(shape) :], axis_labels=names)
    table = desk.table
    assert table.index.tolist() == np.unique(data[data > 0]).tolist()
    pixel = math.prod(scale[-3:])
    for label in table.index:
        mine = data == label
        row = table.loc[label]
        assert row[size] == pytest.approx(mine.sum() * pixel)
        assert row["intensity_mean" if len(shape) < 4 else "intensity_mean, all times"] == pytest.approx(
            values[mine].mean()
        )
        if len(shape) > 2:
            assert row["slices"] == mine.any(axis=(-1, -2)).sum()
    if len(shape) < 4:
        truth = regionprops(data, values, spacing=scale)
        np.testing.assert_allclose(table[size], [region.area for region in truth])
        windows = [desk.objects.total.window(row) for row in range(len(truth))]
        assert windows == [region.slice for region in truth]


def test_napari_finds_the_rows(desk):
    assert desk.labels.features["index"].tolist() == [1, 2, 5]
    desk.objects.rename(5, "the long one")
    assert any("the long one" in text for text in desk.labels.get_status((20, 2))["value"].split("; "))


def test_labels_that_are_far_apart_or_negative():
    data = np.zeros((20, 20), np.int64)
    data[0, 0], data[1, 1:3], data[2, 2] = -3, 2**40, 7
    table = Desk(data).table
    assert table["area [pixel^2]"].to_dict() == {-3: 1, 7: 1, 2**40: 2}


@pytest.mark.parametrize("change", ["paint", "set", "undo", "redo", "in place", "new array"])
def test_every_way_to_change_pixels_is_followed(desk, change):
    labels = desk.labels
    if change in ("undo", "redo"):
        labels.data_setitem((np.array([0]), np.array([0])), 9)
        if change == "redo":
            labels.undo()
        desk.objects.update()
        desk.told.clear()
    match change:
        case "paint":
            labels.paint((25, 25), 9)
        case "set":
            labels.data_setitem((np.array([0]), np.array([0])), 9)
        case "undo":
            labels.undo()
        case "redo":
            labels.redo()
        case "in place":
            labels.data[0, 0] = 9
            labels.refresh()
        case "new array":
            labels.data = np.eye(30, 40, dtype=np.uint8) * 9
    assert desk.told, "somebody is told that the table is no longer true"
    desk.objects.update()
    assert desk.table["area [pixel^2]"].to_dict() == {
        label: (labels.data == label).sum() for label in np.unique(labels.data) if label
    }


def test_looking_at_another_slice_counts_nothing():
    desk = Desk(blobs((5, 20, 20), 10))
    desk.viewer.dims.set_point(0, 1)
    desk.viewer.dims.ndisplay = 3
    assert not desk.told


def test_scale_and_unit_are_those_of_the_layer_now(desk):
    assert desk.table["area [pixel^2]"][1] == 16
    desk.labels.scale = (0.5, 0.5)
    desk.labels.units = ("nm", "nm")
    assert desk.told
    desk.objects.update()
    assert desk.table["area [nm^2]"][1] == 4
    assert "area [pixel^2]" not in desk.labels.features
    desk.labels.units = ("nm", "um")
    desk.objects.update()
    assert desk.table["area [pixel^2]"][1] == 16


def test_intensities_of_pictures_that_do_not_fit_are_left_out():
    data = blobs((20, 20), 5)
    for values, options in ((np.zeros((9, 9)), {}), (np.zeros((20, 20, 3)), {"rgb": True}), (da.zeros((20, 20)), {})):
        objects = ObjectFeatures(ViewerModel(), Labels(data), Image(values, name="odd", **options))
        objects.update()
        assert "odd" in objects.problem
        assert "intensity_mean" not in objects.table()


def test_another_picture_is_measured_again():
    desk = Desk(blobs((20, 20), 5), np.zeros((20, 20)))
    desk.image.data = np.ones((20, 20))
    desk.objects.update()
    assert (desk.table["intensity_mean"] == 1).all()


def test_what_is_not_in_memory_is_not_read():
    lazy = da.from_array(blobs((20, 20), 5)).map_blocks(lambda block: block)
    desk = Desk(lazy)
    assert "not in memory" in desk.objects.problem
    assert not len(desk.table)
    desk.objects.note(ObjectInfo(3, name="mine", score=0.9))
    desk.objects.update()
    assert desk.table["name"].to_dict() == {3: "mine"}
    assert desk.table["area [pixel^2]"].isna().all()
    desk.objects.show(3)
    with pytest.raises(InputError, match="cannot be painted"):
        desk.objects.delete([3])


def test_what_is_noted_stays_with_the_layer(desk):
    desk.objects.note(ObjectInfo(2, name="two", score=0.75, source="click", status="unsure"))
    desk.objects.update()
    desk.objects.close()
    again = ObjectFeatures(desk.viewer, desk.labels)
    again.update()
    row = again.table().loc[2]
    assert row[["name", "score", "how", "flags"]].tolist() == ["two", 0.75, "click", "unsure"]
    assert again.table()["flags"][5] == "at the edge"
    assert math.isnan(again.table()["score"][1])


def test_columns_and_rows_of_the_users_stay():
    data = np.zeros((9, 9), int)
    data[1, 1], data[2, 2] = 1, 2
    features = {"kind": ["nothing", "cell", "debris"], "name": ["", "Ann", ""]}
    desk = Desk(data, features=features)
    kept = desk.labels.features.set_index("index")
    assert kept["kind"].to_dict() == {0: "nothing", 1: "cell", 2: "debris"}
    assert desk.table["name"].to_dict() == {1: "Ann", 2: ""}
    desk.objects.delete([1])
    assert desk.labels.features.set_index("index")["kind"][1] == "cell"
    assert desk.table.index.tolist() == [2]
    desk.labels.features = {"index": [2], "colour": ["red"]}
    desk.objects.update()
    assert desk.table["colour"][2] == "red"
    assert "kind" not in desk.labels.features


def test_a_name_written_into_a_cell_is_taken_over(desk):
    desk.labels.features.loc[1, "name"] = "by hand"
    desk.labels.data_setitem((np.array([0]), np.array([0])), 9)
    desk.objects.update()
    assert desk.table["name"].to_dict() == {1: "", 2: "by hand", 5: "", 9: ""}


def test_several_resolutions_are_not_read():
    data = blobs((40, 40), 5)
    desk = Desk([data, data[::2, ::2]])
    assert "not in memory" in desk.objects.problem
    desk.objects.note(ObjectInfo(3, name="mine"))
    desk.objects.update()
    assert desk.table["name"].to_dict() == {3: "mine"}


def test_paint_on_what_was_kept_is_flagged_until_it_is_undone(desk):
    desk.objects.note(ObjectInfo(1, score=0.9))
    desk.objects.update()
    desk.labels.data_setitem((np.array([0]), np.array([9])), 1)
    desk.objects.update()
    assert "edited" in desk.table["flags"][1]
    desk.labels.undo()
    desk.objects.update()
    assert desk.table["flags"][1] == ""


def test_delete_is_one_step_and_touches_nothing_else(desk):
    before = desk.labels.data.copy()
    desk.objects.rename(2, "gone soon")
    desk.objects.delete([2, 5])
    np.testing.assert_array_equal(desk.labels.data, np.where(np.isin(before, [2, 5]), 0, before))
    assert desk.table.index.tolist() == [1]
    desk.labels.undo()
    desk.objects.update()
    np.testing.assert_array_equal(desk.labels.data, before)
    assert desk.table["name"][2] == "gone soon"


def test_another_object_with_a_label_of_old_has_no_name(desk):
    desk.objects.rename(5, "the old one")
    desk.objects.delete([5])
    desk.labels.data_setitem((np.array([0]), np.array([0])), 5)
    desk.objects.update()
    assert desk.table["name"][5] == ""


def test_merge_is_one_step(desk):
    before = desk.labels.data.copy()
    desk.objects.note(ObjectInfo(2, name="second", score=0.5))
    assert desk.objects.merge([5, 2]) == 2
    np.testing.assert_array_equal(desk.labels.data, np.where(before == 5, 2, before))
    assert desk.table["name"][2] == "second"
    assert "edited" in desk.table["flags"][2]
    desk.labels.undo()
    np.testing.assert_array_equal(desk.labels.data, before)


def test_split_gives_each_piece_a_label_in_one_step(desk):
    before = desk.labels.data.copy()
    assert desk.objects.split(2) == [2, 6]
    assert [(desk.labels.data == label).sum() for label in (2, 6)] == [10, 8]
    np.testing.assert_array_equal(np.isin(desk.labels.data, [2, 6]), before == 2)
    assert desk.table["how"][6] == "split from 2"
    desk.labels.undo()
    np.testing.assert_array_equal(desk.labels.data, before)


def test_pieces_that_touch_at_a_corner_are_one_also_between_slices():
    data = np.zeros((3, 9, 9), np.uint8)
    data[0, 0, 0] = data[1, 1, 1] = data[2, 5, 5] = 1
    desk = Desk(data)
    assert desk.objects.split(1) == [1, 2]
    assert desk.labels.data[0, 0, 0] == desk.labels.data[1, 1, 1] == 1
    assert desk.labels.data[2, 5, 5] == 2


def test_what_would_do_nothing_says_so_in_one_line(desk):
    data, features = desk.labels.data.copy(), desk.labels.features
    for act, why in (
        (lambda: desk.objects.delete([]), "choose an object"),
        (lambda: desk.objects.delete([3]), "no object 3"),
        (lambda: desk.objects.merge([1]), "two or more"),
        (lambda: desk.objects.merge([1, 1]), "two or more"),
        (lambda: desk.objects.split(1), "one piece"),
        (lambda: desk.objects.rename(1, ""), "no name"),
        (lambda: desk.objects.show(4), "no object 4"),
    ):
        with pytest.raises(InputError, match=why):
            act()
    desk.labels.editable = False
    with pytest.raises(InputError, match="painted"):
        desk.objects.delete([1])
    np.testing.assert_array_equal(desk.labels.data, data)
    assert desk.labels.features.equals(features)


def test_a_full_layer_is_not_split(desk):
    free = np.flatnonzero(desk.labels.data == 0)[:253]
    desk.labels.data.ravel()[free] = np.arange(3, 256)
    with pytest.raises(InputError, match="left"):
        desk.objects.split(2)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0)])
def test_show_moves_the_sliders_and_the_camera_and_nothing_else(order):
    data = np.zeros((6, 30, 40), int)
    data[2:5, 10:13, 20:25] = 3
    desk = Desk(data, scale=(2, 1, 0.5), translate=(0, 5, 0))
    desk.viewer.add_image(np.zeros((2, 9, 40, 50)))
    desk.viewer.dims.order = (0, *(axis + 1 for axis in order))
    active, zoom = desk.viewer.layers.selection.active, _camera(desk.viewer).zoom
    desk.objects.show(3)
    assert desk.labels.selected_label == 3
    middle = np.array([3 * 2, 5 + 11, 22 * 0.5])
    hidden, *shown = order
    assert desk.viewer.dims.point[hidden + 1] == pytest.approx(middle[hidden], abs=1)
    np.testing.assert_allclose(_camera(desk.viewer).center[-2:], middle[shown])
    assert (desk.viewer.layers.selection.active, _camera(desk.viewer).zoom) == (active, zoom)


def _camera(viewer: ViewerModel):
    return getattr(viewer, "scene", viewer).camera


def test_closing_leaves_no_callbacks(desk):
    image = Image(np.zeros((30, 40)))
    labels = Labels(np.zeros((30, 40), int))
    emitters = [*labels.events.emitters.values(), *image.events.emitters.values()]
    before = [len(emitter.callbacks) for emitter in emitters]
    objects = ObjectFeatures(desk.viewer, labels, image)
    objects.update()
    objects.close()
    assert [len(emitter.callbacks) for emitter in emitters] == before
    gone = weakref.ref(objects)
    del objects
    gc.collect()
    assert gone() is None


def test_a_sweep_that_is_given_up_loses_nothing(monkeypatch):
    monkeypatch.setattr(label_counts, "BLOCK_PIXELS", 100)
    desk = Desk(blobs((50, 50), 20))
    desk.labels.data[0, 0] = 99
    next(desk.objects.sweep())
    desk.objects.update()
    assert 99 in desk.table.index


def test_two_thousand_objects_are_followed_in_much_less_than_a_second():
    data = np.kron(np.arange(1, 2026).reshape(45, 45), np.pad(np.ones((30, 30), int), (0, 15)))
    data = np.pad(data, (0, 2048 - len(data))).astype(np.int32)
    desk = Desk(data, np.ones((2048, 2048), np.float32))
    taken = []  # seconds of computing: others may want the processor, too
    for top in (1000, 1100, 1200):
        desk.labels.data_setitem(tuple(axis.ravel() for axis in np.mgrid[top : top + 10, 40:44]), 4000 + top)
        begin = time.thread_time()
        desk.objects.update()
        taken.append(time.thread_time() - begin)
    assert len(desk.table) == 2028
    assert min(taken) < 0.5, taken


def test_classes_and_suggestions_are_columns(desk: Desk) -> None:
    steps = []

    @contextmanager
    def step(about, *, pixels=True):
        steps.append(about)
        yield

    desk.objects._step = step
    desk.objects.suggest({2: ("cell", 0.874), 5: ("debris", 0.5)})
    assert desk.table["suggested"].tolist() == ["", "cell", "debris"]
    assert desk.table["probability"].tolist()[1:] == [0.87, 0.5]
    assert "class_name" not in desk.table
    desk.objects.classify({1: "cell", 2: "cell"})
    assert desk.table["class_name"].tolist() == ["cell", "cell", ""]
    assert desk.table["suggested"].tolist() == ["", "", "debris"], "what has a class needs no suggestion"
    assert [one.classes for one in steps] == [((1, "", "cell"), (2, "", "cell"))]
    desk.objects.classify({1: "cell"})
    assert len(steps) == 1, "nothing changed"
    desk.objects.set_classes({1: "", 2: ""})
    assert desk.table["suggested"].tolist() == ["", "cell", "debris"], "undone: it is a suggestion again"
    with pytest.raises(InputError, match="no object 77"):
        desk.objects.classify({77: "cell"})
    desk.objects.suggest({})
    assert not {"suggested", "class_name"} & set(desk.table)


def test_classes_are_read_from_features_and_split_with_their_object(desk: Desk) -> None:
    desk.objects.classify({2: "cell"})
    again = ObjectFeatures(desk.viewer, desk.labels)
    again.update()
    assert again.classes == {1: "", 2: "cell", 5: ""}
    _, new = again.split(2)
    assert again.classes[new] == "cell"


def test_states_are_a_column_and_come_back_with_the_layer(desk: Desk) -> None:
    assert "state" not in desk.table
    desk.objects.note(ObjectInfo(1, source="everything", score=0.9, state="automatic"))
    desk.objects.update()
    assert desk.table["state"].to_dict() == {1: "automatic", 2: "", 5: ""}
    assert desk.objects.unconfirmed == [1]
    told: list[ObjectInfo] = []
    desk.objects.described.connect(told.append)
    again = ObjectFeatures(desk.viewer, desk.labels)
    again.update()
    assert again.about(1).state == "automatic"
    desk.objects.set_state([1, 2], "accepted")
    assert desk.table["state"].to_dict() == {1: "accepted", 2: "accepted", 5: ""}
    assert desk.objects.unconfirmed == []
    assert [(one.label, one.state) for one in told] == [(1, "accepted"), (2, "accepted")]
    with pytest.raises(InputError, match="no object 7"):
        desk.objects.set_state([7], "accepted")


@pytest.mark.parametrize("values", [["solid", "liquid"], [1, 2], [None, "automatic gear"]])
def test_a_column_of_the_users_that_is_called_state_stays(values: list[object]) -> None:
    data = np.zeros((20, 20), np.uint8)
    data[2:6, 2:6], data[10:14, 10:12] = 1, 2
    desk = Desk(data)
    features = desk.labels.features.assign(state=values)
    desk.labels.features = features
    desk.objects.note(ObjectInfo(1, source="everything", state="automatic"))
    desk.objects.update()
    # (pandas 3 has a missing value where None was given)
    assert [None if pd.isna(value) else value for value in desk.table["state"]] == values
    assert desk.objects.about(1).state == "automatic"


@pytest.mark.parametrize("before", [AUTOMATIC, PROPOSED, UNCERTAIN])
def test_an_accepted_object_is_a_step_and_one_that_was_accepted_before_is_none(desk: Desk, before: str) -> None:
    objects, steps = desk.objects, []
    objects._step = lambda step, **_: steps.append(step) or nullcontext()
    objects.note(ObjectInfo(1, state=before))
    objects.set_state([1, 2], ACCEPTED)
    assert [one.states for one in steps] == [((1, before, ACCEPTED), (2, "", ACCEPTED))]
    objects.set_state([1, 2], ACCEPTED)
    assert len(steps) == 1
    objects.set_states({1: before, 2: ""})
    assert len(steps) == 1
    assert objects.unconfirmed == [1]


class TestNames:
    """Names that a model gives: listed with a probability, and never in the place of a class of the user's."""

    def test_they_are_listed_with_their_probability(self, desk):
        desk.objects.name_objects({1: ("nucleus", 0.912), 2: ("", 0.3)})
        assert desk.table["class_name"].tolist() == ["nucleus", "", ""]
        assert desk.table["class_probability"][1] == 0.91
        assert desk.objects.classes == {1: "", 2: "", 5: ""}
        assert desk.objects.nameless == [5]

    @pytest.mark.parametrize("first", [True, False], ids=["named first", "given first"])
    def test_a_given_class_stays(self, desk, first):
        if first:
            desk.objects.name_objects({1: ("nucleus", 0.9)})
        desk.objects.classify({1: "mine"})
        desk.objects.name_objects({1: ("cell", 0.99)})
        assert desk.objects.about(1).class_name == "mine"
        assert desk.objects.about(1).class_probability is None
        assert desk.objects.classes[1] == "mine"

    def test_a_name_comes_back_when_the_class_is_taken_away(self, desk):
        desk.objects.name_objects({1: ("nucleus", 0.9)})
        desk.objects.classify({1: "mine"})
        desk.objects.set_classes({1: ""})
        assert (desk.objects.about(1).class_name, desk.objects.about(1).class_probability) == ("nucleus", 0.9)

    def test_the_user_can_confirm_and_refuse_a_name(self, desk):
        desk.objects.name_objects({1: ("nucleus", 0.9), 5: ("cell", 0.8)})
        desk.objects.classify({1: "nucleus", 5: ""})
        assert desk.objects.classes == {1: "nucleus", 2: "", 5: ""}
        assert desk.objects.about(1).class_probability is None
        assert desk.objects.about(5).class_name == ""
        assert desk.objects.nameless == [2]

    def test_switched_off_they_go_and_classes_stay(self, desk):
        desk.objects.name_objects({1: ("nucleus", 0.9), 5: ("cell", 0.8)})
        desk.objects.classify({1: "mine"})
        desk.objects.forget_names()
        assert desk.objects.about(1).class_name == "mine"
        assert desk.objects.about(5).class_name == ""
        assert desk.objects.about(5).class_probability is None
        desk.objects.set_classes({1: ""})
        assert desk.objects.about(1).class_name == ""

    def test_another_object_under_a_label_has_no_old_name(self, desk):
        desk.objects.name_objects({1: ("nucleus", 0.9)})
        desk.objects.note(ObjectInfo(1, source="2 clicks"))
        assert desk.objects.about(1).class_name == ""
        assert 1 in desk.objects.nameless

    def test_they_are_read_again_from_the_features(self, desk):
        desk.objects.name_objects({1: ("nucleus", 0.9)})
        desk.objects.classify({5: "mine"})
        other = ObjectFeatures(desk.viewer, desk.labels)
        other.update()
        assert (other.about(1).class_name, other.about(1).class_probability) == ("nucleus", 0.9)
        assert other.classes == {1: "", 2: "", 5: "mine"}

    def test_every_change_is_told_to_the_session(self, desk):
        told = []
        desk.objects.described.connect(told.append)
        desk.objects.name_objects({1: ("nucleus", 0.9), 2: ("", 0.2)})
        desk.objects.forget_names()
        assert [(one.label, one.class_name, one.class_probability) for one in told] == [
            (1, "nucleus", 0.9),
            (1, "", None),
        ]


def test_who_reviewed_an_object_and_when_is_in_the_features_and_goes_with_the_state(desk: Desk) -> None:
    objects, steps = desk.objects, []
    objects._step = lambda step, **_: steps.append(step) or nullcontext()
    objects.note(ObjectInfo(1, state=AUTOMATIC))
    review = ("ana", "2026-01-02T03:04:05+00:00")
    objects.set_state([1, 2], REJECTED, review)
    assert [(one.kind, one.reviews) for one in steps] == [("reject", ((1, ("", ""), review), (2, ("", ""), review)))]
    assert objects.table()["reviewed_by"].to_dict() == {1: "ana", 2: "ana", 5: ""}
    assert objects.table()["reviewed_at"][1] == review[1]
    again = ObjectFeatures(desk.viewer, desk.labels)
    assert again.about(1) == replace(objects.about(1), pixels=again.about(1).pixels)
    back = steps[0].inverse()
    objects.set_states({k: new for k, _, new in back.states}, {k: new for k, _, new in back.reviews})
    assert objects.about(1).review == ("", "")
    assert objects.about(1).state == AUTOMATIC
    assert "reviewed_by" not in objects.table()


def test_measurements_are_columns_until_an_object_changes(desk):
    desk.labels.features = desk.labels.features.assign(solidity=[0.1, 0.2, 0.3])
    desk.objects.update()
    total = desk.objects.total
    measured = MeasuredColumns(total.labels, total.pixels, {"length [pixel]": np.array([1.0, 2.0, 3.0])})
    before = desk.labels.features
    desk.objects.set_measured(measured)
    assert desk.labels.features is before, "a sweep writes them in pieces"
    desk.objects.update()
    assert desk.table["length [pixel]"].tolist() == [1, 2, 3]
    desk.labels.data_setitem((np.array([2]), np.array([2])), 0)
    desk.objects.update()
    assert desk.table["length [pixel]"].isna().tolist() == [True, False, False]
    # listed again, they are no columns of another program; those stay
    desk.objects.close()
    again = ObjectFeatures(desk.viewer, desk.labels)
    again.update()
    assert "length [pixel]" not in again.table()
    assert again.table()["solidity"].tolist() == [0.1, 0.2, 0.3]
    again.close()


def test_rows_that_are_written_alone_are_those_of_a_table_that_is_written_anew(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = desk.objects
    for label in (1, 2, 5):
        objects.note(ObjectInfo(label, name=f"n{label}", class_name="cell", state=AUTOMATIC, score=label / 10))
    objects.name_objects({5: ("nucleus", 0.75)})
    objects.set_state([2], ACCEPTED, ("ana", "2026-01-02T03:04:05+00:00"))
    objects.update()
    monkeypatch.setattr(object_features, "FEW", 0)
    written = objects._written
    objects.set_state([1, 5], REJECTED, ("ben", "2026-01-03T03:04:05+00:00"))
    objects.classify({1: "debris", 2: ""})
    objects.rename(2, "the second")
    objects.set_states({2: UNCERTAIN})
    assert objects._written is written, "not all rows were written"
    assert objects.classes == {1: "debris", 2: "", 5: "cell"}
    assert objects.states == {1: REJECTED, 2: UNCERTAIN, 5: REJECTED}
    alone = objects.table().copy()
    objects._restate()
    objects.update()
    pd.testing.assert_frame_equal(alone, objects.table(), check_dtype=False)
    assert objects.least_certain_first() == [1, 2, 5]


def written_rows(monkeypatch) -> list[int]:
    """How many rows are made each time, from here on."""
    counts, make = [], ObjectFeatures._columns

    def columns(self, labels, total):
        counts.append(len(labels))
        return make(self, labels, total)

    monkeypatch.setattr(ObjectFeatures, "_columns", columns)
    return counts


def squares(count: int) -> np.ndarray:
    side = math.ceil(count**0.5)
    labels = np.zeros((4 * side, 4 * side), np.int32)
    for label in range(1, count + 1):
        row, column = divmod(label - 1, side)
        labels[4 * row : 4 * row + 3, 4 * column : 4 * column + 3] = label
    return labels


def all_rows(objects: ObjectFeatures):
    objects._restate()
    objects.update()
    return objects.labels.features.copy()


def test_only_the_rows_of_objects_that_changed_are_written_again(monkeypatch) -> None:
    desk = Desk(squares(100))
    desk.objects.take_over({k: ObjectInfo(k, class_name="cell", source="found", score=k / 100) for k in range(1, 101)})
    desk.objects.update()
    counts = written_rows(monkeypatch)
    desk.objects.delete([7])
    desk.labels.data[0, 0] = 0
    desk.labels.data[-5:-2, -5:-2] = 200
    desk.objects.note(ObjectInfo(200, source="a click"))
    desk.objects.update()
    assert counts == [3]  # 200, and 1 and the one that 200 covers in part
    partly = desk.labels.features.copy()
    pd.testing.assert_frame_equal(partly, all_rows(desk.objects))
    assert 7 not in partly["label"].tolist()
    assert 200 in partly["label"].tolist()


@pytest.mark.parametrize("count", [100, 1200])
def test_a_first_state_makes_its_columns_where_all_rows_have_them(count: int) -> None:
    desk = Desk(squares(count))
    desk.objects.set_state([3], ACCEPTED, ("ana", "2026-01-02T03:04:05+00:00"))
    desk.objects.classify({4: "cell"})
    partly = desk.labels.features.copy()
    pd.testing.assert_frame_equal(partly, all_rows(desk.objects))


def test_a_state_in_a_large_table_makes_no_row_again(monkeypatch) -> None:
    desk = Desk(squares(1200))
    counts = written_rows(monkeypatch)
    desk.objects.set_state([3], ACCEPTED, ("ana", "2026-01-02T03:04:05+00:00"))
    desk.objects.set_state([5], REJECTED, ("ana", "2026-01-02T03:04:05+00:00"))
    assert counts == []
    assert desk.table["state"].loc[[3, 4, 5]].tolist() == [ACCEPTED, "", REJECTED]


def test_facts_that_change_while_the_table_is_written_in_pieces_are_in_it() -> None:
    desk = Desk(squares(1200))
    desk.objects._restate()
    sweep = desk.objects.sweep()
    for _ in range(12):
        next(sweep, None)
    desk.objects.set_state([3], ACCEPTED)
    for _ in sweep:
        pass
    assert desk.table["state"].loc[3] == ACCEPTED
    pd.testing.assert_frame_equal(desk.labels.features.copy(), all_rows(desk.objects))


def test_two_sweeps_of_one_table_write_it_once() -> None:
    desk, written = Desk(squares(1200)), []
    desk.objects.changed.connect(lambda: written.append(1))
    desk.objects._restate()
    sweeps = [desk.objects.sweep(), desk.objects.sweep()]
    for _ in range(200):
        for sweep in sweeps:
            next(sweep, None)
    assert written == [1]


def test_columns_of_movies_tell_that_they_are_of_all_times() -> None:
    data = np.zeros((3, 10, 10), np.uint8)
    data[:, 2:4, 2:4] = 1
    desk = Desk(data, np.ones(data.shape, np.float32), axis_labels=("t", "y", "x"))
    assert desk.table["area, all times [pixel^2]"].to_dict() == {1: 12}
    assert desk.table["intensity_mean, all times"].to_dict() == {1: 1.0}
    # once time has no name any more, these columns go
    desk.labels.axis_labels = ("z", "y", "x")
    desk.objects.update()
    assert not [name for name in desk.table if "all times" in name]
    assert desk.table["volume [pixel^3]"].to_dict() == {1: 12}
