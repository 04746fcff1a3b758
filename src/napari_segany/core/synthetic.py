"""Made-up microscopy with known truth: nuclei, phase contrast, stained tissue, smears, membranes, walled tissue, EM.

The pictures need not fool anyone. They vary what differs between laboratories (size, shape, crowding, texture, blur,
noise, background, polarity, halos), so that a model that learns from them does not depend on any of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

Random = np.random.Generator


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticImage:
    """A picture and its truth.

    Parameters
    ----------
    image : ndarray
        (y, x, 3) uint8.
    levels : tuple of ndarray
        One or more (y, x) int32 label images; a second one holds objects that lie inside those of the first.
    kind : str
        Name of the kind of picture, one of ``KINDS``.
    """

    image: np.ndarray
    levels: tuple[np.ndarray, ...]
    kind: str


def _noise(rng: Random, shape: tuple[int, int], scale: float, octaves: int = 3) -> np.ndarray:
    """Smooth random field (y, x) of about zero mean and unit deviation, its coarsest grains `scale` pixels wide."""
    field = np.zeros(shape, np.float32)
    for octave in range(octaves):
        grain = max(scale / 2**octave, 1.0)
        coarse = rng.standard_normal([int(n / grain) + 3 for n in shape]).astype(np.float32)
        start = rng.uniform(0, 1, 2)
        field += ndimage.affine_transform(coarse, [1 / grain, 1 / grain], start, shape, order=1) / 2**octave
    field -= field.mean()
    field /= field.std() + 1e-6
    return field


@dataclass(frozen=True, slots=True)
class Outlines:
    """What random outlines look like.

    Parameters
    ----------
    wobble : float
        0 for ellipses, 0.4 for very uneven outlines.
    slender : float
        Length over width of the most slender ones, when `wobble` is 0.
    """

    wobble: float
    slender: float = 1.5


def _outline(rng: Random, radius: float, look: Outlines) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A random star-shaped outline; returns a function of (y, x) that is below 1 inside."""
    orders = np.arange(2, 6)
    amplitude = look.wobble * rng.standard_normal(orders.size) / orders
    phase = rng.uniform(0, 2 * np.pi, orders.size)
    stretch, angle = np.sqrt(rng.uniform(1.0, 3 * look.wobble + look.slender)), rng.uniform(0, np.pi)
    cos, sin = np.cos(angle), np.sin(angle)

    def relative_distance(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        along, across = (cos * x + sin * y) / stretch, (cos * y - sin * x) * stretch
        theta = np.arctan2(across, along)[..., None]
        edge = radius * (1 + (amplitude * np.cos(orders * theta + phase)).sum(-1))
        distance: np.ndarray = np.hypot(along, across) / np.maximum(edge, 0.3 * radius)
        return distance

    return relative_distance


def scatter(
    rng: Random,
    shape: tuple[int, int],
    radius: float,
    *,
    count: int,
    crowding: float,
    outlines: Outlines,
) -> np.ndarray:
    """Place objects that may touch but hardly overlap.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    shape : tuple of int
        (y, x) of the label image.
    radius : float
        Typical radius in pixels; each object's own lies within 0.6 to 1.5 of it.
    count : int
        Objects that are tried; those that would mostly overlap others are left out.
    crowding : float
        Share of the objects that are put beside an earlier one.
    outlines : Outlines
        What they look like.

    Returns
    -------
    ndarray
        (y, x) int32 labels from 1.
    """
    labels = np.zeros(shape, np.int32)
    placed: list[tuple[float, float, float]] = []
    for _ in range(count):
        own = radius * rng.uniform(0.6, 1.5)
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        if placed and rng.random() < crowding:
            near_y, near_x, near = placed[rng.integers(len(placed))]
            angle = rng.uniform(0, 2 * np.pi)
            y, x = near_y + (near + own) * np.sin(angle), near_x + (near + own) * np.cos(angle)
        reach = int(own * 2.5) + 2
        rows = slice(max(int(y) - reach, 0), min(int(y) + reach, shape[0]))
        columns = slice(max(int(x) - reach, 0), min(int(x) + reach, shape[1]))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        grid_y, grid_x = np.mgrid[rows, columns]
        inside = _outline(rng, own, outlines)(grid_y - y, grid_x - x) < 1
        free = inside & (labels[rows, columns] == 0)
        if free.sum() < max(0.75 * inside.sum(), 12):
            continue
        placed.append((y, x, own))
        labels[rows, columns][free] = len(placed)
    return labels


def _tessellate(rng: Random, shape: tuple[int, int], radius: float) -> np.ndarray:
    """(y, x) int32 labels of cells that fill the plane, as in plant tissue, epithelia or neuropil."""
    step = 2 * radius
    seeds = np.mgrid[-step : shape[0] + step : step, -step : shape[1] + step : step].reshape(2, -1).T
    seeds = seeds + rng.normal(0, 0.3 * step, seeds.shape)
    bend = radius * 0.4
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    y, x = y + bend * _noise(rng, shape, 2 * radius, 2), x + bend * _noise(rng, shape, 2 * radius, 2)
    distance = np.full(shape, np.inf, np.float32)
    labels = np.zeros(shape, np.int32)
    weights = rng.uniform(0.7, 1.3, len(seeds))
    for label, ((seed_y, seed_x), weight) in enumerate(zip(seeds, weights, strict=True), start=1):
        reach = int(3.5 * step)
        rows = slice(max(int(seed_y) - reach, 0), max(int(seed_y) + reach, 0))
        columns = slice(max(int(seed_x) - reach, 0), max(int(seed_x) + reach, 0))
        own = ((y[rows, columns] - seed_y) ** 2 + (x[rows, columns] - seed_x) ** 2) * weight
        nearer = own < distance[rows, columns]
        distance[rows, columns][nearer] = own[nearer]
        labels[rows, columns][nearer] = label
    return labels


def _edges(labels: np.ndarray, width: float) -> np.ndarray:
    """(y, x) bool, the seams between labels, about `width` pixels wide."""
    seams = np.zeros(labels.shape, bool)
    seams[1:] |= labels[1:] != labels[:-1]
    seams[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    near: np.ndarray = ndimage.distance_transform_edt(~seams) <= width / 2
    return near


def _inner(rng: Random, outer: np.ndarray, share: float) -> np.ndarray:
    """One blob inside each object of `outer`, about `share` of its radius; labels are kept."""
    inner = np.zeros_like(outer)
    for label, window in enumerate(ndimage.find_objects(outer), start=1):
        if window is None:
            continue
        depth = ndimage.distance_transform_edt(np.pad(outer[window] == label, 1))[1:-1, 1:-1]
        radius = depth.max() * share * rng.uniform(0.7, 1.2)
        if radius < 2.5:
            continue
        y, x = np.unravel_index(np.argmax(depth * rng.uniform(0.7, 1, depth.shape)), depth.shape)
        grid_y, grid_x = np.mgrid[: depth.shape[0], : depth.shape[1]]
        inside = (_outline(rng, radius, Outlines(0.1))(grid_y - y, grid_x - x) < 1) & (depth > 1)
        inner[window][inside] = label
    return inner


def _per_object(rng: Random, labels: np.ndarray, spread: float) -> np.ndarray:
    """(y, x) float32: 0 off the objects, about 1 on them, differing from object to object."""
    values = np.exp(spread * rng.standard_normal(labels.max() + 1)).astype(np.float32)
    values[0] = 0
    spread_out: np.ndarray = values[labels]
    return spread_out


def _depth(labels: np.ndarray, radius: float) -> np.ndarray:
    """(y, x) float32 from 0 at an object's rim to 1 at `radius` inside it."""
    rim = _edges(labels, 1.0) | (labels == 0)
    depth: np.ndarray = np.clip(ndimage.distance_transform_edt(~rim) / max(radius, 1), 0, 1).astype(np.float32)
    return depth


def _sparse(rng: Random, shape: tuple[int, int], radius: float, wobble: float) -> np.ndarray:
    room = shape[0] * shape[1] / (np.pi * radius**2)
    count = int(np.clip(room * rng.uniform(0.15, 1.3), 2, 400))
    slender = rng.uniform(2.5, 7) if rng.random() < 0.2 else 1.5
    return scatter(rng, shape, radius, count=count, crowding=rng.uniform(0, 0.8), outlines=Outlines(wobble, slender))


def _colour(rng: Random, gray: np.ndarray) -> np.ndarray:
    """A gray picture (y, x) shown as gray or, half the time, in one colour, as fluorescence often is."""
    tint = np.ones(3) if rng.random() < 0.5 else rng.dirichlet([0.6] * 3) * 2
    return gray[..., None] * np.clip(tint, 0, 1.2).astype(np.float32)


def _fluorescence(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    labels = _sparse(rng, shape, radius, rng.uniform(0, 0.25))
    texture = 1 + rng.uniform(0, 0.35) * _noise(rng, shape, max(radius * rng.uniform(0.2, 0.8), 1.5))
    shade = (1 - rng.uniform(0, 0.6) * (1 - _depth(labels, radius * 0.6))) * texture
    gray = _per_object(rng, labels, rng.uniform(0.05, 0.6)) * np.clip(shade, 0.15, None)
    glow = ndimage.gaussian_filter(gray, radius) * rng.uniform(0, 0.4)
    if rng.random() < 0.3:
        # what lies far out of focus is seen, and is nobody's object
        glow += ndimage.gaussian_filter(1.0 * (_sparse(rng, shape, radius, 0.1) > 0), radius) * rng.uniform(0.1, 0.4)
    return _colour(rng, 0.7 * gray + glow + rng.uniform(0.01, 0.15)), (labels,)


def _two_stains(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    cells = _sparse(rng, shape, radius, rng.uniform(0.1, 0.4))
    nuclei = _inner(rng, cells, rng.uniform(0.4, 0.75))
    body = _per_object(rng, cells, 0.3) * (1 + 0.3 * _noise(rng, shape, max(radius / 2, 2)))
    core = _per_object(rng, nuclei, 0.2) * (1 + 0.2 * _noise(rng, shape, max(radius / 4, 2)))
    colours = rng.uniform(0, 1, (2, 3)).astype(np.float32)
    if rng.random() < 0.4:
        colours[:] = 0.7
    image = body[..., None] * colours[0] * rng.uniform(0.25, 0.7) + core[..., None] * colours[1]
    return image * 0.6 + rng.uniform(0, 0.12), (cells, nuclei)


def _phase(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    labels = _sparse(rng, shape, radius, rng.uniform(0.1, 0.45))
    inside = (labels > 0).astype(np.float32)
    width = rng.uniform(1.0, 0.25 * radius + 1.5)
    halo = ndimage.gaussian_filter(inside, width) - ndimage.gaussian_filter(inside, 2.5 * width)
    rim = np.exp(-_depth(labels, radius) * rng.uniform(4, 12)) * inside
    grain = _noise(rng, shape, max(radius * 0.3, 2)) * inside
    gray = 0.5 + rng.choice([-1, 1]) * rng.uniform(0.2, 0.9) * halo + rng.uniform(-0.3, 0.3) * rim
    gray += rng.uniform(0.03, 0.16) * grain + rng.uniform(-0.12, 0.12) * _per_object(rng, labels, 0.4)
    return _colour(rng, gray) if rng.random() < 0.1 else np.repeat(gray[..., None], 3, 2), (labels,)


def _relief(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Unstained cells in slanted light (DIC) or bright field: slopes and rims show, not heights."""
    labels = _sparse(rng, shape, radius, rng.uniform(0.05, 0.4))
    height = ndimage.gaussian_filter(_depth(labels, radius * rng.uniform(0.3, 0.8)), rng.uniform(0.6, 2))
    height = height * (1 + rng.uniform(0, 0.3) * _noise(rng, shape, max(radius * 0.4, 2)))
    angle = rng.uniform(0, 2 * np.pi)
    slope = sum(np.gradient(height, axis=i) * s for i, s in enumerate((np.sin(angle), np.cos(angle))))
    lens = ndimage.laplace(ndimage.gaussian_filter(height, rng.uniform(0.8, 2)))
    parts = [slope / (np.abs(slope).max() + 1e-6), lens / (np.abs(lens).max() + 1e-6)]
    gray = 0.5 + rng.choice([-1, 1]) * sum(
        part * share for part, share in zip(parts, rng.uniform(0, 0.5, 2), strict=True)
    )
    gray += rng.uniform(-0.08, 0.08) * height + rng.uniform(0, 0.05) * _noise(rng, shape, rng.uniform(2, 30))
    return np.repeat(gray[..., None], 3, 2), (labels,)


def _stained(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    labels = _sparse(rng, shape, radius, rng.uniform(0, 0.3))
    paper = np.array([0.93, 0.88, 0.92], np.float32) + rng.normal(0, 0.04, 3)
    stroma = np.array([0.1, 0.35, 0.15]) * rng.uniform(0.3, 1.2) + rng.normal(0, 0.05, 3)
    stain = np.array([0.5, 0.6, 0.3]) * rng.uniform(0.5, 1.3) + rng.normal(0, 0.1, 3)
    tissue = np.clip(0.5 + 0.5 * _noise(rng, shape, radius * rng.uniform(1, 4), 4), 0, 2)
    core = _per_object(rng, labels, 0.3) * (1 + 0.3 * _noise(rng, shape, max(radius * 0.4, 1.5)))
    density = tissue[..., None] * np.clip(stroma, 0, None) + core[..., None] * np.clip(stain, 0, None)
    return paper * np.exp(-density), (labels,)


def _smear(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Stained cells spread on glass, as of blood: pale ones without a nucleus, some with a dark, often lobed one."""
    cells = scatter(
        rng,
        shape,
        radius,
        count=int(np.clip(shape[0] * shape[1] / (np.pi * radius**2) * rng.uniform(0.2, 1), 2, 300)),
        crowding=rng.uniform(0, 0.6),
        outlines=Outlines(rng.uniform(0, 0.12), 1.2),
    )
    nucleated = rng.random(cells.max() + 1) < rng.uniform(0.1, 1)
    nucleated[1 + rng.integers(max(cells.max(), 1)) :][:1] = True
    white = nucleated[cells] & (cells > 0)
    # Lobes that hang together or do not: the parts of one nucleus keep one label.
    lobes = [_inner(rng, cells, rng.uniform(0.45, 0.9)) for _ in range(rng.integers(1, 4))]
    nuclei = np.where(white, np.max(lobes, axis=0), 0).astype(np.int32)
    pallor = 1 - rng.uniform(0, 0.7) * _depth(cells, radius) ** 2
    glass = np.array([0.9, 0.88, 0.84], np.float32) + rng.normal(0, 0.05, 3)
    tints = np.array([[0.1, 0.35, 0.3], [0.35, 0.3, 0.1], [0.8, 1.1, 0.4]])
    red, blue, core = tints * rng.uniform(0.5, 1.5, 3)[:, None]
    density = (_per_object(rng, np.where(white, 0, cells), 0.2) * pallor)[..., None] * (red + rng.normal(0, 0.04, 3))
    grain = 1 + 0.25 * _noise(rng, shape, max(radius * 0.15, 1.5))
    density += (_per_object(rng, np.where(white, cells, 0), 0.3) * grain)[..., None] * (blue + rng.normal(0, 0.06, 3))
    density += (_per_object(rng, nuclei, 0.2) * grain)[..., None] * (core + rng.normal(0, 0.1, 3))
    return glass * np.exp(-np.clip(density, 0, None)), (cells, nuclei) if nuclei.any() else (cells,)


def _membranes(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    cells = _tessellate(rng, shape, radius)
    width = rng.uniform(1.2, 0.15 * radius + 2)
    wall = ndimage.gaussian_filter(_edges(cells, width).astype(np.float32), rng.uniform(0.4, 1.2))
    wall *= 1 + rng.uniform(0, 0.4) * _noise(rng, shape, 2 * radius)
    body = rng.uniform(0, 0.25) * _per_object(rng, cells, 0.5) + 0.05 * _noise(rng, shape, max(radius / 3, 2))
    gray = body + rng.uniform(0.3, 0.9) * wall
    nuclei = _inner(rng, cells, rng.uniform(0.35, 0.6))
    levels: tuple[np.ndarray, ...] = (np.where(_edges(cells, width * 0.6), 0, cells).astype(np.int32),)
    if rng.random() < 0.4:
        gray += rng.uniform(0.2, 0.5) * _per_object(rng, nuclei, 0.2)
        levels = (*levels, nuclei)
    return _colour(rng, np.clip(gray, 0, None)), levels


def _wall_strength(rng: Random, cells: np.ndarray) -> np.ndarray:
    """(y, x) float32: how bright a wall is there; each side of a cell differs, and some hardly show."""
    own = rng.uniform(0.15, 1, cells.max() + 1).astype(np.float32)
    # The larger of both neighbours decides, so that a wall has one brightness from both sides.
    strength: np.ndarray = ndimage.grey_dilation(own[cells], 3)
    return strength


def _tissue(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """An optical slice through walled tissue, as of plants: cells reach to the middle of blurred, uneven walls."""
    stretch = rng.uniform(1, 2.5)
    squeezed = (int(shape[0] / stretch) + 1, shape[1])
    rows = (np.arange(shape[0]) / stretch).astype(int)
    cells = _tessellate(rng, squeezed, radius / np.sqrt(stretch))[rows]
    wall = _edges(cells, rng.uniform(1, 0.08 * radius + 1.5)) * _wall_strength(rng, cells)
    # Tilted walls are smeared out, and what lies above and below the slice shines through.
    wall = ndimage.gaussian_filter(wall.astype(np.float32), rng.uniform(0.6, 0.1 * radius + 1))
    haze = ndimage.gaussian_filter(wall, radius * rng.uniform(0.3, 1)) * rng.uniform(0, 1.5)
    body = rng.uniform(0, 0.3) * _per_object(rng, cells, 0.6) * (1 + 0.2 * _noise(rng, shape, max(radius / 3, 2)))
    nuclei = _inner(rng, cells, rng.uniform(0.25, 0.5))
    nuclei[np.isin(nuclei, np.flatnonzero(rng.random(cells.max() + 1) < 0.6))] = 0
    gray = rng.uniform(0.3, 1.2) * wall + haze + body + rng.uniform(0, 0.35) * _per_object(rng, nuclei, 0.2)
    levels = (cells, nuclei) if nuclei.any() else (cells,)
    return _colour(rng, np.clip(gray, 0, None) * rng.uniform(0.25, 1)), levels


def _organelles(rng: Random, cells: np.ndarray, width: float) -> np.ndarray:
    """Mitochondria, (y, x) int32: round and slender bodies, each within one cell and off its membrane."""
    radius = max(np.sqrt(cells.size / max(cells.max(), 1)) * rng.uniform(0.12, 0.3), 6)
    count = int(np.clip(cells.size / (np.pi * radius**2) * rng.uniform(0.05, 0.3), 2, 300))
    bodies = scatter(rng, cells.shape, radius, count=count, crowding=0.1, outlines=Outlines(0.1, rng.uniform(1.5, 5)))
    bodies[_edges(cells, width + 4)] = 0
    for label, window in enumerate(ndimage.find_objects(bodies), start=1):
        if window is not None:
            own = bodies[window] == label
            # What lies across a membrane is cut to its larger part; scraps are none.
            most = np.bincount(cells[window][own]).argmax() if own.any() else 0
            whole = np.count_nonzero(own & (cells[window] == most)) > radius**2
            bodies[window][own & ((cells[window] != most) | (not whole))] = 0
    return bodies


def _electron(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    cells = _tessellate(rng, shape, radius * rng.uniform(1, 2))
    width = rng.uniform(1.2, 3.5)
    organelles = _organelles(rng, cells, width)
    gray = 0.65 + 0.12 * _noise(rng, shape, rng.uniform(2, 8), 3) + 0.06 * _per_object(rng, cells, 0.5)
    gray -= rng.uniform(0.25, 0.5) * ndimage.gaussian_filter(_edges(cells, width).astype(np.float32), 0.7)
    stripes = np.sin(_noise(rng, shape, max(radius, 4), 2) * rng.uniform(4, 10))
    dark = _per_object(rng, organelles, 0.2) * (1 + 0.25 * stripes) * rng.uniform(0.15, 0.4)
    rim = ((organelles > 0) & _edges(organelles, 2.0)).astype(np.float32)
    gray = gray - dark - 0.25 * ndimage.gaussian_filter(rim, 0.6)
    levels = (np.where(_edges(cells, width * 0.7), 0, cells).astype(np.int32), organelles)
    return np.repeat(gray[..., None], 3, 2), levels


KINDS: dict[str, Callable[[Random, tuple[int, int], float], tuple[np.ndarray, tuple[np.ndarray, ...]]]] = {
    "fluorescence": _fluorescence,
    "two stains": _two_stains,
    "phase contrast": _phase,
    "relief": _relief,
    "stained tissue": _stained,
    "smear": _smear,
    "membranes": _membranes,
    "walled tissue": _tissue,
    "electron microscopy": _electron,
}


def _camera(rng: Random, scene: np.ndarray) -> np.ndarray:
    """Blur, uneven light, shot and read noise, eight bits: (y, x, 3) float -> uint8."""
    shape = scene.shape[:2]
    blur = rng.uniform(0, 2) if rng.random() < 0.6 else 0.0
    scene = ndimage.gaussian_filter(scene, (blur, blur, 0)) if blur > 0.3 else scene
    if rng.random() < 0.5:
        light = 1 + rng.uniform(0, 0.35) * _noise(rng, shape, max(shape), 1)
        scene = scene * np.clip(light, 0.3, 2)[..., None]
    photons = 10 ** rng.uniform(0.8, 3.5)
    noise = rng.standard_normal(scene.shape if rng.random() < 0.4 else (*shape, 1)).astype(np.float32)
    scene = scene + noise * np.sqrt(np.clip(scene, 0, None) / photons + rng.uniform(0, 0.03) ** 2)
    picture: np.ndarray = (255 * np.clip(scene, 0, 1)).astype(np.uint8)
    return picture


def synthetic_image(
    rng: Random, shape: tuple[int, int] = (384, 384), *, kind: str | None = None, radius: float | None = None
) -> SyntheticImage:
    """Make one picture with its truth.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance; the same state gives the same picture.
    shape : tuple of int
        (y, x) in pixels.
    kind : str, optional
        One of ``KINDS``; drawn at random when not given.
    radius : float, optional
        Typical radius of the objects in pixels; drawn from 4 to 60 (more small ones) when not given.
    """
    kind = kind or str(rng.choice(list(KINDS)))
    radius = radius or float(np.exp(rng.uniform(np.log(5), np.log(60))))
    scene, levels = KINDS[kind](rng, shape, radius)
    return SyntheticImage(_camera(rng, scene.astype(np.float32)), levels, kind)
