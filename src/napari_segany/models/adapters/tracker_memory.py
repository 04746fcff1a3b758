"""The memory of SAM 2, EdgeTAM and SAM 3: an object predicted on each slice from the slices before.

The library's own model and session compute; the features come from embeddings, so that slices need not be in memory.
Each object has a session of its own: there, objects are computed one by one, and the prompts of one change how the
memory of another on the same slice is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_segany.core.masks import Mask
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.models.adapters.hub_folder import load_library
from napari_segany.models.geometry import Frame, mask_in_frame, plane_masks
from napari_segany.models.sam_segmenter import masks_of

MAPS = "image_embed_"
"""Beginning of the names of the maps in an embedding, from the finest to the coarsest."""
OBJECT = 1
"""Name of the only object of a session."""
_LARGE = ("high_res_masks", "pred_masks")
"""What a session keeps of each slice and no later slice needs."""


@dataclass(frozen=True, slots=True, eq=False)
class TrackerModel:
    """A model with memory, and what all of its memories share.

    Parameters
    ----------
    model : Module
        Of `transformers`, without an image encoder of its own.
    session_class : type
        Of its sessions.
    positions : Tensor
        (h w, 1, C), position encoding of the coarsest map.
    side : int
        Of the model's frame in pixels.
    device : torch.device
        Where it computes.
    """

    model: Any
    session_class: Any
    positions: Tensor
    side: int
    device: torch.device

    @classmethod
    def of(cls, video: Any, image: Any, device: torch.device) -> TrackerModel:
        """A model with the image encoder of another one, which makes the embeddings."""
        video.vision_encoder = image.vision_encoder
        video = video.to(device)
        rows, columns = video.backbone_feature_sizes[-1]
        shape = torch.Size((1, int(video.hidden_dim), int(rows), int(columns)))
        found = image.vision_encoder.neck.position_encoding(shape, device, torch.float32)
        kind = type(video).__name__.removesuffix("Model") + "InferenceSession"
        return cls(
            video, getattr(load_library(), kind), _flat(found), int(video.prompt_encoder.input_image_size), device
        )


class TrackerMemory:
    """What the model remembers of one object; see :class:`~napari_segany.core.object_memory.ObjectMemory`.

    Parameters
    ----------
    tracker : TrackerModel
        The model.
    length : int
        How many places there are.
    """

    def __init__(self, tracker: TrackerModel, length: int) -> None:
        self._tracker = tracker
        where = dict.fromkeys(("inference_device", "inference_state_device", "video_storage_device"), tracker.device)
        self._session = tracker.session_class(**where, dtype=torch.float32)
        # (it counts the slices, and would read them where it had no features)
        self._session.processed_frames = dict.fromkeys(range(length))
        self._number = self._session.obj_id_to_idx(OBJECT)
        self._given: list[int] = []

    def give(self, place: int, embedding: ImageEmbedding, pixels: np.ndarray) -> None:
        """Remember the mask (y, x) bool that the object has at a place."""
        mask = mask_in_frame(pixels, Frame(embedding.shape, self._tracker.side, stretched=True))
        self._session.add_mask_inputs(self._number, place, mask[None])
        self._session.remove_point_inputs(self._number, place)
        self._session.obj_with_new_inputs = [OBJECT]
        self._run(place, embedding, backward=False)
        self._given.append(place)
        self._forget(self._outputs("cond_frame_outputs")[place])

    def step(self, place: int, embedding: ImageEmbedding, *, backward: bool) -> Mask:
        """Predict the object at the place next to the last one, and remember it."""
        logits, iou = self._run(place, embedding, backward=backward)
        self._forget_far(place)
        frame = Frame(embedding.shape, int(logits.shape[-1]), stretched=True)
        pixels, stability = plane_masks(logits, frame)
        return masks_of(pixels, iou, logits, stability)[0]

    @torch.inference_mode()
    def _run(self, place: int, embedding: ImageEmbedding, *, backward: bool) -> tuple[Tensor, Tensor]:
        """Logits (1, h, w) and predicted IoU (1,) at a place."""
        # The library's cache of features drops the smallest place, not the oldest: it never holds more than one here.
        self._session.cache.clear_all()
        features = [_flat(each) for each in self._maps(embedding)]
        known = {"vision_feats": features, "vision_pos_embeds": [self._tracker.positions]}
        self._session.cache.cache_vision_features(place, known)
        seen: list[Tensor] = []
        # (the session keeps no predicted IoU)
        hook = self._tracker.model.mask_decoder.register_forward_hook(lambda *given: seen.append(given[-1][1]))
        try:
            answer = self._tracker.model(self._session, frame_idx=place, reverse=backward)
        finally:
            hook.remove()
            self._session.cache.clear_all()
        best = seen[-1].float().amax().reshape(1) if seen else torch.ones(1)
        return answer.pred_masks[0].float(), best

    def _maps(self, embedding: ImageEmbedding) -> Sequence[Tensor]:
        ready = (torch.tensor(array) for name, array in embedding.features.items() if name.startswith(MAPS))
        return [each.to(self._tracker.device, torch.float32) for each in ready]

    def _outputs(self, kind: str) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = self._session.output_dict_per_obj[self._number][kind]
        return found

    def _forget(self, output: dict[str, Any]) -> None:
        for name in _LARGE:
            output.pop(name, None)
        first, own = self._outputs("cond_frame_outputs")[self._given[0]]["maskmem_pos_enc"], output["maskmem_pos_enc"]
        # one encoding of positions for all slices
        if torch.equal(first, own):
            output["maskmem_pos_enc"] = first

    def _forget_far(self, place: int) -> None:
        """Drop what the library would not look at any more, on the way on or on the way back from a given place."""
        outputs, model = self._outputs("non_cond_frame_outputs"), self._tracker.model
        self._forget(outputs[place])
        pointers, maps = int(model.config.max_object_pointers_in_encoder), int(model.num_maskmem)
        for other in list(outputs):
            near = min(abs(other - each) for each in (place, *self._given))
            if near >= max(pointers, maps):
                del outputs[other]
                self._session.frames_tracked_per_obj[self._number].pop(other, None)
            elif near >= maps:
                # only its pointer counts, and a slice without a map is skipped nowhere
                for name in ("maskmem_features", "maskmem_pos_enc"):
                    outputs[other].pop(name, None)


def _flat(features: Tensor) -> Tensor:
    """(1, C, h, w) -> (h w, 1, C)."""
    return features.flatten(2).permute(2, 0, 1)
