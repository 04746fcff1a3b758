"""Points, boxes and example boxes as the command line takes them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from napari_segany.core.errors import InputError

if TYPE_CHECKING:
    from napari_segany.batch.segment_file import Place
    from napari_segany.core.prompts import Box, ExampleBox, Point, Prompt

SIGNS = {"+": True, "-": False}


def prompts_of(
    point: Sequence[str], box: Sequence[str], plane: int | None, one_object: bool
) -> tuple[tuple[Prompt, ...], tuple[Place, ...]]:
    """Prompts, and the plane of each where points name theirs."""
    from napari_segany.batch.segment_file import object_prompts

    places = [_point(text) for text in point]
    clicks, boxes = [click for _, click in places], [_box(text) for text in box]
    prompts = object_prompts(clicks, boxes, together=one_object)
    named = [z for z, _ in places if z is not None]
    if not named:
        return prompts, ()
    if plane is not None or boxes or len(named) < len(places):
        raise InputError("either all points include their plane, z,y,x, and there are no boxes, or use --plane")
    starts = [i for i, click in enumerate(clicks) if click.positive][: len(prompts)]
    bounds = [0, *starts[1:], len(named)]
    for first, last in pairwise(bounds):
        if len(set(named[first:last])) > 1:
            raise InputError("the points of one object lie on one plane")
    return prompts, tuple(named[i] for i in starts)


def _numbers(text: str, option: str, form: str, count: int) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count:
        raise InputError(f"{option} takes {form}, got {text!r}")
    return values


def _point(text: str) -> tuple[Place | None, Point]:
    """A point, and its plane where there are more than two numbers."""
    from napari_segany.core.prompts import Point

    place, _, sign = text.rpartition(",")
    positive = SIGNS.get(sign.strip())
    numbers = text if positive is None else place
    if numbers.count(",") < 2:
        y, x = _numbers(numbers, "--point", "y,x or y,x,+ or y,x,-", 2)
        return None, Point(y, x, positive is not False)
    count = max(numbers.count(",") + 1, 3)
    *place_of, y, x = _numbers(numbers, "--point", "y,x or z,y,x or t,z,y,x, and + or - after it", count)
    if not all(at.is_integer() for at in place_of):
        raise InputError(f"the plane of a point is a whole number, got {numbers}")
    plane = tuple(map(int, place_of))
    return plane[0] if len(plane) == 1 else plane, Point(y, x, positive is not False)


def example_box(text: str) -> ExampleBox:
    """A box around an object like those to find, or unlike them."""
    from napari_segany.core.prompts import Box, ExampleBox

    place, _, sign = text.rpartition(",")
    positive = SIGNS.get(sign.strip())
    numbers = text if positive is None else place
    box = Box(*_numbers(numbers, "--example", "y0,x0,y1,x1, and + or - after it", 4))
    return ExampleBox(box, positive is not False)


def _box(text: str) -> Box:
    from napari_segany.core.prompts import Box

    return Box(*_numbers(text, "--box", "y0,x0,y1,x1", 4))
