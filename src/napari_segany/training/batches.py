"""Crops with the first prompt of several of their objects, as tensors, made in worker processes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from napari_segany.core.simulate import inner_distance, noisy_box, random_point
from napari_segany.training.augment import MIN_PIXELS, crop, relight
from napari_segany.training.data import Sample

DENSE_STRIDE = 4

_NOTHING = np.zeros(0, np.int64)


@dataclass(frozen=True)
class BatchConfig:
    """Composition of the batch of a step.

    Parameters
    ----------
    crops : int
        Pictures per step.
    masks : int
        Objects per picture.
    sizes : dict of int to float
        Sides of a crop in pixels, and the share of steps whose crops are that large; multiples of 32.
    frame : int
        Side of the model's input frame in pixels.
    box_share, empty_share : float
        Share of first prompts that are boxes; share of prompts at places without an object.
    box_noise : float
        Deviation of the sides of a box, in shares of its length.
    box_noise_varies : bool
        For each box the noise is a random part of `box_noise`; in the paper it is the same for all.
    close_share : float
        Share of crops that are magnified as in the refinement pass.
    """

    crops: int = 8
    masks: int = 6
    sizes: dict[int, float] = field(default_factory=lambda: {256: 1.0})
    frame: int = 512
    box_share: float = 0.4
    empty_share: float = 0.08
    box_noise: float = 0.1
    box_noise_varies: bool = True
    close_share: float = 0.65


def dense_targets(labels: np.ndarray) -> np.ndarray:
    """Return the targets of the dense heads for a label image.

    Parameters
    ----------
    labels : ndarray
        (y, x) int, 0 is background.

    Returns
    -------
    ndarray
        (5, y / 4, x / 4) float32: foreground, boundary, centre heat, vector to the centre (y, x) in object radii.
    """
    seams = np.zeros(labels.shape, bool)
    seams[1:-1, 1:-1] = (labels[2:, 1:-1] != labels[:-2, 1:-1]) | (labels[1:-1, 2:] != labels[1:-1, :-2])
    grid = (slice(DENSE_STRIDE // 2, None, DENSE_STRIDE),) * 2
    blocks = seams.reshape(len(seams) // DENSE_STRIDE, DENSE_STRIDE, -1, DENSE_STRIDE)
    seen: np.ndarray = labels[grid]
    _, flat = np.unique(seen, return_inverse=True)
    height, width = seen.shape
    ids: np.ndarray = flat.reshape(height, width)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    area = np.bincount(ids.ravel())
    radius = np.sqrt(area / np.pi)[ids]
    offsets = [np.bincount(ids.ravel(), axis.ravel())[ids] / area[ids] - axis for axis in (y, x)]
    offsets = [np.clip(offset / radius, -3, 3) for offset in offsets]
    heat = np.exp(-(offsets[0] ** 2 + offsets[1] ** 2) / (2 * 0.3**2))
    inside = seen > 0
    boundary = blocks.any((1, 3))
    return np.stack([inside, boundary, heat * inside, offsets[0] * inside, offsets[1] * inside]).astype(np.float32)


def dense_known(levels: list[np.ndarray], *, complete: bool) -> np.ndarray:
    """Where the dense targets hold, (y / 4, x / 4) float32 of 0 and 1.

    Everywhere when each object is labelled; else on the labelled objects only, as the rest may hold others. Nowhere
    where objects are nested, which one map of boundaries and centres cannot represent.
    """
    labelled = levels[0][(slice(DENSE_STRIDE // 2, None, DENSE_STRIDE),) * 2] > 0
    if len(levels) > 1:
        return np.zeros(labelled.shape, np.float32)
    return (np.ones(labelled.shape, bool) if complete else labelled).astype(np.float32)


def first_prompt(
    mask: np.ndarray, rng: np.random.Generator, config: BatchConfig | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Two tokens, (2, 2) xy and (2,) kinds: a point and padding, or the two corners of a box."""
    config = config or BatchConfig()
    if rng.random() < config.box_share:
        box = noisy_box(mask, rng, config.box_noise * (rng.random() if config.box_noise_varies else 1.0))
        return np.array([[box.x0, box.y0], [box.x1, box.y1]]), np.array([2, 3])
    point = random_point(mask, rng)
    return np.array([[point.x, point.y], [0, 0]]), np.array([1, -1])


def _empty_prompt(distance: np.ndarray, rng: np.random.Generator, box_share: float) -> tuple[np.ndarray, np.ndarray]:
    """The same for a place where nothing is; `distance` is that to the nearest object."""
    y, x = np.unravel_index(rng.choice(np.flatnonzero(distance > 4)), distance.shape)
    if rng.random() < box_share:
        half = max(distance[y, x] / np.sqrt(2) - 1, 2)
        return np.array([[x - half, y - half], [x + half, y + half]]), np.array([2, 3])
    return np.array([[x, y], [0, 0]], float), np.array([1, -1])


def other_object(levels: list[np.ndarray], level: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """The object of another level under a click, (y, x) bool; empty when there is none."""
    x, y = np.clip(np.rint(xy).astype(int), 0, np.array(level.shape[::-1]) - 1)
    for other in levels:
        if other is not level and other[y, x]:
            found: np.ndarray = other == other[y, x]
            if np.count_nonzero(found) >= MIN_PIXELS:
                return found
    return np.zeros(level.shape, bool)


def draw_chances(samples: list[Sample]) -> np.ndarray:
    """How often each picture is drawn: by the root of the number of its objects, as crowded ones have more to teach."""
    weights = np.sqrt([1 + sum(len(np.unique(level)) for level in sample.levels) for sample in samples])
    chances: np.ndarray = weights / weights.sum()
    return chances


class SeededDataset(Dataset):
    """Crop number i of a seeded, endless sequence; the same for any number of workers, and after a resume.

    Parameters
    ----------
    crops : int
        Of a step.
    """

    def __init__(self, crops: int) -> None:
        self.crops = crops

    def __len__(self) -> int:
        return 2**31


class CropDataset(SeededDataset):
    """Crops with the first prompts of some of their objects.

    Parameters
    ----------
    sources : dict of str to list of Sample
        Labelled pictures of each source.
    shares : dict of str to float
        Share of crops from each.
    config : BatchConfig
        What a batch is made of.
    seed : int
        Of the sequence.
    distilled : collection of str
        Sources on whose crops the masks of a reference are a second target.
    """

    def __init__(
        self,
        sources: dict[str, list[Sample]],
        shares: dict[str, float],
        config: BatchConfig,
        seed: int,
        distilled: Collection[str] = (),
    ) -> None:
        super().__init__(config.crops)
        self.distilled = [name in distilled for name in sources]
        self.sources = list(sources.values())
        weights = np.array([shares[name] for name in sources], float)
        self.weights = weights / weights.sum()
        self.chances = [draw_chances(samples) for samples in self.sources]
        self.config = config
        self.seed = seed

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        source = rng.choice(len(self.sources), p=self.weights)
        sample = self.sources[source][rng.choice(len(self.sources[source]), p=self.chances[source])]
        config = self.config
        size = self._size(index // config.crops)
        close = bool(rng.random() < config.close_share)
        image, levels = crop(sample, rng, size, config.frame, close=close)
        masks, others, xy, kinds = self._prompts(levels, sample.complete, rng)
        shift = rng.integers(0, (config.frame - size) // 8 + 1, 2) * 8
        return {
            "image": torch.from_numpy(relight(image, rng)).permute(2, 0, 1),
            "masks": torch.from_numpy(masks),
            "others": torch.from_numpy(others),
            "xy": torch.from_numpy(xy),
            "kinds": torch.from_numpy(kinds),
            "dense": torch.from_numpy(dense_targets(levels[0])),
            "dense_known": torch.from_numpy(dense_known(levels, complete=sample.complete)),
            "shift": torch.from_numpy(shift),
            "distilled": torch.tensor(self.distilled[source]),
        }

    def _size(self, step: int) -> int:
        """Side of all crops of a step, which are to fit into one tensor."""
        sizes, shares = (np.array(list(each)) for each in (self.config.sizes.keys(), self.config.sizes.values()))
        # a separate generator, so that crops of one size do not depend on the other sizes
        return int(np.random.default_rng((self.seed, step, len(sizes))).choice(sizes, p=shares / shares.sum()))

    def _prompts(
        self, levels: list[np.ndarray], complete: bool, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Masks (M, y, x), other objects that a click may mean (M, y, x), first prompts (M, 2, 2) and (M, 2)."""
        config = self.config
        objects = [
            (level, label)
            for level in levels
            for label in np.flatnonzero(np.bincount(level.ravel()) >= MIN_PIXELS)
            if label
        ]
        order = rng.permutation(len(objects)) if objects else _NOTHING
        distance = np.zeros(levels[0].shape)
        if complete:
            distance = inner_distance(np.max(levels, axis=0) == 0)
        room = bool((distance > 4).any())
        masks, others = np.zeros((2, config.masks, *levels[0].shape), bool)
        xy, kinds = np.zeros((config.masks, 2, 2), np.float32), np.full((config.masks, 2), -1)
        for slot in range(config.masks):
            if room and (not objects or rng.random() < config.empty_share):
                xy[slot], kinds[slot] = _empty_prompt(distance, rng, config.box_share)
            elif objects:
                level, label = objects[order[slot % len(order)]]
                masks[slot] = level == label
                xy[slot], kinds[slot] = first_prompt(masks[slot], rng, config)
                if kinds[slot, 0] == 1:
                    others[slot] = other_object(levels, level, xy[slot, 0])
        return masks, others, xy, kinds


class _From:
    """Sampler: batches of consecutive indices from a given step on."""

    def __init__(self, step: int, batch: int) -> None:
        self.step, self.batch = step, batch

    def __iter__(self) -> Iterator[list[int]]:
        step = self.step
        while True:
            yield list(range(step * self.batch, (step + 1) * self.batch))
            step += 1


def stream(dataset: SeededDataset, step: int, workers: int) -> Iterator[dict[str, Tensor]]:
    """Endless batches, beginning with that of `step`."""
    loader = DataLoader(
        dataset,
        batch_sampler=_From(step, dataset.crops),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )
    yield from loader
