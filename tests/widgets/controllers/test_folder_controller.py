"""A round of the data engine from the window; a stand-in learns and segments."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QFileDialog

from napari_segany.batch.data_engine import session_images
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.prompts import Point
from napari_segany.io.export import export_labels
from napari_segany.models import registry
from napari_segany.widgets import command_process
from napari_segany.widgets.controllers.folder_controller import model_name
from tests.fakes import KnowingSegmenter
from tests.widgets.conftest import Hand, Opened


@pytest.fixture
def opened(hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """An image of a folder of three, with the tab Learn in sight."""
    monkeypatch.setenv(registry.OWN_MODELS, str(tmp_path / "models"))
    folder = tmp_path / "plate 7"
    folder.mkdir()
    for number, name in enumerate("abc"):
        tifffile.imwrite(folder / f"{name}.tif", np.full((60, 80), number, np.uint8))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "results"))
    made = Opened(hand, np.zeros((60, 80), np.uint8), KnowingSegmenter([Point(20, 20)], radius=5))
    made.viewer.layers.clear()
    made.viewer.open(folder / "a.tif", plugin="napari")
    made.settle()
    made.widget.tabs.show_box(made.widget.learn_box)
    made.settle()
    yield made
    made.close()


def engine_is(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a shell script be the program; it writes what it is called with to a file."""
    program, seen = tmp_path / "program", tmp_path / "seen"
    program.write_text(f'#!/bin/sh\necho "$@" > {seen}\n{script}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(command_process, "PYTHON", str(program))
    return seen


def ended(opened: Opened) -> None:
    opened.hand.qtbot.waitUntil(lambda: not opened.widget.learn_box.folder._stop.isEnabled(), timeout=20_000)


def test_the_folder_of_the_image_is_learned_from(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = engine_is("echo 'segmented 2 images'; echo 'least certain: c.tif'", tmp_path, monkeypatch)
    box = opened.widget.learn_box.folder
    assert "plate 7" in box._title.text()
    box._start.click()
    ended(opened)
    assert "least certain: c.tif" in box._result.text()
    told = seen.read_text()
    assert f"engine {tmp_path / 'plate 7'} -o {tmp_path / 'results'} --name plate 7 --json-progress" in told


def test_what_goes_wrong_is_one_line(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine_is("echo 'napari-segany: no image has been annotated yet' >&2; exit 2", tmp_path, monkeypatch)
    opened.widget.learn_box.folder._start.click()
    ended(opened)
    assert "no image has been annotated yet" in opened.text
    assert opened.widget.learn_box.folder._start.isEnabled()


def test_it_can_be_cancelled(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = engine_is("exec sleep 100", tmp_path, monkeypatch)
    box = opened.widget.learn_box.folder
    box._start.click()
    opened.hand.qtbot.waitUntil(seen.exists, timeout=20_000)
    box._stop.click()
    assert "Cancelled" in box._result.text()
    assert box._start.isEnabled()


def test_the_folder_of_the_images_is_no_place_for_results(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = engine_is("", tmp_path, monkeypatch)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "plate 7"))
    opened.widget.learn_box.folder._start.click()
    assert "choose another for the results" in opened.text
    assert not seen.exists()


def test_an_image_that_is_in_no_file_has_no_folder(opened: Opened) -> None:
    opened.viewer.layers.clear()
    opened.viewer.add_image(np.zeros((40, 40), np.uint8))
    opened.settle()
    assert not opened.widget.learn_box.folder._start.isEnabled()


@pytest.mark.parametrize(
    ("folder", "name"),
    [("plate 7", "plate 7"), ("µ-cells", "µ-cells"), (".hidden", "hidden"), ("a&b", "a-b"), ("", "folder")],
)
def test_models_are_called_as_the_folder(folder: str, name: str) -> None:
    assert model_name(folder) == name
    registry.new_own_model(name)


def test_labels_of_a_batch_are_automatic_until_they_are_confirmed(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what a round found, the next round learns what the user changed or accepted, and nothing else."""
    labels = np.zeros((60, 80), np.int32)
    labels[2:12, 2:12], labels[30:45, 30:45], labels[30:45, 60:75] = 1, 2, 3
    known = [ObjectInfo(label, score=0.9, source="automatic") for label in (1, 2, 3)]
    for ending in ("_labels.tif", "_objects.csv"):
        export_labels(labels, tmp_path / f"a{ending}", objects=known, axes="yx")
    (layer,) = opened.viewer.open(tmp_path / "a_labels.tif", layer_type="labels", plugin="napari")
    opened.settle()
    opened.widget.layer_box.labels.value = layer
    opened.settle()
    opened.widget.objects_box.update_now()
    assert opened.widget.objects_box.objects.unconfirmed == [1, 2, 3]
    opened.widget.objects_box.set_state([2], "accepted")
    opened.widget.binding.points.add((20, 20))
    opened.wait_for_mask()
    opened.widget.keep()
    opened.settle()
    opened.widget.keeper.flush()
    ((_, ((_, _, own),)),) = session_images(tmp_path / "plate 7").items()
    assert own[5, 5] == own[35, 65] == 0
    assert own[35, 35] > 0
    assert own[20, 20] > 0
