"""Clips to learn identities from: made-up movies, warped pictures and slices of volumes, as features of objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from skimage import io, segmentation
from torch import Tensor

from napari_segany.core.errors import InputError
from napari_segany.core.planes import Stack
from napari_segany.core.segmenter import Segmenter
from napari_segany.core.synthetic_movies import synthetic_movie
from napari_segany.core.synthetic_shapes import Random, smooth_noise
from napari_segany.models.mask2former.identity_features import FrameObjects, frame_objects, object_pairs
from napari_segany.models.mask2former.identity_queries import VELOCITY
from napari_segany.training.data import read_folder

MADE_UP = "synthetic"
CROPS = (256, 400, 640)
"""Sides, in pixels, of the parts of pictures that become clips, at most: objects are small and large in a frame."""
MOVIES = (192, 288, 448)
"""Sides, in pixels, of made-up movies."""
DROPPED, REDRAWN = 0.04, 0.4
"""Share of objects that are missed on a frame, and of frames whose outlines are a pixel or two too far out or in."""
STRIDES = (1, 2, 4)
"""Slices between two frames of a volume."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledClip:
    """Frames with their truth.

    Parameters
    ----------
    images : ndarray
        (t, y, x, 3) uint8.
    labels : ndarray
        (t, y, x) int32, an object has one number in all frames.
    parents : mapping of int to int
        The label of the mother of each daughter.
    """

    images: np.ndarray
    labels: np.ndarray
    parents: Mapping[int, int]


def clips_of(data: Path, counts: Mapping[str, int], frames: int, seed: int) -> Iterator[LabelledClip]:
    """Clips of all sources, one after the other, the same for the same seed.

    Parameters
    ----------
    data : Path
        Folder that holds one folder per source.
    counts : mapping of str to int
        How many clips of each source; ``synthetic`` are made-up movies, a folder with ``labels.tif`` holds a volume
        whose slices are frames, and any other pictures, which are warped.
    frames : int
        Of a clip.
    seed : int
        Of all chances.

    Raises
    ------
    InputError
        When a source is missing or empty.
    """
    for number, (name, count) in enumerate(counts.items()):
        chances = [np.random.default_rng((seed, number, one)) for one in range(count)]
        if name == MADE_UP:
            for rng in chances:
                side = int(rng.choice(MOVIES))
                movie = synthetic_movie(rng, frames, (side, side))
                yield LabelledClip(movie.images, movie.labels, movie.parents)
        elif (data / name / "labels.tif").exists():
            image, labels = (io.imread(data / name / f"{kind}.tif") for kind in ("image", "labels"))
            if min(labels.shape) <= max(STRIDES) * frames:
                raise InputError(f"the volume in {data / name} has too few slices for clips of {frames} frames")
            yield from (_slices(rng, image, labels, frames) for rng in chances)
        else:
            samples = [one for _, one in sorted(read_folder(data / name).items())]
            for rng in chances:
                sample = samples[rng.integers(len(samples))]
                yield _warped(rng, sample.image, sample.levels[0], frames)


def _slices(rng: Random, image: np.ndarray, labels: np.ndarray, frames: int) -> LabelledClip:
    """Slices of a volume along a random axis, forward or backward."""
    axis, stride = int(rng.integers(3)), int(rng.choice(STRIDES))
    first = int(rng.integers(labels.shape[axis] - stride * (frames - 1)))
    places = np.arange(first, first + stride * frames, stride)[:: rng.choice([1, -1])]
    image, labels = (np.moveaxis(each.take(places, axis), axis, 0) for each in (image, labels))
    stack = Stack(image, rgb=False)
    planes = np.stack([stack.plane(number) for number in range(frames)])
    return LabelledClip(planes, labels.astype(np.int32), {})


def _warped(rng: Random, image: np.ndarray, labels: np.ndarray, frames: int) -> LabelledClip:
    """A part of a picture whose ground moves smoothly, so that neighbours move alike, and drifts."""
    side_of_part = int(rng.choice(CROPS))
    corner = [int(rng.integers(max(length - side_of_part, 0) + 1)) for length in labels.shape]
    part = tuple(slice(start, start + side_of_part) for start in corner)
    image, labels = image[part].astype(np.float32), labels[part]
    shape = labels.shape
    sizes = np.bincount(labels.ravel())[1:]
    side = float(np.sqrt(np.median(sizes[sizes > 0]))) if sizes.any() else 20.0
    speed, drift = side * np.exp(rng.uniform(np.log(0.03), np.log(0.5))), side * rng.uniform(0, 0.3)
    grid = np.indices(shape).astype(np.float32)
    way = np.zeros_like(grid)
    velocity = np.stack([smooth_noise(rng, shape, 2 * side, 2) for _ in range(2)])
    found = []
    for _ in range(frames):
        at = grid + way
        frame = np.stack([ndimage.map_coordinates(image[..., k], at, order=1, mode="reflect") for k in range(3)], -1)
        noise = rng.normal(0, rng.uniform(0, 6), shape)[..., None]
        moved = ndimage.map_coordinates(labels, at, order=0, mode="constant")
        found.append((np.clip(frame + noise, 0, 255).astype(np.uint8), moved.astype(np.int32)))
        velocity = 0.8 * velocity + 0.4 * np.stack([smooth_noise(rng, shape, 2 * side, 2) for _ in range(2)])
        way += speed * velocity + drift * rng.standard_normal((2, 1, 1))
    images, truth = zip(*found, strict=True)
    return LabelledClip(np.stack(images), np.stack(truth), {})


def clip_tensors(segmenter: Segmenter, clip: LabelledClip, rng: Random) -> dict[str, Tensor]:
    """Features and truth of a clip, with some objects missed and outlines redrawn as a model would.

    Returns
    -------
    dict of str to Tensor
        Of all N objects of all frames: ``content``, ``shapes``, ``time`` (N,), ``last`` (N,) the row of the same
        object, or of its mother, in an earlier frame, -1 for none; ``born`` (N,) whether that counts: 1 it has one, 0
        it is new, -1 unknown as no pair has it; ``ends`` (N,) the number of its objects in the next frame, -1 unknown.
        Of all E pairs: ``index`` (E, 2), ``features``, ``same`` (E,) bool, ``gap`` (E,).
    """
    frames = [
        frame_objects(_redrawn(labels, rng), segmenter.embed(image))
        for image, labels in zip(clip.images, clip.labels, strict=True)
    ]
    starts = np.cumsum([0, *map(len, frames)])
    count = int(starts[-1])
    last, born, ends = (np.full(count, value, np.int64) for value in (-1, 0, 0))
    ends[starts[-2] :] = -1
    born[: starts[1]] = -1
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    for gap in (0, 1):
        for before in range(len(frames) - 1 - gap):
            after = before + 1 + gap
            links = _links(frames[before], frames[after], clip.parents)
            offsets = starts[before], starts[after]
            if gap:
                links = {(i, j) for i, j in links if ends[offsets[0] + i] == 0 and born[offsets[1] + j] == 0}
            pairs = object_pairs(frames[before], frames[after], gap)
            same = np.array([pair in links for pair in map(tuple, pairs.index.tolist())], bool)
            index = pairs.index + offsets
            if gap:
                open_pairs = (ends[index[:, 0]] == 0) & (born[index[:, 1]] == 0)
                parts.append((index[open_pairs], pairs.features[open_pairs], same[open_pairs], open_pairs[open_pairs]))
            else:
                _note(links, {tuple(pair) for pair in pairs.index[same].tolist()}, offsets, (born, ends))
                parts.append((index, pairs.features, same, np.zeros(len(index), bool)))
            _move(frames[before], frames[after], links, pairs.drift / (gap + 1))
            for i, j in links:
                last[offsets[1] + j] = offsets[0] + i
    index, features, same, gaps = (np.concatenate([part[k] for part in parts]) for k in range(4))
    return {
        "content": _joined([one.content for one in frames]),
        "shapes": _joined([one.shapes for one in frames]),
        "time": torch.from_numpy(np.repeat(np.arange(len(frames)), [len(one) for one in frames])),
        **{name: torch.from_numpy(each) for name, each in (("last", last), ("born", born), ("ends", ends))},
        "index": torch.from_numpy(index),
        "features": torch.from_numpy(features),
        "same": torch.from_numpy(same),
        "gap": torch.from_numpy(gaps),
    }


def _joined(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays))


def _redrawn(labels: np.ndarray, rng: Random) -> np.ndarray:
    """Labels of which some are missed, and whose outlines are a little too far out or in."""
    values = np.unique(labels)
    missed = values[(values > 0) & (rng.random(len(values)) < DROPPED)]
    labels = np.where(np.isin(labels, missed), 0, labels)
    if rng.random() < REDRAWN:
        if rng.random() < 0.5:
            return segmentation.expand_labels(labels, rng.uniform(1, 2.5))
        labels = np.where(segmentation.find_boundaries(labels, mode="inner"), 0, labels)
    return labels


def _links(before: FrameObjects, after: FrameObjects, parents: Mapping[int, int]) -> set[tuple[int, int]]:
    """Rows of pairs that are one object, or mother and daughter."""
    row_of = {label: row for row, label in enumerate(before.labels)}
    found = set()
    for j, label in enumerate(after.labels):
        origin = label if label in row_of else parents.get(label)
        if origin in row_of:
            found.add((row_of[origin], j))
    return found


def _note(
    links: set[tuple[int, int]],
    paired: set[tuple[int, ...]],
    offsets: tuple[int, int],
    truth: tuple[np.ndarray, np.ndarray],
) -> None:
    """Count links of neighbouring frames; where no pair stands for one, nothing is known to be learned."""
    born, ends = truth
    for i, j in links:
        born[offsets[1] + j] = 1 if (i, j) in paired else -1
        ends[offsets[0] + i] += 1
    for i, j in links - paired:
        ends[offsets[0] + i] = -1
        del j


def _move(before: FrameObjects, after: FrameObjects, links: set[tuple[int, int]], drift: np.ndarray) -> None:
    """Velocities of the objects of a frame that were in the one before."""
    for i, j in links:
        step = after.middles[j] - before.middles[i] - drift
        after.velocities[j] = VELOCITY * step + (1 - VELOCITY) * before.velocities[i]


def merged(clips: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Several clips as one."""
    starts = np.cumsum([0, *(len(one["time"]) for one in clips)]).tolist()
    batch = {}
    for name in clips[0]:
        parts = [one[name] for one in clips]
        if name == "index":
            parts = [part + start for part, start in zip(parts, starts, strict=False)]
        if name == "last":
            parts = [torch.where(part >= 0, part + start, part) for part, start in zip(parts, starts, strict=False)]
        batch[name] = torch.cat(parts)
    return batch
