import gc
import weakref

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points, Shapes

from napari_segany.core.errors import InputError
from napari_segany.engine.prediction import PredictionService
from napari_segany.layers import write
from napari_segany.layers.binding import Binding
from napari_segany.layers.read import SIGN
from napari_segany.session.session import Session
from tests.fakes import FakeSegmenter


class Desk:
    """A viewer without a window, whose requests are answered at once."""

    def __init__(self, image: Image, labels: Labels | None = None) -> None:
        self.viewer = ViewerModel()
        self.image = self.viewer.add_layer(image)
        if labels is not None:
            self.viewer.add_layer(labels)
        self.session = Session()
        self.segmenter = FakeSegmenter(radius=4)
        self.answers = PredictionService(lambda: self.segmenter)
        self.problems: list[str] = []
        self.binding = Binding(self.viewer, self.session, self.image, labels)
        self.binding.problem.connect(self.problems.append)
        self.session.requested.connect(self._answer)

    def _answer(self, request) -> None:
        self.session.accept(self.answers.answer(*self.binding.planes.stack(request.plane), request))

    def click(self, *place: float, positive: bool = True) -> None:
        self.binding.points.feature_defaults = {SIGN: "positive" if positive else "negative"}
        self.binding.points.add(place)


@pytest.fixture
def desk() -> Desk:
    return Desk(Image(np.zeros((40, 50), np.uint8)))


@pytest.fixture
def volume_desk() -> Desk:
    return Desk(Image(np.zeros((6, 40, 50), np.uint8), scale=(3, 1, 1), translate=(0, 5, 5)))


def test_click_preview_keep(desk):
    desk.click(20, 20)
    assert desk.binding.preview.layer.data[20, 20] == 1
    assert desk.binding.keep()
    labels = desk.binding.labels
    assert labels.data[20, 20] == 1
    assert labels.data.sum() == 49
    assert len(desk.binding.points.data) == 0
    assert not desk.binding.preview.layer.data.any()
    desk.click(8, 40)
    desk.binding.keep()
    assert labels.data[8, 40] == 2


def test_one_click_is_one_question(desk):
    desk.click(20, 20)
    assert len(desk.segmenter.asked) == 1


def test_negative_clicks_and_removed_clicks_change_the_mask(desk):
    desk.click(20, 20)
    desk.click(22, 20, positive=False)
    assert desk.binding.preview.layer.data[22, 20] == 0
    desk.binding.points.selected_data = {1}
    desk.binding.points.remove_selected()
    assert desk.binding.preview.layer.data[22, 20] == 1


def test_a_moved_click_moves_the_mask(desk):
    desk.click(20, 20)
    desk.binding.points.data = [[10, 30]]
    assert desk.binding.preview.layer.data[10, 30] == 1
    assert desk.binding.preview.layer.data[20, 20] == 0


def test_labels_are_not_overwritten_unless_asked(desk):
    desk.click(20, 20)
    desk.binding.keep()
    desk.click(20, 23)
    desk.binding.keep()
    labels = desk.binding.labels
    assert (labels.data == 1).sum() == 49
    desk.click(20, 20)
    before = labels.data.copy()
    desk.binding.shapes.add_rectangles(np.array([[19, 19], [21, 21]]))
    desk.binding.points.selected_data = {0}
    desk.binding.points.remove_selected()
    assert not desk.binding.keep()
    assert "other labels" in desk.problems[-1]
    np.testing.assert_array_equal(labels.data, before)
    desk.binding.output.overwrite = True
    assert desk.binding.keep()
    assert labels.data[20, 20] == 3


def test_a_kept_mask_is_one_step_of_the_layers_own_undo(desk):
    desk.click(20, 20)
    desk.binding.keep()
    desk.binding.labels.undo()
    assert not desk.binding.labels.data.any()


def test_labels_painted_by_hand_keep_their_number(desk):
    desk.click(20, 20)
    desk.binding.keep()
    desk.binding.labels.data_setitem((np.array([1]), np.array([1])), 2)
    desk.click(30, 40)
    desk.binding.keep()
    assert desk.binding.labels.data[1, 1] == 2
    assert desk.binding.labels.data[30, 40] == 3


def test_existing_labels_are_continued_and_wrong_ones_refused():
    labels = Labels(np.zeros((40, 50), np.uint8))
    labels.data[0, 0] = 7
    desk = Desk(Image(np.zeros((40, 50))), labels)
    desk.click(20, 20)
    desk.binding.keep()
    assert labels.data[20, 20] == 8
    with pytest.raises(InputError, match="shape"):
        desk.binding.set_labels(Labels(np.zeros((4, 5), int)))
    assert desk.binding.labels is labels
    labels.data[:8, :32] = np.arange(256).reshape(8, 32)
    desk.click(30, 40)
    assert not desk.binding.keep()
    assert "no label left" in desk.problems[-1]


def test_each_slice_has_its_own_prompts(volume_desk):
    desk = volume_desk
    desk.viewer.dims.set_point(0, 2 * 3)
    desk.click(2, 20, 20)
    assert desk.session.result is not None
    desk.viewer.dims.set_point(0, 4 * 3)
    assert desk.session.result is None
    assert not desk.binding.preview.layer.data.any()
    desk.click(4, 10, 10)
    desk.binding.keep()
    assert set(np.argwhere(desk.binding.labels.data)[:, 0]) == {4}
    desk.viewer.dims.set_point(0, 2 * 3)
    assert desk.session.result is not None, "the clicks of the other slice are still there"
    desk.binding.keep()
    assert desk.binding.labels.data[2, 20, 20] == 2


def test_the_preview_lies_on_the_image(volume_desk):
    desk = volume_desk
    desk.viewer.dims.set_point(0, 3 * 3)
    desk.click(3, 20, 30)
    world = desk.image.data_to_world((3, 20, 30))
    assert desk.binding.preview.layer.get_value(world, world=True) == 1
    desk.image.translate = (0, 50, 0)
    world = desk.image.data_to_world((3, 20, 30))
    assert desk.binding.preview.layer.get_value(world, world=True) == 1
    np.testing.assert_allclose(desk.binding.points.data_to_world((3, 20, 30)), world)


def test_rolled_axes_write_into_the_right_place(volume_desk):
    desk = volume_desk
    desk.viewer.dims.order = (1, 2, 0)
    desk.viewer.dims.set_point(1, 5 + 20)
    desk.click(3, 20, 30)
    desk.binding.keep()
    found = np.argwhere(desk.binding.labels.data)
    assert set(found[:, 1]) == {20}
    assert desk.binding.labels.data[3, 20, 30] == 1


def test_three_dimensional_display_says_what_to_do(volume_desk):
    volume_desk.viewer.dims.ndisplay = 3
    assert "2D" in volume_desk.problems[-1]
    assert not volume_desk.binding.keep()
    volume_desk.viewer.dims.ndisplay = 2
    assert volume_desk.problems[-1] == ""


@pytest.mark.parametrize("which", ["points", "shapes", "labels", "preview"])
def test_a_deleted_layer_is_survived(desk, which):
    desk.click(20, 20)
    desk.binding.keep()
    desk.click(30, 30)
    layer = getattr(desk.binding, which)
    desk.viewer.layers.remove(layer.layer if which == "preview" else layer)
    desk.binding.ensure_layers()
    desk.binding.clear_prompts()
    desk.click(10, 10)
    assert desk.binding.keep()
    assert desk.binding.labels.data[10, 10] > 0


def test_layers_of_the_user_are_adopted_and_the_old_ones_let_go(desk):
    mine = desk.viewer.add_layer(Points([[20, 20]], translate=(1, 2)))
    before = desk.binding.points
    desk.binding.prompts.adopt(mine)
    assert desk.binding.preview.layer.data[21, 22] == 1
    mine.features = {SIGN: ["negative"]}
    assert desk.session.result is None
    asked = len(desk.segmenter.asked)
    before.add([5, 5])
    assert len(desk.segmenter.asked) == asked
    shapes = desk.viewer.add_layer(Shapes())
    desk.binding.prompts.adopt(shapes)
    shapes.add_rectangles(np.array([[3, 3], [9, 9]]))
    assert desk.binding.preview.layer.data[6, 6] == 1
    desk.binding.close()
    assert mine in desk.viewer.layers
    assert shapes in desk.viewer.layers
    np.testing.assert_array_equal(mine.translate, (1, 2))


def test_an_empty_mask_is_not_kept(desk):
    desk.click(20, 20)
    desk.click(20, 20, positive=False)
    assert not desk.binding.keep()
    assert "empty" in desk.problems[-1]
    assert desk.binding.labels is None


def test_labels_that_do_not_fit_into_memory_say_so(desk, monkeypatch):
    monkeypatch.setattr(write, "image_shape", lambda image: (10**6, 10**5, 10**5))
    desk.click(20, 20)
    assert not desk.binding.keep()
    assert "memory" in desk.problems[-1]


def test_renaming_changes_nothing(desk):
    for layer in desk.viewer.layers:
        layer.name = "the same for all"
    desk.click(20, 20)
    assert desk.binding.keep()


def test_new_values_in_the_image_ask_again(desk):
    desk.click(20, 20)
    desk.image.data = np.ones((40, 50), np.uint8)
    assert len(desk.segmenter.embedded) == 2
    assert desk.session.result is not None


def test_closing_leaves_labels_and_users_layers_and_nothing_else(desk):
    mine = desk.viewer.add_layer(Points([[1, 1]]))
    desk.click(20, 20)
    desk.binding.keep()
    labels = desk.binding.labels
    desk.binding.close()
    assert set(desk.viewer.layers) == {desk.image, mine, labels}
    desk.viewer.dims.ndisplay = 3
    assert desk.problems[-1] == ""
    gone = weakref.ref(desk.binding)
    desk.binding = None
    gc.collect()
    assert gone() is None


def test_two_viewers_at_once():
    first, second = (Desk(Image(np.zeros((40, 50)))) for _ in range(2))
    first.click(20, 20)
    assert second.session.result is None
    second.click(5, 5)
    first.binding.keep()
    assert second.binding.labels is None
    assert second.session.result is not None
