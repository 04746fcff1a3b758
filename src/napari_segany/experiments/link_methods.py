"""Ways to link the objects of frames: by overlap, by identity queries, and by laptrack, another program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.link import Linker, relabel_planes
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.core.track_graph import found_divisions


@dataclass(frozen=True, slots=True, eq=False)
class LinkedFrames:
    """Frames whose objects have one number in all of them.

    Parameters
    ----------
    labels : ndarray
        (t, y, x) integers.
    parents : mapping of int to int
        The number of the mother of each daughter; one daughter may keep that number.
    """

    labels: np.ndarray
    parents: Mapping[int, int]


Link = Callable[[list[np.ndarray], "list[ImageEmbedding] | None"], LinkedFrames]


@dataclass(frozen=True, slots=True, eq=False)
class LinkMethod:
    """A way to link.

    Parameters
    ----------
    link : callable
        Function of labels (y, x) of each frame, and of their embeddings, which returns :class:`LinkedFrames`.
    needs_features : bool
        Whether it needs the embeddings.
    """

    link: Link
    needs_features: bool = False


def _by_overlap(frames: list[np.ndarray], embeddings: list[ImageEmbedding] | None) -> LinkedFrames:
    linker = Linker()
    for frame in frames:
        linker.add(frame)
    labels = _numbered(frames, linker)
    return LinkedFrames(labels, found_divisions(labels))


def _numbered(frames: list[np.ndarray], linker: Linker) -> np.ndarray:
    return np.stack([relabel_planes(one, numbers) for one, numbers in zip(frames, linker.numbers(), strict=True)])


def _by_identity(path: Path | None, frames: list[np.ndarray], embeddings: list[ImageEmbedding] | None) -> LinkedFrames:
    from napari_segany.models.mask2former.identity_queries import IdentityAssociation, read_identity, shipped_identity

    linker = Linker(association=IdentityAssociation(read_identity(path or shipped_identity())))
    for frame, embedding in zip(frames, embeddings or [], strict=True):
        linker.add(frame, embedding)
    return LinkedFrames(_numbered(frames, linker), linker.mothers())


def _laptrack(make: str, frames: list[np.ndarray], embeddings: list[ImageEmbedding] | None) -> LinkedFrames:
    """Linear assignment as of laptrack: between middles with its usual limits, or by overlap as in its guide."""
    try:
        import laptrack
    except ImportError as error:
        raise InputError("the method laptrack needs another package: pip install laptrack") from error
    if make == "overlap":
        coefs = (1.0, 0.0, 0.0, 0.0, -1.0)
        options: dict[str, Any] = {"cutoff": 0.9, "splitting_cutoff": 0.9, "gap_closing_max_frame_count": 1}
        tracker = laptrack.OverLapTrack(metric_coefs=coefs, splitting_metric_coefs=coefs, **options)
        tracks, splits, _ = tracker.predict_overlap_dataframe(frames)
        tracks = tracks.reset_index()
    else:
        tracker = laptrack.LapTrack(splitting_cutoff=15**2)
        tracks, splits, _ = tracker.predict_dataframe(
            _middles(frames), ["y", "x"], frame_col="frame", only_coordinate_cols=False
        )
        tracks = tracks.rename(columns={"frame_y": "frame"}).reset_index(drop="frame" in tracks)
    names: list[dict[int, int]] = [{} for _ in frames]
    for frame, label, track in tracks[["frame", "label", "track_id"]].itertuples(index=False):
        names[int(frame)][int(label)] = int(track) + 1
    labels = np.stack([relabel_planes(one, each) for one, each in zip(frames, names, strict=True)])
    pairs = splits[["parent_track_id", "child_track_id"]].itertuples(index=False) if len(splits) else ()
    return LinkedFrames(labels, {int(child) + 1: int(parent) + 1 for parent, child in pairs})


def _middles(frames: list[np.ndarray]) -> Any:
    import pandas as pd  # type: ignore[import-untyped]
    from skimage.measure import regionprops_table

    tables = []
    for number, frame in enumerate(frames):
        table = pd.DataFrame(regionprops_table(frame, properties=("label", "centroid")))
        table.columns = ["label", "y", "x"]
        tables.append(table.assign(frame=number))
    return pd.concat(tables, ignore_index=True)


METHODS = ("iou", "identity", "laptrack", "laptrack-overlap")
"""Names of the ways."""


def link_methods(names: Sequence[str], identity: Path | None = None) -> dict[str, LinkMethod]:
    """Ways to link, by name.

    Parameters
    ----------
    names : sequence of str
        Of ``METHODS``.
    identity : Path, optional
        Weights of identity queries, in place of those of the package.

    Raises
    ------
    InputError
        When there is no such way.
    """
    every = {
        "iou": LinkMethod(_by_overlap),
        "identity": LinkMethod(partial(_by_identity, identity), needs_features=True),
        "laptrack": LinkMethod(partial(_laptrack, "middles")),
        "laptrack-overlap": LinkMethod(partial(_laptrack, "overlap")),
    }
    if unknown := [name for name in names if name not in every]:
        raise InputError(f"there is no way to link called {unknown[0]}; there are {', '.join(every)}")
    return {name: every[name] for name in names}
