"""Where the samples of an image lie and how far apart, as OME-Zarr has it, and OME and ImageJ write it into TIFFs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
_LENGTHS = {
    "picometer": 1e-6, "angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4,
    "meter": 1e6, "inch": 25400.0,
}  # fmt: skip
"""OME-Zarr's names of units, in micrometres."""
_TIMES = {"nanosecond": 1e-9, "microsecond": 1e-6, "millisecond": 1e-3, "second": 1.0, "minute": 60.0, "hour": 3600.0}
_TIMES |= {"day": 86400.0}
MICROMETRE, SECOND = "micrometer", "second"
CALIBRATION = "calibration"
"""In tifffile's own metadata of labels: for each axis its distance and unit."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Where the samples of an image lie.

    Parameters
    ----------
    scale : tuple of float
        Distance of neighbouring samples along each axis; negative where the axis is flipped, never 0.
    translation : tuple of float
        Where the first sample lies; empty for the origin.
    units : tuple of str
        Of each axis, in the words of OME-Zarr, "micrometer" or "second"; empty where it has none. All may be left out.
    """

    scale: tuple[float, ...]
    translation: tuple[float, ...] = ()
    units: tuple[str, ...] = ()

    def along(self, positions: Sequence[int]) -> Calibration:
        """That of an image that has these axes only, in this order."""
        translation = tuple(self.translation[k] for k in positions) if self.translation else ()
        units = tuple(self.units[k] for k in positions) if self.units else ()
        return Calibration(tuple(self.scale[k] for k in positions), translation, units)

    @property
    def known(self) -> bool:
        """Whether any distance, unit or position is known."""
        return any(self.units) or any(self.translation) or any(step != 1 for step in self.scale)

    def metric(self, axes: str) -> Calibration:
        """Micrometres and seconds in place of other units that are known, where all axes of space have such."""
        units = self.units or ("",) * len(axes)
        tables = [_TIMES if axis == "t" else _LENGTHS for axis in axes]
        factors = [table.get(unit) for table, unit in zip(tables, units, strict=True)]
        space = [factor for axis, factor in zip(axes, factors, strict=True) if axis in "zyx"]
        named = tuple(SECOND if axis == "t" else MICROMETRE for axis in axes)
        if None in space:
            factors = [factor if axis == "t" else None for axis, factor in zip(axes, factors, strict=True)]
        given = tuple(name if factor else "" for name, factor in zip(named, factors, strict=True))
        steps = tuple(step * (factor or 1.0) for step, factor in zip(self.scale, factors, strict=True))
        moved = tuple(at * (factor or 1.0) for at, factor in zip(self.translation, factors, strict=False))
        return replace(self, scale=steps, translation=moved, units=given)

    def unit_of_space(self, axes: str) -> str:
        """One unit for all axes of space: "" where there is none, or they have several."""
        units = {unit for axis, unit in zip(axes, self.units or ("",) * len(axes), strict=True) if axis in "zyx"}
        return units.pop() if len(units) == 1 else ""


SHORT = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "picometer": "pm", "angstrom": "Å", "meter": "m"}
"""How units of length are written in tables."""


def unit_shown(calibration: Calibration, axes: str | None) -> str:
    """How the unit along the axes of space is written in a table: "pixel" where pixels are counted."""
    axes = axes or "q" * (len(calibration.scale) - 2) + "yx"
    unit = calibration.unit_of_space(axes)
    if unit:
        return SHORT.get(unit, unit)
    return "unit" if any(abs(step) != 1 for step in calibration.scale[-2:]) else "pixel"


def unit_word(unit: str, axis: str) -> str:
    """OME-Zarr's word for a unit that is written as "µm", "nm", "s" and so on; "" where it is none that is known."""
    if unit in (_TIMES if axis == "t" else _LENGTHS):
        return unit
    short, words = (_SECONDS, _TIMES) if axis == "t" else (_MICROMETRES, _LENGTHS)
    factor = short.get(unit)
    return next((word for word, size in words.items() if factor is not None and math.isclose(size, factor)), "")


def spacing_of(tiff: tifffile.TiffFile, axes: str) -> tuple[float, ...]:
    """Distance of neighbouring samples along each axis; see :func:`calibration_of`."""
    return calibration_of(tiff, axes).scale


def calibration_of(tiff: tifffile.TiffFile, axes: str) -> Calibration:
    """Distance of neighbouring samples along each axis, and its unit.

    Parameters
    ----------
    tiff : TiffFile
        Open.
    axes : str
        A letter for each axis.

    Returns
    -------
    Calibration
        Micrometres along z, y and x and seconds along t, where the file contains them in units that are known;
        otherwise the file's numbers, and 1 where there is none, or none that is finite and positive.
    """
    found = _ome(tiff.ome_metadata) if tiff.is_ome and tiff.ome_metadata else {}
    if not found and tiff.is_imagej:
        found = _imagej(tiff.imagej_metadata or {}, tiff.pages.first.tags)
    if not found and tiff.is_shaped:
        found = _own(tiff.shaped_metadata or (), tiff.pages.first.tags)
    pairs = [found.get(axis, (1.0, "")) for axis in axes]
    good = [(step, unit) if 0 < step < math.inf else (1.0, "") for step, unit in pairs]
    return Calibration(tuple(step for step, _ in good), (), tuple(unit for _, unit in good))


_Steps = dict[str, tuple[float, str]]


def _ome(text: str) -> _Steps:
    """From the attributes of the first ``Pixels`` (OME-XML 2016-06)."""
    try:
        pixels = next(part for part in ET.fromstring(text).iter() if part.tag.rpartition("}")[2] == "Pixels")
    except (ET.ParseError, StopIteration):
        return {}
    found: _Steps = {}
    for axis, name, units in (
        ("z", "PhysicalSizeZ", _MICROMETRES),
        ("y", "PhysicalSizeY", _MICROMETRES),
        ("x", "PhysicalSizeX", _MICROMETRES),
        ("t", "TimeIncrement", _SECONDS),
    ):
        step = _number(pixels.get(name))
        if step is not None:
            # the schema's own unit where none is given: micrometres and seconds
            factor = units.get(pixels.get(f"{name}Unit", "s" if axis == "t" else "µm"))
            found[axis] = _named(step, factor, axis)
    return found


def _named(step: float, factor: float | None, axis: str) -> tuple[float, str]:
    """A distance in the units used here and their name; as it is, without a name, where its unit is not known."""
    return (step, "") if factor is None else (step * factor, SECOND if axis == "t" else MICROMETRE)


def _imagej(metadata: Mapping[str, Any], tags: Any) -> _Steps:
    unit = _MICROMETRES.get(str(metadata.get("unit", "")))
    found: _Steps = {}
    for axis, name in (("x", "XResolution"), ("y", "YResolution")):
        tag = tags.get(name)
        if tag is not None and tag.value[0]:
            found[axis] = _named(tag.value[1] / tag.value[0], unit, axis)
    for axis, value, scale in (("z", metadata.get("spacing"), unit), ("t", metadata.get("finterval"), 1.0)):
        step = _number(value)
        if step is not None:
            found[axis] = _named(step, scale, axis)
    return found


def _own(metadata: Sequence[Mapping[str, Any]], tags: Any) -> _Steps:
    """What :func:`~napari_segany.io.labels.write_labels` puts into tifffile's own metadata."""
    kept = (metadata[0] if metadata else {}).get(CALIBRATION)
    if not isinstance(kept, Mapping):
        return {}
    found: _Steps = {}
    for axis, pair in kept.items():
        if isinstance(pair, list) and len(pair) == 2 and (step := _number(pair[0])) is not None:
            found[str(axis)] = step, str(pair[1])
    return found


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
