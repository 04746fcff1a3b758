"""Any image array becomes planes that a segmenter can take: (y, x, 3) uint8, on one intensity range per volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from napari_segany.core.errors import InputError

PERCENTILES = (0.1, 99.9)
"""The part of a volume's finite values that is spread over 0..255."""

SAMPLED_PLANES = 16
SAMPLED_VALUES = 2**22
WHOLE_PLANE = 2**22
BLOCKS, BLOCK = 4, 512
RGB_MIN_SIDE = 30

Limits = tuple[float, float]

Region = tuple[slice, slice]
"""Rows and columns of a plane."""


class LazyArray(Protocol):
    """What an image array must provide: numpy, dask and zarr arrays all do."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def dtype(self) -> Any:
        """Type of the values."""

    def __getitem__(self, key: Any, /) -> Any:
        """The part of the array that `key`, a tuple of integers and slices, selects."""


def load_array(part: Any) -> np.ndarray:
    """A part of an image array in memory.

    Dask computes it without the callbacks that were registered for the whole program. The cache that napari registers
    is one, and fails where two threads compute at once: ours, and the window's.
    """
    compute = getattr(part, "compute", None)
    return np.asarray(part if compute is None else compute(callbacks=()))


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """How an image is converted to the model's input; the image itself is not changed.

    Parameters
    ----------
    limits : (low, high), optional
        The values that become 0 and 255, for all channels.
    together : int, optional
        An axis other than those of the plane, in the array's order, whose entries are combined as colours.
    channels : tuple of int
        Up to three channels, of an image that has some, that become red, green and blue; a single one is shown as gray.
        Empty for the first ones.
    inverted : bool
        Whether bright becomes dark.
    """

    limits: Limits | None = None
    together: int | None = None
    channels: tuple[int, ...] = ()
    inverted: bool = False


MEASURED = ChannelSettings()
"""Everything is left to what is measured."""


class Stack:
    """The planes of an image of any number of dimensions; a 2D image is a stack of one plane.

    Nothing is read before :meth:`plane` or :attr:`limits` is used, and never more than one plane at a time, so a dask
    or zarr array may be larger than the memory.

    Parameters
    ----------
    array : array-like
        (..., y, x), bool, integer or real floating point, NaN and inf allowed. Without `channel_axis` or `rgb`, all
        axes but the last two are leading axes (t, z, ...).
    channel_axis : int, optional
        Axis that holds channels, at any position; negative counts from the end. One channel is shown as gray, two as
        red and green, three as red, green and blue; of more, the first three are taken and the others ignored.
    rgb : bool, optional
        Whether the last axis holds the colours, and possibly the transparency, of a picture, as in napari. None: as
        napari would guess: it does when it has 3 or 4 entries and the values are uint8, or are uint16 or floating
        point with more than 30 rows and columns. Transparency is dropped.
    limits : (low, high) or sequence of (low, high), optional
        The values that become 0 and 255, for all channels or for each, instead of measuring them.
    settings : ChannelSettings
        Which channels are used, and whether they are inverted; its limits apply where `limits` are not given.

    Raises
    ------
    InputError
        When the array does not consist of planes of numbers: object, complex or text values, fewer than two axes
        without the channels, an axis of length zero; or when the options contradict it.

    Notes
    -----
    Values are mapped linearly so that `limits` become 0 and 255, and are clipped there. Limits belong to the volume:
    they are measured once, lazily, and do not depend on the plane, so that the same gray means the same everywhere in
    the stack.

    - bool: False is 0 and True is 255.
    - uint8 pictures (``rgb``): taken as they are.
    - all else, gray uint8 included (dim fluorescence is often stored so): the 0.1 and 99.9 percentiles (nearest rank)
      of the finite values, for each channel; for pictures with ``rgb`` one range for all colours, so that hues stay.
      At most 16 planes, spread over the leading axes, are read for that; of a plane of more than 2**22 pixels, 16
      blocks of 512 x 512 pixels, spread over it. The choice is always the same for the same shape.
    - NaN and -inf become 0, +inf becomes 255. Where all values sampled are equal, they become 0 and higher ones 255.
    """

    def __init__(
        self,
        array: LazyArray | ArrayLike,
        *,
        channel_axis: int | None = None,
        rgb: bool | None = None,
        limits: Limits | Sequence[Limits] | None = None,
        settings: ChannelSettings = MEASURED,
    ) -> None:
        _check_options(channel_axis, rgb, settings)
        lazy = _as_array(array)
        shape, dtype = tuple(int(length) for length in lazy.shape), np.dtype(lazy.dtype)
        if dtype.kind not in "buif":
            raise InputError(f"an image needs bool, integer or real floating-point values, got {dtype}")
        if rgb is None:
            rgb = channel_axis is None and _looks_rgb(shape, dtype)
        self._array, self._dtype, self._rgb = lazy, dtype, rgb
        self._channel_axis = _channel_axis(shape, channel_axis, rgb)
        spatial = [axis for axis in range(len(shape)) if axis != self._channel_axis]
        if len(spatial) < 2 or 0 in shape:
            raise InputError(f"an image needs at least two axes (y, x) and no empty one, got shape {shape}")
        self._leading_axes, self._yx_axes = spatial[:-2], spatial[-2:]
        self.shape: tuple[int, ...] = tuple(shape[axis] for axis in self._leading_axes)
        self.plane_shape: tuple[int, int] = (shape[self._yx_axes[0]], shape[self._yx_axes[1]])
        self._taken = _taken(shape, self._channel_axis, settings.channels)
        self._inverted = settings.inverted
        self.channels: int = len(self._taken)
        limits = settings.limits if limits is None else limits
        self._limits = None if limits is None else _given_limits(limits, self.channels)

    def __len__(self) -> int:
        return math.prod(self.shape)

    def __repr__(self) -> str:
        return f"Stack({len(self)} planes of {self.plane_shape}, shape={self.shape}, channels={self.channels})"

    @property
    def limits(self) -> tuple[Limits, ...]:
        """(low, high) of each channel that is used: the values that become 0 and 255."""
        if self._limits is None:
            self._limits = self._measure()
        return self._limits

    def plane(self, number: int) -> np.ndarray:
        """One plane, ready for a segmenter.

        Parameters
        ----------
        number : int
            0 .. ``len(stack) - 1``, leading axes counted in C order; see :meth:`unindex`.

        Returns
        -------
        ndarray
            (y, x, 3) uint8, contiguous, owned by the caller.

        Raises
        ------
        InputError
            When there is no such plane.
        """
        return self.part(number, (slice(None), slice(None)))

    def part(self, number: int, window: tuple[slice, slice]) -> np.ndarray:
        """A part of a plane, on the same intensity range; nothing else of it is read.

        Parameters
        ----------
        number : int
            See :meth:`plane`.
        window : tuple of slice
            Rows and columns.

        Returns
        -------
        ndarray
            (y, x, 3) uint8, contiguous, owned by the caller.

        Raises
        ------
        InputError
            When there is no such plane.
        """
        scaled = self._scaled(self._read(self.index(number), window))
        if self._inverted:
            np.subtract(255, scaled, out=scaled)
        if self.channels == 1:
            return np.repeat(scaled, 3, axis=-1)
        return np.pad(scaled, ((0, 0), (0, 0), (0, 3 - self.channels)))

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        """(y, x, channel) values of the image -> uint8, owned by the caller."""
        if self._dtype == np.uint8 and self._rgb and self._limits is None:
            return np.array(values, order="C")
        limits = enumerate(self.limits)
        return np.stack([_to_uint8(values[..., channel], *pair) for channel, pair in limits], axis=-1)

    def index(self, number: int) -> tuple[int, ...]:
        """Position along the leading axes (``shape``) of a plane; () for a 2D image."""
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
            raise InputError(f"number is a whole number, got {number!r}")
        if not 0 <= number < len(self):
            raise InputError(f"there is no plane {number}: the image has {len(self)} (0..{len(self) - 1})")
        return tuple(int(position) for position in np.unravel_index(number, self.shape)) if self.shape else ()

    def unindex(self, index: Sequence[int]) -> int:
        """Number of the plane at a position along the leading axes; the inverse of :meth:`index`."""
        inside = len(index) == len(self.shape) and all(0 <= i < n for i, n in zip(index, self.shape, strict=True))
        if not inside:
            raise InputError(f"there is no plane at {tuple(index)}: the leading axes have lengths {self.shape}")
        return int(np.ravel_multi_index(tuple(index), self.shape)) if self.shape else 0

    def _read(self, index: tuple[int, ...], window: tuple[slice, slice] = (slice(None), slice(None))) -> np.ndarray:
        """(y, x, channel) values of a window of a plane, in the array's own type."""
        key: list[int | slice] = [slice(min(self._taken), max(self._taken) + 1)] * len(self._array.shape)
        for axis, position in zip(self._leading_axes, index, strict=True):
            key[axis] = position
        for axis, part in zip(self._yx_axes, window, strict=True):
            key[axis] = part
        values = load_array(self._array[tuple(key)])
        if self._channel_axis is None:
            return values[..., np.newaxis]
        values = np.moveaxis(values, sum(axis < self._channel_axis for axis in self._yx_axes), -1)
        return values[..., [channel - min(self._taken) for channel in self._taken]]

    def _measure(self) -> tuple[Limits, ...]:
        if self._dtype == np.bool_:
            return ((0.0, 1.0),) * self.channels
        if self._dtype == np.uint8 and self._rgb:
            return ((0.0, 255.0),) * self.channels
        sample = np.concatenate([self._sample(number) for number in _spread(len(self), SAMPLED_PLANES)])
        if self._rgb:
            return (_percentile_limits(sample.ravel()),) * self.channels
        return tuple(_percentile_limits(sample[:, channel]) for channel in range(self.channels))

    def _sample(self, number: int) -> np.ndarray:
        """(n, channel) values of one plane: bounded in what is read and in what is kept."""
        index, (height, width) = self.index(number), self.plane_shape
        windows = [(slice(None), slice(None))]
        if height * width > WHOLE_PLANE:
            windows = [(rows, columns) for rows in _blocks(height) for columns in _blocks(width)]
        budget = SAMPLED_VALUES // min(SAMPLED_PLANES, len(self)) // len(windows)
        parts = []
        for window in windows:
            values = self._read(index, window).reshape(-1, self.channels)
            parts.append(values[:: math.ceil(len(values) / budget)])
        return np.concatenate(parts)


def _check_options(channel_axis: object, rgb: object, settings: object) -> None:
    """InputError, with the argument's name, for what is of another type."""
    if channel_axis is not None and (isinstance(channel_axis, bool) or not isinstance(channel_axis, (int, np.integer))):
        raise InputError(f"channel_axis is a whole number or None, got {channel_axis!r}")
    if rgb is not None and not isinstance(rgb, (bool, np.bool_)):
        raise InputError(f"rgb is True, False or None, got {rgb!r}")
    if not isinstance(settings, ChannelSettings):
        raise InputError(f"settings must be ChannelSettings, got {settings!r}")


def _as_array(array: LazyArray | ArrayLike) -> LazyArray:
    if hasattr(array, "shape") and hasattr(array, "dtype"):
        return array  # type: ignore[return-value]
    try:
        found: LazyArray = np.asarray(array)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"array cannot be used as an array of numbers: {error}") from None
    return found


def _looks_rgb(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    if len(shape) < 3 or shape[-1] not in (3, 4):
        return False
    if dtype == np.uint8:
        return True
    return (dtype == np.uint16 or dtype.kind == "f") and min(shape[-3:-1]) > RGB_MIN_SIDE


def _channel_axis(shape: tuple[int, ...], channel_axis: int | None, rgb: bool) -> int | None:
    if rgb:
        last = len(shape) - 1
        if channel_axis is not None and channel_axis not in (-1, last):
            raise InputError(f"rgb means that the last axis holds the channels, but channel_axis is {channel_axis}")
        if shape[-1:] not in ((3,), (4,)):
            raise InputError(f"rgb needs a last axis of length 3 or 4, got shape {shape}")
        return last
    if channel_axis is None:
        return None
    if not -len(shape) <= channel_axis < len(shape):
        raise InputError(f"channel_axis {channel_axis} does not exist in an image of shape {shape}")
    return channel_axis % len(shape)


def _taken(shape: tuple[int, ...], channel_axis: int | None, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Entries of the channel axis that are used, three at most; (0,) where there is none."""
    if channel_axis is None:
        return (0,)
    there = shape[channel_axis]
    if len(wanted) > 3 or any(not 0 <= channel < there for channel in wanted):
        raise InputError(f"up to three of the channels 0..{there - 1} can be used, got {wanted}")
    return wanted or tuple(range(min(3, there)))


def _given_limits(limits: ArrayLike, channels: int) -> tuple[Limits, ...]:
    try:
        pairs = np.broadcast_to(np.asarray(limits, dtype=float), (channels, 2))
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"limits are one pair (low, high), or one for each of {channels} channels") from None
    if not np.isfinite(pairs).all() or (pairs[:, 0] > pairs[:, 1]).any():
        raise InputError(f"limits need finite values, the lower first, got {pairs.tolist()}")
    return tuple((float(low), float(high)) for low, high in pairs)


def _spread(length: int, wanted: int) -> list[int]:
    """Up to `wanted` positions, one at random in each of as many equal parts.

    Equal steps could fall on the same z of every time point; the generator's seed is fixed, so the choice is too.
    """
    if length <= wanted:
        return list(range(length))
    edges = np.arange(wanted) * length / wanted
    return [int(position) for position in edges + np.random.default_rng(0).random(wanted) * (length / wanted)]


def _blocks(length: int) -> list[slice]:
    """Windows spread evenly along an axis, from its first pixel to its last."""
    size = min(BLOCK, length)
    starts = sorted({int(start) for start in np.linspace(0, length - size, BLOCKS)})
    return [slice(start, start + size) for start in starts]


def _percentile_limits(values: np.ndarray) -> Limits:
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return 0.0, 0.0
    # nearest rank: the limits are values of the image, and extremes of float64 cannot overflow by interpolation
    low, high = np.percentile(finite, PERCENTILES, method="nearest")
    if low == high:
        # objects that fill less than a thousandth of the volume must not vanish
        low, high = finite.min(), finite.max()
    return float(low), float(high)


def _to_uint8(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Spread `low` .. `high` over 0 .. 255; NaN is 0."""
    if low == high:
        return np.where(values > high, 255, 0).astype(np.uint8)
    # 32 bits hold all 16-bit values exactly; wider types may carry small differences on a large offset
    work = np.clip(values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64), low, high)
    if math.isinf(high - low):
        work, low, high = work / 2, low / 2, high / 2
    fraction = (work - low) / (high - low)
    scaled: np.ndarray = np.nan_to_num(np.rint(fraction * 255), nan=0.0).astype(np.uint8)
    return scaled


class PlaneParts(Protocol):
    """Planes of which parts can be read; :class:`Stack` has it."""

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Rows and columns of each plane."""

    def part(self, number: int, window: Region, /) -> np.ndarray:
        """(y, x, 3) uint8 of a region of a plane."""


@dataclass(frozen=True, slots=True, eq=False)
class LazyPlane:
    """A plane that is read where it is indexed, by ``plane[rows, columns]``.

    Parameters
    ----------
    planes : PlaneParts
        The planes it is one of.
    number : int
        Its number.
    """

    planes: PlaneParts
    number: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(y, x, 3)."""
        return (*self.planes.plane_shape, 3)

    def __getitem__(self, region: Region) -> np.ndarray:
        """(y, x, 3) uint8 of the rows and columns given as slices."""
        return self.planes.part(self.number, region)


Plane = np.ndarray | LazyPlane
"""(y, x, 3) uint8, in memory or read where it is needed."""
