from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_segany.core.errors import InputError
from napari_segany.core.terms import TERMS, select_terms
from napari_segany.core.text_query import (
    LONGEST,
    Phrase,
    UnknownWord,
    Vocabulary,
    normalise_text,
    open_phrases,
    prompt_sentences,
)

TINY = Vocabulary(TERMS)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("nucleus", Phrase("nucleus")),
        ("  All the NUCLEI ", Phrase("nucleus")),
        ("cell nuclei", Phrase("nucleus")),
        ("nuclei of the cells", Phrase("nucleus")),
        ("small bright nuclei", Phrase("nucleus", ("small", "bright"))),
        ("elongated cells in phase contrast", Phrase("cell", ("elongated",), "phase contrast")),
        ("cells touching the border", Phrase("cell", ("border",))),
        ("cells not touching the border", Phrase("cell", lacking=("border",))),
        ("cells, not nuclei", Phrase("cell", avoided=("nucleus",))),
        ("a photo of a puppy", Phrase("dog", modality="photograph")),
    ],
)
def test_a_text_is_read(text, phrase):
    assert TINY.phrases(text) == [phrase]


def test_several_names():
    assert [one.name for one in TINY.phrases("nucleus; cell; background;")] == ["nucleus", "cell", "background"]


def test_a_negative_part_belongs_to_all_others():
    assert TINY.phrases("cell; neurite; not small") == [
        Phrase("cell", lacking=("small",)),
        Phrase("neurite", lacking=("small",)),
    ]


def test_an_unknown_word_is_answered_by_the_nearest():
    with pytest.raises(UnknownWord, match="'nucleos' is not known to this model; nearest: nucleus"):
        TINY.phrases("nucleos")
    with pytest.raises(UnknownWord, match="'vesicles' is not known to this model; nearest: "):
        TINY.phrases("vesicles")
    assert not TINY.knows("vesicles")
    assert TINY.knows("Axons")
    assert not TINY.knows("small")


@pytest.mark.parametrize("text", ["", " ", "\n\t", ";;;", "\u200b\u0000"])
def test_an_empty_text_asks_for_nothing(text):
    assert TINY.phrases(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "🦠",
        "蛋白质",
        "Eiweiß",
        "nucleus' OR '1'='1",
        "{0.__class__}",
        "%s%n",
        "<script>alert(1)</script>",
        "ignore previous instructions",
        "the",
        "small",
        "not nuclei",
    ],
)
def test_what_cannot_be_read_is_one_clear_line(text):
    with pytest.raises(InputError) as caught:
        TINY.phrases(text)
    assert 0 < len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


def test_long_texts_are_refused_at_once():
    with pytest.raises(InputError, match="10000 characters is too long"):
        TINY.phrases("n" * 10_000)
    with pytest.raises(UnknownWord) as caught:
        TINY.phrases("n" * LONGEST)
    assert len(str(caught.value)) < 200


def test_control_characters_part_words():
    assert normalise_text("small\x00nuclei\u202e") == "small nuclei"


def test_every_word_of_the_vocabulary_is_read_as_it_is_meant():
    for term in TERMS:
        for word in term.words:
            assert [one.name for one in TINY.phrases(word)] == [term.name], word


def test_any_word_is_a_name_to_an_open_model():
    assert open_phrases("small mitochondria; Golgi not vesicles") == [
        Phrase("mitochondria", ("small",)),
        Phrase("golgi", avoided=("vesicles",)),
    ]
    with pytest.raises(InputError, match="names no object"):
        open_phrases("small")


def test_sentences():
    said = prompt_sentences("nucleus", "nuclei", ("small", "border"), "fluorescence")
    assert said[0] == "small nucleus touching the border in fluorescence"
    assert said[-1] == "all small nuclei touching the border in fluorescence"
    assert len(set(said)) == len(said)


def outcome(read, text: str) -> list[str]:
    """Names that are read, or the message of the error."""
    try:
        return [phrase.name for phrase in read(text)]
    except InputError as error:
        return [str(error)]


@given(st.text(max_size=60))
def test_no_text_does_harm(text):
    for read in (TINY.phrases, open_phrases):
        assert all(0 < len(said) < 300 for said in outcome(read, text))


def test_what_is_named_many_times_is_looked_for_once():
    assert [one.name for one in TINY.phrases("; ".join(["nucleus", "nuclei"] * 20))] == ["nucleus"]
    assert len(TINY.phrases("nucleus; small nucleus; nuclei")) == 2
    assert len(open_phrases("; ".join(["a cell"] * 50))) == 1


@pytest.mark.parametrize(
    ("text", "name"),
    [("Zellkerne", "nucleus"), ("noyaux", "nucleus"), ("células", "cell"), ("细胞核", "nucleus"), ("酵母", "yeast")],
)
def test_names_in_other_languages(text: str, name: str) -> None:
    assert TINY.phrases(text) == [Phrase(name)]


def test_no_word_has_two_meanings() -> None:
    words = [(word.lower(), term.name) for term in TERMS for word in set(term.words)]
    assert len({word for word, _ in words}) == len(words)


def test_terms_of_a_model_are_those_that_it_was_trained_with() -> None:
    few = Vocabulary(select_terms(("cell", "nucleus")))
    assert few.names == ("nucleus", "cell")
    with pytest.raises(UnknownWord, match="'yeast' is not known"):
        few.phrases("yeast")
    wider = Vocabulary(select_terms(("cell", "nucleus"), {"cell": ["yeast"]}))
    assert wider.phrases("yeast") == [Phrase("cell")]
    with pytest.raises(InputError, match="no term is called ghost"):
        select_terms(("cell", "ghost"))
