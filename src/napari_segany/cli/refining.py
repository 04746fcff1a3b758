"""``napari-segany refine``: labels of any origin, drawn again by a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_segany.cli.shared import DeviceOption, ModelOption, ShownProgress, files_of, loader
from napari_segany.core.label_refinement import LEAST


def refine(  # noqa: PLR0913  each parameter is an option of the command line
    labels: Annotated[Path, typer.Argument(help="Label image of Cellpose, StarDist or by hand: TIFF, PNG, OME-Zarr.")],
    image: Annotated[Path, typer.Option(help="The image of LABELS.")],
    out: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT", help="The labels to write: .tif, .zarr, IMAGE.zarr/labels/NAME."),
    ],
    least: Annotated[
        float, typer.Option(min=0, max=1, help="Keep the old mask where its IoU with the new one is less.")
    ] = LEAST,
    model: ModelOption = "tiny",
    device: DeviceOption = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT when it exists.")] = False,
) -> None:
    """Draw each object of a label image again, with the object as prompt, and write the result to another file.

    Labels keep their numbers; no object takes pixels of one that stays as it is. OUT_changes.csv lists the objects,
    those that change most first: IoU of the old and the new mask, predicted IoU, and sizes before and after.
    """
    from napari_segany.batch.refine_file import RefineJob, refine_file

    job = RefineJob(labels, image, out, least, overwrite, files_of(model))
    report = refine_file(job, loader(model, device), ShownProgress("planes"))
    ious = [one.iou for one in report.changes]
    kept = sum(not one.used for one in report.changes)
    typer.echo(
        f"wrote {out}: {len(ious)} objects, mean IoU of old and new {sum(ious) / len(ious):.3f}, "
        f"{kept} left as they were; {report.table} lists them"
    )
