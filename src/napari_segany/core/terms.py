"""Names of objects that texts can contain, with their synonyms in English and five other languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from napari_segany.core.errors import InputError


@dataclass(frozen=True, slots=True)
class Term:
    """A kind of object that has a name.

    Parameters
    ----------
    name, plural : str
        Its name in English.
    synonyms : tuple of str
        Other English names, singular or plural.
    parents : tuple of str
        Names of the kinds that it belongs to: a dog is an animal.
    kind : str
        "microscopy", "photograph", or "" for both.
    translations : tuple of str
        Its names in German, French, Spanish, Chinese and Japanese. They are looked up and replaced by `name`; the
        text encoder is not trained with them.
    """

    name: str
    plural: str
    synonyms: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    kind: str = "photograph"
    translations: tuple[str, ...] = ()

    @property
    def english(self) -> tuple[str, ...]:
        """Its English names, which the text encoder is trained with."""
        return (self.name, self.plural, *self.synonyms)

    @property
    def words(self) -> tuple[str, ...]:
        """All names, the English ones first."""
        return (*self.english, *self.translations)


def _microscopy(
    name: str, plural: str, synonyms: str = "", parents: tuple[str, ...] = (), translations: str = ""
) -> Term:
    split = (tuple(filter(None, (one.strip() for one in words.split(",")))) for words in (synonyms, translations))
    english, others = split
    return Term(name, plural, english, parents, "microscopy", others)


def select_terms(names: Sequence[str], synonyms: Mapping[str, Sequence[str]] | None = None) -> tuple[Term, ...]:
    """Return the terms with the given names, in the order of ``TERMS``.

    Parameters
    ----------
    names : sequence of str
        Names of terms.
    synonyms : mapping of str to sequence of str, optional
        Further words for some of them.

    Raises
    ------
    InputError
        When a name is not in ``TERMS``.
    """
    unknown = sorted(set(names) - {term.name for term in TERMS})
    if unknown:
        raise InputError(f"no term is called {', '.join(unknown)}")
    more = synonyms or {}
    return tuple(
        replace(term, synonyms=(*term.synonyms, *more.get(term.name, ()))) for term in TERMS if term.name in names
    )


TERMS = (
    _microscopy(
        "nucleus",
        "nuclei",
        "cell nucleus, cell nuclei, nuclear, nucleuses, nuclei of cells, nucleus of a cell, dapi, hoechst",
        (),
        "zellkern, zellkerne, kern, kerne, noyau, noyaux, núcleo, núcleos, 细胞核, 核",
    ),
    _microscopy(
        "cell",
        "cells",
        "cell body, cell bodies, whole cell, whole cells, cultured cell, cultured cells, cytoplasm",
        (),
        "zelle, zellen, cellule, cellules, célula, células, 细胞, 細胞",
    ),
    _microscopy(
        "neurite",
        "neurites",
        "neuron, neurons, dendrite, dendrites, nerve fibre, nerve fiber, neuronal process",
        (),
        "neuriten, neurone, neurones, neurona, neuronas, neurita, neuritas, 神经元, 神经突, 神経細胞, 神経突起",
    ),
    _microscopy(
        "mitochondrion",
        "mitochondria",
        "mitochondrial, mitochondrial profile",
        (),
        "mitochondrium, mitochondrien, mitochondrie, mitochondries, mitocondria, mitocondrias, 线粒体, ミトコンドリア",
    ),
    _microscopy(
        "axon",
        "axons",
        "myelinated axon, myelinated axons",
        ("neurite",),
        "axone, axones, axón, axones, 轴突, 軸索",
    ),
    _microscopy(
        "bacterium",
        "bacteria",
        "bacterial cell, bacterial cells, e coli, escherichia coli",
        ("cell",),
        "bakterium, bakterien, bactérie, bactéries, bacteria, bacterias, 细菌, 細菌, バクテリア",
    ),
    _microscopy(
        "yeast",
        "yeasts",
        "yeast cell, yeast cells, budding yeast, saccharomyces",
        ("cell",),
        "hefe, hefen, hefezelle, hefezellen, levure, levures, levadura, levaduras, 酵母",
    ),
    _microscopy(
        "microglia",
        "microglia",
        "microglial cell, microglial cells",
        ("cell",),
        "mikroglia, microglie, microglía, 小胶质细胞, ミクログリア",
    ),
    _microscopy(
        "chloroplast",
        "chloroplasts",
        "plastid, plastids",
        (),
        "chloroplasten, chloroplaste, chloroplastes, cloroplasto, cloroplastos, 叶绿体, 葉緑体",
    ),
    _microscopy(
        "embryo",
        "embryos",
        "egg, eggs, insect egg, insect eggs",
        (),
        "embryonen, ei, eier, embryon, embryons, œuf, œufs, embrión, embriones, huevo, huevos, 胚胎, 胚, 卵",
    ),
    _microscopy(
        "grain",
        "grains",
        "crystal grain, crystal grains, crystallite, crystallites",
        (),
        "korn, körner, grano, granos, 晶粒, 結晶粒",
    ),
    _microscopy("pore", "pores", "void, voids", (), "poren, poro, poros, 孔隙, 孔, 細孔"),
    _microscopy("flake", "flakes", "nanosheet, nanosheets", (), "flocke, flocken, flocon, flocons, escama, 薄片"),
    Term("pebble", "pebbles", ("stone", "stones", "gravel"), ("grain",), "photograph", ("kiesel", "galet", "guijarro")),
    Term(
        "mushroom",
        "mushrooms",
        ("fungus", "fungi", "champignon"),
        (),
        "photograph",
        ("pilz", "pilze", "champignons", "seta", "setas", "蘑菇", "キノコ"),
    ),
    Term("person", "people", ("persons", "human", "humans", "man", "men", "woman", "women", "child", "children")),
    Term("car", "cars", ("automobile", "automobiles"), ("vehicle",)),
    Term(
        "vehicle", "vehicles", ("truck", "trucks", "bus", "buses", "bicycle", "motorcycle", "train", "airplane", "boat")
    ),
    Term("dog", "dogs", ("puppy", "puppies"), ("animal",)),
    Term("animal", "animals", ("cat", "cats", "bird", "birds", "horse", "horses", "cow", "sheep", "bear", "elephant")),
    Term("food", "foods", ("fruit", "fruits", "pizza", "cake", "sandwich", "banana", "apple", "orange", "broccoli")),
    Term("chair", "chairs", ("seat", "seats"), ("furniture",)),
    Term("furniture", "pieces of furniture", ("couch", "sofa", "bed", "table", "tables", "dining table", "desk")),
    Term("cup", "cups", ("mug", "mugs"), ("dish",)),
    Term("bowl", "bowls", (), ("dish",)),
    Term("dish", "dishes", ("plate", "plates", "glass", "bottle", "bottles", "fork", "knife", "spoon")),
    Term("background", "backgrounds", ("nothing", "empty space", "empty"), kind=""),
)
"""Names that the embedded text model can be trained with. A model lists those that it was trained with in the file
``vocabulary.json`` of its folder."""


def term_of(word: str) -> Term | None:
    """The term that a word is a name of, in any of its languages."""
    wanted = word.strip().casefold()
    return next((term for term in TERMS if wanted in (one.casefold() for one in term.words)), None)


def is_kind_of(name: str, what: str) -> bool:
    """Whether something called `name` is a `what`: the same, a synonym, or a kind of it, as a yeast is a cell."""
    first, second = term_of(name), term_of(what)
    if first is None or second is None:
        return name.strip().casefold() == what.strip().casefold()
    return second.name in (first.name, *first.parents)
