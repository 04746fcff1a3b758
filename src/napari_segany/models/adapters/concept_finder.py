"""The detector of SAM 3: all objects that a text names, or that are like those in example boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_segany.core.errors import ModelError
from napari_segany.core.prompts import ExampleBox
from napari_segany.models.adapters.hub_folder import HubFolder, load_library
from napari_segany.models.geometry import relative_boxes

TOKENS = 32
"""Of a text, padded."""
LIKE = "visual"
"""The text that the authors give where example boxes stand alone."""
_TOKENIZERS = ("tokenizer.json", "vocab.json")


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What the detector finds on a plane, the highest score first.

    Parameters
    ----------
    logits : Tensor
        (n, h, w) of the model's frame.
    scores : Tensor
        (n,) from 0 to 1: the score of each, times the probability that there is such an object at all.
    """

    logits: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def at_least(self, score: float) -> Detections:
        """Those with a higher score."""
        good = self.scores > score
        return Detections(self.logits[good], self.scores[good])


def holds_tokenizer(folder: HubFolder) -> bool:
    """Whether a folder has what reads texts."""
    return any((folder.path / name).is_file() for name in _TOKENIZERS)


class ConceptFinder:
    """Finds objects on the output of the image encoder.

    Parameters
    ----------
    detector : Module
        ``Sam3Model`` of `transformers`.
    tokenizer : callable
        What turns texts into tokens.
    device : torch.device
        Where to compute.
    """

    def __init__(self, detector: Any, tokenizer: Any, device: torch.device) -> None:
        self._detector, self._tokenizer, self._device = detector.to(device), tokenizer, device
        self._texts: dict[str, tuple[Tensor, Tensor]] = {}

    @classmethod
    def load(cls, folder: HubFolder, backbone: Any, device: torch.device) -> ConceptFinder:
        """Load the detector of a folder, with an image encoder that is there already.

        Raises
        ------
        ModelError
            It cannot be loaded, or its tokenizer cannot.
        """
        detector: Any = folder.load("Sam3Model")
        detector.vision_encoder.backbone = backbone
        return cls.of(folder, detector, device)

    @classmethod
    def of(cls, folder: HubFolder, detector: Any, device: torch.device) -> ConceptFinder:
        """The same with a detector that is loaded already.

        Raises
        ------
        ModelError
            Its tokenizer cannot be loaded.
        """
        try:
            tokenizer = load_library().AutoTokenizer.from_pretrained(folder.path, local_files_only=True)
        except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{folder.path}: no tokenizer can be loaded: {reason}") from error
        return cls(detector, tokenizer, device)

    @torch.inference_mode()
    def encode(self, hidden: np.ndarray, shape: tuple[int, int], examples: Sequence[ExampleBox]) -> np.ndarray:
        """Encode example boxes on a plane.

        Parameters
        ----------
        hidden : ndarray
            (1, n, C), what the image encoder gives of the plane.
        shape : tuple of int
            (y, x) of the plane.
        examples : sequence of ExampleBox
            On this plane.

        Returns
        -------
        ndarray
            (m, C) float32; what the detector takes next to a text, on this plane or another one.
        """
        seen, labels = self._seen(hidden), torch.tensor([[int(one.positive) for one in examples]], device=self._device)
        encoded = self._detector.geometry_encoder(
            box_embeddings=relative_boxes([one.box for one in examples], shape).to(self._device),
            box_mask=torch.ones_like(labels, dtype=torch.bool),
            box_labels=labels,
            # without the coarsest map, as the detector does
            img_feats=seen.fpn_hidden_states[:-1],
            img_pos_embeds=seen.fpn_position_encoding[:-1],
        )
        features: np.ndarray = encoded.last_hidden_state[0].float().cpu().numpy()
        return features

    @torch.inference_mode()
    def find(self, hidden: np.ndarray, text: str = "", encoded: np.ndarray | None = None) -> Detections:
        """Find all objects of a text, of example boxes, or of both.

        Parameters
        ----------
        hidden : ndarray
            (1, n, C), what the image encoder gives.
        text : str
            Name of the objects.
        encoded : ndarray, optional
            Example boxes, from :meth:`encode`.
        """
        mask, prompt = self._text(text or LIKE)
        if encoded is not None:
            boxes = torch.from_numpy(encoded)[None].to(self._device)
            prompt = torch.cat([prompt, boxes.to(prompt.dtype)], dim=1)
            mask = torch.cat([mask, mask.new_ones((1, boxes.shape[1]))], dim=1)
        found = self._detector(
            vision_embeds=self._seen(hidden), text_embeds=SimpleNamespace(pooler_output=prompt), attention_mask=mask
        )
        scores = found.pred_logits[0].sigmoid()
        if found.presence_logits is not None:
            scores = scores * found.presence_logits[0].sigmoid()
        order = torch.argsort(scores, descending=True, stable=True)
        return Detections(found.pred_masks[0].float()[order].cpu(), scores.float()[order].cpu())

    def _text(self, text: str) -> tuple[Tensor, Tensor]:
        """(1, n) which tokens count, and (1, n, C) features of a text, which are remembered."""
        if text not in self._texts:
            padding = {"padding": "max_length", "max_length": TOKENS, "truncation": True}
            tokens = self._tokenizer([text], return_tensors="pt", **padding)
            tokens = {name: value.to(self._device) for name, value in tokens.items()}
            given = {name: tokens[name] for name in ("input_ids", "attention_mask")}
            features = self._detector.get_text_features(**given, return_dict=True).pooler_output
            self._texts[text] = given["attention_mask"], features
        return self._texts[text]

    def _seen(self, hidden: np.ndarray) -> Any:
        """The maps of the detector's own neck."""
        values = torch.tensor(hidden).to(self._device, torch.float32)
        encoder = self._detector.vision_encoder
        side = round(values.shape[1] ** 0.5)
        maps, positions = encoder.neck(values.view(1, side, side, -1).permute(0, 3, 1, 2))
        kind = load_library().models.sam3.modeling_sam3.Sam3VisionEncoderOutput
        return kind(last_hidden_state=values, fpn_hidden_states=maps, fpn_position_encoding=positions)
