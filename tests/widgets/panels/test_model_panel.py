"""Choosing a model: nothing is downloaded without a word."""

import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QFileDialog, QMessageBox, QPushButton, QStyleOptionViewItem
from safetensors.numpy import save_file

from napari_segany.core.errors import ModelError
from napari_segany.models import availability, registry
from napari_segany.widgets import main
from napari_segany.widgets.controllers import prediction_controller
from napari_segany.widgets.panels.model_panel import OWN, ModelPanel
from tests.fakes import FakeSegmenter
from tests.widgets.test_main import Opened


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What the user was asked, and what he says; no weights but the embedded ones are there."""
    texts = []
    monkeypatch.setattr(registry, "weights_folder", lambda: tmp_path)

    def question(parent, title, text):
        texts.append(f"{title}\n{text}")
        return QMessageBox.StandardButton.Yes if question.agrees else QMessageBox.StandardButton.No

    question.agrees = True
    monkeypatch.setattr(QMessageBox, "question", question)
    return texts, question


def choose(box: ModelPanel, name: str) -> None:
    box.setCurrentText(name)
    box.activated.emit(box.currentIndex())


def test_size_and_licence_are_told_before_a_download(qtbot, asked):
    texts, _ = asked
    box = ModelPanel("tiny")
    qtbot.addWidget(box)
    with qtbot.waitSignal(box.chosen) as chosen:
        choose(box, "vit_b")
    assert chosen.args[0].name == "vit_b"
    for part in ("375 MB", "Apache-2.0", "https://dl.fbaipublicfiles.com", "vit_b.pt"):
        assert part in texts[0]


def test_who_refuses_keeps_the_model(qtbot, asked):
    _, question = asked
    question.agrees = False
    box = ModelPanel("tiny")
    qtbot.addWidget(box)
    with qtbot.assertNotEmitted(box.chosen):
        choose(box, "vit_l")
    assert box.currentText() == "tiny"


def test_what_is_there_needs_no_question(qtbot, asked, tmp_path):
    texts, _ = asked
    (tmp_path / "vit_t.pt").touch()
    box = ModelPanel("tiny")
    qtbot.addWidget(box)
    with qtbot.waitSignal(box.chosen):
        choose(box, "vit_t")
    assert texts == []


def test_every_model_has_a_size_in_words():
    assert all(spec.size for spec in registry.list_models())
    assert replace(registry.find("vit_h"), bytes=None).size == "about 2564 MB"


@pytest.fixture
def opened(hand, asked):
    opened = Opened(hand, np.zeros((60, 80), np.uint8), FakeSegmenter(radius=8))
    yield opened
    opened.close()


def test_another_model_answers_the_open_question(opened, monkeypatch):
    loaded = []

    def load(name, progress):
        progress(10, 20)
        loaded.append(name)
        return FakeSegmenter(radius=3)

    monkeypatch.setattr(prediction_controller, "load_remote", load)
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    before = opened.widget.session.result.masks[0].pixels.sum()
    choose(opened.widget.model_box, "vit_t")
    opened.hand.qtbot.waitUntil(lambda: opened.widget.session.result.masks[0].pixels.sum() < before, timeout=10_000)
    assert loaded == ["vit_t"]
    assert opened.widget.model_box.used == "vit_t"


def test_a_model_that_cannot_be_had_changes_nothing(opened, monkeypatch):
    def load(name, progress):
        raise ModelError("there is no network")

    monkeypatch.setattr(prediction_controller, "load_remote", load)
    monkeypatch.setattr(main, "show_error", lambda text: None)
    choose(opened.widget.model_box, "vit_t")
    opened.hand.qtbot.waitUntil(lambda: opened.text == "there is no network", timeout=10_000)
    assert opened.widget.model_box.currentText() == "tiny"
    opened.hand.click(30, 40)
    opened.wait_for_mask()


def test_the_open_question_is_answered_when_a_model_cannot_be_had(opened, monkeypatch):
    begun, chosen = threading.Event(), threading.Event()

    def slow(stack, number, request, answer=opened.widget.answers.answer, **how):
        begun.set()
        chosen.wait(10)
        return answer(stack, number, request, **how)

    def load(name, progress):
        raise ModelError("there is no network")

    monkeypatch.setattr(opened.widget.answers, "answer", slow)
    monkeypatch.setattr(prediction_controller, "load_remote", load)
    monkeypatch.setattr(main, "show_error", lambda text: None)
    opened.hand.click(30, 40)
    opened.hand.qtbot.waitUntil(begun.is_set, timeout=10_000)
    choose(opened.widget.model_box, "vit_t")
    chosen.set()
    opened.wait_for_mask()


def test_another_choice_stops_the_download(opened, monkeypatch):
    ends, chosen = [], threading.Event()

    def load(name, progress):
        while name == "vit_b":
            try:
                progress(1_000_000, 4_000_000)
            except Exception as error:
                ends.append(error)
                raise
            assert chosen.wait(10)
        progress(1_000_000, 4_000_000)
        return FakeSegmenter(radius=3)

    monkeypatch.setattr(prediction_controller, "load_remote", load)
    choose(opened.widget.model_box, "vit_b")
    opened.hand.qtbot.waitUntil(lambda: opened.text == "Downloading: 1 MB of 4 MB", timeout=10_000)
    choose(opened.widget.model_box, "vit_t")
    chosen.set()
    opened.hand.qtbot.waitUntil(lambda: opened.widget.model_box.used == "vit_t", timeout=10_000)
    assert len(ends) == 1


def test_a_download_can_be_cancelled(opened, monkeypatch):
    ends, cancelled = [], threading.Event()

    def load(name, progress):
        try:
            while True:
                progress(1_000_000, 4_000_000)
                assert cancelled.wait(10)
        except Exception as error:
            ends.append(error)
            raise

    monkeypatch.setattr(prediction_controller, "load_remote", load)
    choose(opened.widget.model_box, "vit_t")
    opened.hand.qtbot.waitUntil(lambda: opened.text == "Downloading: 1 MB of 4 MB", timeout=10_000)
    next(b for b in opened.widget.status_box.findChildren(QPushButton) if b.text() == "Cancel").click()
    cancelled.set()
    opened.hand.qtbot.waitUntil(lambda: bool(ends), timeout=10_000)
    assert opened.widget.model_box.currentText() == "tiny"
    opened.hand.click(30, 40)
    opened.wait_for_mask()


def rows(box: ModelPanel) -> dict[str, tuple[int, bool, str, str]]:
    """Place, whether it can be chosen, text in the open list and tooltip, by name."""
    option, found = QStyleOptionViewItem(), {}
    for row in range(box.count()):
        index = box.model().index(row, 0)
        box.itemDelegate().initStyleOption(option, index)
        can = bool(index.flags() & Qt.ItemFlag.ItemIsEnabled)
        found[box.itemText(row)] = (row, can, option.text, box.itemData(row, Qt.ItemDataRole.ToolTipRole) or "")
    return found


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The folder of the user's own models; there is memory for all models, and the hub knows no one."""
    monkeypatch.setenv(registry.OWN_MODELS, str(tmp_path / "models"))
    monkeypatch.setattr(availability, "_logged_in", lambda: False)
    free(monkeypatch, 64e9)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def free(monkeypatch, size: float) -> None:
    memory = type("Memory", (), {"available": size})()
    monkeypatch.setattr(availability.psutil, "virtual_memory", lambda: memory)


def made(qtbot, name: str = "tiny") -> ModelPanel:
    box = ModelPanel(name)
    qtbot.addWidget(box)
    return box


def test_installed_models_come_first_then_downloads_then_what_cannot_be_used(qtbot, asked, own, tmp_path):
    shutil.copyfile(registry.find("tiny").path, own / "mine.safetensors")
    (tmp_path / "vit_t.pt").touch()
    found = rows(made(qtbot))
    order = [found[name][0] for name in ("tiny", "mine", "vit_t", "vit_b", "sam3", OWN)]
    assert order == sorted(order)
    assert [found[name][1] for name in ("tiny", "mine", "vit_t", "vit_b", "sam3", OWN)] == [True] * 4 + [False, True]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("tiny", ("in the package", "BSD-3-Clause", "microscopy")),
        ("vit_b", ("download, 375 MB", "Apache-2.0: any use, with the notice")),
        ("sam2.1_tiny", ("download, about 156 MB", "Apache-2.0: any use")),
        ("vit_b_lm", ("download, about 375 MB", "diplomatic-bug")),
    ],
)
def test_the_open_list_tells_size_and_licence(qtbot, asked, own, name, parts):
    text = rows(made(qtbot))[name][2]
    assert all(part in text for part in (name, *parts))
    assert "\n" not in text


@pytest.mark.parametrize(
    ("name", "state", "reason"),
    [
        ("sam2.1_tiny", "library", "needs the package transformers, which is not installed: pip install"),
        ("sam2.1_tiny", "old", "needs transformers 5 or later, and there is 4.57.1"),
        ("vit_h", "memory", "needs about 3.6 GB of memory, and 1.9 GB are free"),
        ("sam2.1_large", "memory", "needs about 2.0 GB of memory, and 1.9 GB are free"),
        ("sam3", "", "is gated: accept its licence at https://huggingface.co/facebook/sam3"),
        ("other", "", "is of another kind, 'bert'; supported are"),
        ("nothing", "", "is of another kind: its weights are not those of a SAM, first 'x'"),
        ("half", "", "is not a complete safetensors file"),
        ("broken", "", "is no JSON"),
    ],
)
def test_a_model_that_cannot_be_used_is_listed_with_the_reason(qtbot, asked, own, monkeypatch, name, state, reason):
    for folder, text in (("other", '{"model_type": "bert"}'), ("broken", "{")):
        (own / folder).mkdir()
        (own / folder / "config.json").write_text(text)
        (own / folder / "model.safetensors").touch()
    save_file({"x": np.zeros(3)}, own / "nothing.safetensors")
    (own / "half.safetensors").write_bytes(b"\x08")
    if state == "library":
        monkeypatch.setattr(availability, "find_spec", lambda package: None)
    if state == "old":
        monkeypatch.setattr(availability, "version", lambda package: "4.57.1")
    if state == "memory":
        free(monkeypatch, 1.9e9)
    box = made(qtbot)
    _, can, text, tip = rows(box)[name]
    assert not can
    assert reason in text
    assert reason in tip
    assert "\n" not in text
    with qtbot.assertNotEmitted(box.chosen):
        choose(box, name)
    assert box.currentText() == "tiny"
    assert rows(box)["tiny"][1]


def test_the_list_is_made_again_when_it_is_opened(qtbot, asked, own, monkeypatch):
    box = made(qtbot)
    assert "mine" not in rows(box)
    shutil.copyfile(registry.find("tiny").path, own / "mine.safetensors")
    free(monkeypatch, 1.5e9)
    box.showPopup()
    box.hidePopup()
    found = rows(box)
    assert found["mine"][1]
    assert not found["vit_h"][1]
    assert box.currentText() == "tiny"


def test_who_is_known_to_the_hub_may_download_what_is_gated(qtbot, asked, own, monkeypatch):
    monkeypatch.setattr(availability, "_logged_in", lambda: True)
    assert rows(made(qtbot))["sam3"][1]


def test_the_model_in_use_can_always_be_shown(qtbot, asked, own, tmp_path, monkeypatch):
    (tmp_path / "vit_h.pt").touch()
    free(monkeypatch, 1e6)
    assert made(qtbot, "vit_h").currentText() == "vit_h"


def test_the_wheel_does_not_change_the_model(qtbot, asked, own):
    box = made(qtbot)
    point = QPointF(5, 5)
    event = QWheelEvent(
        point, point, QPoint(), QPoint(0, -120), Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    with qtbot.assertNotEmitted(box.chosen):
        box.wheelEvent(event)
    assert not event.isAccepted()
    assert box.currentText() == "tiny"


@pytest.mark.parametrize("name", ["best.safetensors", "folder"])
def test_weights_of_ones_own_are_chosen_where_they_are(qtbot, asked, own, tmp_path, monkeypatch, name):
    place = tmp_path / name
    given = place
    if name == "folder":
        place.mkdir()
        given = place / "config.json"
        given.write_text('{"model_type": "sam2"}')
        (place / "model.safetensors").touch()
    else:
        shutil.copyfile(registry.find("tiny").path, place)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *given_to: (str(given), ""))
    box = made(qtbot)
    with qtbot.waitSignal(box.chosen) as chosen:
        choose(box, OWN)
    assert chosen.args[0].name == str(place)
    assert box.currentText() == "tiny"
    box.use(str(place))
    assert box.currentText() == name
    assert rows(box)[name][1]
    choose(box, "tiny")
    box.use("tiny")
    with qtbot.waitSignal(box.chosen) as chosen:
        choose(box, name)
    assert chosen.args[0].path == place


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", None),
        ("text.txt", "neither a file of weights"),
        ("missing.pt", "there is no checkpoint"),
        ("bert", "bert is of another kind, 'bert'"),
        ("empty", "holds no weights"),
    ],
)
def test_a_file_that_is_no_model_is_one_line(qtbot, asked, own, tmp_path, monkeypatch, name, reason):
    given = tmp_path / name
    if name in ("bert", "empty"):
        given.mkdir()
        (given / "config.json").write_text('{"model_type": "bert"}')
    if name == "bert":
        (given / "model.safetensors").touch()
    if name in ("bert", "empty"):
        given /= "config.json"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *given_to: (str(given) if name else "", ""))
    box, failures = made(qtbot), []
    box.failed.connect(failures.append)
    with qtbot.assertNotEmitted(box.chosen):
        choose(box, OWN)
    assert box.currentText() == "tiny"
    if reason is None:
        assert not failures
    else:
        assert reason in str(failures[0])
        assert "\n" not in str(failures[0])


def test_weights_of_ones_own_are_loaded_and_remembered(opened, own, tmp_path, monkeypatch):
    place, loaded = tmp_path / "best.safetensors", []

    def load(name, progress):
        loaded.append(name)
        return FakeSegmenter(radius=3)

    monkeypatch.setattr(prediction_controller, "load_remote", load)
    shutil.copyfile(registry.find("tiny").path, place)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *given_to: (str(place), ""))
    choose(opened.widget.model_box, OWN)
    opened.hand.qtbot.waitUntil(lambda: opened.widget.model_box.used == str(place), timeout=10_000)
    assert loaded == [str(place)]
    assert opened.widget.settings.get("model") == str(place)
    place.unlink()
    opened.widget.choices._use_last(str(place))
    assert loaded == [str(place)]
