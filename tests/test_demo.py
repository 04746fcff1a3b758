import subprocess
import sys

import numpy as np
import pytest
import tifffile
from napari import Viewer
from PIL import Image as Picture

from napari_segany import demo
from napari_segany.core.errors import InputError
from tests.fakes import FakeSegmenter


@pytest.fixture(autouse=True)
def no_weights(monkeypatch):
    monkeypatch.setattr(demo, "load_default", lambda: FakeSegmenter(radius=20))


def test_without_a_window_it_writes_labels_a_picture_and_the_iou(tmp_path):
    said = demo.run_demo(headless=True, out=tmp_path / "new")
    labels = tifffile.imread(tmp_path / "new" / "labels.tif")
    assert labels.shape == (512, 512)
    assert labels.max() == demo.OBJECTS
    assert np.array(Picture.open(tmp_path / "new" / "demo.png")).shape == (512, 512, 3)
    assert 0.3 < float(said.split("truth ")[1].split(";")[0]) <= 1


def test_without_a_display_it_does_without_a_window(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "has_display", lambda: False)
    assert "mean IoU" in demo.run_demo(out=tmp_path)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder"):
        demo.run_demo(headless=True, out=tmp_path / "file" / "below")


def test_in_a_window_prompts_are_placed_and_masks_kept(make_napari_viewer, qtbot):
    viewer: Viewer = make_napari_viewer(show=True)
    widget = demo.open_demo(viewer, load=lambda: FakeSegmenter(radius=20))
    for _ in demo.play(viewer, widget):
        qtbot.waitUntil(lambda: not widget.session.waiting, timeout=20_000)
    assert widget.binding.labels.data.max() == demo.OBJECTS
    assert "Your turn" in viewer.status
    widget.close_session()
    widget.jobs.join(10)


def test_a_nucleus_that_got_no_label_counts_nothing():
    truth = np.array([[1, 1, 2, 2, 3, 3]])
    found = np.array([[5, 5, 0, 0, 6, 0]])
    assert demo.mean_iou(found, truth, {1: 5, 2: 0, 3: 6}) == pytest.approx((1 + 0 + 0.5) / 3)


def test_without_a_window_qt_is_not_needed(tmp_path):
    code = "import sys; import napari_segany.demo; print([m for m in sys.modules if 'qtpy' in m or 'PySide' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
