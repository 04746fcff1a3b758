"""What happens in a session, as values: enough of them, in their order, make the same labels again."""

from __future__ import annotations

from dataclasses import dataclass

from napari_segany.core.objects import ObjectInfo
from napari_segany.core.planes import ChannelSettings
from napari_segany.core.prompts import Prompt
from napari_segany.core.views import View
from napari_segany.session.history import Indices, Marks, Patch, Step

ACTS = (
    "accepted",
    "chosen",
    "discarded",
    "repeated",
    "undone",
    "redone",
    "new image",
    "resumed",
    "closed",
    "saved",
    "dismissed",
)


@dataclass(frozen=True, slots=True, eq=False)
class PromptEvent:
    """A prompt, everything that describes the current object; an empty one withdraws it."""

    plane: View
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class ActionEvent:
    """One of ``ACTS``; `value` is the generation of an accepted result, or the candidate that an undo restores."""

    what: str
    value: int = 0


@dataclass(frozen=True, slots=True)
class FingerprintEvent:
    """The hash of all values of a large image, once it is known; see ``ImageFingerprint`` in ``session.content``."""

    hash: str


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """The model that is used from here on: its name, and the hash of its weights as "algorithm:digest"."""

    name: str
    hash: str


@dataclass(frozen=True, slots=True)
class LayerEvent:
    """A layer comes into use, and steps name it by a number from here on; one that is known comes into use again.

    Parameters
    ----------
    number : int
        Steps name the layer by it.
    kind : str
        "labels", "points" or "shapes".
    shape : tuple of int
        Of a label array.
    dtype : str
        Of a label array, as ``numpy.dtype.str``.
    patch : Patch, optional
        From zeros to what a label array holds; None when it is empty.
    marks : tuple of Mark
        What lies in a prompt layer.
    """

    number: int
    kind: str
    shape: Indices = ()
    dtype: str = ""
    patch: Patch | None = None
    marks: Marks = ()


Event = PromptEvent | ActionEvent | ModelEvent | LayerEvent | Step | ChannelSettings | FingerprintEvent | ObjectInfo
"""ChannelSettings apply to the image from here on; an ObjectInfo describes an object from here on."""
