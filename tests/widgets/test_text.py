"""Objects that are named, in a real window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from napari_segany.core.errors import InputError
from napari_segany.core.filters import Filters
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding
from napari_segany.core.text_query import Phrase
from tests.fakes import KnowingSegmenter
from tests.widgets.conftest import Hand, Opened


class ReadingSegmenter(KnowingSegmenter):
    """Knows one word, and that the last of its objects is what it names."""

    capabilities = Capabilities(proposals=True, texts=True, filters=Filters(stability=0))

    def phrases(self, text: str) -> list[Phrase]:
        if "nucleus" not in text:
            raise InputError(f"'{text}' is not known to this model; nearest: nucleus")
        return [Phrase("nucleus", tuple(word for word in ("round", "elongated") if word in text))]

    def named_proposals(self, embedding: ImageEmbedding, phrases: Sequence[Phrase]) -> list[Prompt]:
        (phrase,) = phrases
        return [Prompt((place,), text=phrase.label) for place in self.places[1:]]


class TwoWords(KnowingSegmenter):
    """Knows two words: the first place is a nucleus, the others are cells."""

    capabilities = Capabilities(proposals=True, texts=True, filters=Filters(stability=0))

    def phrases(self, text: str) -> list[Phrase]:
        return [Phrase(word.strip()) for word in text.split(";")]

    def named_proposals(self, embedding: ImageEmbedding, phrases: Sequence[Phrase]) -> list[Prompt]:
        names = ["nucleus", "cell", "cell"]
        asked = [phrase.name for phrase in phrases]
        return [Prompt((p,), text=n) for p, n in zip(self.places, names, strict=True) if n in asked]


@pytest.fixture
def reading(hand: Hand) -> Iterator[Opened]:
    places = [Point(15, 15), Point(15, 40), Point(40, 60)]
    opened = Opened(hand, np.zeros((60, 80), np.uint8), ReadingSegmenter(places, radius=8))
    yield opened
    opened.close()


def name(opened: Opened, text: str) -> None:
    words = opened.widget.everything_box._words
    opened.widget.tabs.show_box(opened.widget.everything_box)
    words.setFocus()
    words.setText(text)
    words.returnPressed.emit()
    opened.hand.qtbot.waitUntil(lambda: not opened.widget.jobs._open)


def test_what_is_named_is_found_filtered_and_kept_with_its_name(reading: Opened) -> None:
    widget = reading.widget
    name(reading, "nucleus")
    assert "2 objects" in reading.text
    widget.everything_box._score.setValue(0.99)
    assert "0 objects" in reading.text
    widget.everything_box._score.setValue(0.5)
    widget.keep()
    labels = widget.binding.labels
    assert labels.data[15, 15] == 0
    assert labels.data[15, 40] > 0
    assert labels.data[40, 60] > 0
    widget.objects_box.update_now()
    assert labels.features["name"].tolist() == ["nucleus", "nucleus"]
    assert set(labels.features["how"]) == {"text"}


def test_attributes_choose_among_them_without_the_model(reading: Opened) -> None:
    name(reading, "round nucleus")
    preview = reading.widget.binding.preview.layer
    assert preview.data[40, 60]
    assert preview.data[15, 40]
    name(reading, "elongated nucleus")
    assert not preview.data.any(), "discs are not"


def test_an_unknown_word_is_answered_in_one_line_and_nothing_is_left_to_keep(reading: Opened) -> None:
    name(reading, "nucleus")
    name(reading, "mitochondria")
    assert "not known to this model; nearest: nucleus" in reading.text
    assert not reading.widget.binding.preview.layer.data.any(), "what was found before answers another question"
    assert not reading.widget.everything_box._keep.isEnabled()


def test_terms_are_remembered(reading: Opened) -> None:
    for text in ("nucleus", "round nucleus", "nucleus"):
        name(reading, text)
    assert reading.widget.everything_box.terms == ["nucleus", "round nucleus"]
    assert reading.widget.settings.get("terms") == "nucleus\nround nucleus"


def test_several_names_have_colours_and_a_legend_and_keep_them_when_asked(hand: Hand) -> None:
    places = [Point(15, 15), Point(15, 40), Point(40, 60)]
    opened = Opened(hand, np.zeros((60, 80), np.uint8), TwoWords(places, radius=6))
    widget = opened.widget
    name(opened, "nucleus; cell")
    preview = widget.binding.preview.layer
    nucleus, one, other = (preview.get_color(preview.data[int(p.y), int(p.x)]) for p in places)
    np.testing.assert_allclose(one, other)
    assert not np.allclose(nucleus, one)
    legend = widget.everything_box._legend
    assert "2 cell" in legend.text()
    assert "1 nucleus" in legend.text()
    widget.keep()
    assert legend.isHidden()
    labels = widget.binding.labels
    own = labels.colormap
    widget.objects_box.update_now()
    assert labels.colormap is own
    widget.objects_box._by_name.setChecked(True)
    cells = [label for label in (1, 2, 3) if widget.objects_box.objects.about(label).name == "cell"]
    np.testing.assert_allclose(*(labels.get_color(label) for label in cells))
    widget.objects_box._by_name.setChecked(False)
    assert labels.colormap is own
    opened.hand.click(50, 15)
    opened.wait_for_mask()
    assert not np.allclose(preview.get_color(widget.session.label), nucleus), "a lone mask has the colour of its label"
    opened.close()
