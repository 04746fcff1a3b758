"""``napari-segany measure``: objects of a folder as one table. ``napari-segany effort``: what annotation cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_segany.cli.shared import JsonProgressOption, ShownProgress, ShownStages, table
from napari_segany.core.errors import InputError
from napari_segany.core.plurals import count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_segany.batch.measure_folder import MeasuredImage
    from napari_segany.session.effort import ModelEffort


def measure(
    images: Annotated[
        Path,
        typer.Argument(help="Folder of images, one image, or the folder of a batch run within segany-labels."),
    ],
    out: Annotated[Path, typer.Option("--output", "-o", metavar="TABLE", help="What to write: .csv or .parquet.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the labels are, NAME_labels.tif for the image NAME.tif. By default those of the latest "
            "session, of images of a project, else those next to the images (also NAME labels.tif), else those of the "
            "last batch run in segany-labels.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="What is written, for example size, length, roundness, intensity_mean; by default all. Repeat."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace TABLE when it exists.")] = False,
    json_progress: JsonProgressOption = False,
) -> None:
    """Measure the objects of all images of a folder into one table: sizes, shapes, places and intensities.

    A row for each object, at each time of a movie; the first column is the image. Intensities are those of each channel
    of the image. Rejected objects are left out. Images that cannot be read are named and left out.
    """
    from napari_segany.batch.measure_folder import MeasureJob, images_to_measure, measure_folder

    job = MeasureJob(images, out, labels, tuple(column or ()), overwrite)
    shown = ShownStages(as_json=True) if json_progress else None
    progress = ShownProgress()
    total = len(images_to_measure(images)) if shown is not None else 0
    reports = []
    for report in measure_folder(job):
        reports.append(report)
        if shown is not None:
            shown("images", len(reports), total, math.nan)
        else:
            progress(len(reports))
    failed = [one for one in reports if one.problem]
    done = [one for one in reports if not one.problem and one.objects >= 0]
    for one in failed:
        typer.echo(f"left out: {' '.join(one.problem.split())}", err=shown is None)
    if not done:
        raise InputError(f"no image could be measured: {failed[0].problem}")
    typer.echo(f"wrote {out}: {_summary(done, len(failed), len(reports))}")
    if failed and shown is None:
        raise typer.Exit(2)


def _summary(done: Sequence[MeasuredImage], failed: int, total: int) -> str:
    """How many objects and images were measured, and how many images were not."""
    objects, sessions = sum(one.objects for one in done), sum(one.from_session for one in done)
    bare = total - len(done) - failed
    of_sessions = f" ({sessions} from sessions)" if sessions else ""
    without = f", {bare} without labels" if bare else ""
    return f"{count_of(objects, 'object')} of {count_of(len(done), 'image')}{of_sessions}{without}, {failed} left out"


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
