"""Mask2Former with a backbone: a picture to classes and masks."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from napari_segany.models.mask2former.pixel_decoder import PixelDecoder, PixelDecoderConfig
from napari_segany.models.mask2former.position_encodings import sine_positions
from napari_segany.models.mask2former.query_decoder import (
    QueryDecoder,
    QueryDecoderConfig,
    QueryPrediction,
    StartingQueries,
)


class Backbone(Protocol):
    """A network that gives four maps, as those of ``transformers.AutoBackbone``."""

    def __call__(self, pixels: Tensor) -> object:
        """(B, 3, h, w) -> an object whose ``feature_maps`` are four maps, the finest first."""


class Mask2Former(nn.Module):
    """Backbone, pixel decoder and queries that are learned.

    Parameters
    ----------
    backbone : nn.Module
        A :class:`Backbone` with strides of 4, 8, 16 and 32.
    pixels : PixelDecoderConfig
        Sizes of the pixel decoder.
    decoder : QueryDecoderConfig
        Sizes of the query decoder.
    queries : int
        Q.
    """

    def __init__(
        self, backbone: nn.Module, pixels: PixelDecoderConfig, decoder: QueryDecoderConfig, queries: int = 100
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pixel_decoder = PixelDecoder(pixels)
        self.query_decoder = QueryDecoder(decoder)
        self.query_content = nn.Embedding(queries, decoder.channels)
        self.query_position = nn.Embedding(queries, decoder.channels)

    def forward(self, pixels: Tensor) -> list[QueryPrediction]:
        """(B, 3, h, w), normalised as the backbone wants it -> predictions before and after each layer."""
        levels, fine = self.pixel_decoder(self.backbone(pixels).feature_maps)
        content, position = (
            each.weight.expand(len(pixels), -1, -1) for each in (self.query_content, self.query_position)
        )
        channels = self.query_decoder.config.channels
        places = [sine_positions(x.shape[-2], x.shape[-1], channels).to(x) for x in levels]
        return self.query_decoder(levels, places, fine, StartingQueries(content, position))

    @torch.inference_mode()
    def last(self, pixels: Tensor) -> QueryPrediction:
        """The prediction of the last layer alone, without gradients."""
        return self(pixels)[-1]
