"""Arrays to TIFF files, with the distances of pixels in the way that most programs read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_segany.io.output_checks import MARK
from napari_segany.io.spacing import CALIBRATION, Calibration


def write_tiff(path: Path, values: np.ndarray, axes: str, placed: Calibration) -> None:
    """Write a TIFF with the distances of pixels in the way that most programs read.

    That is ImageJ's, or OME's for types that ImageJ does not have. Both drop axes of length 1, so arrays that
    have such axes store them in tifffile's metadata, and the distances along y and x in TIFF's own tags.

    Parameters
    ----------
    path : Path
        What is written.
    values : ndarray
        (..., y, x) labels, uint16 or uint32; or float32.
    axes : str
        Letter of each axis.
    placed : Calibration
        Distances and units.
    """
    metric = placed.metric(axes)
    steps = dict(zip(axes, map(abs, metric.scale), strict=True))
    units = dict(zip(axes, metric.units, strict=True))
    big = values.nbytes > 2**31
    options: dict[str, Any] = {"bigtiff": big, "metadata": {"axes": axes.upper()}}
    named = path.suffixes[-2:-1] == [".ome"]
    if placed.known and not named and values.dtype in (np.uint16, np.float32) and not big and _keeps_axes(values, axes):
        options = {"imagej": True, "metadata": _imagej(axes, steps, units), "resolution": _resolution(steps)}
    elif placed.known and (named or _keeps_axes(values, axes)):
        options |= {"ome": True, "metadata": _ome(axes, steps, units)}
    elif placed.known:
        steps_and_units = {axis: [steps[axis], units[axis]] for axis in axes}
        options["metadata"] |= {CALIBRATION: steps_and_units}
        if units["x"] and units["y"]:
            options |= {"resolution": _resolution(steps, 1e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, values, compression="zlib", photometric="minisblack", software=MARK, **options)


def _keeps_axes(values: np.ndarray, axes: str) -> bool:
    return set(axes) <= set("tzyx") and min(values.shape) > 1 and axes in ("yx", "zyx", "tyx", "tzyx")


def _resolution(steps: Mapping[str, float], times: float = 1.0) -> tuple[float, float]:
    return times / steps["x"], times / steps["y"]


def _imagej(axes: str, steps: Mapping[str, float], units: Mapping[str, str]) -> dict[str, Any]:
    about: dict[str, Any] = {"axes": axes.upper(), "unit": "um" if units["x"] and units["y"] else "pixel"}
    about |= {"spacing": steps["z"]} if "z" in axes else {}
    return about | ({"finterval": steps["t"]} if "t" in axes and (units["t"] or steps["t"] != 1) else {})


def _ome(axes: str, steps: Mapping[str, float], units: Mapping[str, str]) -> dict[str, Any]:
    about: dict[str, Any] = {"axes": axes.upper()}
    for axis in axes:
        name = {"t": "TimeIncrement", "z": "PhysicalSizeZ", "y": "PhysicalSizeY", "x": "PhysicalSizeX"}.get(axis)
        if name is not None and (units[axis] or steps[axis] != 1):
            about[name] = steps[axis]
            about[f"{name}Unit"] = "s" if axis == "t" else "µm" if units[axis] else "pixel"
    return about
