"""Queries on the pyramid of `tiny`: a small decoder that starts at the object proposals of the dense heads.

Half of what a query has to learn in a Mask2Former is the position of its object. Here most queries start at a peak of
the dense heads, with the features of that place; a few are learned, for objects without a peak. Each query draws an
ellipse around its place and refines it by the dot product with the fine map. Without the ellipse, the dot product would
have to learn first to separate two nuclei of similar appearance. The image encoder is frozen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_segany.models.mask2former.pixel_decoder import PixelDecoder, PixelDecoderConfig
from napari_segany.models.mask2former.position_encodings import OCTAVES, cell_centres, fourier_places
from napari_segany.models.mask2former.query_decoder import (
    QueryDecoder,
    QueryDecoderConfig,
    QueryPrediction,
    StartingQueries,
)
from napari_segany.models.mask2former.set_loss import values_at
from napari_segany.models.tiny.tiny_sam import DENSE_CHANNELS, TinySam

WINDOW = 256
"""Pixels of a window: positions are learned for this size."""
RADIUS = 12 / WINDOW
"""Of the ellipses that queries begin with, in windows."""
SIZES = (math.log(1.5 / WINDOW), math.log(1.0))
"""Logarithms of the smallest and the largest radius."""
FARTHEST = 0.15
"""How far the middle of an ellipse may lie from the place of its query, in windows."""
LONGEST = 0.9
"""An ellipse is at most four times as long as wide."""
MOST = 30.0
"""Of a logit of the ellipse against the mask: the mask head can still take a cell back."""
_PLACE = 4 * OCTAVES
_SIDE, _MIDDLE = 0.1664, 0.6672
"""A Gaussian of .6 cells on three cells, as the proposals are smoothed."""


@dataclass(frozen=True)
class TinyQueriesConfig:
    """Sizes of the decoder, stored with its weights.

    Parameters
    ----------
    names : tuple of str
        Of the classes.
    channels : int
        Of levels, queries and the fine map; a multiple of 32.
    pixel_layers, layers : int
        Layers of deformable attention, and of queries.
    width, heads : int
        Width of the feed-forward parts, and heads of all attention.
    learned, proposed : int
        Queries that are learned, and that begin at proposals.
    """

    names: tuple[str, ...] = ("object",)
    channels: int = 96
    pixel_layers: int = 2
    layers: int = 3
    width: int = 256
    heads: int = 4
    learned: int = 16
    proposed: int = 80


class PlacedQueryDecoder(QueryDecoder):
    """A query decoder whose masks begin as ellipses around the places of the queries.

    An ellipse is a quadratic form of the place of a cell, and so a dot product with six more channels of the fine map.
    """

    def __init__(self, config: QueryDecoderConfig) -> None:
        super().__init__(config)
        self.ellipse = nn.Linear(config.channels, 6)
        nn.init.zeros_(self.ellipse.weight)
        with torch.no_grad():
            self.ellipse.bias.copy_(torch.tensor([0.0, 0.0, math.log(RADIUS), 0.0, 0.0, 0.5]))
            for value in self.mask_head[-1].parameters():
                value.mul_(0.1)

    def predict(self, content: Tensor, fine: Tensor, queries: StartingQueries) -> QueryPrediction:
        """See :meth:`QueryDecoder.predict`; the logits of the ellipse are added to those of the mask head."""
        content = self.norm(content)
        drawn = self.read(content, fine)
        if queries.places is None:
            return drawn
        ellipses = ellipse_logits(self.ellipse(content).float(), queries.places.float(), _cells(fine))
        return QueryPrediction(drawn.classes, drawn.masks.float() + ellipses)


def _cells(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]


def ellipse_logits(parameters: Tensor, places: Tensor, shape: tuple[int, int]) -> Tensor:
    """Logits that are 0 on an ellipse and fall with the square of the distance.

    Parameters
    ----------
    parameters : Tensor
        (B, Q, 6): shift of the middle along x and y, logarithm of the radius, two of how far it is no circle, and the
        steepness before softplus.
    places : Tensor
        (B, Q, 2) x and y from 0 to 1, where the middle is without a shift.
    shape : tuple of int
        Rows and columns.

    Returns
    -------
    Tensor
        (B, Q, rows, columns).
    """
    shift, size, bend, steep = parameters.split((2, 1, 2, 1), dim=-1)
    x, y = (places + FARTHEST * shift.tanh()).unbind(-1)
    # both axes stay longer than nothing
    along, across = (LONGEST * bend / (1 + bend.square().sum(-1, keepdim=True)).sqrt()).unbind(-1)
    scale = (-2 * size[..., 0].clamp(*SIZES)).exp()
    xx, yy, xy = scale * (1 + along), scale * (1 - along), scale * across
    middle = xx * x * x + 2 * xy * x * y + yy * y * y
    parts = [1 - middle, 2 * (xx * x + xy * y), 2 * (xy * x + yy * y), -xx, -2 * xy, -yy]
    # sums of large numbers: in single precision
    with torch.autocast(parameters.device.type, enabled=False):
        columns, rows = cell_centres(*shape).to(parameters).unbind(-1)
        basis = torch.stack([torch.ones_like(rows), columns, rows, columns * columns, columns * rows, rows * rows])
        logits = torch.stack(parts, dim=-1) @ basis
    return (F.softplus(steep) * 2 * logits).clamp_min(-MOST).unflatten(-1, shape)


@dataclass(frozen=True, eq=False)
class TinyPyramid:
    """Features and maps of the frozen model for a batch of windows.

    Parameters
    ----------
    maps : list of Tensor
        (B, C_i, h_i, w_i) at strides 4, 8, 16 and 32.
    heat : Tensor
        (B, h, w) at a stride of 4: probability that a cell is the centre of an object, 0 to 1.
    """

    maps: list[Tensor]
    heat: Tensor


@torch.no_grad()
def tiny_pyramid(model: TinySam, windows: Tensor) -> TinyPyramid:
    """Encode windows (B, 3, s, s), RGB from 0 to 255, s a multiple of 32; without gradients."""
    stages = model.image_encoder.stage_maps(model.preprocess(windows.float()))
    features = model.image_encoder.features_of(stages)
    dense = model.dense_head({name: value.to(model.dense_head.reduce.weight.dtype) for name, value in features.items()})
    seen = torch.cat([dense[:, :3].float().sigmoid(), dense[:, 3:].float()], dim=1)
    finest = torch.cat([stages[1].float(), features["high_res_1"].float(), seen], dim=1)
    eighth = torch.cat([features["image_embed"].float(), stages[2].float()], dim=1)
    return TinyPyramid([finest, eighth, stages[3].float(), stages[4].float()], seen[:, 0] * seen[:, 2])


def pyramid_channels(model: TinySam) -> tuple[int, ...]:
    """Channels of the maps of :func:`tiny_pyramid`."""
    _, quarter, *coarse = model.image_encoder.widths
    embed_dim = model.image_encoder.embed_dim
    return (quarter + embed_dim // 4 + len(DENSE_CHANNELS), coarse[0] + embed_dim, *coarse[1:])


def peaks_of(heat: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` highest peaks of heat maps (B, h, w): places (B, count, 2) x and y from 0 to 1, and heat (B, count).

    Where there are fewer peaks, the rest has a heat of 0.
    """
    line = heat.new_tensor([_SIDE, _MIDDLE, _SIDE])
    padded = F.pad(heat[:, None], (1, 1, 1, 1), mode="replicate")
    smooth = F.conv2d(padded, (line[:, None] * line)[None, None])
    tops = smooth * (smooth == F.max_pool2d(smooth, 3, stride=1, padding=1))
    values, cells = tops.flatten(1).topk(count, dim=1)
    rows, columns = heat.shape[-2:]
    places = torch.stack([cells % columns + 0.5, cells // columns + 0.5], dim=-1)
    return places / places.new_tensor([columns, rows]), values


class TinyQueries(nn.Module):
    """Pixel decoder and query decoder on the maps of a :class:`TinyPyramid`.

    Parameters
    ----------
    inputs : tuple of int
        Channels of the maps, see :func:`pyramid_channels`.
    config : TinyQueriesConfig
        Sizes.
    """

    def __init__(self, inputs: tuple[int, ...], config: TinyQueriesConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        finest, *coarse = inputs
        self.pixel_decoder = PixelDecoder(
            PixelDecoderConfig(
                (finest + _PLACE, *coarse), channels, channels, config.pixel_layers, config.width, config.heads
            )
        )
        self.query_decoder = PlacedQueryDecoder(
            QueryDecoderConfig(
                len(config.names), channels, channels, channels, config.layers, config.width, config.heads
            )
        )
        self.place = nn.Linear(_PLACE, channels)
        self.fine_place = nn.Linear(_PLACE, channels, bias=False)
        self.proposal = nn.Linear(2 * channels + _PLACE + 1, channels)
        self.query_content = nn.Embedding(config.learned, channels)
        self.query_place = nn.Embedding(config.learned, 2)
        nn.init.uniform_(self.query_place.weight, -2, 2)

    def forward(self, pyramid: TinyPyramid) -> list[QueryPrediction]:
        """Predict before and after each layer; the learned queries come first, then the highest peaks."""
        finest, *coarse = pyramid.maps
        cells = fourier_places(cell_centres(finest.shape[-2], finest.shape[-1]).to(finest))
        places = cells.T.unflatten(1, finest.shape[-2:]).expand(len(finest), -1, -1, -1)
        levels, fine = self.pixel_decoder([torch.cat([finest, places], dim=1), *coarse])
        fine = fine + self.fine_place(cells).T.unflatten(1, finest.shape[-2:])
        keys = [self._positions(x) for x in levels]
        return self.query_decoder(levels, keys, fine, self._queries(pyramid.heat, levels[-1], fine))

    def _positions(self, level: Tensor) -> Tensor:
        rows, columns = level.shape[-2:]
        return self.place(fourier_places(cell_centres(rows, columns).to(level))).T.unflatten(1, (rows, columns))

    def _queries(self, heat: Tensor, level: Tensor, fine: Tensor) -> StartingQueries:
        """Learned queries, and one for each peak: its content from both maps there, its position its place."""
        places, values = peaks_of(heat, self.config.proposed)
        encoded = fourier_places(places)
        seen = [
            values_at(x.flatten(0, 1), places.repeat_interleave(x.shape[1], dim=0)).unflatten(0, x.shape[:2])
            for x in (level, fine)
        ]
        content = self.proposal(torch.cat([*(x.transpose(1, 2) for x in seen), encoded, values[..., None]], dim=-1))
        known = self.query_place.weight.sigmoid().expand(len(heat), -1, -1)
        learned = self.query_content.weight.expand(len(heat), -1, -1)
        places = torch.cat([known, places], dim=1)
        content = torch.cat([learned.to(content), content], dim=1)
        return StartingQueries(content, self.place(fourier_places(places)), places)
