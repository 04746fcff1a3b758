"""Names for masks: class queries next to the mask tokens of the SAM decoder, with a branch of their own.

An object is encoded in a magnified window, and its mask is given to the frozen decoder as a prompt. Class queries then
attend to what the decoder made of the image, each in another region (inside the mask, in a ring around it, outside,
everywhere), and to each other together with the mask tokens. Nothing attends to them, so masks stay as they are.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_segany.core.errors import ModelError
from napari_segany.core.known_classes import KnownClasses
from napari_segany.core.planes import Plane, Region
from napari_segany.models.inference_config import read_metadata
from napari_segany.models.registry import find
from napari_segany.models.tiny.tiny_sam import EMBED_DIM, STRIDE, TinySam
from napari_segany.models.weights import load_state
from napari_segany.models.windows import Window, window_image

SETTINGS, ENCODER = "mask_classes", "encoder"
"""Entries of the metadata of a file: the settings in JSON, and which encoder the branch was trained on."""
REGIONS = 4
"""Inside the mask, in a ring around it, outside, and everywhere."""
TOKENS = 5
"""Of the decoder: that of the predicted IoU, and four of masks."""
SHAPES = 5
"""Numbers that describe the outline of a mask."""
IMAGE = EMBED_DIM + EMBED_DIM // 4 + EMBED_DIM // 8
"""Channels of the image that class queries attend to: of the decoder, and of the two finer maps of the encoder."""
FAINT = 1e-4
"""Weight of a cell that a region does not contain."""
TOGETHER = 16
"""Objects that are described together."""


@dataclass(frozen=True)
class MaskClassesConfig:
    """Sizes and names of the branch, kept with its weights.

    Parameters
    ----------
    names : tuple of str
        What a mask may be; the last is "other": nothing of these.
    side : int
        Of the window of an object in pixels; a multiple of 32.
    object_side : float
        Longest side of the object in window pixels.
    magnification : float
        Window pixels per plane pixel, at most.
    width, layers, heads : int
        Of the queries.
    dropout : float
        In training.
    temperature : float
        The logits are divided by it; fitted on pictures that were held out.
    least : float
        Probability below which no name is given.
    """

    names: tuple[str, ...] = ("object", "other")
    side: int = 128
    object_side: float = 44.0
    magnification: float = 4.0
    width: int = 64
    layers: int = 2
    heads: int = 4
    dropout: float = 0.1
    temperature: float = 1.0
    least: float = 0.5


class _ClassLayer(nn.Module):
    """Class queries to the image in their regions, then to each other and the mask tokens, then a feed-forward."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_query, self.to_keys = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.self_attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.drop = nn.Dropout(dropout)

    def forward(self, queries: Tensor, tokens: Tensor, image: Tensor, regions: Tensor) -> Tensor:
        """Queries (B, Q, C), tokens (B, T, C), image (B, N, C) and log weights of regions (B, Q, N) -> (B, Q, C)."""
        split = (self.heads, -1)
        query = self.to_query(queries).unflatten(-1, split).transpose(1, 2)
        keys, values = self.to_keys(image).chunk(2, dim=-1)
        keys, values = (x.unflatten(-1, split).transpose(1, 2) for x in (keys, values))
        scores = query @ keys.transpose(-1, -2) * query.shape[-1] ** -0.5 + regions[:, None]
        seen = (scores.softmax(-1) @ values).transpose(1, 2).flatten(2)
        queries = self.norms[0](queries + self.drop(self.out(seen)))
        known = torch.cat([queries, tokens], dim=1)
        queries = self.norms[1](queries + self.self_attention(queries, known, known, need_weights=False)[0])
        changed: Tensor = self.norms[2](queries + self.drop(self.feed_forward(queries)))
        return changed


class MaskClasses(nn.Module):
    """The branch: from what the decoder makes of a mask to a vector, and to logits of names.

    Parameters
    ----------
    config : MaskClassesConfig
        Sizes and names.
    """

    def __init__(self, config: MaskClassesConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.image_in = nn.Sequential(nn.LayerNorm(IMAGE), nn.Dropout(config.dropout), nn.Linear(IMAGE, width))
        self.token_in = nn.Linear(EMBED_DIM, width)
        self.shape_in = nn.Linear(SHAPES, width)
        self.queries = nn.Parameter(torch.randn(REGIONS, width) * 0.1)
        self.layers = nn.ModuleList(_ClassLayer(width, config.heads, config.dropout) for _ in range(config.layers))
        self.vector = nn.Linear(REGIONS * width, width)
        self.classes = nn.Linear(width, len(config.names))
        self.drop = nn.Dropout(config.dropout)

    def vectors(self, context: MaskContext) -> Tensor:
        """Return the vectors (B, C) of objects: alike for objects of one kind."""
        image = self.image_in(context.image.flatten(2).transpose(1, 2))
        tokens = torch.cat([self.token_in(context.tokens), self.shape_in(shapes_of(context.cover))[:, None]], dim=1)
        regions = regions_of(context.cover, context.image.shape[-1])
        queries = self.queries.expand(len(image), -1, -1)
        for layer in self.layers:
            queries = layer(queries, tokens, image, regions)
        return F.normalize(self.vector(queries.flatten(1)), dim=-1) * self.config.width**0.5

    def forward(self, context: MaskContext) -> Tensor:
        """Return the logits of names, (B, names)."""
        logits: Tensor = self.classes(self.drop(self.vectors(context)))
        return logits


@dataclass(frozen=True, slots=True, eq=False)
class MaskContext:
    """What class queries attend to, of B masks.

    Parameters
    ----------
    image : Tensor
        (B, IMAGE, h, w): the image after the decoder's transformer, and the finer maps of the encoder.
    tokens : Tensor
        (B, TOKENS, C) of the decoder.
    cover : Tensor
        (B, 4 h, 4 w), 0 to 1: how much of each part of the window the mask covers.
    """

    image: Tensor
    tokens: Tensor
    cover: Tensor


def mask_context(model: TinySam, features: Mapping[str, Tensor], cover: Tensor, position: Tensor) -> MaskContext:
    """Give masks to the frozen decoder as prompts, and return what it makes of them.

    Parameters
    ----------
    model : TinySam
        Its decoder predicts no mask here.
    features : mapping of str to Tensor
        From :meth:`TinySam.encode_windows`, of B windows, in float32.
    cover : Tensor
        (B, s / 2, s / 2), 0 to 1.
    position : Tensor
        Position encoding of the whole input frame.
    """
    embed = features["image_embed"]
    cells = embed.shape[-1]
    start = position.shape[-1] // 2 - cells // 2
    here = slice(start, start + cells)
    boxes = boxes_of(cover) * 2 + start * STRIDE
    sparse, dense = model.prompt_encoder(None, boxes, cover[:, None].clamp(0.01, 0.99).logit())
    decoder = model.mask_decoder
    output = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(len(sparse), -1, -1)
    tokens, image = decoder.transformer(
        embed + dense, position[..., here, here], torch.cat([output, sparse], dim=1), list(range(TOKENS))
    )
    image = image.transpose(1, 2).unflatten(2, (cells, cells))
    finer = [F.adaptive_avg_pool2d(features[name], cells) for name in ("high_res_1", "high_res_0")]
    return MaskContext(torch.cat([image, *finer], dim=1), tokens, cover)


def boxes_of(cover: Tensor) -> Tensor:
    """Boxes (B, 4), x and y of two corners, around what masks (B, h, w) cover by half; all where that is nothing."""
    boxes = []
    for inside in cover > 0.5:
        rows, columns = (torch.nonzero(inside.any(dim=axis)).flatten() for axis in (1, 0))
        if not len(rows):
            boxes.append([0, 0, inside.shape[1] - 1, inside.shape[0] - 1])
        else:
            boxes.append([int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])])
    return torch.tensor(boxes, dtype=torch.float32, device=cover.device)


def regions_of(cover: Tensor, cells: int) -> Tensor:
    """Logarithms of the weights (B, REGIONS, cells * cells) of each region of masks (B, h, w)."""
    reach = cover.shape[-1] // 6 | 1
    near = F.max_pool2d(cover[:, None], reach, stride=1, padding=reach // 2)[:, 0]
    parts = torch.stack([cover, (near - cover).clamp(0, 1), 1 - cover, torch.ones_like(cover)], dim=1)
    return (F.adaptive_avg_pool2d(parts, cells).flatten(2) + FAINT).log()


def shapes_of(cover: Tensor) -> Tensor:
    """Numbers (B, SHAPES) of masks (B, h, w): area, longest side, elongation, filled part of the box, raggedness."""
    height, width = cover.shape[-2:]
    area = cover.sum(dim=(1, 2)).clamp_min(1)
    y = torch.arange(height, device=cover.device).float()[None, :, None]
    x = torch.arange(width, device=cover.device).float()[None, None, :]
    middle_y, middle_x = ((cover * axis).sum(dim=(1, 2)) / area for axis in (y, x))
    dy, dx = y - middle_y[:, None, None], x - middle_x[:, None, None]
    yy, xx, yx = (
        (cover * part).sum(dim=(1, 2)) / area + 0.1 * (n < 2) for n, part in enumerate((dy**2, dx**2, dy * dx))
    )
    root = (((yy - xx) / 2).square() + yx.square()).sqrt()
    large, small = (yy + xx) / 2 + root, ((yy + xx) / 2 - root).clamp_min(0.1)
    boxes = boxes_of(cover)
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    edge = (cover[:, 1:] - cover[:, :-1]).abs().sum(dim=(1, 2)) + (cover[..., 1:] - cover[..., :-1]).abs().sum(
        dim=(1, 2)
    )
    found = [
        area.log() - 5,
        sides.amax(dim=1).log() - 3,
        (large / small).log(),
        area / sides.prod(dim=1),
        (edge.clamp_min(1) / area.sqrt()).log() - 1.5,
    ]
    return torch.stack(found, dim=1)


class MaskNamer:
    """Describes and names masks of any origin with a model and its branch.

    Parameters
    ----------
    model : TinySam
        Ready to encode windows.
    branch : MaskClasses
        Trained on the same encoder.
    device : torch.device
        Where to compute.
    """

    def __init__(self, model: TinySam, branch: MaskClasses, device: torch.device) -> None:
        self.model, self.device = model, device
        self.branch = branch.to(device).eval().requires_grad_(False)
        self._position = model.prompt_encoder.dense_pe().to(device)

    @functools.cached_property
    def classes(self) -> KnownClasses:
        """From vectors to names with probabilities."""
        config, last = self.branch.config, self.branch.classes
        weights, bias = (part.float().cpu().numpy() / config.temperature for part in (last.weight.T, last.bias))
        return KnownClasses(config.names, weights, bias, config.least)

    @torch.inference_mode()
    def vectors(self, plane: Plane, windows: Sequence[Region], masks: Sequence[np.ndarray]) -> np.ndarray:
        """Return vectors (n, d) float32 of objects; parameters as of :meth:`~.exemplars.DescribesObjects.describe`."""
        found = [np.zeros((0, self.branch.config.width), np.float32)]
        for start in range(0, len(windows), TOGETHER):
            views = [
                object_view(plane, window, mask, self.branch.config)
                for window, mask in zip(windows[start : start + TOGETHER], masks[start : start + TOGETHER], strict=True)
            ]
            images = torch.cat([image for image, _ in views]).to(self.device)
            cover = torch.stack([inside for _, inside in views]).to(self.device)
            encoded = {name: maps.float() for name, maps in self.model.encode_windows(images).items()}
            context = mask_context(self.model, encoded, cover, self._position)
            found.append(self.branch.vectors(context).cpu().numpy())
        return np.concatenate(found)


def object_view(plane: Plane, window: Region, mask: np.ndarray, config: MaskClassesConfig) -> tuple[Tensor, Tensor]:
    """Return the window (1, 3, s, s) of an object and how its mask covers it, (s / 2, s / 2)."""
    rows, columns = window
    longest = max(mask.shape)
    scale = min(config.object_side / longest, config.magnification)
    centre = (rows.start + rows.stop - 1) / 2, (columns.start + columns.stop - 1) / 2
    reach = config.side / 2 / scale + 1 / min(scale, 1) + 1
    shape = plane.shape[:2]
    seen = tuple(
        slice(max(int(middle - reach), 0), min(int(np.ceil(middle + reach)) + 1, length))
        for middle, length in zip(centre, shape, strict=True)
    )
    part = plane[seen[0], seen[1]]
    own = np.zeros((*part.shape[:2], 1), np.uint8)
    own[
        rows.start - seen[0].start : rows.stop - seen[0].start,
        columns.start - seen[1].start : columns.stop - seen[1].start,
        0,
    ] = mask
    inner = Window((centre[0] - seen[0].start, centre[1] - seen[1].start), scale, config.side)
    covered = F.avg_pool2d(window_image(own * np.uint8(255), inner)[:, :1] / 255, 2)[0, 0]
    return window_image(part, inner), covered


def encoder_digest(state: Mapping[str, Tensor]) -> str:
    """Hash of the weights that a branch depends on: all but the dense heads, in half precision."""
    digest = hashlib.sha256()
    for name in sorted(state):
        if name.startswith(("image_encoder.", "prompt_encoder.", "mask_decoder.")) and state[name].is_floating_point():
            digest.update(name.encode() + state[name].detach().cpu().half().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def write_classes(branch: MaskClasses, encoder: str, path: Path) -> None:
    """Write a branch in half precision, with its settings and the encoder that it belongs to."""
    half = {name: value.detach().cpu().half().contiguous() for name, value in branch.state_dict().items()}
    partial = path.with_suffix(".partial")
    save_file(half, partial, metadata={SETTINGS: json.dumps(asdict(branch.config)), ENCODER: encoder})
    partial.replace(path)


def read_classes(path: Path) -> MaskClasses:
    """Read a branch.

    Raises
    ------
    ModelError
        The file holds none, or one of other sizes.
    """
    text = read_metadata(path).get(SETTINGS)
    if text is None:
        raise ModelError(f"{path} holds no names for masks")
    try:
        branch = MaskClasses(msgspec.json.decode(text, type=MaskClassesConfig))
        branch.load_state_dict({name: value.float() for name, value in load_state(path).items()})
    except (msgspec.DecodeError, RuntimeError) as error:
        raise ModelError(f"{path} does not hold names for masks that can be read: {error}") from None
    return branch


def classes_file() -> Path:
    """The branch in the package, which may be absent."""
    return find("tiny").path.with_name("tiny-classes.safetensors")
