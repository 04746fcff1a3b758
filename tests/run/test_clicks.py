"""Tables of clicks become prompts, one for each object and plane."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point
from napari_segany.run.clicks import read_prompts


def table(folder: Path, text: str) -> Path:
    path = folder / "clicks.csv"
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str) -> list[tuple[int, int, tuple[Point, ...]]]:
    return [(placed.label, placed.z, placed.prompt.points) for placed in read_prompts(table(folder, text))]


def test_rows_without_labels_are_objects_of_their_own(tmp_path: Path) -> None:
    assert read(tmp_path, "y,x\n1,2\n3.5,4\n") == [(1, 0, (Point(1, 2),)), (2, 0, (Point(3.5, 4),))]


def test_rows_of_a_label_and_plane_make_one_prompt(tmp_path: Path) -> None:
    text = "\ufeffLabel, X ,y,positive,z,colour\n7,2,1,+,0,red\n7,4,3,false,,blue\n7,5,5,,3,\n2,0,0,TRUE,0,\n"
    assert read(tmp_path, text) == [
        (7, 0, (Point(1, 2), Point(3, 4, positive=False))),
        (7, 3, (Point(5, 5),)),
        (2, 0, (Point(0, 0),)),
    ]


def test_napari_tables(tmp_path: Path) -> None:
    assert read(tmp_path, "index,axis-0,axis-1\n0.0,1,2\n") == [(1, 0, (Point(1, 2),))]
    assert read(tmp_path, "index,axis-0,axis-1,axis-2\n0.0,5.0,1,2\n") == [(1, 5, (Point(1, 2),))]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "no line below"),
        ("y,x\n", "no line below"),
        ("a,b\n1,2\n", "row 1: there is no column y"),
        ("y,x\n1,2\nthree,4\n", "row 2: y is not a number: 'three'"),
        ("y,x\n1\n", "row 1: there is no column x"),
        ("y,x\n1,nan\n", "finite"),
        ("y,x,label\n1,2,\n", "label is not a number"),
        ("y,x,label\n1,2,1.5\n", "label is not a whole number"),
        ("y,x,label\n1,2,inf\n", "label is not a whole number"),
        ("y,x,label\n1,2,0\n", "label counts from 1"),
        ("y,x,z\n1,2,-1\n", "z from 0"),
        ("y,x,positive\n1,2,maybe\n", "positive is true or false, got 'maybe'"),
        ("y,x,label,positive\n1,2,3,-\n", "object 3 has no positive click on plane 0"),
    ],
)
def test_bad_tables_are_one_clear_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        read_prompts(table(tmp_path, text))
    assert "clicks.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.csv"):
        read_prompts(tmp_path / "gone.csv")
    (tmp_path / "image.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="cannot read"):
        read_prompts(tmp_path / "image.csv")
