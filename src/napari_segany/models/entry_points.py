"""Segmenters of other packages, which name them in the entry-point group ``napari_segany.segmenters``."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from napari_segany.core.errors import ModelError
from napari_segany.core.segmenter import Capabilities, Segmenter

GROUP = "napari_segany.segmenters"
"""Each entry is a name and a function that takes a device such as "cpu", and returns a Segmenter."""
_NEEDED = ("name", "capabilities", "embed", "segment")


def registered() -> dict[str, EntryPoint]:
    """The entries of installed packages by their names; of two with one name the first counts."""
    found: dict[str, EntryPoint] = {}
    for one in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        found.setdefault(one.name, one)
    return found


def package_of(entry: EntryPoint) -> str:
    """Name and version of the package that an entry is from."""
    return "another package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def licence_of(entry: EntryPoint) -> str:
    """The licence of the package, as its metadata state it."""
    if entry.dist is None:
        return "see its package"
    data = entry.dist.metadata
    stated = next((data[key] for key in ("License-Expression", "License") if key in data), None)
    return str(stated).splitlines()[0] if stated else "see its package"


def load_registered(name: str, device: str) -> Segmenter:
    """Make the segmenter of an entry.

    Raises
    ------
    ModelError
        There is none of that name, its package cannot be imported or raises an error, or it returns no Segmenter.
    """
    entry = registered().get(name)
    if entry is None:
        raise ModelError(f"no installed package has a segmenter {name!r}")
    package = package_of(entry)
    try:
        segmenter = entry.load()(device)
    except ModelError:
        raise
    except Exception as error:  # whatever the other package raises
        reason = " ".join(str(error).split())[:200] or "no message"
        raise ModelError(f"{name!r} of {package} cannot be loaded: {type(error).__name__}: {reason}") from error
    missing = [one for one in _NEEDED if not hasattr(segmenter, one)]
    if missing or not isinstance(segmenter.capabilities, Capabilities) or not isinstance(segmenter.name, str):
        lacks = f"it lacks {', '.join(missing)}" if missing else "its name or capabilities are of another type"
        raise ModelError(f"{name!r} of {package} is no Segmenter: {lacks}")
    found: Segmenter = segmenter
    return found
