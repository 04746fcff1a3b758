"""``napari-segany bench edges``: edges against boundaries, scored as BSDS500 is (Arbelaez et al. 2011).

The boundaries are those that people drew on photographs (Kirillov et al. 2023, section 7.2), or what a biologist looks
for: membranes, and the walls and borders between labelled cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree
from skimage.color import rgb2gray
from skimage.feature import canny
from skimage.filters import sato, sobel
from skimage.morphology import thin
from skimage.segmentation import find_boundaries

from napari_segany.core.errors import InputError
from napari_segany.core.segmenter import Segmenter
from napari_segany.engine.edges import edge_map, edge_nms
from napari_segany.experiments.benchmark import commit, set_name
from napari_segany.experiments.datasets import labelled_planes, membrane_planes
from napari_segany.experiments.scores import Row
from napari_segany.io.images import read_image

TOLERANCE = 0.0075
"""Largest distance of matched pixels, as a share of the diagonal of the image."""
METHODS = ("sam", "sobel", "canny", "ridges")
"""Edges of the masks of a grid, and three of scikit-image. Canny's lines keep the strength of Sobel's filter; ridges,
bright or dark ones, are what membranes and walls are where both of their sides are seen (Sato et al. 1998)."""
RIDGES = (1.0, 2.0, 3.0)
"""Widths of ridges, standard deviations in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class EdgeCounts:
    """Matched pixels of one image at each threshold.

    Parameters
    ----------
    found, found_matched : ndarray
        (T,) pixels of the edges, and those that match the boundary of any annotator.
    true, true_matched : ndarray
        (T,) pixels of the boundaries of all annotators, and those that match an edge.
    """

    found: np.ndarray
    found_matched: np.ndarray
    true: np.ndarray
    true_matched: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """(T,), 1 where nothing was found."""
        return np.where(self.found > 0, self.found_matched / np.maximum(self.found, 1), 1.0)

    @property
    def recall(self) -> np.ndarray:
        """(T,)."""
        return np.where(self.true > 0, self.true_matched / np.maximum(self.true, 1), 1.0)

    @property
    def f1(self) -> np.ndarray:
        """(T,), harmonic mean of the two."""
        precision, recall = self.precision, self.recall
        found: np.ndarray = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
        return found


def edge_counts(strength: np.ndarray, boundaries: Sequence[np.ndarray], thresholds: int = 99) -> EdgeCounts:
    """Match edges with boundaries one to one at evenly spaced thresholds.

    Parameters
    ----------
    strength : ndarray
        (y, x) from 0 to 1.
    boundaries : sequence of ndarray
        (y, x) bool, one for each annotator.
    thresholds : int
        How many, between 0 and 1.
    """
    reach = TOLERANCE * float(np.hypot(*strength.shape))
    truths = [np.argwhere(one) for one in boundaries]
    counts = np.zeros((thresholds, 4), int)
    for row, threshold in enumerate(np.linspace(0, 1, thresholds + 2)[1:-1]):
        found = np.argwhere(thin(strength >= threshold))
        any_match = np.zeros(len(found), bool)
        matched_true = 0
        for truth in truths:
            pairs = _matched(found, truth, reach)
            any_match |= pairs >= 0
            matched_true += int((pairs >= 0).sum())
        counts[row] = len(found), any_match.sum(), sum(map(len, truths)), matched_true
    return EdgeCounts(*counts.T)


def _matched(found: np.ndarray, truth: np.ndarray, reach: float) -> np.ndarray:
    """For each found pixel the number of the true one that it matches, or -1; as many pairs as possible."""
    if not len(found) or not len(truth):
        return np.full(len(found), -1)
    near = cKDTree(found).sparse_distance_matrix(cKDTree(truth), reach, output_type="coo_matrix").tocsr()
    near.data[:] = 1
    # distance 0 is not stored in a sparse matrix
    same = _coinciding(found, truth)
    pairs: np.ndarray = maximum_bipartite_matching((near + same).tocsr(), perm_type="column")
    return pairs


def _coinciding(found: np.ndarray, truth: np.ndarray) -> coo_matrix:
    """Pairs of pixels at the same place, as a sparse matrix of ones."""
    width = int(max(found.max(), truth.max())) + 1
    _, rows, columns = np.intersect1d(found @ (width, 1), truth @ (width, 1), return_indices=True)
    return coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(found), len(truth)))


def summary(images: Sequence[EdgeCounts]) -> dict[str, float]:
    """Return ODS, OIS, AP and R50 of a set.

    ODS is F1 at the best threshold for the set, OIS at the best of each image, AP the area under precision over recall,
    R50 the recall at a precision of 0.5.
    """
    total = EdgeCounts(*(np.sum([getattr(one, name) for one in images], axis=0) for name in EdgeCounts.__slots__))
    best = [int(one.f1.argmax()) for one in images]
    single = EdgeCounts(
        *(
            np.array([sum(getattr(one, name)[k] for one, k in zip(images, best, strict=True))])
            for name in EdgeCounts.__slots__
        )
    )
    order = np.argsort(total.recall, kind="stable")
    recall, precision = total.recall[order], total.precision[order]
    steps = np.linspace(0, 1, 101)
    curve = np.interp(steps, recall, precision, right=0.0)
    good = recall[precision >= 0.5]
    return {
        "ods": float(total.f1.max()),
        "ois": float(single.f1[0]),
        "ap": float(((curve[1:] + curve[:-1]) / 2).mean()),
        "r50": float(good.max()) if len(good) else 0.0,
    }


@dataclass(frozen=True, slots=True)
class EdgeChoice:
    """Which planes of a set are measured.

    Parameters
    ----------
    only : str
        Those whose name contains this.
    every : int
        One of so many, from the middle of the first ones on: neighbouring slices of a stack show nearly the same.
    """

    only: str = ""
    every: int = 1


ALL = EdgeChoice()


@dataclass(frozen=True, slots=True, eq=False)
class EdgeCase:
    """A plane (y, x, 3) uint8, and (y, x) bool lines, one for each annotator."""

    name: str
    plane: np.ndarray
    boundaries: tuple[np.ndarray, ...]


def edge_cases(data: Path, choice: EdgeChoice = ALL) -> Iterator[EdgeCase]:
    """Planes with the lines that are to be found.

    Parameters
    ----------
    data : Path
        ``images/NAME.jpg`` and ``groundTruth/NAME.mat``, as BSDS500 is laid out: the boundaries that people drew. Or
        ``images/`` with ``labels_bits/`` and ``classes.json``: the middle of the membranes. Or any other set of
        :func:`~napari_segany.experiments.datasets.labelled_planes`: the borders of the objects, one line between two.
    choice : EdgeChoice
        Which of them.

    Raises
    ------
    InputError
        The folder is none of these, or a file in it cannot be used.
    """
    if any((data / "groundTruth").glob("*.mat")):
        cases = _drawn(data, choice.only)
    else:
        cases = (one for one in _labelled(data) if choice.only in one.name)
    yield from islice(cases, choice.every // 2, None, choice.every)


def _drawn(data: Path, only: str) -> Iterator[EdgeCase]:
    for path in sorted((data / "groundTruth").glob("*.mat")):
        if only in path.stem:
            lines = tuple(one["Boundaries"][0, 0].astype(bool) for one in loadmat(path)["groundTruth"][0])
            yield EdgeCase(path.stem, read_image(_image(data, path.stem)).stack().plane(0), lines)


def _labelled(data: Path) -> Iterator[EdgeCase]:
    membranes = (data / "labels_bits").is_dir()
    try:
        planes = membrane_planes(data) if membranes else labelled_planes(data)
    except InputError as error:
        raise InputError(f"{data} holds no groundTruth/NAME.mat, and no labels either: {error}") from error
    for one in planes:
        wide = one.labels > 0 if membranes else find_boundaries(one.labels, mode="thick")
        yield EdgeCase(one.name, one.plane, (thin(wide),))


def rows_of_edges(
    data: Path,
    load: Callable[[], Segmenter],
    methods: Sequence[str] = METHODS,
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
    choice: EdgeChoice = ALL,
) -> Iterator[Row]:
    """Measure edges on a set of :func:`edge_cases`.

    Yields
    ------
    dict
        For each method ``bench``, ``set``, ``method``, ``ods``, ``ois``, ``ap``, ``r50``, ``images``, ``model`` and
        ``commit``; see :func:`summary`.

    Raises
    ------
    InputError
        A method is unknown, or there are no such planes.
    """
    unknown = sorted(set(methods) - set(METHODS))
    if unknown:
        raise InputError(f"unknown method {', '.join(unknown)}; known: {', '.join(METHODS)}")
    cases = islice(edge_cases(data, choice), limit)
    first = next(cases, None)
    if first is None:
        raise InputError(f"{data} holds no image whose name contains {choice.only!r}, or too few of them")
    segmenter = load() if "sam" in methods else None
    counts: dict[str, list[EdgeCounts]] = {method: [] for method in methods}
    for done, one in enumerate(chain([first], cases), start=1):
        for method in methods:
            counts[method].append(edge_counts(_edges(method, one.plane, segmenter), one.boundaries))
        if progress is not None:
            progress(done)
    for method, images in counts.items():
        yield {
            "bench": "edges",
            "set": set_name(data),
            "method": method,
            **summary(images),
            "images": len(images),
            "model": segmenter.name if segmenter is not None else "",
            "commit": commit(),
        }


def _image(data: Path, stem: str) -> Path:
    found = sorted((data / "images").glob(f"{stem}.*"))
    if not found:
        raise InputError(f"{data} holds no images/{stem}")
    return found[0]


def _edges(method: str, plane: np.ndarray, segmenter: Segmenter | None) -> np.ndarray:
    """(y, x) strength of edges, 0 to 1, by a method."""
    if method == "sam" and segmenter is not None:
        return edge_map(segmenter, plane)
    gray = rgb2gray(plane)
    if method == "ridges":
        strength = np.maximum(*(sato(gray, RIDGES, black_ridges=dark) for dark in (False, True)))
    else:
        strength = sobel(gray)
    strength = strength / max(float(strength.max()), 1e-9)
    return np.where(canny(gray, 2.0), strength, 0) if method == "canny" else edge_nms(strength)
