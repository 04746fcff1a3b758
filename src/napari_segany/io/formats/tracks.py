"""Linked labels as tracks: a table for napari's Tracks layer, and a folder in the Cell Tracking Challenge format.

There are no divisions: an object that was missed in some frames has one number in the table. In the folder, where a
track has no gaps, the frames after a gap are a separate track, whose parent is the track before the gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy
import tifffile

from napari_segany.core.errors import InputError
from napari_segany.core.link import relabel_planes
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


def track_table(labels: np.ndarray) -> np.ndarray:
    """The middle of each object in each frame.

    Parameters
    ----------
    labels : ndarray
        (t, y, x) or (t, z, y, x) integers, an object has one number in all frames, 0 is background; read by
        frames.

    Returns
    -------
    ndarray
        (n, 1 + axes) float: number, t, (z,) y, x in pixels, sorted by number and time: the data of napari's Tracks
        layer.
    """
    rows = []
    for time, frame in enumerate(labels):
        there = _values(frame)
        middles = scipy.ndimage.center_of_mass(frame > 0, frame, there)
        rows += [(int(label), time, *map(float, middle)) for label, middle in zip(there, middles, strict=True)]
    table = np.array(sorted(rows), float)
    return table.reshape(len(rows), labels.ndim + 1)


def write_tracks(path: Path, table: np.ndarray) -> None:
    """Write a table of tracks as CSV.

    ``numpy.loadtxt(path, delimiter=",", skiprows=1)`` gives back what ``viewer.add_tracks`` takes.

    Parameters
    ----------
    path : Path
        The file; replaced if it is there.
    table : ndarray
        From :func:`track_table`.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    names = ["track_id", *("tzyx" if table.shape[1] == 5 else "tyx")]
    formats = ["%d", "%d", *["%.3f"] * (table.shape[1] - 2)]
    with replacing(path) as temporary:
        np.savetxt(temporary, table, fmt=formats, delimiter=",", header=",".join(names), comments="")


def write_ctc(folder: Path, labels: np.ndarray) -> None:
    """Write a result folder of the Cell Tracking Challenge: ``mask000.tif`` and so on, and ``res_track.txt``.

    Parameters
    ----------
    folder : Path
        Replaced if it is there.
    labels : ndarray
        As for :func:`track_table`.

    Raises
    ------
    InputError
        When there are more tracks than 16 bits hold, or the folder cannot be written.

    Notes
    -----
    https://celltrackingchallenge.net/datasets, "Naming and file content conventions": a line ``L B E P`` for each
    track, its label, first and last frame and parent, 0 for none.
    """
    segments = _segments(labels)
    number = {segment: place for place, segment in enumerate(segments, start=1)}
    if len(segments) > HIGHEST:
        raise InputError(f"the Cell Tracking Challenge's format holds {HIGHEST} tracks, and there are {len(segments)}")
    digits = max(3, len(str(len(labels) - 1)))
    with replacing(folder) as temporary:
        temporary.mkdir()
        for time, frame in enumerate(labels):
            names = {label: number[label, first] for (label, first), last in segments.items() if first <= time <= last}
            mask = relabel_planes(frame, names).astype(np.uint16)
            tifffile.imwrite(
                temporary / f"mask{time:0{digits}d}.tif",
                mask,
                compression="zlib",
                photometric="minisblack",
                software=MARK,
            )
        lines = []
        before: dict[int, int] = {}
        for (label, first), last in segments.items():
            own = number[label, first]
            lines.append(f"{own} {first} {last} {before.get(label, 0)}\n")
            before[label] = own
        (temporary / "res_track.txt").write_text("".join(lines))


def _segments(labels: np.ndarray) -> Mapping[tuple[int, int], int]:
    """(label, first frame) of each stretch of frames without a gap, and its last frame, in the order of labels."""
    last: dict[tuple[int, int], int] = {}
    open_ones: dict[int, tuple[int, int]] = {}
    for time, frame in enumerate(labels):
        going = {}
        for label in map(int, _values(frame)):
            going[label] = open_ones.get(label, (label, time))
            last[going[label]] = time
        open_ones = going
    return dict(sorted(last.items()))


def _values(frame: np.ndarray) -> np.ndarray:
    values = np.unique(frame)
    return values[values > 0]
