"""Choosing a model: nothing is downloaded without a word."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtWidgets import QMessageBox, QPushButton

from napari_segany.core.errors import ModelError
from napari_segany.models import registry
from napari_segany.widgets import main
from napari_segany.widgets.controllers import prediction_controller
from napari_segany.widgets.panels.model_panel import ModelPanel
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

    def slow(stack, number, request, answer=opened.widget.answers.answer):
        begun.set()
        chosen.wait(10)
        return answer(stack, number, request)

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
