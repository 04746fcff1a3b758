"""How far apart the samples of a TIFF lie, as OME and ImageJ write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

import tifffile

_MICROMETRES = {"pm": 1e-6, "Å": 1e-4, "nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "mm": 1e3, "cm": 1e4}
_MICROMETRES |= {"m": 1e6, "\\u00B5m": 1.0, "inch": 25400.0}
_SECONDS = {
    "ns": 1e-9,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}


def spacing_of(tiff: tifffile.TiffFile, axes: str) -> tuple[float, ...]:
    """Distance of neighbouring samples along each axis.

    Parameters
    ----------
    tiff : TiffFile
        Open.
    axes : str
        A letter for each axis.

    Returns
    -------
    tuple of float
        Micrometres along z, y and x and seconds along t, where the file says them in units that are known; otherwise
        its own numbers, and 1 where it says none, or none that is finite and positive.
    """
    found = _ome(tiff.ome_metadata) if tiff.is_ome and tiff.ome_metadata else {}
    if not found and tiff.is_imagej:
        found = _imagej(tiff.imagej_metadata or {}, tiff.pages.first.tags)
    steps = [found.get(axis, 1.0) for axis in axes]
    return tuple(step if 0 < step < float("inf") else 1.0 for step in steps)


def _ome(text: str) -> dict[str, float]:
    """From the attributes of the first ``Pixels`` (OME-XML 2016-06)."""
    try:
        pixels = next(part for part in ET.fromstring(text).iter() if part.tag.rpartition("}")[2] == "Pixels")
    except (ET.ParseError, StopIteration):
        return {}
    found = {}
    for axis, name, units in (
        ("z", "PhysicalSizeZ", _MICROMETRES),
        ("y", "PhysicalSizeY", _MICROMETRES),
        ("x", "PhysicalSizeX", _MICROMETRES),
        ("t", "TimeIncrement", _SECONDS),
    ):
        step = _number(pixels.get(name))
        if step is not None:
            found[axis] = step * units.get(pixels.get(f"{name}Unit", ""), 1.0)
    return found


def _imagej(said: Mapping[str, Any], tags: Any) -> dict[str, float]:
    unit = _MICROMETRES.get(str(said.get("unit", "")), 1.0)
    found = {}
    for axis, name in (("x", "XResolution"), ("y", "YResolution")):
        tag = tags.get(name)
        if tag is not None and tag.value[0]:
            found[axis] = tag.value[1] / tag.value[0] * unit
    for axis, value, scale in (("z", said.get("spacing"), unit), ("t", said.get("finterval"), 1.0)):
        step = _number(value)
        if step is not None:
            found[axis] = step * scale
    return found


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
