"""``napari-segany dataset …``: sets of labelled images in the layout of SA-1B, and what they are like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_segany.cli.shared import JsonOption, new_app, table

dataset = new_app(help="Sets of labelled images: to the layout of SA-1B, back, and what they are like.")

OutOption = Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The folder to write: new, or empty.")]


@dataset.command()
def make(
    folder: Annotated[Path, typer.Argument(help="images/ and labels/, label images with the names of their images.")],
    out: OutOption,
) -> None:
    """Write a set in the layout of SA-1B: a copy of each image, and a .json of its masks.

    Each mask has its run lengths (COCO), area, box, point, the one farthest from its outline, and crop box, the whole
    image. Predicted IoU and stability come from labels/NAME_objects.csv where it is there, else they are null.
    """
    from napari_segany.batch.sa1b_dataset import make_dataset

    made = make_dataset(folder, out)
    typer.echo(f"wrote {out}: {len(made)} images, {sum(one.masks for one in made)} masks")


@dataset.command()
def read(
    folder: Annotated[Path, typer.Argument(help="A set in the layout of SA-1B, a .json for each image.")],
    out: OutOption,
) -> None:
    """Write the masks of a set in the layout of SA-1B as labels again: OUT/labels/NAME.tif, images in OUT/images.

    Where masks overlap, the smaller one keeps the pixels; images with such masks are reported.
    """
    from napari_segany.batch.sa1b_dataset import read_dataset

    made = read_dataset(folder, out)
    for one in made:
        if one.shared:
            lost = f", {one.lost} masks have none left" if one.lost else ""
            typer.echo(f"napari-segany: {one.name}: {one.shared} pixels lie in several masks{lost}", err=True)
    typer.echo(f"wrote {out}: {len(made)} images, {sum(one.masks - one.lost for one in made)} objects")


@dataset.command()
def report(
    folder: Annotated[
        Path, typer.Argument(help="Labelled images, images/ and labels/, the layout of SA-1B, or a session file.")
    ],
    against: Annotated[
        Path | None, typer.Option(help="Other annotations of the same images, with which to compare.")
    ] = None,
    json: JsonOption = None,
    picture: Annotated[Path | None, typer.Option(help="Also draw the statistics: an .svg, new.")] = None,
) -> None:
    """Print statistics of a data set: masks for each image, their sizes, concavity, overlap, and positions.

    Size is sqrt(area of the mask / area of the image), concavity 1 - area / area of the convex hull, overlap the share
    of annotated pixels in several masks; centres are shares of the masks in 8 x 8 parts of the image. --against adds
    the share of masks whose IoU with their partner is above 0.9 and 0.75.
    """
    from napari_segany.batch.sa1b_dataset import draw_dataset, report_dataset
    from napari_segany.experiments.benchmark import check_rows, write_rows
    from napari_segany.io.output_checks import check_apart

    if json is not None:
        check_apart(json, [folder, against], "the rows")
        check_rows(json)
    if picture is not None:
        draw_dataset(folder, picture)
        typer.echo(f"wrote {picture}")
    rows = report_dataset(folder, against)
    if json is not None:
        write_rows(json, rows)
        typer.echo(f"wrote {json}: {len(rows)} rows")
        return
    columns = [key for key in dict.fromkeys(key for row in rows for key in row) if key != "heat_map"]
    typer.echo(table([columns, *([_shown(row.get(key, "")) for key in columns] for row in rows)]))
    maps = [row["heat_map"] for row in rows if "heat_map" in row]
    for parts in maps:
        typer.echo("\ncentres, from the top left")
        typer.echo(table([[_shown(share) for share in line] for line in parts]))


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
