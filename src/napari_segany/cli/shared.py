"""What commands have in common: options, how a model is loaded, and how tables and progress are shown."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from napari_segany.core.segmenter import Segmenter


PAUSE = 10.0
"""Seconds between two lines of progress where the output is not a terminal."""


def new_app(**options: Any) -> typer.Typer:
    """A command, or a group of them, with plain help and errors."""
    return typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False, **options)


ModelOption = Annotated[
    str,
    typer.Option(
        help="Name of a model (see `models list`), path of a checkpoint or of a folder of transformers, "
        "hf:OWNER/NAME of the hub, or mask2former:FOLDER."
    ),
]

DeviceOption = Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda or mps.")]

DataOption = Annotated[
    Path,
    typer.Option(
        help="Folder of one set: images/ with labels/; images/ with labels_bits/ and classes.json (its mitochondria); "
        "or volumes NAME_image.tif with NAME_labels.tif."
    ),
]

JsonOption = Annotated[Path | None, typer.Option(help="Write the rows to this file instead of showing a table.")]

LimitOption = Annotated[int | None, typer.Option(min=1, help="Take the first images only.")]

PerImageOption = Annotated[int | None, typer.Option(min=1, help="Take so many objects of each image, drawn by chance.")]

GroupOption = Annotated[bool, typer.Option("--by-group", help="Also by kind of picture and by size of object.")]


TextHeadOption = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="A text head that `train text` wrote for this model, instead of its own."),
]


JsonProgressOption = Annotated[bool, typer.Option("--json-progress", hidden=True)]
"""For the window, which reads the progress of a command in a separate process."""


def loader(model: str, device: str, text: str | None = None) -> Callable[[], Segmenter]:
    """What loads the model when it is needed: torch takes seconds to import."""

    def load() -> Segmenter:
        from napari_segany.models.loading import load_segmenter

        return load_segmenter(model, device, progress=show_download, text=text)

    return load


def files_of(*names: str) -> tuple[Path, ...]:
    """Of models and the like those that are files or folders, which no output may replace."""
    found = []
    for name in filter(None, names):
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            path = Path(name.removeprefix("mask2former:").removeprefix("hf:")).expanduser()
            if path.is_file() or any((path / file).is_file() for file in ("open_clip_config.json", "config.json")):
                found.append(path)
    return tuple(found)


def show_download(done: int, total: int | None) -> None:
    """Show at a terminal how much of a model has been downloaded."""
    if sys.stderr.isatty():
        of = f" of {total / 1e6:.0f}" if total else ""
        typer.echo(f"\rdownloading {done / 1e6:.0f}{of} MB", err=True, nl=done == total)


class ShownProgress:
    """Shows how many images, planes or slices are done: at once at a terminal, else a line every ``PAUSE`` seconds."""

    def __init__(self, what: str = "images") -> None:
        self._what = what
        self._last = time.monotonic()

    def __call__(self, done: int) -> None:
        """Show it, if it is time."""
        if sys.stderr.isatty():
            typer.echo(f"\r{done} {self._what}", err=True, nl=False)
        elif time.monotonic() - self._last >= PAUSE:
            self._last = time.monotonic()
            typer.echo(f"{done} {self._what}", err=True)


class ShownStages:
    """Shows the stage of long work and the time left: at once at a terminal, else a line every ``PAUSE`` seconds.

    Parameters
    ----------
    as_json : bool
        Write each stage as a line of JSON to the standard output instead, for a program that reads it.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self._last = time.monotonic()
        self._as_json = as_json

    def __call__(self, stage: str, done: int, total: int, seconds_left: float) -> None:
        """Show it, if it is time."""
        if self._as_json:
            left_seconds = None if math.isnan(seconds_left) else seconds_left
            typer.echo(json.dumps({"stage": stage, "done": done, "total": total, "seconds_left": left_seconds}))
            sys.stdout.flush()
            return
        left = f", {seconds_left:.0f} s left" if math.isfinite(seconds_left) else ""
        if sys.stderr.isatty():
            typer.echo(f"\r{stage}: {done} of {total}{left}    ", err=True, nl=done == total)
        elif time.monotonic() - self._last >= PAUSE:
            self._last = time.monotonic()
            typer.echo(f"{stage}: {done} of {total}{left}", err=True)


def show_row(number: int, row: Mapping[str, Any]) -> None:
    """Show the latest measurement at a terminal."""
    if sys.stderr.isatty():
        names = [str(row[key]) for key in ("set", "class", "what", "method", "model") if row.get(key)]
        typer.echo(f"\rrow {number}: {' '.join(names)}", err=True)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows with their columns one below the other."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
