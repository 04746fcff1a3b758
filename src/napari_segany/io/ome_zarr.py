"""OME-Zarr (https://ngff.openmicroscopy.org), as far as it is needed: where an image's finest level lies, and labels.

Read: versions 0.1 to 0.5, so zarr formats 2 and 3. Written: 0.4, which most programs read, and 0.5 for labels that go
into an image of that version.

Metadata are read without strict validation, as many files need it: yaozarrs, which validates what is written in the
tests, refuses versions before 0.4, axes without types or in another order, and levels without a scale.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_segany.core.automatic_masks import union
from napari_segany.core.errors import InputError
from napari_segany.core.planes import LazyArray, Region
from napari_segany.io.spacing import Calibration

if TYPE_CHECKING:
    import zarr

MARK = "napari-segany"
"""Attribute of the labels that this program writes."""
MARKS = (".zgroup", ".zattrs", ".zarray", "zarr.json")
CHUNK = 512
COARSEST = 1024
"""Levels go on until rows and columns are no more than that."""
BLOCK = 2048
"""Rows and columns of a level that are made at once."""
AXES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
"""What OME-Zarr calls the axes that it has names for."""


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """The finest level of a multiscale image.

    Parameters
    ----------
    array : zarr.Array or Turned
        Nothing of it has been read. Rows and columns are the last axes but for the channels, as their names tell.
    axes : str
        One letter for each axis, of ``tczyx`` where the file names them so; "q" is an axis without a name.
    calibration : Calibration
        In the file's own units; a distance of 1 where it does not say.
    """

    array: zarr.Array[Any] | Turned
    axes: str
    calibration: Calibration


class Turned:
    """An array with its axes in another order; nothing is read before it is asked for.

    Parameters
    ----------
    array : array
        numpy or zarr.
    order : sequence of int
        For each axis, which one of `array` it is.
    """

    def __init__(self, array: LazyArray, order: Sequence[int]) -> None:
        self._array, self._order = array, tuple(order)
        self.shape: tuple[int, ...] = tuple(int(array.shape[k]) for k in order)
        self.dtype = np.dtype(array.dtype)

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    def __getitem__(self, key: Any) -> np.ndarray:
        given = key if isinstance(key, tuple) else (key,)
        if Ellipsis in given:
            at = given.index(Ellipsis)
            between = (slice(None),) * (self.ndim - len(given) + 1)
            given = (*given[:at], *between, *given[at + 1 :])
        given = (*given, *(slice(None),) * (self.ndim - len(given)))
        whole: list[Any] = [slice(None)] * self.ndim
        for axis, one in zip(self._order, given, strict=True):
            # an axis that is left out is taken away at the end, so that the others keep their numbers
            whole[axis] = one if isinstance(one, slice) else slice(int(one), int(one) + 1)
        part = np.asarray(self._array[tuple(whole)]).transpose(self._order)
        return part[tuple(slice(None) if isinstance(one, slice) else 0 for one in given)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype)


def is_zarr(path: Path) -> bool:
    """Whether a path is the folder of a zarr array or group."""
    return path.is_dir() and any((path / mark).exists() for mark in MARKS)


def is_array(path: Path) -> bool:
    """Whether a path is the folder of a zarr array."""
    return (path / ".zarray").exists() or _read_json(path / "zarr.json").get("node_type") == "array"


def _read_json(path: Path) -> dict[str, Any]:
    """What a file holds; nothing where there is no such file, or it is none of JSON."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def datasets_of(path: Path) -> list[str]:
    """Paths of the levels of an OME-Zarr image, the finest first; none of a folder that is no such image."""
    if not is_zarr(path) or is_array(path):
        return []
    return [str(one["path"]) for image in _group_metadata(path).get("multiscales", ()) for one in image["datasets"]]


def is_group(path: Path) -> bool:
    """Whether a path is the folder of an OME-Zarr image, to which labels may be added."""
    return is_zarr(path) and bool(_group_metadata(path).get("multiscales"))


def _group_metadata(path: Path) -> Mapping[str, Any]:
    import zarr  # takes an eighth of a second, for which nobody who opens the dock widget is to wait

    node = zarr.open(path, mode="r")
    return metadata(node) if isinstance(node, zarr.Group) else {}


def finest_level(path: Path) -> Level:
    """Find the finest level of an OME-Zarr image or label image; a plain zarr array is its own only level.

    Raises
    ------
    InputError
        When the folder holds neither.
    """
    import zarr

    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        return Level(node, ("q" * node.ndim + "yx")[-node.ndim :], Calibration((1.0,) * node.ndim))
    multiscales = metadata(node).get("multiscales")
    if not multiscales and "0" in node and isinstance(node["0"], zarr.Group):
        # the layout of bioformats2raw: a group of numbered images
        return finest_level(path / "0")
    if not multiscales:
        raise InputError(f"{path} is a zarr group without an image: name the image or the array inside it")
    image = multiscales[0]
    dataset = image["datasets"][0]
    array = node[dataset["path"]]
    if not isinstance(array, zarr.Array):
        raise InputError(f"{path}: {dataset['path']} should be an array")
    axes, units = _axes(image, array.ndim)
    if len(axes) != array.ndim:
        raise InputError(f"{path} names {len(axes)} axes, but its array has {array.ndim}")
    scale, translation = _placed((dataset, image), array.ndim)
    calibration = Calibration(scale, translation if any(translation) else (), units if any(units) else ())
    order = _order(axes)
    if order is None:
        raise InputError(f"{path} has the axes {axes}, which are not those of an image")
    if order == tuple(range(array.ndim)):
        return Level(array, axes, calibration)
    return Level(Turned(array, order), "".join(axes[k] for k in order), calibration.along(order))


def metadata(group: zarr.Group) -> Mapping[str, Any]:
    """OME metadata of a group: below "ome" since version 0.5, among the attributes before."""
    attributes: dict[str, Any] = group.attrs.asdict()
    return attributes.get("ome", attributes)


def version_of(image: Path) -> str:
    """The version, of those written here, that fits an existing OME-Zarr group."""
    return "0.5" if (image / "zarr.json").exists() else "0.4"


def register_label(image: Path, name: str) -> None:
    """Enter a label image, already written, into the list that its OME-Zarr image keeps of them."""
    import zarr

    old = version_of(image) == "0.4"
    group = zarr.open_group(image / "labels", mode="a", zarr_format=2 if old else 3, use_consolidated=False)
    names = [*(known for known in metadata(group).get("labels", ()) if known != name), name]
    group.attrs.update({"labels": names} if old else {"ome": {"version": "0.5", "labels": names}})
    for folder in (image / "labels", *takewhile(is_zarr, (image, *image.absolute().parents))):
        _consolidate_again(folder)


def _consolidate_again(folder: Path) -> None:
    """Bring metadata that a group keeps of all below it up to date: zarr trusts them and looks no further."""
    import zarr

    old = (folder / ".zmetadata").exists()
    if not old and not _read_json(folder / "zarr.json").get("consolidated_metadata"):
        return
    with warnings.catch_warnings():
        # that consolidated metadata are no part of zarr's format 3: they are there already
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(folder, zarr_format=2 if old else 3)


def _axes(image: Mapping[str, Any], ndim: int) -> tuple[str, tuple[str, ...]]:
    """A letter for each axis, and its unit."""
    letters, units = "", []
    for axis in image.get("axes", "tczyx"[-ndim:]):
        about = {"name": axis} if isinstance(axis, str) else axis
        name = str(about["name"]).lower()
        kind = {"channel": "c", "time": "t"}.get(str(about.get("type")), "q")
        letter = name if name in tuple("tczyx") else kind
        letters += "q" if letter in letters and letter in "tc" else letter
        units.append(str(about.get("unit") or ""))
    return letters, tuple(units)


def _order(axes: str) -> tuple[int, ...] | None:
    """Which axes to take in which order, so that rows and columns come last; None where that cannot be told."""
    if any(axes.count(axis) > 1 for axis in "zyx") or ("y" in axes) != ("x" in axes):
        return None
    if "y" not in axes or axes.replace("c", "").endswith("yx"):
        return tuple(range(len(axes)))
    rank = {"t": 1, "c": 2, "z": 3, "y": 4, "x": 5}
    return tuple(sorted(range(len(axes)), key=lambda k: rank.get(axes[k], 0)))


def _placed(holders: Sequence[Mapping[str, Any]], ndim: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and translation that come of all transformations, one after the other."""
    scale, translation = [1.0] * ndim, [0.0] * ndim
    for transform in chain.from_iterable(holder.get("coordinateTransformations") or () for holder in holders):
        values = transform.get(transform.get("type"), ())
        if transform.get("type") not in ("scale", "translation") or len(values) != ndim:
            continue
        steps = [float(value) for value in values]
        if transform["type"] == "translation":
            translation = [
                at + (step if math.isfinite(step) else 0.0) for at, step in zip(translation, steps, strict=True)
            ]
            continue
        steps = [step if step and math.isfinite(step) else 1.0 for step in steps]
        scale = [own * step for own, step in zip(scale, steps, strict=True)]
        translation = [at * step for at, step in zip(translation, steps, strict=True)]
    return tuple(scale), tuple(translation)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a label image is like.

    Parameters
    ----------
    shape : tuple of int
        Length of each axis.
    dtype : dtype
        Integers.
    axes : str
        A letter of ``tczyx`` for each.
    scale : tuple of float
        Distance of neighbouring pixels along each.
    calibration : Calibration, optional
        In place of `scale`, where more is known.
    name : str
        Of the image; by default that of its folder.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    scale: tuple[float, ...]
    calibration: Calibration | None = None
    name: str = ""


class LabelFile:
    """The finest level of a label image; those below it follow when :meth:`finish` is called.

    Parameters
    ----------
    group : zarr.Group
        As :func:`create_labels` makes it.
    """

    def __init__(self, group: zarr.Group) -> None:
        datasets = metadata(group)["multiscales"][0]["datasets"]
        self.group = group
        self.levels: list[zarr.Array[Any]] = [group[one["path"]] for one in datasets]  # type: ignore[misc]
        self._touched: dict[tuple[tuple[int, int], ...], Region] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the finest level."""
        return self.levels[0].shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all levels."""
        return np.dtype(self.levels[0].dtype)

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.asarray(self.levels[0][key])

    def __setitem__(self, key: Any, values: Any) -> None:
        """Write a part, given by integers and slices without a step."""
        self.levels[0][key] = values
        *leading, rows, columns = window_of(key, self.shape)
        planes = tuple((one.start, one.stop) for one in leading)
        self._touched[planes] = union(self._touched.get(planes, (rows, columns)), (rows, columns))

    def finish(self) -> None:
        """Bring the coarser levels up to what was written: of two rows or columns they have the first."""
        for planes, region in self._touched.items():
            leading = [slice(*ends) for ends in planes]
            for fine, coarse in pairwise(self.levels):
                region = _halved(region[0]), _halved(region[1])
                for rows, columns in _blocks(region):
                    source = slice(2 * rows.start, 2 * rows.stop, 2), slice(2 * columns.start, 2 * columns.stop, 2)
                    coarse[(*leading, rows, columns)] = fine[(*leading, *source)]
        self._touched.clear()


def window_of(key: Any, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Slices with both ends, one for each axis, of an index of integers and slices."""
    given = key if isinstance(key, tuple) else (key,)
    rest = (slice(None),) * (len(shape) - len(given))
    return tuple(
        slice(*one.indices(length)[:2]) if isinstance(one, slice) else slice(int(one), int(one) + 1)
        for one, length in zip((*given, *rest), shape, strict=True)
    )


def _halved(side: slice) -> slice:
    return slice(side.start // 2, -(-side.stop // 2))


def _blocks(region: Region) -> Iterator[Region]:
    for row in range(region[0].start, region[0].stop, BLOCK):
        for column in range(region[1].start, region[1].stop, BLOCK):
            yield slice(row, min(row + BLOCK, region[0].stop)), slice(column, min(column + BLOCK, region[1].stop))


def create_labels(folder: Path, layout: Layout, *, version: str) -> LabelFile:
    """Make a new OME-Zarr group with a label image in which nothing is labelled yet.

    Its rows and columns are halved from level to level until there are no more than ``COARSEST`` of them.

    Parameters
    ----------
    folder : Path
        A folder that does not exist yet.
    layout : Layout
        What it is like. Chunks are planes of ``CHUNK`` x ``CHUNK`` pixels; those that stay empty take no room.
    version : {"0.4", "0.5"}
        Of OME-Zarr.
    """
    import zarr

    old, axes = version == "0.4", layout.axes
    placed = layout.calibration or Calibration(layout.scale)
    group = zarr.create_group(folder, zarr_format=2 if old else 3)
    datasets = []
    for level in range(_levels(layout.shape)):
        step = [2**level if axis in "yx" else 1 for axis in axes]
        shape = tuple(-(-length // by) for length, by in zip(layout.shape, step, strict=True))
        group.create_array(
            str(level),
            shape=shape,
            dtype=layout.dtype,
            chunks=tuple(min(CHUNK, n) if axis in "yx" else 1 for n, axis in zip(shape, axes, strict=True)),
            chunk_key_encoding={"name": "v2" if old else "default", "separator": "/"},
            dimension_names=None if old else list(axes),
        )
        scale = [own * by for own, by in zip(placed.scale, step, strict=True)]
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if any(placed.translation):
            # the same for all: of two pixels a coarser level has the first
            steps.append({"type": "translation", "translation": list(placed.translation)})
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    units = placed.units or ("",) * len(axes)
    image: dict[str, Any] = {
        "name": layout.name or folder.name,
        "axes": [
            {"name": axis, "type": AXES[axis]} | ({"unit": unit} if unit else {})
            for axis, unit in zip(axes, units, strict=True)
        ],
        "datasets": datasets,
    }
    mark: dict[str, Any] = {MARK: {"wrote": "labels"}}
    if old:
        label: dict[str, Any] = {"multiscales": [{"version": version} | image], "image-label": {"version": version}}
        group.attrs.update(label | mark)
    else:
        group.attrs.update({"ome": {"version": version, "multiscales": [image], "image-label": {}}} | mark)
    return LabelFile(group)


def _levels(shape: tuple[int, ...]) -> int:
    return 1 + max(math.ceil(math.log2(max(*shape[-2:], 1) / COARSEST)), 0)
