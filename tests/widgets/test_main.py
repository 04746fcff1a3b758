"""The widget in a real window, with real clicks and keys."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
from qtpy.QtWidgets import QLabel, QPushButton
from skimage import io

from napari_segany.core.errors import ModelError
from napari_segany.widgets.main import SeganyWidget
from tests.fakes import FakeSegmenter
from tests.widgets.conftest import Opened, own_threads, posted, settle

NUCLEI = "dev/dsb2018"


def test_click_key_and_the_label_is_painted(opened):
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    assert opened.widget.binding.preview.layer.data[30, 40] == 1
    opened.hand.press("k")
    labels = opened.widget.binding.labels
    assert labels.data[30, 40] == 1
    assert opened.widget.layer_box.labels.value is labels
    opened.hand.click(12, 15)
    opened.wait_for_mask()
    opened.hand.press("k")
    assert labels.data[12, 15] == 2


def test_shift_click_and_the_key_make_negative_clicks(opened):
    opened.hand.click(30, 40)
    opened.hand.click(30, 46, "shift")
    opened.hand.press("n")
    opened.hand.click(30, 34)
    signs = list(opened.widget.binding.points.features["sign"])
    assert signs == ["positive", "negative", "negative"]
    opened.wait_for_mask()
    assert not opened.widget.binding.preview.layer.data[30, 34]


def test_a_dragged_rectangle_is_a_box(opened):
    opened.widget.prompt_box.take("Box")
    opened.hand.drag((10, 10), (40, 50))
    opened.wait_for_mask()
    assert opened.widget.binding.preview.layer.data[25, 30] == 1
    opened.hand.press("q")
    assert opened.widget.session.result is None
    assert len(opened.widget.binding.shapes.data) == 0


def test_stale_answers_are_not_shown(opened):
    slow = threading.Event()
    segment = opened.widget.answers.segmenter.segment

    def wait(*args, **options):
        slow.wait(10)
        return segment(*args, **options)

    opened.widget.answers.segmenter.segment = wait
    opened.hand.click(30, 40)
    opened.hand.click(10, 10)
    slow.set()
    opened.wait_for_mask()
    assert len(opened.widget.session.result.request.prompt.points) == 2


def test_cancelling_drops_the_work(opened):
    slow = threading.Event()
    opened.widget.answers.segmenter.embed = lambda plane: slow.wait(10)
    opened.widget.answers.cache.clear()
    opened.hand.click(30, 40)
    cancel = next(b for b in opened.widget.status_box.findChildren(QPushButton) if b.text() == "Cancel")
    # work that takes longer than a moment shows its progress
    opened.hand.qtbot.waitUntil(cancel.isVisible)
    cancel.click()
    assert "Cancelled" in opened.text
    slow.set()
    opened.settle()
    assert opened.widget.session.result is None


def test_a_model_that_cannot_be_loaded_says_so_in_one_line(hand):
    def fail():
        raise ModelError("there is no model here")

    viewer = hand.viewer
    viewer.add_image(np.zeros((20, 20)))
    widget = SeganyWidget(viewer, load=fail)
    viewer.window.add_dock_widget(widget)
    hand.qtbot.waitUntil(lambda: widget.status_box.text == "there is no model here")
    # layers that go before they were ever drawn take vispy down with software OpenGL
    hand.draw()
    widget.close_session()
    widget.jobs.join(10)


def test_an_empty_window_says_where_to_begin(hand):
    widget = SeganyWidget(hand.viewer, load=FakeSegmenter)
    hand.viewer.window.add_dock_widget(widget)
    assert any("Open an image to begin" in label.text() for label in widget.findChildren(QLabel))
    hand.viewer.add_labels(np.zeros((9, 9), int))
    image = hand.viewer.add_image(np.zeros((9, 9)))
    assert widget.binding is not None
    assert widget.binding.image is image
    hand.draw()
    hand.viewer.layers.remove(image)
    assert widget.binding is None
    assert "Open an image to begin" in widget.status_box.text
    widget.close_session()
    widget.jobs.join(10)


def test_closing_the_dock_ends_the_worker_and_leaves_nothing(hand):
    threads = own_threads()
    opened = Opened(hand, np.zeros((30, 30)), FakeSegmenter())
    opened.hand.click(15, 15)
    opened.wait_for_mask()
    opened.hand.press("q")
    session = weakref.ref(opened.widget.session)
    jobs, lookups = opened.widget.jobs, opened.widget.resuming.lookups
    opened.viewer.window.remove_dock_widget(opened.widget)
    jobs.join(10)
    lookups.join(10)
    # the thread that writes large labels ends by itself
    opened.hand.qtbot.waitUntil(lambda: own_threads() <= threads, timeout=10_000)
    assert list(opened.viewer.layers) == [opened.image]
    assert "K" not in opened.viewer.keymap
    del jobs, lookups
    opened.widget = None
    posted(opened.hand.qtbot)
    gc.collect()
    assert session() is None


def test_real_clicks_on_real_nuclei_with_the_model_that_ships(hand, data_dir):
    folder = data_dir / NUCLEI
    name = sorted(path.name for path in (folder / "images").glob("*.png"))[0]
    image, truth = io.imread(folder / "images" / name), io.imread(folder / "labels" / name)
    opened = Opened(hand, image)
    label = int(np.bincount(truth[truth > 0]).argmax())
    rows, columns = np.nonzero(truth == label)
    opened.hand.click(rows.mean(), columns.mean())
    opened.wait_for_mask()
    opened.hand.press("k")
    found = opened.widget.binding.labels.data == 1
    real = truth == label
    assert (found & real).sum() / (found | real).sum() >= 0.7
    opened.close()


def test_closing_the_viewer_with_the_dock_open_is_quiet(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(np.zeros((60, 80), np.uint8))
    widget = SeganyWidget(viewer, load=FakeSegmenter)
    viewer.window.add_dock_widget(widget)
    settle(qtbot, widget.jobs)
    viewer.layers.clear()
    assert widget.binding is None
    widget.close_session()


def test_an_image_that_comes_later_can_be_clicked_at_once(hand):
    widget = SeganyWidget(hand.viewer, load=FakeSegmenter)
    hand.viewer.window.add_dock_widget(widget)
    hand.viewer.add_image(np.zeros((60, 80), np.uint8))
    hand.qtbot.waitUntil(lambda: hand.viewer.layers.selection.active is widget.binding.points)
    hand.click(30, 40)
    hand.qtbot.waitUntil(lambda: widget.session.mask is not None)
    widget.close_session()
    widget.jobs.join(10)


class TestAhead:
    def test_neighbours_of_a_slice_are_encoded_while_the_user_rests_and_nobody_sees_it(self, hand):
        segmenter = FakeSegmenter(radius=8)
        stack = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 60, 80), np.uint8)
        opened = Opened(hand, stack, segmenter)
        opened.viewer.dims.set_point(0, 2)
        busy: list[bool] = []
        hand.qtbot.waitUntil(lambda: len(segmenter.embedded) > 1, timeout=5000)
        opened.widget.jobs.busy.connect(busy.append)
        binding = opened.widget.binding
        planes, number = binding.planes.stack(binding.planes.view())
        assert number == 2
        answers = opened.widget.answers
        hand.qtbot.waitUntil(lambda: answers.ready(planes, 1) and answers.ready(planes, 3), timeout=5000)
        # both neighbours are there: a rest begins no more
        hand.qtbot.waitUntil(lambda: not opened.widget.answering._idle.isActive())
        opened.settle()
        assert not answers.ready(planes, 4)
        assert not busy
        opened.close()

    def test_a_click_comes_before_what_nobody_asked_for(self, hand):
        segmenter = FakeSegmenter(radius=8)
        opened = Opened(hand, np.zeros((3, 60, 80), np.uint8), segmenter)
        answering, jobs = opened.widget.answering, opened.widget.jobs
        hand.qtbot.waitUntil(lambda: len(opened.widget.answers.cache) == 3, timeout=5000)
        opened.widget.answers.cache.clear()
        segmenter.embedded.clear()
        held = threading.Event()
        jobs.run(lambda: held.wait(20), done=lambda _: None, failed=lambda _: None)
        answering._look_ahead()
        opened.hand.click(30, 40)
        answering._idle.blockSignals(True)
        held.set()
        opened.wait_for_mask()
        opened.settle()
        assert len(segmenter.embedded) == 1
        opened.close()
