"""Automatic masks of whole folders: labels, COCO and a table for each image; what is done stays done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_segany.batch.exemplar_files import ExemplarFiles
from napari_segany.batch.found_objects import (
    LabelledPlane,
    SeenFrames,
    collect_planes,
    find_on_plane,
    link_frames,
    link_volumes,
    seen_frames,
    segmenter_of,
)
from napari_segany.core.arguments import as_path, check_callable, check_type
from napari_segany.core.automatic_masks import Grid, Proposals
from napari_segany.core.errors import InputError
from napari_segany.core.filters import Filters
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.planes import Stack
from napari_segany.core.prompts import ExampleBox
from napari_segany.core.query import Query, example_query, exemplar_query, query_for
from napari_segany.core.segmenter import Segmenter
from napari_segany.core.track_graph import found_divisions
from napari_segany.io.export import TZYX, axes_for_export, export_labels
from napari_segany.io.formats.tracks import graph_of, write_ctc, write_tracks
from napari_segany.io.images import PICTURES, TIFF, FilePlanes, ImageFile, read_image, reading
from napari_segany.io.labels import TIFF as LABEL_TIFF
from napari_segany.io.labels import replacing
from napari_segany.io.ome_zarr import is_zarr
from napari_segany.io.output_checks import (
    identity,
    is_own_coco,
    is_own_ctc,
    is_own_tiff,
    is_own_tracks,
    is_own_zarr,
    is_torn,
    named,
)
from napari_segany.io.spacing import unit_shown
from napari_segany.io.temporary_files import temporary_array

if TYPE_CHECKING:
    from napari_segany.models.text.clip import Clip

_NAMED = ("link", "text", "clip", "tracks")
SETTINGS = "everything.json"
"""In the output folder: how its files were made. Files made otherwise are not mixed with them."""
ENDINGS = ("_labels.tif", "_masks.json", "_objects.csv", "_tracks.csv", "_ctc")
"""What the results of NAME are called."""
MANY = 2**32 - 1
"""How many objects there are shows at the end."""


@dataclass(frozen=True, slots=True)
class FolderJob:
    """A folder to segment without prompts, and the settings.

    Parameters
    ----------
    source : Path
        An image, or a folder of images.
    out : Path
        Folder for the results; created if needed.
    grid : Grid or Proposals, optional
        Where to place prompts; without one the model draws or proposes objects, when it can.
    changes : dict of str to float
        Filters to use instead of those that suit the model; see :class:`~napari_segany.core.filters.Filters`.
    overlap : float
        See :func:`~napari_segany.core.automatic_masks.paint_candidates`.
    link : bool
        Whether objects of neighbouring slices, along the last axis before y and x, are linked; and along time those of
        the volumes of a (t, z, y, x) image.
    tracks : bool
        Whether linked objects are also written as tracks: NAME_tracks.csv and the folder NAME_ctc, see
        :mod:`napari_segany.io.formats.tracks`. The first axis counts as time.
    text : str
        Objects to find, names separated by ``;``; all objects when empty.
    clip : str
        Name of a CLIP that ranks automatic masks by their crops; without one the model's own text prompts are used.
    inputs : tuple of Path
        Other files that must not be replaced, such as a checkpoint.
    exemplars : ExemplarFiles, optional
        Objects that show what to find; instead of a text.
    skipped : frozenset of Path
        Images of the folder that are left out.
    examples : tuple of ExampleBox
        Boxes of objects that show what to find, next to a text or instead of it; `source` is one image of one plane.
    names : bool
        Whether objects get the names that the model knows, with their probabilities, where it is sure enough.
    """

    source: Path
    out: Path
    grid: Grid | Proposals | None
    changes: dict[str, float]
    overlap: float = 0.5
    link: bool = False
    text: str = ""
    clip: str = ""
    tracks: bool = False
    inputs: tuple[Path, ...] = ()
    exemplars: ExemplarFiles | None = None
    skipped: frozenset[Path] = frozenset()
    examples: tuple[ExampleBox, ...] = ()
    names: bool = True

    def __post_init__(self) -> None:
        for name in ("source", "out"):
            object.__setattr__(self, name, as_path(getattr(self, name), name))
        check_type(self.grid, (Grid, Proposals, type(None)), "grid")
        check_type(self.changes, dict, "changes")
        known = {field.name for field in fields(Filters)}
        if unknown := sorted(set(map(str, self.changes)) - known):
            raise InputError(f"changes has {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        for name, value in self.changes.items():
            check_type(value, (int, float, np.number), f"changes[{name!r}]")
        for name in ("text", "clip"):
            check_type(getattr(self, name), str, name)
        check_type(self.overlap, (int, float, np.number), "overlap")
        if self.exemplars is not None and (self.text.strip() or self.clip):
            raise InputError("either a text or exemplars tell what to find, not both")
        if self.examples and (self.exemplars is not None or self.clip or self.grid is not None):
            raise InputError("example boxes go with a text alone: leave exemplars, a CLIP and grids out")


@dataclass(frozen=True, slots=True)
class ImageReport:
    """What became of one image: how many objects were found, or -1 when it was done before; or why it failed."""

    image: Path
    objects: int
    problem: str = ""


class PlaneDistributor(Protocol):
    """Distributes planes to other processes."""

    def find_on_planes(self, image: Path, count: int, query: Query, clip: str) -> Iterator[LabelledPlane]:
        """What a query, with a CLIP of a name or none, finds on each of the planes of an image, in their order."""


def segment_folder_files(
    job: FolderJob, load: Callable[[], Segmenter], spread: PlaneDistributor | None = None
) -> Iterator[ImageReport]:
    """Segment all objects in an image or in all images of a folder.

    For NAME.tif there are NAME_labels.tif, NAME_masks.json (COCO, run lengths) and, written last, NAME_objects.csv; an
    image with the last one is done. An image that cannot be read is reported, and the next one follows.

    Parameters
    ----------
    job : FolderJob
        Images, settings and output.
    load : callable
        Makes the segmenter; called after everything else is checked.
    spread : PlaneDistributor, optional
        Where planes are processed; by default in this process.

    Yields
    ------
    ImageReport
        One for each image, when it is done.

    Raises
    ------
    InputError
        When there is no image, or the output folder cannot be used or holds results of other settings.
    ModelError
        From `load`.
    """
    check_type(job, FolderJob, "job")
    check_callable(load, "load")
    with named(job.source):
        images = {path: name for path, name in images_of(job.source).items() if path not in job.skipped}
    with named(job.out):
        _check_folder(job, images)
    _check_examples(job, images)
    ours = (job.out / SETTINGS).is_file() and identity(job.out) != identity(_folder_of(job.source))
    segmenter = load()
    clip = loaded_clip(job.clip)
    query = replace(_query(job, segmenter, clip), named=job.names)
    _settle(job, segmenter, query.filters)

    def find(image: Path, stack: Stack) -> Iterator[LabelledPlane]:
        if spread is not None:
            return spread.find_on_planes(image, len(stack), query, job.clip)
        planes = FilePlanes(image, stack)
        return (find_on_plane(segmenter, query, planes, number, clip) for number in range(len(stack)))

    def seen(image: Path, stack: Stack) -> SeenFrames | None:
        # on a cluster the model is elsewhere
        return None if spread is not None else seen_frames(segmenter, FilePlanes(image, stack))

    for image, name in images.items():
        try:
            if _exists(job.out / f"{name}_objects.csv"):
                yield ImageReport(image, -1)
                continue
            _check_results(job.out / name, known=ours)
            count = _segment(image, job, (find, seen), name)
        except InputError as error:
            yield ImageReport(image, 0, str(error))
        else:
            yield ImageReport(image, count)


def _check_examples(job: FolderJob, images: Mapping[Path, str]) -> None:
    """Refuse example boxes without an image of one plane, and those that lie outside it.

    Raises
    ------
    InputError
        There are such boxes.
    """
    if not job.examples:
        return
    stacks = []
    for image in images:
        file = read_image(image)
        with reading(image):
            stacks.append(file.stack())
    if len(stacks) != 1 or len(stacks[0]) != 1:
        raise InputError(f"example boxes lie on one image of one plane, and {job.source} has more")
    for one in job.examples:
        if one.box.within(stacks[0].plane_shape) is None or one.box.y0 == one.box.y1 or one.box.x0 == one.box.x1:
            corners = f"{one.box.y0:g},{one.box.x0:g},{one.box.y1:g},{one.box.x1:g}"
            raise InputError(f"the example box {corners} has no area on {job.source}")


def _query(job: FolderJob, segmenter: Segmenter, clip: Clip | None) -> Query:
    """The query of a job for a model."""
    options: dict[str, Any] = {"grid": job.grid, "changes": job.changes, "overlap": job.overlap}
    if job.examples:
        return example_query(segmenter, job.examples, job.text, changes=job.changes, overlap=job.overlap)
    if job.exemplars is not None:
        return exemplar_query(segmenter, job.exemplars.read(segmenter), **options)
    return query_for(segmenter, job.text, reader=clip, **options)


def segment_folder(  # noqa: PLR0913  each is a keyword of the public function
    source: str | Path,
    out: str | Path,
    text: str = "",
    *,
    model: str | Segmenter = "tiny",
    filters: Mapping[str, float] | None = None,
    link: bool = False,
    names: bool = True,
) -> Iterator[ImageReport]:
    """Find all objects, or all that a text names, in each image of a folder; images that are done are skipped.

    Parameters
    ----------
    source : str or Path
        An image, or a folder of images.
    out : str or Path
        Folder for the results, see :func:`segment_folder_files`; created if needed.
    text : str
        Objects to find, names separated by ``;``; all objects when empty.
    model : str or Segmenter
        A name or path, see :func:`load_segmenter`, or a segmenter that is loaded already.
    filters : mapping of str to float, optional
        Fields of :class:`~napari_segany.core.filters.Filters` to use instead of those that suit the model.
    link : bool
        Whether objects that continue through slices, and through time, have one label.
    names : bool
        Whether objects get the names that the model knows, where it is sure enough.

    Yields
    ------
    ImageReport
        One for each image, when it is done; nothing is computed before the first one is requested.

    Raises
    ------
    InputError
        There is no image, or the output folder cannot be used or holds results of other settings.
    ModelError
        The model cannot be loaded, or takes no text.
    """
    inputs = (Path(model),) if isinstance(model, str) and Path(model).is_file() else ()
    job = FolderJob(
        as_path(source, "source"),
        as_path(out, "out"),
        None,
        dict(filters or {}),
        link=link,
        text=text,
        inputs=inputs,
        names=names,
    )
    return segment_folder_files(job, partial(segmenter_of, model))


def images_of(source: Path) -> dict[Path, str]:
    """Images of a folder, and the names that their results get: the ending is part of it only where two would be equal.

    Parameters
    ----------
    source : Path
        An image, or a folder of images; what this program wrote into it does not count.

    Raises
    ------
    InputError
        There is no such file or folder, or no image in it.
    """
    if source.is_dir() and not is_zarr(source):
        found = [path for path in sorted(source.iterdir()) if _is_image(path) and not _is_result(path)]
        if not found:
            raise InputError(f"there is no image in the folder {source}; what this program wrote does not count")
    elif source.exists():
        found = [source]
    else:
        raise InputError(f"there is no image or folder {source}")
    stems = [path.stem for path in found]
    return {path: path.stem if stems.count(path.stem) == 1 else path.name for path in found}


def _is_image(path: Path) -> bool:
    """Whether the name is that of an image; those that begin with a dot are what systems leave, as ``._a.tif``."""
    if path.name.startswith("."):
        return False
    return is_zarr(path) if path.is_dir() else path.suffix.lower() in (*TIFF, *PICTURES)


def _is_result(path: Path) -> bool:
    """Whether this program wrote a file or folder; those of version 0.1.0 are recognised by names and neighbours."""
    if path.is_dir():
        return is_own_zarr(path)
    if path.suffix.lower() not in LABEL_TIFF:
        return False
    stem = path.stem.removesuffix("_labels")
    siblings = (path.with_name(f"{stem}{ending}") for ending in ("_masks.json", "_objects.csv"))
    before = stem != path.stem and (path.parent / SETTINGS).is_file() and any(one.is_file() for one in siblings)
    return before or is_own_tiff(path)


def _folder_of(source: Path) -> Path:
    return source if source.is_dir() and not is_zarr(source) else source.parent


def _check_folder(job: FolderJob, images: Mapping[Path, str]) -> None:
    """Refuse a folder for the results in which an input would be lost or changed.

    That is an image or a folder within one, the folder of the images, and one in which an input has the name of a
    result.

    Raises
    ------
    InputError
        When it is such a folder, or none.
    """
    if _exists(job.out) and not job.out.is_dir():
        raise InputError(f"{job.out} is not a folder")
    for place in (job.out, *job.out.absolute().parents, *job.out.resolve().parents):
        if is_zarr(place):
            raise InputError(f"{job.out} is or lies in the zarr {place}, which is no place for the folder of results")
    if job.source.is_dir() and identity(job.out) is not None and identity(job.out) == identity(job.source):
        raise InputError(f"{job.out} is the folder of the images themselves; choose another one for the results")
    given = {identity(path): path for path in (*images, *job.inputs)}
    given.pop(None, None)
    for name in images.values():
        for ending in ENDINGS:
            place = job.out / f"{name}{ending}"
            if _exists(place) and (found := given.get(identity(place))) is not None:
                raise InputError(f"the results would replace {found}, from which they are made: {place}")


def _exists(path: Path) -> bool:
    """Whether there is something at a path.

    Raises
    ------
    InputError
        When the system takes no such name.
    """
    with named(path):
        return path.exists()


def _check_results(stem: Path, *, known: bool) -> None:
    """Refuse to replace files that this program did not write; `known` when the folder held results before.

    Those of version 0.1.0 have no mark, and are recognised in such a folder only, as are files that are torn.

    Raises
    ------
    InputError
        When there is such a file.
    """
    ours: Mapping[str, Callable[[Path], bool]] = {
        "_labels.tif": partial(is_own_tiff, before=known),
        "_masks.json": partial(is_own_coco, before=known),
        "_tracks.csv": is_own_tracks,
        "_ctc": is_own_ctc,
    }
    for ending, is_ours in ours.items():
        place = stem.with_name(f"{stem.name}{ending}")
        if place.exists() and not is_ours(place) and not (known and is_torn(place)):
            raise InputError(f"{place} is there, and this program did not write it; choose another folder")


def _settle(job: FolderJob, segmenter: Segmenter, filters: Filters) -> None:
    """Write down how the files of the folder are made, or make sure that they are made the same way."""
    now: dict[str, Any] = {
        "model": segmenter.name,
        "grid": asdict(job.grid) if isinstance(job.grid, Grid) else "proposals" if job.grid else None,
        "filters": asdict(filters),
        "overlap": job.overlap,
    }
    now |= {key: getattr(job, key) for key in _NAMED if getattr(job, key)}
    if job.names and segmenter.capabilities.known_classes is not None:
        now["names"] = True
    if job.exemplars is not None:
        now["exemplars"] = job.exemplars.identity
    if job.examples:
        now["examples"] = [asdict(one) for one in job.examples]
    path = job.out / SETTINGS
    try:
        job.out.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(now, indent=1) + "\n")
            return
        before = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{job.out} cannot be used: {error}") from None
    differing = sorted(name for name in {**before, **now} if before.get(name) != now.get(name))
    if differing:
        raise InputError(f"{job.out} holds results made with another {' and '.join(differing)}; choose another folder")


def loaded_clip(name: str) -> Clip | None:
    """The CLIP of a name; None for an empty one.

    Raises
    ------
    ModelError
        There is no such CLIP, or open_clip cannot be imported.
    """
    if not name:
        return None
    from napari_segany.models.text.clip import load_clip

    return load_clip(name)


def _segment(
    image: Path,
    job: FolderJob,
    ways: tuple[Callable[[Path, Stack], Iterator[LabelledPlane]], Callable[[Path, Stack], SeenFrames | None]],
    name: str,
) -> int:
    """Segment an image; `ways` find the objects of its planes, and tell those of frames apart."""
    find, seen = ways
    file = read_image(image)
    with reading(image):
        stack = file.stack()
    movie = job.link and file.label_axes == "tyx"
    with temporary_array(job.out, (len(stack), *stack.plane_shape), MANY) as labels:
        length = (stack.shape[-1] if stack.shape else 1) if job.link and not movie else None
        looks = seen(image, stack) if job.link else None
        objects = collect_planes(find(image, stack), labels, length, looks)
        if movie:
            objects = link_frames(labels, objects, looks)
        whole = labels.reshape(stack.shape + stack.plane_shape)
        if job.link and file.label_axes == "tzyx":
            objects = _with_mothers(whole, link_volumes(whole, objects))
        if job.tracks:
            _write_tracks(job.out / name, whole, objects, moving=file.label_axes in ("tyx", "tzyx"))
        _write(job.out / name, image.name, file, whole, objects)
    return len(objects)


def _with_mothers(labels: np.ndarray, objects: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """Objects of linked frames, with the label of the mother where one divided, as found by overlap."""
    mothers = found_divisions(labels)
    return [replace(one, parent=mothers.get(one.label, 0)) for one in objects]


def _write_tracks(stem: Path, labels: np.ndarray, objects: Sequence[ObjectInfo], *, moving: bool) -> None:
    known = {one.label: one.parent for one in objects if one.parent is not None}
    graph = graph_of(labels, known, by_overlap=moving)
    write_tracks(stem.with_name(f"{stem.name}_tracks.csv"), graph)
    write_ctc(stem.with_name(f"{stem.name}_ctc"), labels, graph)


def _write(stem: Path, name: str, image: ImageFile, labels: np.ndarray, objects: Sequence[ObjectInfo]) -> None:
    """Write the three files of an image that is called `name`."""
    axes = axes_for_export(image.label_axes)
    placed = image.label_calibration
    if set(image.label_axes) <= set(TZYX):
        placed = placed.metric(image.label_axes)
    for ending in ("_labels.tif", "_masks.json", "_objects.csv"):
        export_labels(
            labels,
            stem.with_name(stem.name + ending),
            objects=objects,
            axes=axes,
            scale=placed.scale,
            unit=unit_shown(placed, axes),
            image_name=name,
            overwrite=True,
        )
