"""A published Mask2Former as a Segmenter: it finds, draws and names objects; prompts choose among them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pooch
import torch
import torch.nn.functional as F
from PIL import Image

from napari_segany.core.arguments import check_each, check_type
from napari_segany.core.automatic_masks import FoundObject
from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.filters import Filters
from napari_segany.core.masks import Mask, box_of
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding, check_plane
from napari_segany.models.mask2former.published import WEIGHTS, PublishedInput, load_published
from napari_segany.models.mask2former.query_decoder import QueryPrediction
from napari_segany.models.mask2former.readouts import Instances, read_instances
from napari_segany.models.mask2former.universal import Mask2Former

FILTERS = Filters(score=0.5, stability=0.0, box_overlap=0.95)
"""Objects of published checkpoints are shown from this score on by their authors, and do not repeat each other."""
PREFIX = "mask2former:"
"""In front of the folder of a published checkpoint, where a model is named."""
DIVISOR = 32
"""Pixels of which the sides of a picture are a multiple; padded with the mean colour."""
MASK_STRIDE = 4
"""Pixels of the resized picture in a cell of the masks."""
LEAST = 0.05
"""Score below which a query is no object, however well a prompt fits it."""


class Mask2FormerSegmenter:
    """Finds objects with their classes; a prompt gets the found objects that fit it best.

    Parameters
    ----------
    model : Mask2Former
        Moved to `device` and put into evaluation mode.
    classes : tuple of str
        Names of its classes.
    wanted : PublishedInput
        What it wants of a picture.
    name : str
        Embeddings carry it.
    device : str or torch.device
        Where to compute.
    """

    def __init__(
        self,
        model: Mask2Former,
        classes: tuple[str, ...],
        wanted: PublishedInput,
        name: str,
        device: str | torch.device = "cpu",
    ) -> None:
        self.name, self.classes, self.wanted = name, classes, wanted
        self.device = torch.device(device)
        self.model = model.to(self.device, torch.float32).eval().requires_grad_(False)

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities in addition to points, boxes and masks."""
        return Capabilities(draws=True, filters=FILTERS, device=str(self.device))

    def embed(self, plane: np.ndarray) -> ImageEmbedding:
        """Predict all objects of a plane; see :meth:`~napari_segany.core.segmenter.Segmenter.embed`.

        Raises
        ------
        InputError
            The plane has another type or shape.
        """
        check_plane(plane)
        height, width = plane.shape[:2]
        rows, columns = resized_shape((height, width), self.wanted)
        picture = Image.fromarray(np.ascontiguousarray(plane)).resize((columns, rows), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float().to(self.device) / 255
        mean, deviation = (pixels.new_tensor(each)[:, None, None] for each in (self.wanted.mean, self.wanted.deviation))
        padding = (0, -columns % DIVISOR, 0, -rows % DIVISOR)
        found = self.model.last(F.pad((pixels - mean) / deviation, padding))
        arrays = {"classes": found.classes, "masks": found.masks}
        kept = {key: value.float().cpu().numpy() for key, value in arrays.items()}
        return ImageEmbedding(kept, (height, width), self.name)

    def found_objects(self, embedding: ImageEmbedding) -> Iterator[FoundObject]:
        """Objects with their masks and classes, the highest score first; see ``core.automatic_masks.DrawsObjects``."""
        instances = self._instances(embedding)
        for number, name in enumerate(instances.classes.tolist()):
            mask = self._mask(instances, number, embedding.shape)
            if mask.pixels.any():
                yield FoundObject(mask, point_inside(mask.pixels), self.classes[name])

    def segment(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        *,
        candidates: int | None = None,
        at_least: float = -math.inf,
    ) -> list[list[Mask]]:
        """Return the found objects that fit each prompt; parameters as of the protocol.

        An object fits when all positive points and no negative ones lie in it; among those the one comes first whose
        score times overlap with the box or mask of the prompt is highest. Where none fits, the mask is empty.

        Raises
        ------
        InputError
            The embedding is another model's, or a prompt is empty.
        ModelError
            A prompt holds text.
        """
        check_type(embedding, ImageEmbedding, "embedding")
        check_each(prompts, Prompt, "prompts")
        if embedding.model != self.name:
            raise InputError(f"this embedding was made by {embedding.model!r}, not by {self.name!r}")
        if candidates is not None and candidates not in (1, 3):
            raise InputError(f"candidates must be 1, 3 or None, got {candidates!r}")
        if any(prompt.text.strip() for prompt in prompts):
            raise ModelError(f"the model {self.name!r} takes points, boxes and masks, but no text")
        instances = self._instances(embedding)
        masks = [self._mask(instances, one, embedding.shape) for one in range(len(instances.scores))]
        predictions = []
        for prompt in (one.on_plane(embedding.shape) for one in prompts):
            fits = sorted(((fit(mask, prompt), k) for k, mask in enumerate(masks)), key=lambda pair: -pair[0])
            count = candidates or (3 if prompt.ambiguous else 1)
            good = [masks[k] for value, k in fits[:count] if value > 0 and masks[k].score >= at_least]
            predictions.append(good or ([self._nothing(embedding)] if at_least == -math.inf else []))
        return predictions

    def _instances(self, embedding: ImageEmbedding) -> Instances:
        classes, masks = (torch.as_tensor(embedding.features[name]).float() for name in ("classes", "masks"))
        rows, columns = resized_shape(embedding.shape, self.wanted)
        # what lies in the padding is no part of the plane
        inside = masks[..., : math.ceil(rows / MASK_STRIDE), : math.ceil(columns / MASK_STRIDE)]
        return read_instances(QueryPrediction(classes, inside), at_least=LEAST)

    def _mask(self, instances: Instances, number: int, shape: tuple[int, int]) -> Mask:
        logits = instances.masks[number]
        rows, columns = resized_shape(shape, self.wanted)
        fine = F.interpolate(logits[None, None], scale_factor=MASK_STRIDE, mode="bilinear", align_corners=False)
        plane = F.interpolate(fine[..., :rows, :columns], size=shape, mode="bilinear", align_corners=False)[0, 0]
        steady = int((plane > 1).sum()) / max(int((plane > -1).sum()), 1)
        return Mask((plane > 0).numpy(), float(instances.scores[number]), logits.numpy(), steady)

    def _nothing(self, embedding: ImageEmbedding) -> Mask:
        low = np.full(embedding.features["masks"].shape[-2:], -10, np.float32)
        return Mask(np.zeros(embedding.shape, bool), 0.0, low, 0.0)


def resized_shape(plane: tuple[int, int], wanted: PublishedInput) -> tuple[int, int]:
    """(y, x) that a plane is resized to: its shortest side as wanted, unless the longest would be too long."""
    scale = min(wanted.shortest / min(plane), wanted.longest / max(plane))
    height, width = (max(1, round(length * scale)) for length in plane)
    return height, width


def point_inside(pixels: np.ndarray) -> Point:
    """The pixel of a mask that is nearest to its middle."""
    rows, columns = np.nonzero(pixels)
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return Point(float(rows[nearest]), float(columns[nearest]))


def fit(mask: Mask, prompt: Prompt) -> float:
    """How well a found object fits a prompt, times its score; 0 where it does not."""
    height, width = mask.pixels.shape
    for point in prompt.points:
        y, x = (min(max(round(at), 0), length - 1) for at, length in ((point.y, height), (point.x, width)))
        if mask.pixels[y, x] is not np.bool_(point.positive):
            return 0.0
    value = mask.score
    if prompt.box is not None:
        value *= _box_overlap(box_of(mask.pixels), prompt.box)
    if prompt.mask is not None:
        value *= _overlap(mask, prompt.mask)
    return value


def _box_overlap(found: Box | None, given: Box) -> float:
    if found is None:
        return 0.0
    height = min(found.y1, given.y1) - max(found.y0, given.y0) + 1
    width = min(found.x1, given.x1) - max(found.x0, given.x0) + 1
    shared = max(height, 0.0) * max(width, 0.0)
    areas = [(box.y1 - box.y0 + 1) * (box.x1 - box.x0 + 1) for box in (found, given)]
    return shared / (sum(areas) - shared)


def _overlap(mask: Mask, given: np.ndarray) -> float:
    """IoU with a rough mask of the plane, or with logits of an earlier prediction."""
    own = mask.pixels if given.dtype == bool else mask.logits > 0
    other = given if given.dtype == bool else given > 0
    if own.shape != other.shape:
        raise InputError(f"a mask prompt has the shape {given.shape}, and this model's is {own.shape}")
    union = int(np.count_nonzero(own | other))
    return int(np.count_nonzero(own & other)) / union if union else 0.0


def load_mask2former(named: str, device: torch.device) -> Mask2FormerSegmenter:
    """Load ``mask2former:FOLDER``.

    Raises
    ------
    ModelError
        See :func:`~napari_segany.models.mask2former.published.load_published`.
    """
    given = named.removeprefix(PREFIX)
    if not given:
        raise ModelError(f"{PREFIX} needs the folder of a checkpoint after it, {PREFIX}FOLDER")
    folder = Path(given).expanduser()
    model, classes, wanted = load_published(folder)
    weights = next(folder / name for name in WEIGHTS if (folder / name).is_file())
    # embeddings are kept under this name
    digest = pooch.file_hash(str(weights), "xxh128")[:8]
    return Mask2FormerSegmenter(model, classes, wanted, f"mask2former-{folder.resolve().name}-{digest}", device)


def is_mask2former(model: object) -> bool:
    """Whether a model is named as the folder of a published Mask2Former."""
    return isinstance(model, str) and model.startswith(PREFIX)
