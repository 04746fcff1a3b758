"""Views of named pictures with their embeddings, made once and kept: what the text head learns from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_segany.core.masks import box_of
from napari_segany.models.geometry import Frame, image_tensor
from napari_segany.models.inference_config import ZoomConfig, tiny_inference_config
from napari_segany.models.sam.model import Sam
from napari_segany.models.text.clip import VIEWS, square_crop
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.models.tiny.zoom import window_for
from napari_segany.models.windows import Window, window_image
from napari_segany.training.augment import MIN_PIXELS, relight
from napari_segany.training.named_images import BACKGROUND, PARENTS, NamedImage

OBJECTS = 12
"""Objects of a view whose crops are kept."""
ZOOMED = 0.35, 0.8
"""Sides of a part of a picture, over those of the picture."""
LEAST_SIDE = 96
"""Of a part, in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class CropView:
    """What a segmenter sees of a picture, and what is true of it.

    Parameters
    ----------
    features : dict of str to ndarray
        (C, h, w) float16, as the image encoder gives them.
    levels : ndarray
        (levels, H, W) int32 labels, sampled at the places of mask logits.
    cells : tuple of int
        Rows and columns of ``levels`` that are picture; the rest is padding.
    names : tuple of dict of int to str
        Of each level's labels.
    undecided : frozenset of str
        Names that cannot be told to be there or not.
    complete : bool
        Whether what has no label is background.
    objects : ndarray
        (K, 2) int: level and label of objects whose crops are kept.
    crops : ndarray
        (views, K, 4, s, s) uint8, see ``models.clip.VIEWS``.
    close : bool
        Whether it is a window around an object, as for a closer look.
    """

    features: Mapping[str, np.ndarray]
    levels: np.ndarray
    cells: tuple[int, int]
    names: tuple[dict[int, str], ...]
    undecided: frozenset[str]
    complete: bool
    objects: np.ndarray
    crops: np.ndarray
    close: bool

    @property
    def present(self) -> tuple[str, ...]:
        """Names of what is to be seen, with their parents."""
        own = {
            name
            for level, names in zip(self.levels, self.names, strict=True)
            for label, name in names.items()
            if np.count_nonzero(level == label) >= 4
        }
        found = {one for name in own for one in (name, *PARENTS.get(name, ()))}
        return tuple(sorted(found | ({BACKGROUND} if self.complete and not self.close else set())))

    def union(self, name: str) -> np.ndarray:
        """(H, W) bool, all that has a name."""
        mask = np.zeros(self.levels.shape[1:], bool)
        if name == BACKGROUND:
            mask[: self.cells[0], : self.cells[1]] = True
            return mask & ~(self.levels > 0).any(0)
        for level, names in zip(self.levels, self.names, strict=True):
            mask |= np.isin(level, [n for n, own in names.items() if name in (own, *PARENTS.get(own, ()))])
        return mask


def _turned(picture: NamedImage, rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """The picture and its labels, turned and mirrored."""
    quarter, mirror = int(rng.integers(4)), bool(rng.integers(2))

    def turn(array: np.ndarray) -> np.ndarray:
        turned = np.rot90(array, quarter)
        return np.ascontiguousarray(turned[::-1] if mirror else turned)

    return turn(picture.image), [turn(level) for level in picture.levels]


def _part(
    image: np.ndarray, levels: Sequence[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Half the time a part of the picture, as whoever took it might have zoomed in."""
    if rng.random() < 0.5:
        return image, list(levels)
    sides = [min(max(int(n * rng.uniform(*ZOOMED)), LEAST_SIDE), n) for n in image.shape[:2]]
    corner = [int(rng.integers(n - side + 1)) for n, side in zip(image.shape, sides, strict=False)]
    window = tuple(slice(start, start + side) for start, side in zip(corner, sides, strict=True))
    return image[window], [level[window] for level in levels]


def _lit(image: Tensor, rng: np.random.Generator) -> Tensor:
    """An input of the model, (1, 3, h, w), half the time in another light."""
    if rng.random() < 0.5:
        return image
    pixels = image[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
    side = max(pixels.shape[:2])
    square = np.pad(pixels, ((0, side - pixels.shape[0]), (0, side - pixels.shape[1]), (0, 0)), "edge")
    lit = relight(square, rng)[: pixels.shape[0], : pixels.shape[1]]
    return torch.from_numpy(np.ascontiguousarray(lit)).permute(2, 0, 1)[None].float()


@torch.inference_mode()
def view_of(sam: Sam, picture: NamedImage, rng: np.random.Generator, side: int, *, close: bool) -> CropView | None:
    """A view of a picture, with the embedding that a segmenter makes of it.

    Parameters
    ----------
    sam : Sam
        Whose encoder is used, on the CPU or wherever it is.
    picture : NamedImage
        Of what.
    rng : numpy.random.Generator
        Source of chance.
    side : int
        Of the CLIP's crops in pixels.
    close : bool
        A window around an object, which only ``tiny`` looks at; else the whole picture.

    Returns
    -------
    View or None
        None where there is no object to look at closely.
    """
    image, levels = _turned(picture, rng)
    if close:
        frame = Frame((image.shape[0], image.shape[1]), sam.image_size)
        if not isinstance(sam, TinySam):
            return None
        zoom = (sam.inference or tiny_inference_config()).zoom
        window = None if zoom is None else _window(levels, picture.names, frame, zoom, rng)
        if window is None:
            return None
        features = sam.encode_windows(_lit(window_image(image, window), rng))
        places = window.places(window.side // 2)
        cells = (window.side // 2, window.side // 2)
    else:
        image, levels = _part(image, levels, rng)
        frame = Frame((image.shape[0], image.shape[1]), sam.image_size)
        features = sam.encode(_lit(image_tensor(image, frame), rng))
        axes = [
            torch.from_numpy((np.arange(n) + 0.5) * sam.image_size / n / scale - 0.5)
            for n, scale in zip(sam.mask_size, frame.scale, strict=True)
        ]
        places = axes[0], axes[1]
        step = sam.image_size / sam.mask_size[0]
        cells = math.ceil(frame.resized[0] / step), math.ceil(frame.resized[1] / step)
    seen = np.stack([_at(level, places) for level in levels])
    objects = _chosen(seen, picture.names, rng)
    return CropView(
        {name: value[0].half().cpu().numpy() for name, value in features.items()},
        seen,
        cells,
        tuple(dict(names) for names in picture.names),
        picture.undecided,
        picture.complete,
        objects,
        _crops(image, levels, objects, side),
        close,
    )


def _window(
    levels: Sequence[np.ndarray],
    names: Sequence[Mapping[int, str]],
    frame: Frame,
    zoom: ZoomConfig,
    rng: np.random.Generator,
) -> Window | None:
    """A closer look at a random object that has a name."""
    named = [(k, label) for k, own in enumerate(names) for label in own]
    for number in rng.permutation(len(named))[:5]:
        level, label = named[number]
        mask = levels[level] == label
        box = box_of(mask)
        if box is None or np.count_nonzero(mask) < MIN_PIXELS:
            continue
        window = window_for(zoom, box, frame)
        if window is not None:
            reach = 0.12 * window.side / window.scale
            y, x = (middle + rng.uniform(-reach, reach) for middle in window.centre)
            return Window((y, x), window.scale * float(np.exp(rng.normal(0, 0.2))), window.side)
    return None


def _at(level: np.ndarray, places: tuple[Tensor, ...]) -> np.ndarray:
    """Labels at rows and columns of the picture; 0 beyond it."""
    axes = [np.rint(np.asarray(axis)).astype(int) for axis in places]
    inside = [(axis >= 0) & (axis < n) for axis, n in zip(axes, level.shape, strict=True)]
    rows, columns = (np.clip(axis, 0, n - 1) for axis, n in zip(axes, level.shape, strict=True))
    seen: np.ndarray = level[np.ix_(rows, columns)] * inside[0][:, None] * inside[1]
    return seen.astype(np.int32)


def _chosen(levels: np.ndarray, names: Sequence[Mapping[int, str]], rng: np.random.Generator) -> np.ndarray:
    """Level and label of some objects with a name, (K, 2)."""
    found = [
        (k, label)
        for k, (level, own) in enumerate(zip(levels, names, strict=True))
        for label, count in enumerate(np.bincount(level.ravel()))
        if label in own and count >= MIN_PIXELS // 2
    ]
    order = rng.permutation(len(found))[:OBJECTS]
    return np.array([found[i] for i in order], int).reshape(-1, 2)


def _crops(image: np.ndarray, levels: Sequence[np.ndarray], objects: np.ndarray, side: int) -> np.ndarray:
    made = np.zeros((len(VIEWS), len(objects), 4, side, side), np.uint8)
    for k, (level, label) in enumerate(objects):
        mask = levels[level] == label
        box = box_of(mask)
        if box is not None:
            window = slice(int(box.y0), int(box.y1) + 1), slice(int(box.x0), int(box.x1) + 1)
            for v, (grown, _) in enumerate(VIEWS):
                made[v, k] = square_crop(image, window, mask[window], grown, side).round().byte().numpy()
    return made


def save_view(path: Path, view: CropView) -> None:
    """Write a view."""
    about = {
        "names": [{str(k): v for k, v in names.items()} for names in view.names],
        "undecided": sorted(view.undecided),
        "complete": view.complete,
        "close": view.close,
        "cells": view.cells,
    }
    arrays: dict[str, Any] = {f"feature_{name}": value for name, value in view.features.items()}
    arrays |= {"levels": view.levels, "objects": view.objects, "crops": view.crops}
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
    partial.replace(path)


def load_view(path: Path) -> CropView:
    """Read a view that :func:`save_view` wrote."""
    with np.load(path) as file:
        about = json.loads(file["about"].tobytes())
        features = {key.removeprefix("feature_"): file[key] for key in file.files if key.startswith("feature_")}
        return CropView(
            features,
            file["levels"],
            tuple(about["cells"]),
            tuple({int(k): v for k, v in names.items()} for names in about["names"]),
            frozenset(about["undecided"]),
            bool(about["complete"]),
            file["objects"],
            file["crops"],
            bool(about["close"]),
        )


def make_views(
    sam: Sam,
    pictures: Mapping[str, Sequence[NamedImage]],
    counts: Mapping[str, Sequence[int]],
    folder: Path,
    at: tuple[int, int],
) -> Iterator[Path]:
    """Make the views that are not there yet.

    Parameters
    ----------
    sam : Sam
        Whose encoder is used.
    pictures : mapping of str to sequence of NamedImage
        By source.
    counts : mapping of str to pair of int
        Whole and close views of each source.
    folder : Path
        Where they are kept.
    at : tuple of int
        Seed, and side of the CLIP's crops.

    Yields
    ------
    Path
        Of each view, whether it was made now or before.
    """
    seed, side = at
    folder.mkdir(parents=True, exist_ok=True)
    for source, chosen in pictures.items():
        for close, count in zip((False, True), counts[source], strict=True):
            for number in range(count):
                path = folder / f"{source}-{'close' if close else 'whole'}-{number:04d}.npz"
                if not path.is_file():
                    rng = np.random.default_rng((seed, int(close), number))
                    # Pictures take turns, so that each is seen before one is seen twice.
                    order = np.random.default_rng(seed).permutation(len(chosen))
                    view = view_of(sam, chosen[order[number % len(chosen)]], rng, side, close=close)
                    if view is None or not len(view.objects):
                        continue
                    save_view(path, view)
                yield path
