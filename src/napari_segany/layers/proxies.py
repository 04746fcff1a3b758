"""napari's proxies: what a plugin is given may be a wrapper, which no comparison with ``is`` knows again."""

from __future__ import annotations

from typing import TypeVar

Thing = TypeVar("Thing")


def unwrapped(thing: Thing) -> Thing:
    """Return the object behind napari's proxy; anything else as it is.

    napari hands its viewer to plugins as a ``PublicOnlyProxy``. All layers that come out of one are new proxies each
    time, so that one layer would be watched twice. Whatever is given from outside is unwrapped once, where it comes in.
    """
    while hasattr(thing, "__wrapped__"):
        thing = thing.__wrapped__
    return thing
