"""``napari-segany effort``: what annotation cost, by model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_segany.cli.shared import table
from napari_segany.core.errors import InputError

if TYPE_CHECKING:
    from napari_segany.session.effort import ModelEffort


def effort(
    sessions: Annotated[
        list[Path] | None,
        typer.Argument(help="Session files, NAME.jsonl, or folders of them; by default all of this computer."),
    ] = None,
) -> None:
    """Print what annotation cost in the window, by model: seconds and clicks for each object, and the origins of masks.

    A time of more than 60 seconds between two events is no work. Files of older sessions have no times.
    """
    from napari_segany.engine.session_effort import report_effort, session_paths
    from napari_segany.session.effort import ORIGINS

    paths = session_paths() if sessions is None else [path for given in sessions for path in _files_of(given)]
    report = report_effort(paths)
    for problem in report.problems:
        typer.echo(f"napari-segany: {problem}", err=True)
    if report.problems and not report.sessions:
        raise InputError("none of the sessions can be read")
    columns = ("model", "images", "objects", "s/object", "clicks/object", "masks/image", *ORIGINS)
    typer.echo(table([columns, *(_row(one) for one in report.efforts)]) if report.efforts else "no work was recorded")


def _row(one: ModelEffort) -> tuple[str, ...]:
    from napari_segany.session.effort import ORIGINS

    counts = (one.model, str(len(one.images)), str(one.objects))
    means = (shown(one.seconds_each), shown(one.clicks_each), shown(one.masks_each_image))
    return (*counts, *means, *(shown(one.share(origin), percent=True) for origin in ORIGINS))


def shown(value: float, *, percent: bool = False) -> str:
    """A number with a digit behind the point, or as a percentage; a dash for NaN."""
    if math.isnan(value):
        return "–"
    return f"{value:.0%}" if percent else f"{value:.1f}"


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.glob("*.jsonl"))
    if not path.exists():
        raise InputError(f"there is no session {path}")
    return [path]
