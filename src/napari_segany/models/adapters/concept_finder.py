"""The detector of SAM 3: all objects that a text names, or that are like those in example boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_segany.core.errors import ModelError
from napari_segany.core.prompts import Box
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


@dataclass(frozen=True, slots=True)
class Example:
    """A box around an object that is like those to find, or unlike them.

    Parameters
    ----------
    box : Box
        In pixels of the plane.
    positive : bool
        Whether it is like them.
    """

    box: Box
    positive: bool = True


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
        self._texts: dict[str, Any] = {}

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
        try:
            tokenizer = load_library().AutoTokenizer.from_pretrained(folder.path, local_files_only=True)
        except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{folder.path}: no tokenizer can be loaded: {reason}") from error
        return cls(detector, tokenizer, device)

    @torch.inference_mode()
    def find(
        self, hidden: np.ndarray, shape: tuple[int, int], text: str = "", examples: Sequence[Example] = ()
    ) -> Detections:
        """Find all objects of a text, of example boxes, or of both.

        Parameters
        ----------
        hidden : ndarray
            (1, n, C), what the image encoder gives.
        shape : tuple of int
            (y, x) of the plane.
        text : str
            Name of the objects.
        examples : sequence of Example
            On this plane.
        """
        tokens, embedded = self._text(text or LIKE)
        boxes: dict[str, Tensor] = {}
        if examples:
            labels = torch.tensor([[int(one.positive) for one in examples]])
            given = {"input_boxes": relative_boxes([one.box for one in examples], shape), "input_boxes_labels": labels}
            boxes = {name: value.to(self._device) for name, value in given.items()}
        found = self._detector(
            vision_embeds=self._seen(hidden), text_embeds=embedded, attention_mask=tokens["attention_mask"], **boxes
        )
        scores = found.pred_logits[0].sigmoid()
        if found.presence_logits is not None:
            scores = scores * found.presence_logits[0].sigmoid()
        order = torch.argsort(scores, descending=True, stable=True)
        return Detections(found.pred_masks[0].float()[order].cpu(), scores.float()[order].cpu())

    def _text(self, text: str) -> tuple[Any, Any]:
        """Tokens and features of a text, which are remembered."""
        if text not in self._texts:
            padding = {"padding": "max_length", "max_length": TOKENS, "truncation": True}
            tokens = self._tokenizer([text], return_tensors="pt", **padding)
            tokens = {name: value.to(self._device) for name, value in tokens.items()}
            given = {name: tokens[name] for name in ("input_ids", "attention_mask")}
            self._texts[text] = given, self._detector.get_text_features(**given, return_dict=True)
        found: tuple[Any, Any] = self._texts[text]
        return found

    def _seen(self, hidden: np.ndarray) -> Any:
        """The maps of the detector's own neck."""
        values = torch.tensor(hidden).to(self._device, torch.float32)
        encoder = self._detector.vision_encoder
        side = round(values.shape[1] ** 0.5)
        maps, positions = encoder.neck(values.view(1, side, side, -1).permute(0, 3, 1, 2))
        kind = load_library().models.sam3.modeling_sam3.Sam3VisionEncoderOutput
        return kind(last_hidden_state=values, fpn_hidden_states=maps, fpn_position_encoding=positions)
