"""``napari-segany segment``: points, boxes, everything or a text on images and stacks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_segany.cli.prompt_options import example_box, prompts_of
from napari_segany.cli.shared import (
    DeviceOption,
    JsonProgressOption,
    ModelOption,
    ShownProgress,
    ShownStages,
    TextHeadOption,
    files_of,
    loader,
)
from napari_segany.core.errors import InputError

if TYPE_CHECKING:
    from napari_segany.batch.dask_cluster import DaskCluster
    from napari_segany.batch.exemplar_files import ExemplarFiles
    from napari_segany.batch.segment_file import SegmentJob, SegmentReport
    from napari_segany.core.automatic_masks import Grid, Proposals
    from napari_segany.core.segmenter import Segmenter

LISTED = 5
"""How many entries are listed at most: uncertain slices after propagation, names that are not known."""


MOST_POINTS = 1024
"""Of --grid, along each side: there are not more objects to be found on a plane."""


MOST_LAYERS = 4
"""Of --crop-layers: 16 x 16 crops of a plane."""


GridOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MOST_POINTS,
        help="--everything: prompt N x N points. By default the model proposes objects, or 32 x 32 points are used.",
    ),
]


CropLayersOption = Annotated[
    int,
    typer.Option(
        min=0,
        max=MOST_LAYERS,
        help="--everything: also prompt 2 x 2 crops of each plane, with 2 also 4 x 4 and so on, for small objects; "
        "a crop has half the points along each side that the layer before it has.",
    ),
]


ScoreOption = Annotated[
    float | None, typer.Option(min=0, max=1, help="--everything: predicted IoU must be above (default: the model's).")
]


StabilityOption = Annotated[
    float | None, typer.Option(min=0, max=1, help="--everything: least stability of a mask (default: the model's).")
]


DaskOption = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="--everything, --text, --propagate: work on a Dask cluster whose scheduler has this address, as "
        "tcp://host:8786, instead of this machine alone.",
    ),
]


BoxesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Boxes of a detector, an object each: COCO (.json; of its images the one of the same file name, or the "
        "only one), a table (.csv) with y0,x0,y1,x1 as of --box, or x,y,width,height from the corner of the first "
        "pixel, and, if wanted, label, score, class, name, z, t; or ImageJ's regions (.zip, .roi). Also writes "
        "LABELS_objects.csv with their scores and classes.",
    ),
]


SmallestOption = Annotated[int | None, typer.Option(min=1, help="--everything: least number of pixels of an object.")]


ImageArgument = Annotated[
    Path,
    typer.Argument(help="TIFF, PNG, JPEG, BMP, or the folder of an OME-Zarr; with --everything a folder of these."),
]


LabelsOption = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="LABELS",
        help="What to write: .tif, .zarr, IMAGE.zarr/labels/NAME; with --everything a folder.",
    ),
]


PointOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[[T,]Z,]Y,X[,+|-]",
        help="A point in pixels, the centre of the first being 0,0; of three numbers the first is the plane, "
        "counted through all axes before y and x; of four they are time, depth, y and x. "
        "Each positive point (no sign, or +) is a "
        "separate object; a negative one (-) marks what does not belong to the object of the point before it. "
        "Repeat.",
    ),
]


PointsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV",
        help="A table with columns y and x, and, if wanted, label (rows that share it are one object), positive "
        "(true or false) and z (the plane). Tables that napari saves are read too.",
    ),
]


BoxOption = Annotated[
    list[str] | None,
    typer.Option(metavar="Y0,X0,Y1,X1", help="A box, a separate object; labelled after the points. Repeat."),
]


OneObjectOption = Annotated[
    bool, typer.Option("--one-object", help="All --point and --box together describe a single object.")
]


PlaneOption = Annotated[
    int | None,
    typer.Option("--plane", "-z", min=0, help="Plane of --point, --box and --boxes in an image of several, from 0."),
]


OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace LABELS when it exists.")]


EverythingOption = Annotated[
    bool, typer.Option("--everything", help="Segment all objects, without prompts; see the options below.")
]


PropagateOption = Annotated[
    bool, typer.Option("--propagate", help="Follow the objects through all slices of the stack, both ways.")
]


LinkOption = Annotated[
    bool, typer.Option("--link", help="--everything: objects of neighbouring slices or times become one.")
]


TracksOption = Annotated[
    bool,
    typer.Option(
        "--tracks",
        help="--link: also write NAME_tracks.csv (track, t, (z,) y, x, as napari's Tracks layer takes it) and the "
        "folder NAME_ctc (Cell Tracking Challenge). The first axis is time.",
    ),
]


TextOption = Annotated[
    str,
    typer.Option(
        help="Find all objects of these names, 'nucleus; cell', with attributes, 'small bright nuclei'; goes with "
        "the options of --everything. `models info tiny-text` lists what is known."
    ),
]


ClipOption = Annotated[
    str,
    typer.Option(
        help="--text: rank automatic masks of any model by their crops with this CLIP: tiny-text, ViT-B-32/openai, "
        "hf-hub:OWNER/NAME, or a folder of open_clip."
    ),
]


ExemplarsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="LABELS",
        help="Find all objects like those of this label image; goes with the options of --everything. "
        "They were labelled on IMAGE, or on --exemplars-image.",
    ),
]


ExemplarsImageOption = Annotated[
    Path | None, typer.Option(metavar="IMAGE", help="--exemplars: the image that they were labelled on.")
]


RejectedOption = Annotated[
    Path | None,
    typer.Option(metavar="LABELS", help="--exemplars: label image of objects that are not to be found, same image."),
]


ClicksOption = Annotated[
    bool,
    typer.Option(
        "--clicks",
        help="--everything: where the model's decoder draws objects, as micro-sam's (AIS), click on each instead and "
        "take the mask of the click (APG).",
    ),
]


ExampleOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="Y0,X0,Y1,X1[,+|-]",
        help="Find all objects like that in this box, or with - unlike it; with --text of that name, too. For SAM 3 "
        "and an image of one plane. Repeat.",
    ),
]


NamesOption = Annotated[
    bool,
    typer.Option(
        "--names/--no-names",
        help="Name objects as the model takes them (nucleus, cell …), with a probability, where it is sure enough.",
    ),
]


EdgesOption = Annotated[
    bool,
    typer.Option(
        "--edges",
        help="Write edges instead of labels, a TIFF from 0 to 1: membranes, walls, outlines of objects.",
    ),
]


OnlyOption = Annotated[
    Path | None,
    typer.Option(
        metavar="LIST",
        help="With a folder as IMAGE: segment only the images that this text file names, a file name a line.",
    ),
]


def segment(  # noqa: PLR0913  each parameter is an option of the command line
    image: ImageArgument,
    labels: LabelsOption,
    point: PointOption = None,
    points: PointsOption = None,
    box: BoxOption = None,
    boxes: BoxesOption = None,
    one_object: OneObjectOption = False,
    plane: PlaneOption = None,
    model: ModelOption = "tiny",
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    all_objects: EverythingOption = False,
    grid: GridOption = None,
    crop_layers: CropLayersOption = 0,
    score: ScoreOption = None,
    stability: StabilityOption = None,
    smallest: SmallestOption = None,
    dask: DaskOption = "",
    propagate: PropagateOption = False,
    link: LinkOption = False,
    tracks: TracksOption = False,
    text: TextOption = "",
    clip: ClipOption = "",
    exemplars: ExemplarsOption = None,
    exemplars_image: ExemplarsImageOption = None,
    rejected: RejectedOption = None,
    text_head: TextHeadOption = None,
    edges: EdgesOption = False,
    example: ExampleOption = None,
    clicks: ClicksOption = False,
    names: NamesOption = True,
    only: OnlyOption = None,
    json_progress: JsonProgressOption = False,
) -> None:
    """Segment the prompted objects, or all objects, and write their labels.

    Labels count from 1 in the order given: those of the table first, with its own labels, then the boxes of a file,
    points, and boxes. Where objects overlap, the first one keeps the pixels.

    With --everything, LABELS is a folder: for each NAME.tif it gets NAME_labels.tif, NAME_masks.json (COCO) and
    NAME_objects.csv. Existing results are not computed again, so a run that was stopped continues where it stopped.
    """
    _check_text(text, clip, text_head)
    if example and all_objects:
        raise InputError("--example finds objects like those in boxes: leave --everything out")
    if edges:
        others = (point, points, box, boxes, one_object, plane is not None, all_objects, propagate, link, tracks, dask)
        if any(others) or text.strip() or exemplars is not None or example:
            raise InputError("--edges takes the image alone: leave prompts and other ways to segment out")
        _edges(image, labels, overwrite, model, device)
        return
    changes = {"score": score, "stability": stability, "smallest": smallest}
    used = {name: value for name, value in changes.items() if value is not None}
    given = _exemplar_files(image, exemplars, exemplars_image, rejected)
    if all_objects or text.strip() or given is not None or example:
        if point or points or box or boxes or one_object or plane is not None or overwrite or propagate:
            what = "--everything" if all_objects else _mode(text, exemplars=given is not None, example=bool(example))
            raise InputError(f"{what} takes no points, boxes or planes, and never overwrites; leave them out")
        head = None if text_head is None else Path(text_head)
        inputs = (*files_of(model, clip), *filter(None, (exemplars, exemplars_image, rejected, head)))
        wanted = {"link": link, "text": text, "clip": clip, "tracks": tracks, "inputs": inputs, "exemplars": given}
        wanted["names"] = names
        wanted["skipped"] = frozenset() if only is None else _others(image, only)
        wanted["examples"] = tuple(example_box(one) for one in example or ())
        shown = ShownStages(as_json=True) if json_progress else None
        _all_objects(
            image, labels, wanted, (_grid(grid, crop_layers, clicks), used), (dask, model, device), (text_head, shown)
        )
        return
    if link or tracks or grid is not None or crop_layers or clicks or used or only is not None:
        raise InputError(
            "--grid, --crop-layers, --clicks, --score, --stability, --smallest, --only, --link and --tracks belong to "
            "--everything"
        )
    from napari_segany.batch.segment_file import SegmentJob

    prompts, planes = prompts_of(point or (), box or (), plane, one_object)
    job = SegmentJob(image, labels, prompts, points, plane, overwrite, planes, files_of(model), boxes, names)
    _prompted_objects(job, propagate, (dask, model, device))


def _check_text(text: str, clip: str, text_head: str | None) -> None:
    if (clip or text_head is not None) and not text.strip():
        raise InputError("--clip and --text-head belong to --text")
    if clip and text_head is not None:
        raise InputError("either --clip or --text-head finds what a text names, not both")


def _mode(text: str, *, exemplars: bool, example: bool) -> str:
    """The option that tells what is to be found."""
    if text.strip():
        return "--text"
    return "--exemplars" if exemplars else "--example" if example else "--everything"


def _edges(image: Path, out: Path, overwrite: bool, model: str, device: str) -> None:
    from napari_segany.batch.edge_file import edges_of_file

    written = edges_of_file(
        image, out, loader(model, device), overwrite=overwrite, inputs=files_of(model), progress=ShownProgress("planes")
    )
    typer.echo(f"wrote {written}")


def _exemplar_files(
    image: Path, exemplars: Path | None, exemplars_image: Path | None, rejected: Path | None
) -> ExemplarFiles | None:
    """The files of exemplars, where there are some."""
    if exemplars is None:
        if exemplars_image is not None or rejected is not None:
            raise InputError("--exemplars-image and --rejected belong to --exemplars")
        return None
    from napari_segany.batch.exemplar_files import ExemplarFiles
    from napari_segany.io.ome_zarr import is_zarr

    if exemplars_image is None and image.is_dir() and not is_zarr(image):
        raise InputError(f"{image} is a folder: name the image of the exemplars with --exemplars-image")
    return ExemplarFiles(exemplars_image or image, exemplars, rejected)


def _others(folder: Path, names: Path) -> frozenset[Path]:
    """The images of a folder that a list does not name."""
    from napari_segany.batch.segment_folder import images_of

    if not folder.is_dir():
        raise InputError("--only belongs to a folder of images")
    try:
        lines = (line.strip() for line in names.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list {names}: {error}") from error
    listed, images = set(filter(None, lines)), images_of(folder)
    if unknown := sorted(listed - {path.name for path in images}):
        raise InputError(f"{folder} has no image {', '.join(unknown[:LISTED])} that {names} names")
    if not listed:
        raise InputError(f"{names} names no image")
    return frozenset(path for path in images if path.name not in listed)


def _grid(side: int | None, layers: int, clicks: bool) -> Grid | Proposals | None:
    """Where to prompt; None where the model draws or proposes objects itself."""
    from napari_segany.core.automatic_masks import grid_of

    if clicks and (side is not None or layers):
        raise InputError("--clicks are on what the model finds: leave --grid and --crop-layers out")
    return grid_of(side, layers, clicks=clicks)


def _all_objects(
    image: Path,
    labels: Path,
    wanted: dict[str, Any],
    filters: tuple[Grid | Proposals | None, dict[str, float]],
    where: tuple[str, str, str],
    head_and_progress: tuple[str | None, ShownStages | None],
) -> None:
    """Segment without prompts; `where` is the address of a cluster, the model and the device."""
    text_head, shown = head_and_progress
    if where[0] and text_head is not None:
        raise InputError("--text-head works on this machine alone; leave --dask out")
    if wanted["tracks"] and not wanted["link"]:
        raise InputError("--tracks are of what is linked: add --link")
    _, model, device = where
    with _cluster(*where) as cluster:
        _everything(image, labels, wanted, filters, (loader(model, device, text_head), cluster), shown)


def _prompted_objects(job: SegmentJob, propagate: bool, where: tuple[str, str, str]) -> None:
    """Segment by prompts; `where` is the address of a cluster, the model and the device."""
    address, model, device = where
    if address and not propagate:
        raise InputError("--dask belongs to --everything, --text and --propagate")
    with _cluster(*where) as cluster:
        _segment(job, propagate, loader(model, device), cluster)


def _cluster(address: str, model: str, device: str) -> AbstractContextManager[DaskCluster | None]:
    """The requested cluster; None for this machine."""
    if not address:
        return nullcontext()
    from napari_segany.batch.dask_cluster import DaskCluster, loader

    return DaskCluster(address, loader(model, device))


def _segment(job: SegmentJob, propagate: bool, load: Callable[[], Segmenter], cluster: DaskCluster | None) -> None:
    from napari_segany.batch.propagate_file import propagate_file
    from napari_segany.batch.segment_file import objects_path, segment_file

    if propagate:
        followed = propagate_file(
            job, load, progress=ShownProgress(), encoder=None if cluster is None else cluster.encoder
        )
        for z, label in followed.uncertain[:LISTED]:
            verdict = followed.verdicts[z, label]
            why = f"{', '.join(verdict.flags)} (confidence {verdict.confidence:.2f})"
            typer.echo(f"napari-segany: check object {label} on plane {z}: {why}", err=True)
        report: SegmentReport = followed
    else:
        report = segment_file(job, load)
    for label, pixels in report.painted.items():
        if not pixels:
            typer.echo(f"napari-segany: object {label} got no pixel", err=True)
    found = sum(pixels > 0 for pixels in report.painted.values())
    for label, (name, probability) in report.names.items():
        typer.echo(f"object {label}: {name} ({probability:.2f})")
    table = f", listed in {objects_path(job.labels)}" if job.boxes else ""
    typer.echo(f"wrote {report.path}: {found} of {len(report.painted)} objects{table}")


def _everything(
    image: Path,
    out: Path,
    options: dict[str, Any],
    wanted: tuple[Grid | Proposals | None, dict[str, float]],
    who: tuple[Callable[[], Segmenter], DaskCluster | None],
    shown: ShownStages | None,
) -> None:
    from napari_segany.batch.segment_folder import FolderJob, images_of, segment_folder_files
    from napari_segany.io.labels import TIFF, ZARR

    if out.suffix.lower() in (*TIFF, *ZARR):
        mode = _mode(options["text"], exemplars=bool(options["exemplars"]), example=bool(options["examples"]))
        raise InputError(f"with {mode}, labels go to a folder, not to {out}")
    grid, changes = wanted
    job = FolderJob(image, out, grid, changes, **options)
    reports = []
    total = 0 if shown is None else len(images_of(image)) - len(job.skipped)
    for report in segment_folder_files(job, *who):
        reports.append(report)
        if shown is not None:
            shown("images", len(reports), total, float("nan"))
        if report.problem and shown is not None:
            typer.echo(" ".join(report.problem.split()))
        elif report.problem:
            typer.echo(f"napari-segany: {' '.join(report.problem.split())}", err=True)
        elif report.objects >= 0:
            typer.echo(f"{report.image.name}: {report.objects} objects")
    before, failed = sum(one.objects < 0 for one in reports), sum(bool(one.problem) for one in reports)
    done = len(reports) - before - failed
    typer.echo(f"wrote {out}: {done} images, {before} were done before, {failed} failed")
    if failed and (shown is None or not (done or before)):
        raise typer.Exit(2)
