"""Linked labels as tracks: tables for napari's Tracks layer, and folders in the Cell Tracking Challenge format.

An object that was missed in some frames has one number in the table. In the folder, where a track has no gaps, the
frames after a gap are a separate track, whose parent is the track before the gap. At a division the mother ends, and
each daughter is a track with that parent; see :mod:`napari_segany.core.track_graph`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from napari_segany.core.errors import InputError
from napari_segany.core.link import relabel_planes
from napari_segany.core.track_graph import Parents, TrackGraph, track_graph
from napari_segany.io.labels import replacing
from napari_segany.io.output_checks import MARK

HIGHEST = 2**16 - 1
"""The highest label of the challenge's format."""


def is_time_series(labels: np.ndarray) -> np.ndarray:
    """The same labels, when they can have tracks.

    Raises
    ------
    InputError
        When they are not of (t, y, x) or (t, z, y, x); the first axis counts as time.
    """
    if labels.ndim not in (3, 4):
        raise InputError(f"tracks are of (t, y, x) or (t, z, y, x), not of {labels.ndim} axes")
    return labels


def graph_of(labels: np.ndarray, parents: Parents | None = None, *, by_overlap: bool = True) -> TrackGraph:
    """Return the graph of linked labels, see :func:`~napari_segany.core.track_graph.track_graph`.

    Parameters
    ----------
    labels : ndarray
        (t, y, x) or (t, z, y, x) integers, an object has one number in all frames, 0 is background; read by
        frames.
    parents : mapping of int to int, optional
        The label of the mother of each daughter, and 0 for objects that are known to have none.
    by_overlap : bool
        Whether mothers of other objects are found by overlap.

    Raises
    ------
    InputError
        When the labels cannot have tracks.
    """
    return track_graph(is_time_series(labels), labels.ndim - 1, parents, by_overlap=by_overlap)


def write_tracks(path: Path, graph: TrackGraph) -> None:
    """Write tracks as CSV: number, t, (z,) y, x in pixels, sorted by number and time.

    ``numpy.loadtxt(path, delimiter=",", skiprows=1)`` gives back what ``viewer.add_tracks`` takes. Where objects
    divide there is one more column, ``parent``: the number of the track that a track came from, 0 for none.

    Parameters
    ----------
    path : Path
        The file; replaced if it is there.
    graph : TrackGraph
        From :func:`graph_of`.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    table, parents = graph.tracks()
    axes = "tzyx" if table.shape[1] == 5 else "tyx"
    names, formats = ["track_id", *axes], ["%d", "%d", *["%.3f"] * (len(axes) - 1)]
    if parents:
        column = [parents.get(int(number), [0])[0] for number in table[:, 0]]
        table, names, formats = np.column_stack([table, column]), [*names, "parent"], [*formats, "%d"]
    with replacing(path) as temporary:
        np.savetxt(temporary, table, fmt=formats, delimiter=",", header=",".join(names), comments="")


def write_ctc(folder: Path, labels: np.ndarray, graph: TrackGraph | None = None) -> None:
    """Write a result folder of the Cell Tracking Challenge: ``mask000.tif`` and so on, and ``res_track.txt``.

    Parameters
    ----------
    folder : Path
        Replaced if it is there.
    labels : ndarray
        As for :func:`graph_of`.
    graph : TrackGraph, optional
        Of these labels; by default that of :func:`graph_of`.

    Raises
    ------
    InputError
        When there are more tracks than 16 bits hold, or the folder cannot be written.

    Notes
    -----
    https://celltrackingchallenge.net/datasets, "Naming and file content conventions": a line ``L B E P`` for each
    track, its label, first and last frame and parent, 0 for none.
    """
    segments = (graph or graph_of(labels)).segments
    if len(segments) > HIGHEST:
        raise InputError(f"the Cell Tracking Challenge's format holds {HIGHEST} tracks, and there are {len(segments)}")
    digits = max(3, len(str(len(labels) - 1)))
    with replacing(folder) as temporary:
        temporary.mkdir()
        for time, frame in enumerate(labels):
            names = {one.label: one.number for one in segments if one.first <= time <= one.last}
            mask = relabel_planes(np.asarray(frame), names).astype(np.uint16)
            tifffile.imwrite(
                temporary / f"mask{time:0{digits}d}.tif",
                mask,
                compression="zlib",
                photometric="minisblack",
                software=MARK,
            )
        lines = [f"{one.number} {one.first} {one.last} {one.parent}\n" for one in segments]
        (temporary / "res_track.txt").write_text("".join(lines))
