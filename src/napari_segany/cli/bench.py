"""``napari-segany bench …``: measures a model on labelled images."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_segany.cli.shared import (
    DataOption,
    DeviceOption,
    GroupOption,
    JsonOption,
    LimitOption,
    ModelOption,
    PerImageOption,
    ShownProgress,
    TextHeadOption,
    files_of,
    loader,
    new_app,
    show_row,
    table,
)
from napari_segany.core.errors import InputError

bench = new_app(help="Measure a model on labelled images.")


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
    """Measure one click in the middle of each object, compared with two plain baselines.

    The click is the point farthest from the object's boundary; of three candidates the most confident counts, `oracle`
    is the best. Objects count from 16 pixels, at the image's full resolution.
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

    For rough masks `miou_1` is the IoU of the rough mask, `miou_2` that of the prediction.
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

    `drop` is the loss compared with the unchanged plane.
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
    """Measure how well the score separates objects from places without an object (area under the ROC curve).

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
        typer.Option(
            help="seeds, grid, queries or queries+sam; repeat for several. By default what the model uses; the last "
            "two need a --model that `train mask2former` wrote."
        ),
    ] = None,
) -> None:
    """Measure the masks that are found without a prompt: AP at an IoU of 0.5, and its mean up to 0.95 (mSA)."""
    from napari_segany.experiments.instance_scores import rows_of_everything

    chosen = tuple(method or ())
    _show(
        json, lambda: rows_of_everything(data, loader(model, device), chosen, limit, ShownProgress()), files_of(model)
    )


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
    from napari_segany.experiments.stack_benchmark import rows_of_stacks

    load = loader(model, device)
    _show(json, lambda: rows_of_stacks(data, load, limit, per_image, corrections, ShownProgress()), files_of(model))


LinkMethodOption = Annotated[
    list[str] | None, typer.Option(help="iou (the default), identity, laptrack or laptrack-overlap. Repeat.")
]


IdentityOption = Annotated[Path | None, typer.Option(help="Weights of identity queries, in place of the package's.")]


@bench.command("link")
def bench_link(  # noqa: PLR0913  each parameter is an option of the command line
    data: DataOption,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    given_only: Annotated[bool, typer.Option("--given-only", help="Without the model's own objects.")] = False,
    first: Annotated[int, typer.Option(min=0, help="Leave out the slices before this one, from 0.")] = 0,
    method: LinkMethodOption = None,
    identity: IdentityOption = None,
) -> None:
    """Measure how objects of slices or frames are linked: those that are given, and those that the model finds."""
    from napari_segany.experiments.linking import rows_of_links

    methods = method or ["iou"]
    load = loader(model, device)
    _show(
        json,
        lambda: rows_of_links(data, load, limit, given_only, first, ShownProgress(), methods, identity),
        [*files_of(model), *([identity] if identity else [])],
    )


@bench.command("divisions")
def bench_divisions(
    model: ModelOption = "tiny",
    json: JsonOption = None,
    movies: Annotated[int, typer.Option(min=1, help="Made-up movies.")] = 40,
    device: DeviceOption = "auto",
    method: LinkMethodOption = None,
    identity: IdentityOption = None,
) -> None:
    """Measure links and divisions in made-up movies, of seeds that no training uses."""
    from napari_segany.experiments.linking import rows_of_divisions

    methods = method or ["iou"]
    load = loader(model, device)
    _show(
        json,
        lambda: rows_of_divisions(load, movies, methods, identity, ShownProgress("movies")),
        [*files_of(model), *([identity] if identity else [])],
    )


@bench.command("text")
def bench_text(  # noqa: PLR0913  each parameter is an option of the command line
    data: Annotated[Path, typer.Option(help="Folder that holds the folders of the sets, such as dsb2018.")],
    model: ModelOption = "tiny",
    json: JsonOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    only: Annotated[list[str] | None, typer.Option("--set", help="Measure this set only. Repeat.")] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="text, picture, crops or otsu; all by default. Repeat.")
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(help="How texts enter the model: tokens, map, both, or none (tokens of zeros). Repeat."),
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="SET:TEXT", help="Measure how attributes select instead, dsb2018:small nuclei. Repeat."),
    ] = None,
    text_head: TextHeadOption = None,
) -> None:
    """Measure what a name alone finds, and whether what is absent is known to be.

    Next to it automatic masks ranked by their crops, and Otsu's classes by name.
    """
    from napari_segany.experiments.text_benchmark import METHODS, PROMPTED, measured_attributes, measured_text

    load = loader(model, device, text_head)
    if select:
        pairs = [(group, text) for group, _, text in (one.partition(":") for one in select)]
        _show(json, lambda: measured_attributes(data, load, pairs, limit), files_of(model))
        return
    ways = [
        way
        for one in method or METHODS
        for way in ([f"{one}:{p}" for p in path] if one in PROMPTED and path else [one])
    ]
    _show(
        json,
        lambda: measured_text(data, load, only or (), ways, limit, ShownProgress()),
        files_of(model),
    )


@bench.command("instances")
def bench_instances(  # noqa: PLR0913  each parameter is an option of the command line
    data: DataOption,
    detections: Annotated[
        Path | None, typer.Option(metavar="JSON", help="COCO file of a detector's boxes, in place of the true ones.")
    ] = None,
    noise: Annotated[
        list[float] | None,
        typer.Option(min=0, max=1, help="How far the sides of true boxes are moved. Repeat; 0, 0.1 and 0.2."),
    ] = None,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Measure the masks of boxes, next to the ellipses that fill them: AP as of COCO, and by size.

    As section 7.4 of the paper.
    """
    from napari_segany.experiments.box_instances import NOISE, InstancesConfig, rows_of_instances

    if detections is not None and noise:
        raise InputError("--noise moves true boxes; leave it out with --detections")
    config = InstancesConfig(data, detections, tuple(noise or NOISE), limit)
    _show(
        json,
        lambda: rows_of_instances(config, loader(model, device), ShownProgress()),
        (*files_of(model), *filter(None, (detections,))),
    )


@bench.command("points")
def bench_points(  # noqa: PLR0913  each parameter is an option of the command line
    data: Annotated[list[Path], typer.Option(help="Folder of a set, as of `bench clicks`. Repeat.")],
    points: Annotated[
        list[int] | None, typer.Option(min=1, max=50, help="Number of points. Repeat; 1, 2, 3, 5 and 9.")
    ] = None,
    start: Annotated[
        list[str] | None, typer.Option(help="Where the first point lies: centre or random. Repeat; both.")
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Also random walker and watershed, from the same clicks.")] = True,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    per_image: PerImageOption = None,
) -> None:
    """Measure masks from one to nine points on several sets, next to interactive methods without learning.

    As section 7.1 of the paper; further points lie in the middle of the largest error.
    """
    from napari_segany.experiments.single_point import POINTS, STARTS, PointsConfig, measured_points

    config = PointsConfig(
        tuple(data), tuple(sorted(points or POINTS)), tuple(start or STARTS), baselines, limit, per_image
    )
    _show(json, lambda: measured_points(config, loader(model, device), ShownProgress()), files_of(model))


@bench.command("fairness")
def bench_fairness(  # noqa: PLR0913  each parameter is an option of the command line
    data: DataOption,
    groups: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="A table with a column image and one for each attribute, such as stain or laboratory; without it, the "
            "kind of picture and the size of the object.",
        ),
    ] = None,
    clicks: Annotated[list[int] | None, typer.Option(min=1, max=50, help="Number of clicks. Repeat; 1 and 3.")] = None,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    per_image: PerImageOption = None,
) -> None:
    """Measure whether clicks work as well for each group of images or objects.

    Groups whose 95 % intervals lie apart are named in `differs`, and in a warning.
    """
    from napari_segany.experiments.fairness import FairnessConfig, rows_of_fairness

    config = FairnessConfig(data, groups, tuple(clicks or (1, 3)), limit, per_image)
    rows: list[dict[str, Any]] = []

    def measured() -> list[dict[str, Any]]:
        rows.extend(rows_of_fairness(config, loader(model, device), ShownProgress()))
        return rows

    _show(json, measured, (*files_of(model), *filter(None, (groups,))))
    worse = dict.fromkeys((row["attribute"], row["clicks"]) for row in rows if row["differs"])
    for attribute, number in worse:
        typer.echo(
            f"napari-segany: groups of {attribute} differ after {number} clicks; see the column differs", err=True
        )


@bench.command("speed")
def bench_speed(
    quick: Annotated[bool, typer.Option("--quick", help="Once or a few times each: under a minute.")] = False,
    json: JsonOption = None,
) -> None:
    """Time what users wait for next to segment-anything and transformers, where they are installed.

    Medians in milliseconds, both taking turns in one run; `ratio` is theirs over ours. `floor_ms` is what the matrix
    products alone would take at the rate that this machine reaches.
    """
    from napari_segany.experiments.speed import measured_speed

    _show(json, lambda: measured_speed(quick=quick))


@bench.command("all")
def bench_all(
    data: Annotated[Path, typer.Option(help="Folder that holds the sets of which figures are made.")],
    page: Annotated[Path, typer.Option(help="Markdown file to write, a table for each bench.")],
    model: ModelOption = "tiny",
    json: JsonOption = None,
    device: DeviceOption = "auto",
    kept: Annotated[
        Path | None,
        typer.Option(help="Folder for the rows of each bench of a model: what the same commit left is not run again."),
    ] = None,
) -> None:
    """Measure everything on all public sets and write a page of the figures."""
    from napari_segany.experiments import suite
    from napari_segany.experiments.benchmark import check_rows, write_rows

    for folder in (page.parent, json and json.parent, kept):
        if folder is not None and not folder.is_dir():
            raise InputError(f"there is no folder {folder}")
    if json is not None:
        check_rows(json, files_of(model))
    results = []
    for entry, rows in suite.run_suite(data, loader(model, device), ShownProgress(), kept):
        typer.echo(f"{entry[0]} {entry[1]}: {len(rows)} rows", err=True)
        results.append((entry, rows))
        # after each: what is measured is kept, whatever happens later
        page.write_text(suite.page(results, model), encoding="utf-8")
        if json is not None:
            write_rows(json, [row for _, each in results for row in each])
    typer.echo(f"wrote {page}")


@bench.command()
def edges(  # noqa: PLR0913  each parameter is an option of the command line
    data: Annotated[
        Path, typer.Option(help="Folder as BSDS500 (images/, groundTruth/NAME.mat), or any set with labels.")
    ],
    model: ModelOption = "tiny",
    method: Annotated[
        list[str] | None, typer.Option(help="sam, sobel, canny or ridges; all by default. Repeat.")
    ] = None,
    json: JsonOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    only: Annotated[str, typer.Option(help="Only images whose name contains this.")] = "",
    every: Annotated[int, typer.Option(min=1, help="One of so many images or slices.")] = 1,
) -> None:
    """Measure edges against boundaries: ODS, OIS, AP and R50 as for BSDS500.

    Boundaries are those that people drew, or the membranes of `labels_bits/`, or the borders of labelled objects.
    """
    from napari_segany.experiments.edge_benchmark import METHODS, EdgeChoice, rows_of_edges

    load, choice, methods = loader(model, device), EdgeChoice(only, every), tuple(method or METHODS)
    _show(json, lambda: rows_of_edges(data, load, methods, limit, ShownProgress(), choice), files_of(model))


@bench.command()
def proposals(
    data: Annotated[Path, typer.Option(help="Folder of a set with labels, or a COCO or LVIS file of annotations.")],
    model: ModelOption = "tiny",
    method: Annotated[list[str] | None, typer.Option(help="grid or proposals; both by default. Repeat.")] = None,
    json: JsonOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Measure object proposals: average recall at 10, 100 and 1000, and by size."""
    from napari_segany.experiments.datasets import parts_of
    from napari_segany.experiments.proposal_benchmark import METHODS, rows_of_proposals

    load = loader(model, device)
    parts = (rows_of_proposals(part, load, tuple(method or METHODS), limit, ShownProgress()) for part in parts_of(data))
    _show(json, lambda: chain.from_iterable(parts), files_of(model))


@bench.command()
def exemplars(  # noqa: PLR0913  each parameter is an option of the command line
    data: DataOption,
    count: Annotated[list[int], typer.Option(min=1, help="Exemplars; may be given several times.")] = [5],  # noqa: B006
    rejected: Annotated[int, typer.Option(min=0, help="Wrong objects that are rejected, at most.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the exemplars.")] = 3,
    limit: Annotated[int, typer.Option(min=1, help="Images that are measured on, at most.")] = 20,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Measure how many objects are found that are like a few given ones, next to automatic masks."""
    from napari_segany.experiments.datasets import parts_of
    from napari_segany.experiments.exemplar_benchmark import ExemplarConfig, rows_of_exemplars

    shown, load = ShownProgress(), loader(model, device)

    def rows() -> Iterable[dict[str, Any]]:
        for part in parts_of(data):
            yield from rows_of_exemplars(ExemplarConfig(part, tuple(count), rejected, seeds, limit), load, shown)

    _show(json, rows, files_of(model))


@bench.command()
def classes(
    data: Annotated[Path, typer.Option(help="Folder with images/, labels_class/ and class_labels.csv.")],
    of_each: Annotated[list[int], typer.Option(min=1, help="Known objects of each class; repeat.")] = [3, 5, 10],  # noqa: B006
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the known objects.")] = 10,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Measure how often the class of an object is known from a few objects of each class.

    `accuracy` is a mean over classes; next to it the features of the masks alone, and chance. Classes with less than
    three objects left are not measured: `classes` says how many are.
    """
    from napari_segany.experiments.class_benchmark import ClassBenchConfig, rows_of_classes

    load, shown = loader(model, device), ShownProgress()
    _show(json, lambda: rows_of_classes(ClassBenchConfig(data, tuple(of_each), seeds), load, shown), files_of(model))


@bench.command()
def names(  # noqa: PLR0913  each parameter is an option of the command line
    data: Annotated[list[Path], typer.Option(help="A set; repeat.")],
    name: Annotated[str, typer.Option(help="What the objects are, where that is not known of a set.")] = "",
    per_image: PerImageOption = None,
    limit: LimitOption = None,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Measure how often the model names an object right without examples, and whether its probabilities are true.

    A kind of what is true is right (a yeast is a cell), and so is a synonym. `ece` is the expected calibration error;
    `named` is the share of objects that the model is sure enough to name.
    """
    from napari_segany.experiments.name_benchmark import NameBenchConfig, rows_of_names

    config, load = NameBenchConfig(tuple(data), name, per_image, limit), loader(model, device)
    _show(json, lambda: rows_of_names(config, load, ShownProgress()), files_of(model))


@bench.command()
def refine(  # noqa: PLR0913  each parameter is an option of the command line
    data: DataOption,
    pixels: Annotated[int, typer.Option(min=1, help="How far outlines are moved.")] = 3,
    skip: Annotated[int, typer.Option(min=0, help="Planes to leave out at the start.")] = 0,
    limit: LimitOption = None,
    model: ModelOption = "tiny",
    json: JsonOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Measure how far labels that were eroded, dilated or shifted come back to the truth when they are refined."""
    from napari_segany.experiments.refinement_benchmark import RefineBenchConfig, rows_of_refinement

    config, load = RefineBenchConfig(data, pixels, skip, limit), loader(model, device)
    _show(json, lambda: rows_of_refinement(config, load, ShownProgress()), files_of(model))


@bench.command()
def learn(
    data: DataOption,
    masks: Annotated[list[int], typer.Option(help="Masks to learn from; may be given several times.")] = [10, 25, 50],  # noqa: B006
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the masks.")] = 5,
    spoil: Annotated[float, typer.Option(min=0, max=1, help="Share of the masks to shift, merge or remove.")] = 0.0,
    limit: LimitOption = 20,
    json: JsonOption = None,
) -> None:
    """Measure what fine-tuning on some masks of half of the images gains on the other half."""
    from napari_segany.experiments.datasets import parts_of
    from napari_segany.experiments.learning import LearnConfig, rows_of_learning

    def measure() -> Iterable[dict[str, Any]]:
        for part in parts_of(data):
            yield from rows_of_learning(
                LearnConfig(part, tuple(masks), seeds, test_images=limit or 20, spoil=spoil), ShownProgress()
            )

    _show(json, measure)


@bench.command()
def engine(  # noqa: PLR0913  each parameter is an option of the command line
    data: DataOption,
    images: Annotated[int, typer.Option(min=1, help="Images of the series, at most.")] = 10,
    objects: Annotated[int, typer.Option(min=1, help="Objects of each image, at most.")] = 10,
    after: Annotated[list[int], typer.Option(min=1, help="Fine-tune after this image; repeat.")] = [1, 3, 6, 10],  # noqa: B006
    way: Annotated[list[str] | None, typer.Option(help="plain, alike, fine-tuned or all; repeat.")] = None,
    seed: Annotated[int, typer.Option(help="Of the order of images and objects.")] = 0,
    json: JsonOption = None,
) -> None:
    """Simulate an annotator on a series of images: clicks and seconds for each object, with and without learning.

    In the way `alike` committed objects rank the masks of clicks and find others like them, in the way `fine-tuned` the
    model is fine-tuned between images; `all` is both, `plain` neither.
    """
    from napari_segany.experiments.datasets import parts_of
    from napari_segany.experiments.engine_benchmark import WAYS, EngineConfig, rows_of_engine

    known = tuple(one.name for one in WAYS)
    if unknown := [name for name in way or () if name not in known]:
        raise InputError(f"there is no way {unknown[0]!r}; there are {', '.join(known)}")
    shown, load, ways = ShownProgress(), loader("tiny", "cpu"), tuple(way or known)

    def rows() -> Iterable[dict[str, Any]]:
        for part in parts_of(data):
            yield from rows_of_engine(EngineConfig(part, images, objects, tuple(after), ways, seed), load, shown)

    _show(json, rows)


def _bench(kind: str, data: Path, model: str, json: Path | None, device: str, **options: Any) -> None:
    from napari_segany.experiments.benchmark import BenchConfig, rows_of
    from napari_segany.experiments.datasets import parts_of

    load = loader(model, device)
    rows = (rows_of(BenchConfig(kind, part, **options), load, ShownProgress()) for part in parts_of(data))
    _show(json, lambda: chain.from_iterable(rows), files_of(model))


def _show(json: Path | None, measure: Callable[[], Iterable[dict[str, Any]]], inputs: Sequence[Path] = ()) -> None:
    """Measure, and show the rows as a table; or write them, each as soon as it is there."""
    from napari_segany.experiments.benchmark import check_rows, write_rows

    if json is not None:
        check_rows(json, inputs)
    rows: list[dict[str, Any]] = []
    for row in measure():
        rows.append(row)
        if json is not None:
            write_rows(json, rows)
        show_row(len(rows), row)
    if sys.stderr.isatty():
        typer.echo("", err=True)
    if json is not None:
        typer.echo(f"wrote {json}: {len(rows)} rows")
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    typer.echo(table([columns, *([_cell(row.get(key, "")) for key in columns] for row in rows)]))


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
