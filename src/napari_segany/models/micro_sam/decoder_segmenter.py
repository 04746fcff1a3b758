"""A SAM with micro-sam's decoder: it finds objects by itself, and takes the same prompts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from napari_segany.core.automatic_masks import FoundObject
from napari_segany.core.filters import Filters
from napari_segany.core.masks import Mask, windows_of
from napari_segany.core.prompts import Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding
from napari_segany.core.simulate import centre_point
from napari_segany.models.geometry import Frame, mask_logits
from napari_segany.models.inference_config import InferenceConfig
from napari_segany.models.micro_sam.instance_readout import (
    DecodedMaps,
    ReadoutConfig,
    clicks_of,
    mean_foreground,
    segment_instances,
)
from napari_segany.models.micro_sam.unetr_decoder import UnetrDecoder
from napari_segany.models.sam.model import Sam
from napari_segany.models.sam_segmenter import SamSegmenter

AIS = Filters(score=0.5, stability=0.0, box_overlap=1.0)
"""The decoder's objects do not overlap, however their boxes do."""
SURE = 1 / (1 + math.exp(-1))
"""Probability with a logit of 1, as masks are called stable by their logits."""
APG = Filters(score=0.5, stability=0.5, box_overlap=0.9)


class DecoderSegmenter(SamSegmenter):
    """Segmenter whose automatic masks come from a decoder.

    Parameters
    ----------
    model : Sam
        The SAM that the decoder was trained with.
    decoder : UnetrDecoder
        Of the same embedding.
    name : str
        Embeddings carry it.
    place : tuple of torch.device and torch.dtype
        Where to compute, and what the image encoder computes in; the decoder computes in float32.

    Notes
    -----
    It draws the decoder's objects (automatic instance segmentation), and proposes a click on each of them (automatic
    prompts); :class:`~napari_segany.core.automatic_masks.Proposals` in a query chooses the latter.
    """

    def __init__(
        self,
        model: Sam,
        decoder: UnetrDecoder,
        name: str,
        place: tuple[torch.device, torch.dtype],
    ) -> None:
        super().__init__(model, name, *place, config=InferenceConfig(filters=AIS))
        self.decoder = decoder.to(self.device).eval().requires_grad_(False)
        self.readout = ReadoutConfig()
        self._decoded: tuple[np.ndarray, DecodedMaps] | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities in addition to points, boxes and masks."""
        return replace(super().capabilities, draws=True, proposals=True, proposal_filters=APG)

    @torch.inference_mode()
    def maps(self, embedding: ImageEmbedding) -> DecodedMaps:
        """Decode the maps of a plane; those of the last one are remembered."""
        known = embedding.features["image_embed"]
        if self._decoded is None or self._decoded[0] is not known:
            frame = Frame(embedding.shape, self.model.image_size)
            found = self.decoder(torch.tensor(known).float().to(self.device))
            if found.shape[-1] != frame.side:
                found = F.interpolate(found, (frame.side, frame.side), mode="bilinear", align_corners=False)
            rows, columns = frame.resized
            found = F.interpolate(found[..., :rows, :columns], embedding.shape, mode="bilinear", align_corners=False)
            self._decoded = known, DecodedMaps(*found[0].cpu().numpy())
        return self._decoded[1]

    def found_objects(self, embedding: ImageEmbedding) -> Iterator[FoundObject]:
        """Objects of the seeded watershed; see :class:`~napari_segany.core.automatic_masks.DrawsObjects`.

        The score of each is its mean probability of foreground, its stability the share where that is sure.
        """
        maps = self.maps(embedding)
        labels = segment_instances(maps, self.readout)
        scores = mean_foreground(maps, labels)
        frame = Frame(embedding.shape, self.model.image_size)
        windows = windows_of(labels)
        for number in sorted(windows, key=lambda one: -scores[one]):
            (rows, columns), inside = windows[number]
            pixels = np.zeros(embedding.shape, bool)
            pixels[rows, columns] = inside
            low = mask_logits(pixels, frame, self.model.mask_size)[0].numpy()
            point = centre_point(np.pad(inside, 1))
            point = replace(point, y=point.y - 1 + rows.start, x=point.x - 1 + columns.start)
            steady = float(np.mean(maps.foreground[rows, columns][inside] > SURE))
            yield FoundObject(Mask(pixels, min(max(scores[number], 0.0), 1.0), low, steady), point)

    def seeds(self, embedding: ImageEmbedding) -> list[Prompt]:
        """A click on each object; see :class:`~napari_segany.core.automatic_masks.ProposesObjects`."""
        return [Prompt((point,)) for point in clicks_of(self.maps(embedding), self.readout)]
