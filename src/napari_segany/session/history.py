"""What can be undone: steps that know both of their sides, in the order in which they were made.

Nothing here depends on a viewer. A step refers to the layers that it changed by number; the caller provides them.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import msgspec
import numpy as np

FAST = 1
"""zlib's level: labels are nearly all alike, so that more work gains little."""

Window = tuple[slice, ...]
Indices = tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
"""Places or lengths along axes; msgspec refuses negative ones when it reads them."""


def inflate(data: bytes, size: int) -> bytes:
    """Decompress data that is known to hold `size` bytes, and never more memory than that.

    Raises
    ------
    ValueError
        When it holds fewer or more bytes.
    zlib.error
        When it is no compressed data.
    """
    unpacking = zlib.decompressobj()
    found = unpacking.decompress(data, size + 1)
    if len(found) != size or not unpacking.eof:
        raise ValueError(f"it does not hold the {size} bytes that its shape and type need")
    return found


@dataclass(frozen=True, slots=True)
class Patch:
    """A window of a label array before and after a change.

    Parameters
    ----------
    start : tuple of int
        First index of the window along every axis, in the array's order.
    shape : tuple of int
        Its lengths.
    dtype : str
        Type of the array, with its byte order, as ``numpy.dtype.str``.
    before, after : bytes
        The window's bytes in C order, compressed by zlib.
    """

    start: Indices
    shape: Indices
    dtype: str
    before: bytes
    after: bytes

    @classmethod
    def between(cls, before: np.ndarray, after: np.ndarray, window: Window | None = None) -> Patch | None:
        """The smallest patch from one array to another.

        Parameters
        ----------
        before, after : ndarray
            Integers of the same type and shape, any number of axes.
        window : tuple of slice, optional
            Region that is compared, a slice with both ends for every axis; by default everywhere.

        Returns
        -------
        Patch or None
            None where both are the same.
        """
        window = window or tuple(slice(0, length) for length in before.shape)
        found = _differing(before[window], after[window])
        if found is None:
            return None
        start = tuple(outer.start + inner.start for outer, inner in zip(window, found, strict=True))
        old, new = before[window][found], after[window][found]
        return cls(start, old.shape, old.dtype.str, _squeeze(old), _squeeze(new))

    @property
    def window(self) -> Window:
        """Where the patch lies."""
        return tuple(slice(a, a + length) for a, length in zip(self.start, self.shape, strict=True))

    def apply(self, array: np.ndarray) -> None:
        """Write the values after the change into an array; pixels that the change did not touch stay as they are.

        Raises
        ------
        ValueError
            When the window reaches beyond the array, or the content of the patch does not match its shape.
        """
        if len(self.start) != array.ndim or any(
            window.stop > length for window, length in zip(self.window, array.shape, strict=True)
        ):
            raise ValueError(f"a change of shape {self.shape} at {self.start} reaches beyond an array of {array.shape}")
        old, new = self.values()
        changed = old != new
        array[self.window][changed] = new[changed]

    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """The values in the window before and after the change, each of `shape`.

        Raises
        ------
        ValueError
            When the content does not match the shape.
        """
        return self._values(self.before), self._values(self.after)

    def _values(self, side: bytes) -> np.ndarray:
        size = math.prod(self.shape) * np.dtype(self.dtype).itemsize
        return np.frombuffer(inflate(side, size), self.dtype).reshape(self.shape)

    def inverse(self) -> Patch:
        """The patch that takes this one back."""
        return replace(self, before=self.after, after=self.before)


def _squeeze(array: np.ndarray) -> bytes:
    return zlib.compress(np.ascontiguousarray(array).tobytes(), FAST)


def _differing(before: np.ndarray, after: np.ndarray) -> Window | None:
    """Tightest window around all differences; plane by plane, so that a volume needs no mask of its size."""
    if before.ndim > 2:
        found = [(i, _differing(before[i], after[i])) for i in range(len(before))]
        inner = [(i, window) for i, window in found if window is not None]
        if not inner:
            return None
        axes = zip(*(window for _, window in inner), strict=True)
        rest = [slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in axes]
        return (slice(inner[0][0], inner[-1][0] + 1), *rest)
    differs = before != after
    if not differs.any():
        return None
    ends = [np.flatnonzero(differs.any(axis=tuple(set(range(differs.ndim)) - {axis}))) for axis in range(differs.ndim)]
    return tuple(slice(int(places[0]), int(places[-1]) + 1) for places in ends)


@dataclass(frozen=True, slots=True)
class Mark:
    """One click or shape of a prompt layer.

    Parameters
    ----------
    kind : str
        "point", or what shape it is: "rectangle", "ellipse", "polygon", "path" or "line".
    corners : tuple of tuple of float
        (corners, axes), in the layer's own pixels and axes.
    features : tuple of (str, value)
        Its row of the layer's table.
    """

    kind: str
    corners: tuple[tuple[float, ...], ...]
    features: tuple[tuple[str, Any], ...] = ()


Marks = tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class MarksPatch:
    """A stretch of a prompt layer's marks before and after a change.

    Parameters
    ----------
    start : int
        Number of the first mark that changed.
    before, after : tuple of Mark
        What stood there, and what stands there now.
    """

    start: int
    before: Marks
    after: Marks

    @classmethod
    def between(cls, before: Marks, after: Marks) -> MarksPatch | None:
        """The shortest patch from one list of marks to another; None where both are the same."""
        if before == after:
            return None
        shorter = min(len(before), len(after))
        start = next((i for i in range(shorter) if before[i] != after[i]), shorter)
        left = shorter - start
        end = next((i for i in range(left) if before[-1 - i] != after[-1 - i]), left)
        return cls(start, before[start : len(before) - end], after[start : len(after) - end])

    def apply(self, marks: Marks) -> Marks:
        """The list with what came after."""
        return marks[: self.start] + self.after + marks[self.start + len(self.before) :]

    def inverse(self) -> MarksPatch:
        """The patch that takes this one back."""
        return MarksPatch(self.start, self.after, self.before)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done and can be undone.

    Parameters
    ----------
    kind : str
        What it was, in a word or two for the user: "prompt", "keep", "brush", ...
    patches : tuple of (int, Patch)
        What changed in label layers, with the number of each.
    marks : tuple of (int, MarksPatch)
        What changed in prompt layers, with the number of each.
    choice : tuple of int
        Which candidate was shown before and after.
    label : int
        For a kept mask: its label.
    overwrite : bool
        For a kept mask: whether it took pixels of other labels.
    classes : tuple of (int, str, str)
        Labels of objects, and the class of each before and after.
    states : tuple of (int, str, str)
        Labels of objects, and the state of each before and after.
    reviews : tuple of (int, (str, str), (str, str))
        Labels of objects, and who set the state of each and when, before and after; without a review both are empty.
    """

    kind: str
    patches: tuple[tuple[int, Patch], ...] = ()
    marks: tuple[tuple[int, MarksPatch], ...] = ()
    choice: tuple[int, int] = (0, 0)
    label: int = 0
    overwrite: bool = False
    classes: tuple[tuple[int, str, str], ...] = ()
    states: tuple[tuple[int, str, str], ...] = ()
    reviews: tuple[tuple[int, tuple[str, str], tuple[str, str]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.patches or self.marks or self.classes or self.states) or self.choice[0] != self.choice[1]

    def inverse(self) -> Step:
        """The step that takes this one back."""
        return replace(
            self,
            patches=tuple((number, patch.inverse()) for number, patch in self.patches),
            marks=tuple((number, patch.inverse()) for number, patch in self.marks),
            choice=(self.choice[1], self.choice[0]),
            classes=tuple((label, after, before) for label, before, after in self.classes),
            states=tuple((label, after, before) for label, before, after in self.states),
            reviews=tuple((label, after, before) for label, before, after in self.reviews),
        )

    def apply(self, labels: Mapping[int, np.ndarray], marks: MutableMapping[int, Marks]) -> None:
        """Bring label arrays and lists of marks, each under its layer's number, to what came after."""
        for number, patch in self.patches:
            patch.apply(labels[number])
        for number, stretch in self.marks:
            marks[number] = stretch.apply(marks[number])


class History:
    """Steps in the order in which they were made, and how many of them hold; there is no limit."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self.position = 0

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return self.position > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to do again."""
        return self.position < len(self._steps)

    @property
    def held(self) -> Sequence[Step]:
        """Steps that were made and are not undone, the earliest first."""
        return self._steps[: self.position]

    @property
    def undo_name(self) -> str:
        """What would be undone; empty for nothing."""
        return self._steps[self.position - 1].kind if self.can_undo else ""

    @property
    def redo_name(self) -> str:
        """What would be done again; empty for nothing."""
        return self._steps[self.position].kind if self.can_redo else ""

    def do(self, step: Step) -> None:
        """Take note of a step that was made; what was undone before it can no longer be done again."""
        self._steps[self.position :] = [step]
        self.position += 1

    def undo(self) -> Step | None:
        """Go back by a step, and get what is to be applied for that; None when there is none."""
        if not self.can_undo:
            return None
        self.position -= 1
        return self._steps[self.position].inverse()

    def redo(self) -> Step | None:
        """Go forward by a step, and get what is to be applied for that; None when there is none."""
        if not self.can_redo:
            return None
        self.position += 1
        return self._steps[self.position - 1]
