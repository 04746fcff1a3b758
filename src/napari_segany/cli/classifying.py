"""``napari-segany classify``: classes for all objects of a label image, from a few."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_segany.cli.shared import DeviceOption, ModelOption, ShownProgress, files_of, loader
from napari_segany.core.errors import InputError


def classify(  # noqa: PLR0913  each parameter is an option of the command line
    labels: Annotated[Path, typer.Argument(help="Label image of the objects: TIFF, PNG or OME-Zarr.")],
    image: Annotated[Path, typer.Option(help="The image of LABELS.")],
    classes: Annotated[
        Path,
        typer.Option(
            metavar="TABLE", help="CSV with the columns label and class, of one object of each class or more."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--output", "-o", metavar="CSV", help="The table to write: label,class,probability.")
    ],
    exemplars: Annotated[
        Path | None, typer.Option(metavar="LABELS", help="TABLE names objects of this label image instead.")
    ] = None,
    exemplars_image: Annotated[Path | None, typer.Option(metavar="IMAGE", help="The image of --exemplars.")] = None,
    model: ModelOption = "tiny",
    device: DeviceOption = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace CSV when it exists.")] = False,
) -> None:
    """Give all objects of a label image a class with a probability, learned from a table of the classes of some.

    With --exemplars and --exemplars-image, the table is of another image. The same model must describe both.
    """
    from napari_segany.batch.classify_file import ClassifyJob, LabelledFiles, classify_file

    if (exemplars is None) != (exemplars_image is None):
        raise InputError("--exemplars and --exemplars-image belong together")
    other = None if exemplars is None or exemplars_image is None else LabelledFiles(exemplars_image, exemplars)
    job = ClassifyJob(LabelledFiles(image, labels), classes, out, other, overwrite, files_of(model))
    report = classify_file(job, loader(model, device), ShownProgress("objects"))
    typer.echo(f"wrote {out}: {report.objects} objects, {len(report.classes)} classes learned from {report.known}")
