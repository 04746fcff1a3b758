"""Classes, their keys and colours."""

from __future__ import annotations

import pytest

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectClass
from napari_segany.layers.class_list import ClassList


def test_new_classes_get_the_next_key_and_colour() -> None:
    found = ClassList().with_names(f"class {number}" for number in range(1, 12))
    assert [one.key for one in found] == [*range(1, 10), 0, 0]
    assert len({one.colour for one in found.classes[:7]}) == 7
    assert found.with_names(["class 3"]) == found
    assert found.without("class 2").with_names(["new"]).of_key(2).name == "new"


def test_read_classes_take_over_their_keys() -> None:
    found = ClassList().with_names(["a", "b"]).joined([ObjectClass("b", 1, "#000000"), ObjectClass("c", -1, "")])
    assert [(one.name, one.key) for one in found] == [("a", 0), ("b", 1), ("c", 2)]
    assert found.colours["b"] == "#000000"


@pytest.mark.parametrize(("new", "line"), [("", "needs a name"), ("  ", "needs a name"), ("b", "already")])
def test_names_are_different(new: str, line: str) -> None:
    with pytest.raises(InputError, match=line):
        ClassList().with_names(["a", "b"]).renamed("a", new)


def test_renamed() -> None:
    assert ClassList().with_names(["a", "b"]).renamed("a", " c ").names == ("c", "b")
    assert ClassList().with_names(["a"]).renamed("a", "a").names == ("a",)


def test_a_class_below_another_brings_its_parent() -> None:
    found = ClassList().with_names(["cell/dividing", "debris"])
    assert found.names == ("cell", "cell/dividing", "debris")
    assert [one.key for one in found] == [1, 2, 3]
    assert found.below("") == (found.of_name("cell"), found.of_name("debris"))
    assert found.family("cell") == ("cell", "cell/dividing")
    assert (found.classes[1].parent, found.classes[1].own_name) == ("cell", "dividing")


def test_renaming_a_parent_renames_what_is_below_it() -> None:
    found = ClassList().with_names(["cell/dividing"])
    assert found.renamed("cell", "nucleus").names == ("nucleus", "nucleus/dividing")
    assert found.renamed("cell/dividing", "debris / small ").names == ("cell", "debris/small", "debris")
    for name, new in (("cell", "a/b"), ("cell/dividing", "a/b/c")):
        with pytest.raises(InputError, match="two levels"):
            found.renamed(name, new)
    with pytest.raises(InputError, match="needs a name"):
        found.renamed("cell/dividing", "cell/")
