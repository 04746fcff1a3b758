"""Parsing of a text into names, attributes and exclusions, and the vocabularies of models.

A small model that was trained on a few names must not guess at others. So a text is read word by word against the
model's vocabulary, and an unknown word is an error that names the nearest known ones.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from napari_segany.core.errors import InputError
from napari_segany.core.terms import Term

LONGEST = 400
"""Characters of a text, at most."""
SHOWN = 40
"""Characters of a strange word that a message repeats."""
NEAREST = 3
"""Known names that are offered for one that is not known."""
LISTED = 8
"""Names that a message lists, at most."""
PHRASE_WORDS = 4
"""Words of the longest synonym."""


class UnknownWord(InputError):
    """A text holds a word that the model was not taught."""


ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "small": ("small", "tiny", "little", "smaller", "smallest"),
    "large": ("large", "big", "huge", "larger", "largest", "bigger", "biggest"),
    "bright": ("bright", "light", "brighter", "brightest", "strongly stained"),
    "dark": ("dark", "dim", "faint", "darker", "darkest", "weakly stained"),
    "round": ("round", "circular", "spherical", "roundish", "compact"),
    "elongated": ("elongated", "long", "slender", "spindle-shaped", "stretched", "oblong", "thin"),
    "textured": ("textured", "grainy", "granular", "rough", "uneven"),
    "smooth": ("smooth", "uniform", "homogeneous", "even"),
    "border": (
        "touching the border",
        "touching the edge",
        "at the border",
        "at the edge",
        "on the border",
        "on the edge",
        "cut by the border",
        "border",
    ),
}
"""Attributes and the words for them; :mod:`napari_segany.core.attributes` measures them."""

MODALITIES: Mapping[str, tuple[str, ...]] = {
    "fluorescence": ("fluorescence", "fluorescent", "confocal", "widefield"),
    "stained tissue": ("stained tissue", "stained", "histology", "h&e", "he", "histopathology", "tissue"),
    "brightfield": ("brightfield", "bright field", "bright-field", "transmitted light"),
    "phase contrast": ("phase contrast", "phase-contrast", "unstained", "dic"),
    "electron microscopy": ("electron microscopy", "electron microscope", "em", "fib-sem", "tem"),
    "photograph": ("photograph", "photo", "photos", "natural image"),
}
"""Kinds of pictures and the words for them."""

_FILLERS = frozenset(
    (
        *(
            "a",
            "an",
            "the",
            "all",
            "every",
            "each",
            "any",
            "some",
            "of",
            "in",
            "on",
            "with",
            "and",
            "that",
            "are",
            "is",
        ),
        *("which", "this", "there", "here", "from", "please", "find", "segment", "select", "show", "showing", "me"),
        *("only", "just", "object", "objects", "plane", "picture", "pictures", "image", "images"),
        *("microscopy", "microscope"),
    )
)
_NEGATIONS = frozenset(("not", "without", "no", "except", "excluding", "but"))
_LINKS = frozenset(("of", "in", "from", "with"))

TEMPLATES = ("{}", "a {}", "{s}", "a picture of a {}", "a picture of {s}", "all {s}")
"""Sentences around a name; ``{}`` is its singular, ``{s}`` its plural."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """One kind of object that a text names.

    Parameters
    ----------
    name : str
        A name of the vocabulary, or the words themselves where the model has no fixed vocabulary.
    attributes : tuple of str
        Attributes that it must have, keys of ``ATTRIBUTES``.
    modality : str
        Kind of picture, a key of ``MODALITIES``, or empty.
    avoided : tuple of str
        Names of kinds of objects that it must not be.
    lacking : tuple of str
        Attributes that it must not have.
    """

    name: str
    attributes: tuple[str, ...] = ()
    modality: str = ""
    avoided: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def spoken(self) -> str:
        """The name and the kind of picture, as a text that is read the same way."""
        return f"{self.name} in {self.modality}" if self.modality else self.name

    @property
    def label(self) -> str:
        """What to call what was found."""
        parts = [*self.attributes, self.name, *(f"not {one}" for one in (*self.avoided, *self.lacking))]
        return " ".join(parts)


def normalise_text(text: str) -> str:
    """A text without control characters, in lower case, single spaces between words.

    Raises
    ------
    InputError
        It is longer than ``LONGEST`` characters.
    """
    if len(text) > LONGEST:
        raise InputError(f"a text of {len(text)} characters is too long; {LONGEST} at most")
    plain = unicodedata.normalize("NFKC", text)
    plain = "".join(" " if unicodedata.category(one)[0] in "CZ" else one for one in plain)
    return " ".join(plain.lower().split())


class Vocabulary:
    """Which words a model knows.

    Parameters
    ----------
    terms : sequence of Term
        What it was taught.
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = {term.name: term for term in terms}
        self._meaning = {_key(word): ("name", term.name) for term in terms for word in term.words}
        for kind, table in (("attribute", ATTRIBUTES), ("modality", MODALITIES)):
            for meant, words in table.items():
                self._meaning |= {_key(word): (kind, meant) for word in words if _key(word) not in self._meaning}

    @property
    def names(self) -> tuple[str, ...]:
        """Names that a text may use."""
        return tuple(self.terms)

    def knows(self, name: str) -> bool:
        """Whether a single name, or a synonym of one, is in the vocabulary."""
        return self._meaning.get(_key(normalise_text(name)), ("",))[0] == "name"

    def nearest(self, word: str) -> list[str]:
        """Known names that are spelled most alike, or the first ones where none is."""
        known = [one for one, (kind, _) in self._meaning.items() if kind == "name"]
        near = difflib.get_close_matches(word, known, 2 * NEAREST, cutoff=0.5)
        found = dict.fromkeys(self._meaning[one][1] for one in near) or dict.fromkeys(self.names)
        return list(found)[:NEAREST]

    def phrases(self, text: str) -> list[Phrase]:
        """Read a text.

        Parameters
        ----------
        text : str
            Names with attributes before or after them, several parted by ``;``. What follows "not" or "without" is
            what it must not be; a part that begins with it belongs to all others.

        Returns
        -------
        list of Phrase
            One for each part, in order, those that mean the same once; none for an empty text.

        Raises
        ------
        UnknownWord
            A word is not in the vocabulary; the message names the nearest.
        InputError
            The text is too long, or a part names nothing.
        """
        wanted: list[Phrase] = []
        avoided: tuple[str, ...] = ()
        lacking: tuple[str, ...] = ()
        for part in filter(None, (one.strip() for one in normalise_text(text).split(";"))):
            phrase = self._phrase(part)
            if phrase.name:
                wanted.append(phrase)
            else:
                avoided, lacking = avoided + phrase.avoided, lacking + phrase.lacking
        if not wanted and (avoided or lacking):
            raise InputError("the text only excludes objects; name what to find, as in 'cells, not nuclei'")
        whole = (
            replace(one, avoided=one.avoided + avoided, lacking=one.lacking + lacking) if avoided or lacking else one
            for one in wanted
        )
        # named twice, or by a synonym, it is searched for once
        return list(dict.fromkeys(whole))

    def _phrase(self, part: str) -> Phrase:
        words: dict[str, list[str]] = {"name": [], "attribute": [], "modality": [], "avoided": [], "lacking": []}
        negative = linked = False
        for word, kind, meant in self._read(part):
            if kind == "negation":
                negative = True
            elif kind == "name" and negative:
                words["avoided"].append(meant)
            elif kind == "attribute" and negative:
                words["lacking"].append(meant)
            elif kind == "name" and words["name"] and linked:
                continue  # "nuclei of cells" are nuclei
            elif kind:
                words[kind].append(meant)
            linked = linked or word in _LINKS
        if not any(words.values()):
            raise InputError(f"{part[:SHOWN]!r} names nothing; this model knows {_listed(self.names)}")
        if not words["name"] and not negative:
            raise InputError(f"{part[:SHOWN]!r} names no object; add a name, such as {self.names[0]}")
        attributes, avoided, lacking = (tuple(dict.fromkeys(words[k])) for k in ("attribute", "avoided", "lacking"))
        name, modality = (words[kind][-1] if words[kind] else "" for kind in ("name", "modality"))
        return Phrase(name, attributes, modality, avoided, lacking)

    def _read(self, part: str) -> Iterator[tuple[str, str, str]]:
        """Words of a part with what they are and mean, the longest that are known together."""
        words = _words(part)
        at = 0
        while at < len(words):
            for length in range(min(PHRASE_WORDS, len(words) - at), 0, -1):
                word = " ".join(words[at : at + length])
                if word in self._meaning:
                    yield (word, *self._meaning[word])
                    break
                if length == 1:
                    yield word, *self._small_word(word)
            at += length

    def _small_word(self, word: str) -> tuple[str, str]:
        if word in _NEGATIONS:
            return "negation", ""
        if word in _FILLERS:
            return "", ""
        raise UnknownWord(f"{word[:SHOWN]!r} is not known to this model; nearest: {', '.join(self.nearest(word))}")


def open_phrases(text: str) -> list[Phrase]:
    """Read a text for a model with an open vocabulary, such as a CLIP: names are not looked up.

    Attributes are recognised as by :class:`Vocabulary`, and so is "not"; the remaining words are the name.

    Raises
    ------
    InputError
        The text is too long, or a part names no object.
    """
    meaning = {_key(word): meant for meant, words in ATTRIBUTES.items() for word in words}
    phrases = []
    for part in filter(None, (one.strip() for one in normalise_text(text).split(";"))):
        wanted, _, avoided = part.partition(" not ")
        words = _words(wanted)
        attributes = tuple(dict.fromkeys(meaning[word] for word in words if word in meaning))
        name = " ".join(word for word in words if word not in meaning)
        if not name:
            raise InputError(f"{part[:SHOWN]!r} names no object; add a name")
        phrases.append(Phrase(name, attributes, avoided=tuple(filter(None, (" ".join(_words(avoided)),)))))
    return list(dict.fromkeys(phrases))


def prompt_sentences(name: str, plural: str = "", attributes: Sequence[str] = (), modality: str = "") -> list[str]:
    """Return sentences about an object, one for each of ``TEMPLATES``.

    Parameters
    ----------
    name, plural : str
        Singular and plural; without a plural the name stands for both.
    attributes : sequence of str
        Put before the name, except "border", which comes after it.
    modality : str
        Kind of picture, named at the end.
    """
    before = " ".join(one for one in attributes if one != "border")
    after = (" touching the border" if "border" in attributes else "") + (f" in {modality}" if modality else "")
    one, many = (f"{before} {noun}".strip() for noun in (name, plural or name))
    return [template.format(one, s=many) + after for template in TEMPLATES]


def _key(word: str) -> str:
    return " ".join(_words(word))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:['&-][^\W_]+)*", text) or ([text] if text and not text.isspace() else [])


def _listed(names: Sequence[str]) -> str:
    """The first names, and how many others there are."""
    shown, more = ", ".join(names[:LISTED]), len(names) - LISTED
    return f"{shown} and {more} more" if more > 0 else shown
