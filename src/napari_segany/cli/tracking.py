"""``napari-segany link`` and ``napari-segany export``: label images of any origin, through time and to any format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_segany.cli.shared import DeviceOption, ModelOption, ShownProgress, loader

LabelsArgument = Annotated[Path, typer.Argument(help="Label image of any origin: TIFF, PNG, OME-Zarr.")]

OutOption = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="What to write, by its ending: .ctc (Cell Tracking Challenge), .geff, .xml (TrackMate), .csv, .parquet, "
        ".json, .geojson, .zip, .tif, .zarr.",
    ),
]

FormatOption = Annotated[
    str | None,
    typer.Option("--format", help="The format where several have the ending: tracks or csv, coco or sa1b."),
]

OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace OUT when it exists.")]


def link(  # noqa: PLR0913  each parameter is an option of the command line
    labels: LabelsArgument,
    out: OutOption,
    image: Annotated[
        Path | None, typer.Option(help="The image of LABELS: objects are told apart by how they look as well.")
    ] = None,
    kind: FormatOption = None,
    model: ModelOption = "tiny",
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Link the objects of frames through time, with divisions, and write them; the first axis is time.

    Frames may be numbered each for itself. A daughter may keep the number of its mother; formats of tracks name the
    parent of each track.
    """
    from napari_segany.batch.track_labels import TrackJob, link_file

    job = TrackJob(labels, out, kind, image, overwrite)
    report = link_file(job, loader(model, device) if image is not None else None, ShownProgress("frames"))
    typer.echo(f"wrote {report.out}: {report.objects} objects, {report.divisions} divisions")


def export(  # noqa: PLR0913  each parameter is an option of the command line
    labels: LabelsArgument,
    out: OutOption,
    kind: FormatOption = None,
    image: Annotated[
        Path | None,
        typer.Option(help="The image of LABELS: tables (.csv, .parquet) have the intensities of its channels."),
    ] = None,
    only_accepted: Annotated[
        bool,
        typer.Option("--only-accepted", help="Leave out automatic, proposed, uncertain and rejected objects."),
    ] = False,
    without_rejected: Annotated[bool, typer.Option("--without-rejected", help="Leave out rejected objects.")] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a label image in the format of another program; numbers stay as they are.

    What NAME_objects.csv tells of the objects of NAME_labels.tif is written too. In formats of tracks, divisions that
    it does not tell of are found by overlap. That table has the states of objects,
    too, which --only-accepted and --without-rejected go by.
    """
    from napari_segany.batch.track_labels import TrackJob, export_file
    from napari_segany.core.review import EVERYTHING, NOT_REJECTED, ONLY_ACCEPTED

    selection = ONLY_ACCEPTED if only_accepted else NOT_REJECTED if without_rejected else EVERYTHING
    report = export_file(TrackJob(labels, out, kind, image, overwrite, selection))
    typer.echo(f"wrote {report.out}: {report.objects} objects")
