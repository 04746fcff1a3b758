"""``napari-segany …``: reads the command line, calls one function, says what came of it.

Whatever is heavy is imported by the command that needs it, so that ``--help`` and mistakes are answered at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_segany.core.errors import InputError, SeganyError

if TYPE_CHECKING:
    from napari_segany.core.prompts import Box, Point, Prompt
    from napari_segany.core.segmenter import Segmenter
    from napari_segany.run.cluster import Cluster
    from napari_segany.run.segment import Place, SegmentJob, SegmentReport

# Depending on its version typer uses click or a copy of its own; this is what all of click's errors have in common.
_UsageErrors: type[Exception] = typer.BadParameter.__mro__[2]

SIGNS = {"+": True, "-": False}
DOUBTFUL = 5
"""Slices that are told of when objects were followed, the least sure first."""


def _app(**options: Any) -> typer.Typer:
    return typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False, **options)


app = _app(help="Segment anything in microscopy images: click, box, have the mask.")
models = _app(help="Which models there are.")
bench = _app(help="Measure a model on labelled images.")
train = _app(help="Train a model.")
app.add_typer(models, name="models")
app.add_typer(bench, name="bench")
app.add_typer(train, name="train")

ModelOption = Annotated[str, typer.Option(help="Name of a model (see `models list`), or path of a checkpoint.")]
DeviceOption = Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda or mps.")]
DataOption = Annotated[
    Path,
    typer.Option(
        help="Folder of one set: images/ with labels/; images/ with labels_bits/ and classes.json (its mitochondria); "
        "or volumes NAME_image.tif with NAME_labels.tif."
    ),
]
GridOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="--everything: ask at N x N points. By default the model looks for objects itself, or at 32 x 32."
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
SmallestOption = Annotated[int | None, typer.Option(min=1, help="--everything: least number of pixels of an object.")]
JsonOption = Annotated[Path | None, typer.Option(help="Write the rows to this file instead of showing a table.")]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Take the first images only.")]
PerImageOption = Annotated[int | None, typer.Option(min=1, help="Take so many objects of each image, drawn by chance.")]
GroupOption = Annotated[bool, typer.Option("--by-group", help="Also by kind of picture and by size of object.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the program's name; by default what the process was given.

    Returns
    -------
    int
        Exit status: 0; 2 for bad input, after one line on stderr; 130 when interrupted.
    """
    try:
        status = app(arguments, prog_name="napari-segany", standalone_mode=False)
    except SeganyError as error:
        return _fail(str(error))
    except _UsageErrors as error:
        return _fail(getattr(error, "format_message", error.__str__)())
    except (typer.Abort, KeyboardInterrupt):
        return 130
    return status if isinstance(status, int) else 0


def _fail(message: str) -> int:
    typer.echo(f"napari-segany: {' '.join(message.split())}", err=True)
    return 2


def _show_version(wanted: bool) -> None:
    if wanted:
        from napari_segany import __version__

        typer.echo(f"napari-segany {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def demo(
    headless: Annotated[bool, typer.Option("--headless", help="Do without a window.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the labels (TIFF) and the picture; without a window, segany-demo by default."),
    ] = None,
) -> None:
    """Watch prompts being placed on a sample and masks appear.

    Opens napari and leaves the window to you; without a display it writes labels and a picture, and tells the mean IoU
    with the sample's known truth.
    """
    from napari_segany.demo import run_demo

    typer.echo(run_demo(headless, out))


@app.command()
def segment(  # noqa: PLR0913  each parameter is an option of the command line
    image: Annotated[
        Path,
        typer.Argument(help="TIFF, PNG, JPEG, BMP, or the folder of an OME-Zarr; with --everything a folder of these."),
    ],
    labels: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="LABELS",
            help="What to write: .tif, .zarr, IMAGE.zarr/labels/NAME; with --everything a folder.",
        ),
    ],
    point: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[[T,]Z,]Y,X[,+|-]",
            help="A point in pixels, the centre of the first being 0,0; of three numbers the first is the plane, "
            "counted through all axes before y and x; of four they are time, depth, y and x. "
            "Each positive point (no sign, or +) is an "
            "object of its own; a negative one (-) says what does not belong to the object of the point before it. "
            "Repeat.",
        ),
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="A table with columns y and x, and, if wanted, label (rows that share it are one object), positive "
            "(true or false) and z (the plane). Tables that napari saves are read too.",
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="Y0,X0,Y1,X1", help="A box, an object of its own; labelled after the points. Repeat."),
    ] = None,
    one_object: Annotated[
        bool, typer.Option("--one-object", help="All --point and --box together describe a single object.")
    ] = False,
    plane: Annotated[
        int | None,
        typer.Option("--plane", "-z", min=0, help="Plane of --point and --box in an image that has several, from 0."),
    ] = None,
    model: ModelOption = "tiny",
    device: DeviceOption = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace LABELS when it exists.")] = False,
    all_objects: Annotated[
        bool, typer.Option("--everything", help="Segment all objects, without prompts; see the options below.")
    ] = False,
    grid: GridOption = None,
    score: ScoreOption = None,
    stability: StabilityOption = None,
    smallest: SmallestOption = None,
    dask: DaskOption = "",
    propagate: Annotated[
        bool, typer.Option("--propagate", help="Follow the objects through all slices of the stack, both ways.")
    ] = False,
    link: Annotated[
        bool, typer.Option("--link", help="--everything: objects of neighbouring slices or times become one.")
    ] = False,
    tracks: Annotated[
        bool,
        typer.Option(
            "--tracks",
            help="--link: also write NAME_tracks.csv (track, t, (z,) y, x, as napari's Tracks layer takes it) and the "
            "folder NAME_ctc (Cell Tracking Challenge). The first axis is time.",
        ),
    ] = False,
    text: Annotated[
        str,
        typer.Option(
            help="Find all objects of these names, 'nucleus; cell', with attributes, 'small bright nuclei'; goes with "
            "the options of --everything. `models info tiny-text` lists what is known."
        ),
    ] = "",
    clip: Annotated[
        str,
        typer.Option(
            help="--text: rank automatic masks of any model by their crops with this CLIP: tiny-text, ViT-B-32/openai, "
            "or a folder of open_clip."
        ),
    ] = "",
) -> None:
    """Segment the objects that are pointed at, or everything, and write their labels.

    Labels count from 1 in the order given: those of the table first, with its own labels, then points, then boxes.
    Where objects overlap, the first one keeps the pixels.

    With --everything, LABELS is a folder: for each NAME.tif it gets NAME_labels.tif, NAME_masks.json (COCO) and
    NAME_objects.csv. What is there already is not made again, so a run that was stopped goes on where it was.
    """
    if clip and not text.strip():
        raise InputError("--clip belongs to --text")
    if all_objects or text.strip():
        if point or points or box or one_object or plane is not None or overwrite or propagate:
            what = "--everything" if all_objects else "--text"
            raise InputError(f"{what} takes no points, boxes or planes, and never overwrites; leave them out")
        changes = {"score": score, "stability": stability, "smallest": smallest}
        used = {k: v for k, v in changes.items() if v is not None}
        if tracks and not link:
            raise InputError("--tracks are of what is linked: add --link")
        wanted = {"link": link, "text": text, "clip": clip, "tracks": tracks}
        with _cluster(dask, model, device) as cluster:
            _everything(image, labels, wanted, (grid, used), (_loader(model, device), cluster))
        return
    if link or tracks or any(option is not None for option in (grid, score, stability, smallest)):
        raise InputError("--grid, --score, --stability, --smallest, --link and --tracks belong to --everything")
    from napari_segany.run.segment import SegmentJob

    prompts, planes = _said(point or (), box or (), plane, one_object)
    job = SegmentJob(image, labels, prompts, points, plane, overwrite, planes)
    if dask and not propagate:
        raise InputError("--dask belongs to --everything, --text and --propagate")
    with _cluster(dask, model, device) as cluster:
        _segment(job, propagate, _loader(model, device), cluster)


def _cluster(address: str, model: str, device: str) -> AbstractContextManager[Cluster | None]:
    """The cluster that was asked for; None for this machine."""
    if not address:
        return nullcontext()
    from napari_segany.run.cluster import Cluster, loader

    return Cluster(address, loader(model, device))


def _said(
    point: Sequence[str], box: Sequence[str], plane: int | None, one_object: bool
) -> tuple[tuple[Prompt, ...], tuple[Place, ...]]:
    """Prompts, and the plane of each where points name theirs."""
    from napari_segany.run.segment import objects

    places = [_point(text) for text in point]
    clicks, boxes = [click for _, click in places], [_box(text) for text in box]
    prompts = objects(clicks, boxes, together=one_object)
    named = [z for z, _ in places if z is not None]
    if not named:
        return prompts, ()
    if plane is not None or boxes or len(named) < len(places):
        raise InputError("either all points name their plane, z,y,x, and there are no boxes, or --plane tells it")
    starts = [i for i, click in enumerate(clicks) if click.positive][: len(prompts)]
    bounds = [0, *starts[1:], len(named)]
    for first, last in pairwise(bounds):
        if len(set(named[first:last])) > 1:
            raise InputError("the points of one object lie on one plane")
    return prompts, tuple(named[i] for i in starts)


def _segment(job: SegmentJob, propagate: bool, load: Callable[[], Segmenter], cluster: Cluster | None) -> None:
    from napari_segany.run.propagate import propagate_file
    from napari_segany.run.segment import segment_file

    if propagate:
        followed = propagate_file(
            job, load, progress=_show_images, encoder=None if cluster is None else cluster.encoder
        )
        for z, label in followed.doubtful[:DOUBTFUL]:
            verdict = followed.verdicts[z, label]
            why = f"{', '.join(verdict.flags)} (confidence {verdict.confidence:.2f})"
            typer.echo(f"napari-segany: look at object {label} on plane {z}: {why}", err=True)
        report: SegmentReport = followed
    else:
        report = segment_file(job, load)
    for label, pixels in report.painted.items():
        if not pixels:
            typer.echo(f"napari-segany: object {label} got no pixel", err=True)
    found = sum(pixels > 0 for pixels in report.painted.values())
    typer.echo(f"wrote {report.path}: {found} of {len(report.painted)} objects")


def _everything(
    image: Path,
    out: Path,
    options: dict[str, Any],
    wanted: tuple[int | None, dict[str, float]],
    who: tuple[Callable[[], Segmenter], Cluster | None],
) -> None:
    from napari_segany.core.everything import Grid
    from napari_segany.run.everything import EverythingJob, segment_everything
    from napari_segany.run.labels import TIFF, ZARR

    if out.suffix.lower() in (*TIFF, *ZARR):
        mode = "--text" if options["text"] else "--everything"
        raise InputError(f"with {mode}, labels go to a folder, not to {out}")
    grid, changes = wanted
    job = EverythingJob(image, out, None if grid is None else Grid(grid), changes, **options)
    reports = []
    for report in segment_everything(job, *who):
        reports.append(report)
        if report.problem:
            typer.echo(f"napari-segany: {' '.join(report.problem.split())}", err=True)
        elif report.objects >= 0:
            typer.echo(f"{report.image.name}: {report.objects} objects")
    before, failed = sum(one.objects < 0 for one in reports), sum(bool(one.problem) for one in reports)
    done = len(reports) - before - failed
    typer.echo(f"wrote {out}: {done} images, {before} were done before, {failed} failed")
    if failed:
        raise typer.Exit(2)


@app.command()
def embed(
    image: Annotated[Path, typer.Argument(help="TIFF, PNG, JPEG, BMP, or the folder of an OME-Zarr.")],
    model: ModelOption = "tiny",
) -> None:
    """Encode all planes of an image beforehand, so that the widget answers at once on each of them.

    Embeddings are kept on the disk, by content: any image with the same planes finds them. SEGANY_EMBEDDINGS names
    another folder, SEGANY_EMBEDDINGS_GB how many gigabytes are kept (4), the ones that were used last.
    """
    from napari_segany.run.encoding import embed_file, embeddings_folder
    from napari_segany.run.remote import load_remote

    report = embed_file(image, lambda: load_remote(model, _show_download), _show_images)
    typer.echo(f"encoded {report.planes} planes, {report.bytes / 1e6:.0f} MB, in {embeddings_folder()}")


@app.command()
def replay(
    session: Annotated[Path, typer.Argument(help="The file that the widget kept of a session, NAME.jsonl.")],
    labels: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="LABELS", help="What to write: .tif, .zarr, IMAGE.zarr/labels/NAME."),
    ],
    image: Annotated[Path | None, typer.Option(help="The image, when it is not where it was opened from.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace LABELS when it exists.")] = False,
) -> None:
    """Do again what was done in the widget, without a window, and write the labels.

    Each mask is decoded anew. On the same machine and device the labels are the same to the bit; where they are not,
    it is said. Another image and other weights than the session's are refused.
    """
    from napari_segany.run.replay import ReplayJob, replay_file

    report = replay_file(ReplayJob(session, labels, image, overwrite))
    if report.warning:
        typer.echo(f"napari-segany: {report.warning}", err=True)
    if report.differing:
        typer.echo(f"napari-segany: {report.differing} pixels are not as they were in the session", err=True)
    typer.echo(f"wrote {report.path}: {report.objects} objects")


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


def _box(text: str) -> Box:
    from napari_segany.core.prompts import Box

    return Box(*_numbers(text, "--box", "y0,x0,y1,x1", 4))


def _loader(model: str, device: str) -> Callable[[], Segmenter]:
    """What loads the model when it is needed: torch takes seconds to import."""

    def load() -> Segmenter:
        from napari_segany.models.loading import load_segmenter

        return load_segmenter(model, device, progress=_show_download)

    return load


def _show_download(done: int, total: int | None) -> None:
    if sys.stderr.isatty():
        of = f" of {total / 1e6:.0f}" if total else ""
        typer.echo(f"\rdownloading {done / 1e6:.0f}{of} MB", err=True, nl=done == total)


@models.command("list")
def list_models() -> None:
    """List the models that are known by name."""
    from napari_segany.models.registry import list_models

    rows = [(spec.name, spec.size, spec.domain, spec.licence) for spec in list_models()]
    typer.echo(_table([("model", "size", "made for", "licence"), *rows]))


@models.command("info")
def model_info(name: Annotated[str, typer.Argument(help="Name of a model.")]) -> None:
    """Tell all that is known of one model, or of `tiny-text`, the text prompts in the package."""
    from napari_segany.models.registry import find

    if name == "tiny-text":
        from napari_segany.models.texts import about_embedded

        typer.echo(_table([(f"{key}:", value) for key, value in about_embedded().items()]))
        return
    spec = find(name)
    rows = {
        "model": spec.name,
        "architecture": spec.architecture,
        "made for": spec.domain,
        "size": spec.size,
        "licence": spec.licence,
        "cite": spec.citation,
        "published": spec.url or "with this package",
        "hash": spec.hash or "",
        "file": f"{spec.path} ({'there' if spec.path.is_file() else 'not there yet'})",
    }
    typer.echo(_table([(f"{key}:", value) for key, value in rows.items() if value]))


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


@bench.command()
def clicks(  # noqa: PLR0913  each parameter is an option of the command line
    data: DataOption,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    limit: LimitOption = None,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Clicks on each object, each on the largest error.")] = 1,
    device: DeviceOption = "auto",
    per_image: PerImageOption = None,
    by_group: GroupOption = False,
) -> None:
    """Measure one click in the middle of each object, beside two plain baselines.

    The click is the point farthest from the object's boundary; of three candidates the most confident counts, `oracle`
    tells the best. Objects count from 16 pixels, at the image's own resolution.
    """
    options = {"limit": limit, "per_image": per_image, "rounds": rounds, "by_group": by_group}
    _bench("clicks", data, model, json, device, **options)


@bench.command()
def boxes(  # noqa: PLR0913  each parameter is an option of the command line
    data: DataOption,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    per_image: PerImageOption = None,
    by_group: GroupOption = False,
) -> None:
    """Measure one exact box around each object, one mask each."""
    _bench("boxes", data, model, json, device, limit=limit, per_image=per_image, by_group=by_group)


@bench.command()
def prompts(
    data: DataOption,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    per_image: PerImageOption = None,
) -> None:
    """Measure a box with a click, a rough mask to be refined, and a scribble on each object.

    For rough masks `miou_1` tells how good they were, `miou_2` how good the answer is.
    """
    _bench("prompts", data, model, json, device, limit=limit, per_image=per_image)


@bench.command()
def sizes(
    data: DataOption,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    per_image: PerImageOption = 6,
) -> None:
    """Measure the same objects in planes that are cropped, padded, tiled, and magnified to half and twice.

    `drop` tells what is lost against the plane as it is.
    """
    _bench("sizes", data, model, json, device, limit=limit, per_image=per_image)


@bench.command()
def empty(
    data: DataOption,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    per_image: PerImageOption = None,
) -> None:
    """Measure whether the score tells objects from places where nothing is (area under the ROC curve).

    The set must have all its objects labelled.
    """
    _bench("empty", data, model, json, device, limit=limit, per_image=per_image)


@bench.command("everything")
def bench_everything(
    data: DataOption,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    method: Annotated[
        list[str] | None,
        typer.Option(help="seeds or grid; repeat for both. By default seeds where the model has them, else the grid."),
    ] = None,
) -> None:
    """Measure the masks that are found without a prompt: AP at an IoU of 0.5, and its mean up to 0.95 (mSA)."""
    from napari_segany.experiments.instances import rows_of_everything

    chosen = tuple(method or ())
    _show(json, lambda: rows_of_everything(data, _loader(model, device), chosen, limit, _show_images))


@bench.command("stack")
def bench_stack(  # noqa: PLR0913  each parameter is an option of the command line
    data: DataOption,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    per_image: PerImageOption = None,
    corrections: Annotated[
        int, typer.Option(min=0, help="Count the slices to be set right until an IoU of 0.8, so many at most.")
    ] = 5,
) -> None:
    """Measure how objects of stacks are followed from their middle slice, from their true mask and from one click.

    `box` is the projection of micro-sam, `copy` the first mask on every slice. IoU in three dimensions, over each
    object and two slices beyond its ends.
    """
    from napari_segany.experiments.stacks import rows_of_stacks

    load = _loader(model, device)
    _show(json, lambda: rows_of_stacks(data, load, limit, per_image, corrections, _show_images))


@bench.command("link")
def bench_link(  # noqa: PLR0913  each parameter is an option of the command line
    data: DataOption,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    given_only: Annotated[bool, typer.Option("--given-only", help="Without the model's own objects.")] = False,
    first: Annotated[int, typer.Option(min=0, help="Leave out the slices before this one, from 0.")] = 0,
) -> None:
    """Measure how objects of slices or frames are linked: those that are given, and those that the model finds."""
    from napari_segany.experiments.links import rows_of_links

    _show(json, lambda: rows_of_links(data, _loader(model, device), limit, given_only, first, _show_images))


@bench.command("text")
def bench_text(  # noqa: PLR0913  each parameter is an option of the command line
    data: Annotated[Path, typer.Option(help="Folder that holds the folders of the sets, such as dsb2018.")],
    model: ModelOption = "tiny",
    json: JsonOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    only: Annotated[list[str] | None, typer.Option("--set", help="Measure this set only. Repeat.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="text, crops or otsu; all by default. Repeat.")] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="SET:TEXT", help="Measure how attributes select instead, dsb2018:small nuclei. Repeat."),
    ] = None,
) -> None:
    """Measure what a name alone finds, and whether what is absent is known to be.

    Beside it automatic masks ranked by their crops, and Otsu's classes by name.
    """
    from napari_segany.experiments.text import METHODS, attribute_rows, rows_of_text

    load = _loader(model, device)
    if select:
        pairs = [(group, text) for group, _, text in (one.partition(":") for one in select)]
        _show(json, lambda: attribute_rows(data, load, pairs, limit))
        return
    _show(json, lambda: rows_of_text(data, load, only or (), tuple(method or METHODS), limit, _show_images))


@bench.command("speed")
def bench_speed(
    quick: Annotated[bool, typer.Option("--quick", help="Once or a few times each: under a minute.")] = False,
    json: JsonOption = None,
) -> None:
    """Time what users wait for beside segment-anything and transformers, where they are installed.

    Medians in milliseconds, both taking turns in one run; `ratio` is theirs over ours. `floor_ms` is what the matrix
    products alone would take at the rate that this machine reaches.
    """
    from napari_segany.experiments.speed import rows_of_speed

    _show(json, lambda: rows_of_speed(quick=quick))


@bench.command("all")
def bench_all(
    data: Annotated[Path, typer.Option(help="Folder that holds the sets of which figures are made.")],
    page: Annotated[Path, typer.Option(help="Markdown file to write, a table for each bench.")],
    model: ModelOption = "tiny",
    json: JsonOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Measure everything on all public sets and write a page of the figures."""
    from napari_segany.experiments import suite
    from napari_segany.experiments.bench import write_rows

    for path in (page, json):
        if path is not None and not path.parent.is_dir():
            raise InputError(f"there is no folder {path.parent}")
    results = []
    for entry, rows in suite.run_suite(data, _loader(model, device), _show_images):
        typer.echo(f"{entry[0]} {entry[1]}: {len(rows)} rows", err=True)
        results.append((entry, rows))
        # after each: what is measured is kept, whatever happens later
        page.write_text(suite.page(results, model))
        if json is not None:
            write_rows(json, [row for _, each in results for row in each])
    typer.echo(f"wrote {page}")


def _bench(kind: str, data: Path, model: str, json: Path | None, device: str, **options: Any) -> None:
    from napari_segany.experiments.bench import BenchConfig, rows_of

    _show(json, lambda: rows_of(BenchConfig(kind, data, **options), _loader(model, device), _show_images))


def _show(json: Path | None, measure: Callable[[], list[dict[str, Any]]]) -> None:
    """Measure, and show the rows as a table or write them."""
    from napari_segany.experiments.bench import write_rows

    if json is not None and not json.parent.is_dir():
        raise InputError(f"there is no folder {json.parent}")
    rows = measure()
    if sys.stderr.isatty():
        typer.echo("", err=True)
    if json is not None:
        write_rows(json, rows)
        typer.echo(f"wrote {json}: {len(rows)} rows")
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    typer.echo(_table([columns, *([_cell(row.get(key, "")) for key in columns] for row in rows)]))


def _show_images(done: int) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r{done} images", err=True, nl=False)


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


@train.command()
def sam(
    config: Annotated[str, typer.Argument(help="TOML file, or `tiny` for the one that the embedded model came from.")],
    data: Annotated[Path, typer.Option(help="Folder that holds one folder per training source.")],
    out: Annotated[Path, typer.Option(help="Where checkpoint, log and weights go; a checkpoint there is resumed.")],
    device: DeviceOption = "auto",
) -> None:
    """Train a model by simulated clicks and boxes."""
    path = _config(config)
    if not data.is_dir():
        raise InputError(f"there is no folder {data}")
    _check_folder(out)
    from napari_segany.models.device import pick_device
    from napari_segany.training.sam import train_sam

    typer.echo(f"wrote {train_sam(path, data, out, pick_device(device))}")


@train.command("text")
def train_text(
    config: Annotated[str, typer.Argument(help="TOML file, `tiny-text-towers` or `tiny-text`.")],
    data: Annotated[Path, typer.Option(help="Folder that holds one folder per training source.")],
    out: Annotated[Path, typer.Option(help="Where checkpoint, log and weights go; a checkpoint there is resumed.")],
    device: DeviceOption = "auto",
) -> None:
    """Train what texts need: towers that compare texts with objects, or the head that makes prompts of texts."""
    path = _config(config)
    if not data.is_dir():
        raise InputError(f"there is no folder {data}")
    _check_folder(out)
    from napari_segany.models.device import pick_device
    from napari_segany.training.text import train_text

    typer.echo(f"wrote {train_text(path, data, out, pick_device(device))}")


def _config(name: str) -> Path:
    """A file of that name, or else a configuration of the package."""
    path = Path(name).expanduser()
    shipped = Path(__file__).parent / "training" / "configs" / f"{name}.toml"
    return shipped if not path.is_file() and path.name == name and shipped.is_file() else path


def _check_folder(out: Path) -> None:
    """Refuse a folder that could not be made or written to, before the data are read."""
    nearest = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(f"cannot write to the folder {out}")
