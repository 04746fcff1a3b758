"""Tables of clicks become prompts, one for each object and plane."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point
from napari_segany.io.images import ImageFile
from napari_segany.io.prompt_tables import read_prompts


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


def image_of(axes: str) -> ImageFile:
    lengths = {"t": 3, "z": 4, "c": 2, "q": 5, "y": 40, "x": 50, "s": 3}
    array = np.zeros([lengths[axis] for axis in axes], np.uint8)
    return ImageFile(array, axes, (1.0,) * len(axes))


@pytest.mark.parametrize(
    ("axes", "place", "plane"),
    [
        ("tzyx", "1,2", (1, 2)),
        ("tyx", "2", (2,)),
        ("zyx", "3", (3,)),
        ("ztyx", "3,1", (3, 1)),
        ("qtzyx", "4,2,3", (4, 2, 3)),
        ("tzyxs", "1,2", (1, 2)),
        ("czyx", "1,3", (3,)),
        ("czyx", "3", (3,)),
        ("zcyx", "3,1", (3,)),
        ("tczyx", "2,1,3", (2, 3)),
        ("zyx", "0,3", (3,)),
        ("yx", "0,0", ()),
        ("cyx", "1", ()),
    ],
)
def test_napari_tables_say_the_plane_along_all_axes(tmp_path: Path, axes: str, place: str, plane: tuple) -> None:
    image = image_of(axes)
    names = ",".join(f"axis-{k}" for k in range(place.count(",") + 3))
    path = table(tmp_path, f"index,{names}\n0,{place},20,30\n")
    (found,) = read_prompts(path, image)
    assert found.z == (int(np.ravel_multi_index(plane, image.stack().shape)) if plane else 0)
    assert found.prompt.points == (Point(20, 30),)


@pytest.mark.parametrize(
    ("axes", "text"),
    [
        ("tzyx", "axis-0,axis-1,axis-2\n2,20,30"),
        ("tzyx", "axis-0,axis-1\n20,30"),
        ("zyx", "axis-0,axis-1\n20,30"),
        ("zyx", "axis-0,axis-1,axis-2,axis-3\n1,2,20,30"),
        ("yx", "axis-0,axis-1,axis-2\n2,20,30"),
        ("tzyx", "axis-0,axis-1,axis-2,axis-3\n1,4,20,30"),
        ("tzyx", "axis-0,axis-1,axis-2,axis-3\n1,-1,20,30"),
        ("tzyx", "axis-0,axis-1,axis-2,axis-3\n1,0.5,20,30"),
        ("zyx", "axis-1,axis-2\n20,30"),
        ("tzyx", "axis-0,axis-1,axis-2,axis-3\n1,2,20"),
        ("zyx", "axis-0,axis-1,axis-2\n,20,30"),
        ("zyx", "t,y,x\n1,20,30"),
        ("yx", "t,y,x\n1,20,30"),
        ("qzyx", "t,z,y,x\n1,2,20,30"),
    ],
)
def test_a_click_whose_plane_is_not_known_is_refused(tmp_path: Path, axes: str, text: str) -> None:
    with pytest.raises(InputError, match=r"clicks\.csv, row 1"):
        read_prompts(table(tmp_path, f"{text}\n"), image_of(axes))


@pytest.mark.parametrize(
    ("axes", "text", "plane"),
    [
        ("tzyx", "t,z,y,x\n1,2,20,30", 6),
        ("ztyx", "t,z,y,x\n1,2,20,30", 7),
        ("tyx", "t,y,x\n2,20,30", 2),
        ("tyx", "t,z,y,x\n2,0,20,30", 2),
        ("zyx", "t,z,y,x\n0,2,20,30", 2),
        ("tzyx", "z,y,x\n7,20,30", 7),
        ("zyx", "y,x\n20,30", 0),
    ],
)
def test_columns_of_time_and_depth(tmp_path: Path, axes: str, text: str, plane: int) -> None:
    (found,) = read_prompts(table(tmp_path, f"{text}\n"), image_of(axes))
    assert found.z == plane


def test_more_than_ten_axes_are_in_order(tmp_path: Path) -> None:
    names = ",".join(f"axis-{k}" for k in range(12))
    path = table(tmp_path, f"{names}\n{'0,' * 9}3,20,30\n")
    (found,) = read_prompts(path, image_of("zyx"))
    assert (found.z, found.prompt.points) == (3, (Point(20, 30),))
