"""Tables of classes, and of objects with their classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectClass
from napari_segany.io.class_tables import read_classes, read_object_classes, write_classes, write_object_classes

CLASSES = [ObjectClass("neutrophil", 1, "#e69f00"), ObjectClass("T cell, small", 0, "#56b4e9")]


def test_classes_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_classes(tmp_path / "classes.csv", CLASSES)
    first, second = read_classes(tmp_path / "classes.csv")
    assert first == CLASSES[0]
    assert (second.name, second.key, second.colour) == ("T cell, small", -1, "#56b4e9")


@pytest.mark.parametrize(
    ("text", "names"),
    [("name\na\nb\n", ["a", "b"]), ("\ufeffName , Key\r\n a ,3\r\n", ["a"]), ("color,name\n#00ff00,a\n", ["a"])],
)
def test_tables_of_others_are_read(tmp_path: Path, text: str, names: list[str]) -> None:
    (tmp_path / "classes.csv").write_text(text, encoding="utf-8")
    assert [one.name for one in read_classes(tmp_path / "classes.csv")] == names


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "no column name"),
        ("class,key\na,1\n", "no column name"),
        ("name\n", "no line below"),
        ("name,key\n,1\n", "line 2: a class needs a name"),
        ("name\na\na\n", "line 3: the class 'a' is there twice"),
        ("name,key\na,10\n", "a key is a digit"),
        ("name,key\na,x\n", "a key is a digit"),
        ("name,key\na,2\nb,2\n", "line 3: another class has the key 2"),
        ("name,colour\na,red\n", "a colour is written #rrggbb"),
    ],
)
def test_other_tables_are_refused(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "classes.csv").write_text(text)
    with pytest.raises(InputError, match=line):
        read_classes(tmp_path / "classes.csv")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for read in (read_classes, read_object_classes):
        with pytest.raises(InputError, match="cannot read"):
            read(tmp_path / "nowhere.csv")


def test_classes_of_objects(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("label,name,class_name,area\n1,x,cell,4\n2,,,5\n7,,debris,6\n")
    assert read_object_classes(path) == {1: "cell", 7: "debris"}
    write_object_classes(path, {7: ("debris", 1.0), 2: ("cell", 0.73456)})
    assert path.read_text() == "label,class,probability\n2,cell,0.7346\n7,debris,1.0000\n"
    assert read_object_classes(path) == {2: "cell", 7: "debris"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("label\n1\n", "no column label and class"),
        ("label,class\nx,a\n", "line 2: a label is a whole number"),
        ("label,class\n0,a\n", "line 2: a label is a whole number"),
        ("label,class\n1,a\n1,b\n", "line 3: label 1 has another class above"),
    ],
)
def test_other_tables_of_objects_are_refused(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(InputError, match=line):
        read_object_classes(tmp_path / "table.csv")


def test_two_levels_by_a_column_or_in_the_name(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    classes = [ObjectClass("cell", 1, "#e69f00"), ObjectClass("cell/dividing", 2, "#56b4e9")]
    write_classes(path, classes)
    assert path.read_text() == "name,key,colour,parent\ncell,1,#e69f00,\ndividing,2,#56b4e9,cell\n"
    assert read_classes(path) == classes
    path.write_text("name\ncell/dividing\ndebris\n")
    assert [one.name for one in read_classes(path)] == ["cell/dividing", "debris"]
    path.write_text("name,parent\na/b,cell\n")
    with pytest.raises(InputError, match="two levels"):
        read_classes(path)
    path.write_text("label,class,class_parent\n1,dividing,cell\n2,debris,\n")
    assert read_object_classes(path) == {1: "cell/dividing", 2: "debris"}


def test_semicolons_of_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text("name;key;colour\ncell;2;#112233\n", encoding="utf-8-sig")
    (one,) = read_classes(path)
    assert (one.name, one.key, one.colour) == ("cell", 2, "#112233")
