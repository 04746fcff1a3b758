"""What an identity query sees: features of objects in a frame, and of pairs of objects in two frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy

from napari_segany.core.errors import ModelError
from napari_segany.core.link import in_order
from napari_segany.core.optical_flow import estimate_drift, shifted, to_gray
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.models.geometry import Frame

MAPS = ("image_embed", "high_res_1")
"""Maps of an embedding of `tiny` that are averaged over an object."""
SIDE = 512
"""Of the input frame of `tiny`."""
NEIGHBOURS = 6
"""Nearest objects of the other frame that an object may be the same as."""
SHAPES = 6
"""Features of the outline of an object."""
PAIRS = 12
"""Features of a pair."""


@dataclass(slots=True, eq=False)
class FrameObjects:
    """The n objects of a frame.

    Parameters
    ----------
    labels : list of int
        Their labels.
    places : ndarray
        (y, x) int32, 0 on the background, else 1 and the row of the object in what follows.
    middles : ndarray
        (n, 2) float32 y and x in pixels.
    sizes : ndarray
        (n,) float32, pixels.
    content : ndarray
        (n, c) float32, means of the maps of the embedding.
    shapes : ndarray
        (n, ``SHAPES``) float32.
    gray : ndarray
        (y, x) float32, the frame, from which drift is measured.
    velocities : ndarray
        (n, 2) float32, by how much an object moved since the frame before, without drift; 0 where it is not known.
    """

    labels: list[int]
    places: np.ndarray
    middles: np.ndarray
    sizes: np.ndarray
    content: np.ndarray
    shapes: np.ndarray
    gray: np.ndarray
    velocities: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.velocities = np.zeros_like(self.middles)

    def __len__(self) -> int:
        return len(self.labels)


def frame_objects(labels: np.ndarray, embedding: ImageEmbedding) -> FrameObjects:
    """Measure the objects of a frame.

    Parameters
    ----------
    labels : ndarray
        (y, x) integers, 0 is background.
    embedding : ImageEmbedding
        Of the same plane, by `tiny`.

    Raises
    ------
    ModelError
        The embedding is of another model.
    """
    if missing := [name for name in (*MAPS, "plane") if name not in embedding.features]:
        raise ModelError(f"identity queries need features of tiny; those of {embedding.model} have no {missing[0]}")
    here = in_order(labels)
    count = len(here.values)
    rows, columns = np.nonzero(here.places)
    owner = here.places[rows, columns] - 1
    sizes = np.bincount(owner, minlength=count).astype(np.float32)
    known = np.maximum(sizes, 1)
    middles = np.stack([np.bincount(owner, at, minlength=count) / known for at in (rows, columns)], 1)
    content = [_means(embedding, name, (rows, columns), owner, sizes) for name in MAPS]
    return FrameObjects(
        here.values,
        here.places,
        middles.astype(np.float32),
        sizes,
        np.concatenate(content, 1).astype(np.float32),
        _shapes((rows, columns), owner, middles, sizes, labels.shape),
        to_gray(embedding.features["plane"]),
    )


def _means(
    embedding: ImageEmbedding, name: str, pixels: tuple[np.ndarray, np.ndarray], owner: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """(n, c) float32: the mean of a map over the pixels of each object."""
    features = embedding.features[name][0].astype(np.float32)
    stride = SIDE / features.shape[-1]
    scale = Frame(embedding.shape, SIDE).scale
    cells = [
        np.minimum(((at + 0.5) * by / stride).astype(int), length - 1)
        for at, by, length in zip(pixels, scale, features.shape[1:], strict=True)
    ]
    cell = cells[0] * features.shape[2] + cells[1]
    weights = scipy.sparse.coo_matrix(
        (np.ones(len(cell), np.float32), (owner, cell)), shape=(len(sizes), features.shape[1] * features.shape[2])
    ).tocsr()
    means: np.ndarray = (weights @ features.reshape(len(features), -1).T) / np.maximum(sizes, 1)[:, None]
    return means


def _shapes(
    pixels: tuple[np.ndarray, np.ndarray], owner: np.ndarray, middles: np.ndarray, sizes: np.ndarray, shape: tuple
) -> np.ndarray:
    """Size relative to that of the others and to the plane, elongation, spread, and whether the border cuts it."""
    count = len(sizes)
    known = np.maximum(sizes, 1)
    y, x = (at - middles[owner, axis] for axis, at in enumerate(pixels))
    yy, xx, yx = (np.bincount(owner, a * b, minlength=count) / known + 1 / 12 for a, b in ((y, y), (x, x), (y, x)))
    yx = yx - 1 / 12
    root = np.sqrt(((yy - xx) / 2) ** 2 + yx**2)
    long, short = (yy + xx) / 2 + root, np.maximum((yy + xx) / 2 - root, 1 / 12)
    edge = (pixels[0] == 0) | (pixels[1] == 0) | (pixels[0] == shape[0] - 1) | (pixels[1] == shape[1] - 1)
    cut = np.bincount(owner, edge, minlength=count) > 0
    border = np.min([middles[:, 0], middles[:, 1], shape[0] - middles[:, 0], shape[1] - middles[:, 1]], axis=0)
    side = np.sqrt(known)
    return np.stack(
        [
            np.log(side / (np.median(side) if count else 1)),
            np.log(side / max(shape)),
            np.log(long / short),
            2 * np.pi * (yy + xx) / known,
            cut,
            np.tanh(border / side),
        ],
        axis=1,
    ).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class ObjectPairs:
    """Pairs of objects of two frames that may be one: the nearest ones, and those that overlap.

    Parameters
    ----------
    index : ndarray
        (e, 2) int64: rows before and after.
    features : ndarray
        (e, ``PAIRS``) float32.
    drift : ndarray
        (2,) float32, by how much the whole picture moved.
    """

    index: np.ndarray
    features: np.ndarray
    drift: np.ndarray


def object_pairs(before: FrameObjects, after: FrameObjects, gap: int = 0) -> ObjectPairs:
    """Pairs of objects of two frames of one shape, with `gap` frames between them."""
    drift = estimate_drift(before.gray, after.gray)
    moved = np.array(drift, np.float32)
    shared = _shared(shifted(before.places, drift), after.places, (len(before), len(after)))
    start = before.middles + moved
    expected = start + before.velocities
    index = _candidates(shared, (start, expected), after.middles)
    i, j = index.T
    both = np.asarray(shared[i, j], np.float32).ravel() if len(index) else np.zeros(0, np.float32)
    sides = np.sqrt(before.sizes[i]), np.sqrt(after.sizes[j])
    distance = np.linalg.norm(after.middles[j] - start[i], axis=1) / sides[0]
    residual = np.linalg.norm(after.middles[j] - expected[i], axis=1) / sides[0]
    features = np.stack(
        [
            both / (before.sizes[i] + after.sizes[j] - both + 1e-6),
            both / np.maximum(before.sizes[i], 1),
            both / np.maximum(after.sizes[j], 1),
            np.log(sides[1] / sides[0]),
            np.tanh(distance),
            np.log1p(distance),
            np.log1p(residual),
            np.linalg.norm(before.velocities[i], axis=1) / sides[0],
            _relative(distance, i, len(before)),
            _relative(distance, j, len(after)),
            _alike(before.content[i], after.content[j]),
            np.full(len(index), float(gap)),
        ],
        axis=1,
    ).astype(np.float32)
    return ObjectPairs(index, features, moved)


def _shared(before: np.ndarray, after: np.ndarray, counts: tuple[int, int]) -> scipy.sparse.csr_matrix:
    """How many pixels objects share, (n, m)."""
    both = (before > 0) & (after > 0)
    rows, columns = before[both] - 1, after[both] - 1
    return scipy.sparse.coo_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=counts).tocsr()


def _candidates(shared: scipy.sparse.csr_matrix, starts: tuple[np.ndarray, np.ndarray], ends: np.ndarray) -> np.ndarray:
    """(e, 2) rows of pairs: those that share pixels, and the nearest ones from either side."""
    rows, columns = shared.nonzero()
    pairs = [np.stack([rows, columns], 1)]
    if len(starts[0]) and len(ends):
        for start in starts:
            near = scipy.spatial.cKDTree(ends).query(start, min(NEIGHBOURS, len(ends)))[1].reshape(len(start), -1)
            pairs.append(np.stack([np.repeat(np.arange(len(start)), near.shape[1]), near.ravel()], 1))
        near = scipy.spatial.cKDTree(starts[0]).query(ends, min(NEIGHBOURS, len(starts[0])))[1].reshape(len(ends), -1)
        pairs.append(np.stack([near.ravel(), np.repeat(np.arange(len(ends)), near.shape[1])], 1))
    found: np.ndarray = np.unique(np.concatenate(pairs).astype(np.int64).reshape(-1, 2), axis=0)
    return found


def _relative(distance: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    """The logarithm of a distance over the least one of the same object."""
    least = np.full(count, np.inf)
    np.minimum.at(least, owner, distance)
    relative: np.ndarray = np.log((distance + 0.1) / (least[owner] + 0.1))
    return relative


def _alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation of the contents of pairs."""
    one, other = (part - part.mean(1, keepdims=True) for part in (first, second))
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    alike: np.ndarray = (one * other).sum(1) / np.maximum(norms, 1e-6)
    return alike
