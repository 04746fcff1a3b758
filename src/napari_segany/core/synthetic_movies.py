"""Made-up movies with known tracks: objects that drift, crawl, grow, appear, vanish and divide.

They vary what differs between movies: how far objects go between two frames for their size, jumps of the stage,
crowding, sizes, contrast, blur and noise. An object keeps its outline and its texture while it moves.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from napari_segany.core.synthetic_shapes import Random, smooth_noise

LEAST = 12
"""Pixels of the smallest object that is labelled."""
SPLIT = 0.5
"""Distance of a daughter from the middle of its mother, as a share of the length of the mother."""


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticMovie:
    """A movie and its truth.

    Parameters
    ----------
    images : ndarray
        (t, y, x, 3) uint8.
    labels : ndarray
        (t, y, x) int32, an object has one number in all frames; both daughters of a division have new ones.
    parents : dict of int to int
        The label of the mother of each daughter that is in the labels.
    """

    images: np.ndarray
    labels: np.ndarray
    parents: dict[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class MovieStyle:
    """What is the same in all frames.

    Parameters
    ----------
    radius : float
        Typical radius of objects, in pixels.
    speed : float
        Typical way of an object between two frames, in radii.
    jump : float
        Typical jump of the stage between two frames, in radii.
    divides, dies, appears : float
        Share of objects that do between two frames.
    wobble : float
        Unevenness of outlines, see :class:`~napari_segany.core.synthetic_shapes.Outlines`.
    """

    radius: float
    speed: float
    jump: float
    divides: float
    dies: float
    appears: float
    wobble: float


def movie_style(rng: Random) -> MovieStyle:
    """Draw a style."""
    return MovieStyle(
        radius=float(np.exp(rng.uniform(np.log(5), np.log(22)))),
        speed=float(np.exp(rng.uniform(np.log(0.03), np.log(0.9)))),
        jump=float(rng.uniform(0, 1.2)) if rng.random() < 0.3 else 0.0,
        divides=float(rng.uniform(0, 0.12)) if rng.random() < 0.8 else 0.0,
        dies=float(rng.uniform(0, 0.05)),
        appears=float(rng.uniform(0, 0.06)),
        wobble=float(rng.uniform(0, 0.35)),
    )


@dataclass(slots=True, eq=False)
class _Cell:
    label: int
    place: np.ndarray
    velocity: np.ndarray
    radius: float
    stretch: float
    angle: float
    outline: tuple[np.ndarray, np.ndarray]
    """Amplitude and phase of the waves of the outline."""
    brightness: float
    texture: np.ndarray
    """Where its texture lies in a field of noise: (y, x)."""
    divides_in: int = 10**6
    age: int = 0


@dataclass(slots=True, eq=False)
class _Dish:
    rng: Random
    shape: tuple[int, int]
    style: MovieStyle
    cells: list[_Cell] = field(default_factory=list)
    parents: dict[int, int] = field(default_factory=dict)
    count: int = 0

    def add(self, place: np.ndarray) -> None:
        """An object that comes from nowhere."""
        rng, style = self.rng, self.style
        self.count += 1
        orders = np.arange(2, 6)
        outline = (style.wobble * rng.standard_normal(4) / orders, rng.uniform(0, 2 * np.pi, 4))
        self.cells.append(
            _Cell(
                self.count,
                place,
                style.speed * style.radius * rng.standard_normal(2) * 0.7,
                style.radius * rng.uniform(0.65, 1.35),
                float(np.sqrt(rng.uniform(1, 2))),
                rng.uniform(0, np.pi),
                outline,
                float(np.exp(0.35 * rng.standard_normal())),
                rng.uniform(0, 200, 2),
            )
        )

    def divide(self, mother: _Cell) -> None:
        """Put two daughters in the place of an object."""
        rng = self.rng
        axis = np.array([np.sin(mother.angle), np.cos(mother.angle)])
        share = rng.uniform(0.42, 0.58)
        for sign, part in ((1, share), (-1, 1 - share)):
            self.count += 1
            radius = mother.radius * np.sqrt(part) * rng.uniform(0.9, 1.1)
            reach = SPLIT * mother.radius * mother.stretch * rng.uniform(1, 1.5)
            self.parents[self.count] = mother.label
            daughter = replace(
                mother,
                label=self.count,
                place=mother.place + sign * reach * axis,
                velocity=mother.velocity + sign * axis * mother.radius * rng.uniform(0.05, 0.3),
                radius=radius,
                stretch=rng.uniform(1, 1.25),
                angle=mother.angle + rng.normal(0, 0.6),
                outline=(mother.outline[0] * rng.uniform(0, 1), rng.uniform(0, 2 * np.pi, 4)),
                brightness=mother.brightness * rng.uniform(0.85, 1.25),
                texture=rng.uniform(0, 200, 2),
                divides_in=10**6,
                age=0,
            )
            self.cells.append(daughter)

    def step(self) -> None:
        """One frame later."""
        rng, style = self.rng, self.style
        jump = style.jump * style.radius * rng.standard_normal(2)
        for cell in list(self.cells):
            cell.age += 1
            cell.divides_in -= 1
            kick = style.speed * style.radius * rng.standard_normal(2)
            cell.velocity = 0.6 * cell.velocity + 0.5 * kick
            cell.place = cell.place + cell.velocity + jump
            cell.angle += rng.normal(0, 0.08)
            cell.radius *= rng.uniform(0.99, 1.035)
            if cell.divides_in > 2 and cell.age > 2 and rng.random() < style.divides:
                cell.divides_in = 2
            if cell.divides_in in (1, 2):
                cell.stretch = min(cell.stretch * 1.2, 1.7)
            if cell.divides_in <= 0:
                self.cells.remove(cell)
                self.divide(cell)
            elif rng.random() < style.dies or self._outside(cell):
                self.cells.remove(cell)
        self._push_apart()
        for _ in range(rng.binomial(max(len(self.cells), 4), style.appears)):
            self.add(self._free_place())

    def _outside(self, cell: _Cell) -> bool:
        return bool((cell.place < -cell.radius).any() or (cell.place > np.array(self.shape) + cell.radius).any())

    def _free_place(self) -> np.ndarray:
        place = self.rng.uniform(0, self.shape)
        if self.rng.random() < 0.5:
            axis = int(self.rng.integers(2))
            place[axis] = self.rng.choice([0, self.shape[axis] - 1])
        return place

    def _push_apart(self) -> None:
        """Objects that lie on each other give way, both by half."""
        for _ in range(3):
            places = np.array([cell.place for cell in self.cells]).reshape(-1, 2)
            radii = np.array([cell.radius for cell in self.cells])
            way = places[:, None] - places[None]
            distance = np.hypot(way[..., 0], way[..., 1]) + 1e-6
            lack = np.clip(0.95 * (radii[:, None] + radii[None]) - distance, 0, None)
            np.fill_diagonal(lack, 0)
            move = (way / distance[..., None] * lack[..., None]).sum(1) * 0.35
            for cell, by in zip(self.cells, move, strict=True):
                cell.place = cell.place + by


def synthetic_movie(
    rng: Random, frames: int = 8, shape: tuple[int, int] = (224, 224), style: MovieStyle | None = None
) -> SyntheticMovie:
    """Make one movie with its truth.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance; the same state gives the same movie.
    frames : int
        How many there are.
    shape : tuple of int
        (y, x) in pixels.
    style : MovieStyle, optional
        Drawn at random when not given.
    """
    style = style or movie_style(rng)
    dish = _Dish(rng, shape, style)
    room = shape[0] * shape[1] / (np.pi * style.radius**2)
    for _ in range(int(np.clip(room * rng.uniform(0.08, 0.6), 3, 120))):
        dish.add(rng.uniform(0, shape))
    dish._push_apart()
    camera = _Camera.drawn(rng, shape, style.radius)
    images, labels = [], []
    for _ in range(frames):
        truth, depth, texture = _drawn(dish, camera)
        images.append(camera.picture(rng, dish.cells, truth, depth, texture))
        labels.append(truth)
        dish.step()
    there = np.stack(labels)
    seen = set(np.unique(there).tolist())
    parents = {child: mother for child, mother in dish.parents.items() if child in seen and mother in seen}
    return SyntheticMovie(np.stack(images), there, parents)


def _drawn(dish: _Dish, camera: _Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (y, x), how deep each pixel lies in its object, 0 to 1, and texture."""
    shape = dish.shape
    labels, depth = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    texture = np.zeros(shape, np.float32)
    nearest = np.ones(shape, np.float32)
    orders = np.arange(2, 6)
    for cell in dish.cells:
        reach = int(cell.radius * cell.stretch * 1.8) + 2
        rows, columns = (
            slice(int(np.clip(middle - reach, 0, length)), int(np.clip(middle + reach + 1, 0, length)))
            for middle, length in zip(cell.place, shape, strict=True)
        )
        if rows.start == rows.stop or columns.start == columns.stop:
            continue
        y, x = np.mgrid[rows, columns].astype(np.float32)
        y, x = y - cell.place[0], x - cell.place[1]
        cos, sin = np.cos(cell.angle), np.sin(cell.angle)
        along, across = (cos * x + sin * y) / cell.stretch, (cos * y - sin * x) * cell.stretch
        theta = np.arctan2(across, along)[..., None]
        edge = cell.radius * (1 + (cell.outline[0] * np.cos(orders * theta + cell.outline[1])).sum(-1))
        distance = np.hypot(along, across) / np.maximum(edge, 0.4 * cell.radius)
        own = distance < nearest[rows, columns]
        nearest[rows, columns][own] = distance[own]
        labels[rows, columns][own] = cell.label
        depth[rows, columns][own] = 1 - distance[own]
        spots = (np.stack([along[own], across[own]]) + cell.texture[:, None]).astype(int) % len(camera.noise)
        texture[rows, columns][own] = camera.noise[spots[0], spots[1]]
    values, counts = np.unique(labels, return_counts=True)
    small = values[counts < LEAST]
    labels[np.isin(labels, small)] = 0
    return labels, depth, texture


@dataclass(frozen=True, slots=True, eq=False)
class _Camera:
    """What makes labels a picture, the same in all frames."""

    noise: np.ndarray
    ground: np.ndarray
    phase: bool
    weights: np.ndarray
    blur: float
    photons: float
    tint: np.ndarray

    @classmethod
    def drawn(cls, rng: Random, shape: tuple[int, int], radius: float) -> _Camera:
        ground = rng.uniform(0, 0.06) * smooth_noise(rng, shape, max(shape) / 4, 2)
        return cls(
            smooth_noise(rng, (256, 256), max(radius * rng.uniform(0.25, 0.8), 1.5)),
            ground,
            bool(rng.random() < 0.45),
            rng.uniform(0, 1, 6),
            float(rng.uniform(0, 1.6)),
            float(10 ** rng.uniform(1.2, 3.5)),
            np.ones(3) if rng.random() < 0.7 else np.clip(rng.dirichlet([0.6] * 3) * 2, 0, 1),
        )

    def picture(
        self, rng: Random, cells: list[_Cell], labels: np.ndarray, depth: np.ndarray, texture: np.ndarray
    ) -> np.ndarray:
        """(y, x, 3) uint8."""
        brightness = np.zeros(max((cell.label for cell in cells), default=0) + 1, np.float32)
        for cell in cells:
            # what is about to divide rounds up and is brighter in phase contrast, denser in fluorescence
            brightness[cell.label] = cell.brightness * (1.3 if cell.divides_in in (1, 2) else 1)
        bright, inside, w = brightness[labels], (labels > 0).astype(np.float32), self.weights
        grain = 1 + 0.4 * w[0] * texture
        if self.phase:
            halo = ndimage.gaussian_filter(inside, 1.5) - ndimage.gaussian_filter(inside, 4)
            rim = np.exp(-depth * 8) * inside
            gray = 0.45 + (w[1] - 0.3) * 0.6 * halo + (w[2] - 0.5) * 0.4 * rim
            gray = gray + 0.15 * w[3] * texture * inside + (w[4] - 0.5) * 0.25 * bright
        else:
            gray = 0.05 + 0.1 * w[1] + bright * grain * (0.2 + 0.4 * w[2]) * (1 - w[3] * 0.6 * (1 - depth))
            gray = gray + 0.3 * w[4] * ndimage.gaussian_filter(gray * inside, 6)
        gray = ndimage.gaussian_filter(gray + self.ground, self.blur) if self.blur > 0.3 else gray + self.ground
        gray = gray + rng.standard_normal(gray.shape) * np.sqrt(np.clip(gray, 0, None) / self.photons)
        picture: np.ndarray = (255 * np.clip(gray[..., None] * self.tint, 0, 1)).astype(np.uint8)
        return picture
