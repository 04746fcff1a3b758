"""OME-Zarr (https://ngff.openmicroscopy.org), as far as it is needed: where an image's finest level lies, and labels.

Read: versions 0.1 to 0.5, so zarr formats 2 and 3. Written: 0.4, which most programs read, and 0.5 for labels that go
into an image of that version.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.everything import Region, union

if TYPE_CHECKING:
    import zarr

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
    array : zarr.Array
        Nothing of it has been read.
    axes : str
        One letter for each axis, of ``tczyx`` where the file names them so; "q" is an axis without a name.
    scale : tuple of float
        Distance of neighbouring samples along each axis, in the file's own units; 1 where it does not say.
    """

    array: zarr.Array[Any]
    axes: str
    scale: tuple[float, ...]


def is_zarr(path: Path) -> bool:
    """Whether a path is the folder of a zarr array or group."""
    return path.is_dir() and any((path / mark).exists() for mark in MARKS)


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
        return Level(node, axes=("qqqqqq" + "yx")[-node.ndim :], scale=(1.0,) * node.ndim)
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
    axes = _axes(image, array.ndim)
    if len(axes) != array.ndim:
        raise InputError(f"{path} names {len(axes)} axes, but its array has {array.ndim}")
    scale = (own * shared for own, shared in zip(_scale(dataset, array.ndim), _scale(image, array.ndim), strict=True))
    return Level(array, axes, tuple(scale))


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
    group = zarr.open_group(image / "labels", mode="a", zarr_format=2 if old else 3)
    names = [*(known for known in metadata(group).get("labels", ()) if known != name), name]
    group.attrs.update({"labels": names} if old else {"ome": {"version": "0.5", "labels": names}})


def _axes(image: Mapping[str, Any], ndim: int) -> str:
    names = [axis if isinstance(axis, str) else axis["name"] for axis in image.get("axes", "tczyx"[-ndim:])]
    return "".join(name.lower() if name.lower() in tuple("tczyx") else "q" for name in names)


def _scale(holder: Mapping[str, Any], ndim: int) -> tuple[float, ...]:
    for transform in holder.get("coordinateTransformations", ()):
        if transform.get("type") == "scale" and len(transform.get("scale", ())) == ndim:
            return tuple(float(step) for step in transform["scale"])
    return (1.0,) * ndim


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
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    scale: tuple[float, ...]


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
        scale = [own * by for own, by in zip(layout.scale, step, strict=True)]
        datasets.append(
            {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]},
        )
    image: dict[str, Any] = {
        "name": folder.name,
        "axes": [{"name": axis, "type": AXES[axis]} for axis in axes],
        "datasets": datasets,
    }
    if old:
        group.attrs.update({"multiscales": [{"version": version} | image], "image-label": {"version": version}})
    else:
        group.attrs.update({"ome": {"version": version, "multiscales": [image], "image-label": {}}})
    return LabelFile(group)


def _levels(shape: tuple[int, ...]) -> int:
    return 1 + max(math.ceil(math.log2(max(*shape[-2:], 1) / COARSEST)), 0)
