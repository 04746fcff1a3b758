"""A model of one's own from the committed objects, in a real window; a stand-in trains."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_segany.core.planes import Stack
from napari_segany.core.prompts import Point
from napari_segany.io.labels import read_labels
from napari_segany.models import registry
from napari_segany.models.inference_config import write_metadata
from napari_segany.training.fine_tune_report import FineTuneReport, report_metadata
from napari_segany.training.generations import generations
from napari_segany.training.held_out_examples import HeldOutExample, make_example
from napari_segany.widgets import command_process
from napari_segany.widgets.controllers.learning_controller import write_labelled
from napari_segany.widgets.panels.held_out_view import HeldOutView
from tests.fakes import KnowingSegmenter
from tests.widgets.conftest import Hand, Opened

PLACES = [Point(y, x) for y in (12, 30, 48) for x in (20, 40, 60)]


@pytest.fixture
def kept(hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Nine objects are committed, and the models of the user lie in a folder of the test."""
    monkeypatch.setenv(registry.OWN_MODELS, str(tmp_path / "models"))
    opened = Opened(hand, np.zeros((60, 80), np.uint8), KnowingSegmenter(PLACES, radius=5))
    opened.widget.find_everything()
    opened.settle()
    opened.widget.keep()
    opened.settle()
    opened.widget.tabs.show_box(opened.widget.learn_box)
    opened.settle()
    yield opened
    opened.close()


def train_with(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a shell script train."""
    program = tmp_path / "trainer"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(command_process, "PYTHON", str(program))


def told(stage: str, done: int) -> str:
    return "echo '" + json.dumps({"stage": stage, "done": done, "total": 4, "seconds_left": 3.0}) + "'"


def ended(opened: Opened) -> None:
    # the folder is there from the press of the button on; a process may have ended before anyone looks for it
    opened.hand.qtbot.waitUntil(lambda: opened.widget.learning._folder is None, timeout=20_000)


def test_the_panel_counts_what_there_is_to_learn_from(kept: Opened) -> None:
    assert "9 objects; about 1 min" in kept.widget.learn_box._masks.text()
    assert kept.widget.learn_box._start.isEnabled()


def test_a_model_is_learned_used_and_left_again(kept: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = registry.find("tiny").path
    made = tmp_path / "models" / "my-model.safetensors"
    seen = tmp_path / "seen"
    lines = [told("train", 2), f"cp -r $(dirname $5) {seen}", f"mkdir -p {made.parent}", f"cp {shipped} {made}"]
    lines += ["echo 'One click improved from 0.50 to 0.90 on 3 held-out masks.'", f"echo 'wrote {made}'"]
    train_with("\n".join(lines), tmp_path, monkeypatch)
    box = kept.widget.learn_box
    box._start.click()
    ended(kept)
    assert "0.50 to 0.90" in box._result.text()
    assert len(np.unique(read_labels(next((seen / "labels").iterdir())))) == 10
    box.models._use.click()
    kept.settle()
    assert kept.widget.answers.name.startswith("my-model-")
    assert kept.widget.model_box.currentText() == "my-model"
    box.models._revert.click()
    kept.settle()
    assert kept.widget.answers.name == "tiny"


def test_a_model_that_did_not_get_better_is_not_offered(
    kept: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with("echo 'The model was not improved.'; echo 'nothing was written'", tmp_path, monkeypatch)
    kept.widget.learn_box._start.click()
    ended(kept)
    assert "not improved" in kept.widget.learn_box._result.text()
    assert not kept.widget.learn_box.models._use.isEnabled()


def example(before: float, after: float) -> HeldOutExample:
    truth = np.zeros((40, 40), bool)
    truth[5:30, 5:30] = True
    made = make_example(np.zeros((40, 40, 3), np.uint8), truth, truth, truth)
    return replace(made, before=before, after=after)


def pictures(view: HeldOutView) -> list[str]:
    return [part.text() for part in view.findChildren(QLabel) if part.isVisibleTo(view) and part.text()[:2] == "0."]


def test_held_out_objects_of_a_model_that_was_not_kept_are_shown(
    kept: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    told.write_text(json.dumps({"examples": [asdict(example(0.5, 0.25)), asdict(example(0.4, 0.75))]}) + "\n")
    train_with(f"cat {told}; echo 'The model was not improved.'; echo 'nothing was written'", tmp_path, monkeypatch)
    box = kept.widget.learn_box
    box._start.click()
    ended(kept)
    assert pictures(box.examples) == ["0.50", "0.25", "0.40", "0.75"]
    assert "not improved" in box._result.text()
    assert "examples" not in box._result.text()


def own_model(folder: Path, name: str, day: int) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.safetensors"
    shutil.copy(registry.find("tiny").path, path)
    numbers = (40, 9, 3, 0.55, 0.89, 0.2, 0.4, 0.75, 0.8, 0.79, 60, 75.0)
    report = FineTuneReport("tiny", name, "", *numbers, made=f"2026-11-{day:02}T10:00:00+00:00")
    write_metadata(path, report_metadata(report, [example(0.1 * day, 0.9)]))


def test_generations_are_listed_seen_used_noted_and_left_for_their_parent(kept: Opened, tmp_path: Path) -> None:
    own_model(tmp_path / "models", "first", 1)
    own_model(tmp_path / "models", "second", 2)
    box, models = kept.widget.learn_box, kept.widget.learn_box.models
    kept.widget.learning.list_models()
    assert [models._table.item(row, 0).text() for row in range(2)] == ["second", "first"]
    assert pictures(box.examples) == ["0.20", "0.90"]
    kept.hand.qtbot.mouseClick(
        models._table.viewport(),
        Qt.MouseButton.LeftButton,
        pos=models._table.visualItemRect(models._table.item(1, 0)).center(),
    )
    kept.settle()
    assert models.name == "first"
    assert pictures(box.examples) == ["0.10", "0.90"]
    assert "1 Nov 2026" in models.facts.text()
    models._use.click()
    kept.settle()
    assert kept.widget.model_box.currentText() == "first"
    assert models._use.text() == "In use"
    models._note.setText("round cells")
    models._note.editingFinished.emit()
    assert {one.name: one.report.note for one in generations() if one.report} == {"first": "round cells", "second": ""}
    assert models.name == "first", "the same stays selected"
    assert models._revert.text() == "Revert to tiny"
    models._revert.click()
    kept.settle()
    assert kept.widget.answers.name == "tiny"
    assert not models._revert.isEnabled()


def test_what_goes_wrong_is_one_line(kept: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_with("echo 'napari-segany: no room on the disk' >&2; exit 2", tmp_path, monkeypatch)
    kept.widget.learn_box._start.click()
    ended(kept)
    assert "no room on the disk" in kept.text
    assert kept.widget.learn_box._start.isEnabled()


def test_it_can_be_cancelled(kept: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_with(f"{told('train', 1)}; exec sleep 100", tmp_path, monkeypatch)
    box = kept.widget.learn_box
    box._start.click()
    kept.hand.qtbot.waitUntil(lambda: box._bar.value() == 1, timeout=20_000)
    box._stop.click()
    assert "Cancelled" in box._result.text()
    assert not kept.widget.learning._process.running
    assert not (tmp_path / "models").exists()


def test_a_bad_name_is_refused(kept: Opened) -> None:
    kept.widget.learn_box._name.setText("../there")
    kept.widget.learn_box._start.click()
    assert "is no name for a model" in kept.text


def test_a_model_is_never_replaced(kept: Opened, tmp_path: Path) -> None:
    made = tmp_path / "models" / "my-model.safetensors"
    made.parent.mkdir()
    made.write_bytes(b"mine")
    kept.widget.learn_box._start.click()
    assert "there is a model 'my-model' already" in kept.text
    kept.widget.learn_box._name.setText("tiny")
    kept.widget.learn_box._start.click()
    assert "'tiny' is a published model" in kept.text
    assert made.read_bytes() == b"mine"


def test_a_program_that_cannot_be_started_is_one_line(
    kept: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_process, "PYTHON", str(tmp_path / "gone"))
    kept.widget.learn_box._start.click()
    kept.hand.qtbot.waitUntil(lambda: "could not be started" in kept.text, timeout=20_000)
    assert kept.widget.learn_box._start.isEnabled()


def test_it_can_be_cancelled_before_the_program_starts(kept: Opened) -> None:
    kept.widget.learn_box._start.click()
    kept.widget.learn_box._stop.click()
    assert "Cancelled" in kept.widget.learn_box._result.text()
    kept.settle()
    assert not kept.widget.learning._process.running
    assert kept.widget.learn_box._start.isEnabled()


def test_only_planes_with_objects_are_written(tmp_path: Path) -> None:
    labels = np.zeros((4, 20, 20), np.int32)
    labels[2, 3:9, 3:9] = 5
    write_labelled(Stack(np.zeros((4, 20, 20), np.uint8)), labels, tmp_path)
    (image,) = (tmp_path / "images").iterdir()
    assert tifffile.imread(image).shape == (20, 20, 3)
    assert read_labels(tmp_path / "labels" / f"{image.stem}_labels.tif").max() == 5
