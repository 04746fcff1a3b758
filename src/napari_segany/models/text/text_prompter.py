"""Texts: what a segmenter needs to be prompted by text. Towers, head and a decoder that has learned of text tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from napari_segany.core.errors import ModelError
from napari_segany.core.text_query import ATTRIBUTES, MODALITIES, Phrase, Vocabulary, normalise_text
from napari_segany.models.text.clip import EMBEDDED, Clip, embedded_folder, load_clip, read_vocabulary
from napari_segany.models.text.prompt_head import TextPromptHead, rough_mask
from napari_segany.models.weights import load_state


class TextPath(StrEnum):
    """How a text alone enters a model."""

    TOKENS = "tokens"
    """As tokens of the sparse prompt path (Kirillov et al. 2023, section 7.5)."""
    MAP = "map"
    """As a map of relevance: a mask prompt, or the foreground of the dense heads where a model has them."""
    BOTH = "both"
    """As tokens, with the map as a mask prompt."""
    NONE = "none"
    """As tokens that are all zero: what the decoder finds without the text. For measurements."""


HEAD, DECODER = "head.", "decoder."
"""What the names of weights in a file begin with."""


@dataclass(frozen=True, slots=True, eq=False)
class TextMatch:
    """Where something that was named seems to be in a picture.

    Parameters
    ----------
    relevance : ndarray
        (h, w) float32, 0 to 1 for each cell of the image embedding; padding is 0.
    presence : float
        0 to 1, whether it is there at all.
    """

    relevance: np.ndarray
    presence: float


class TextPrompter:
    """Texts for one model.

    Parameters
    ----------
    clip : callable
        Makes the CLIP; called when a text is first used, so that open_clip is not needed before.
    head : TextPromptHead
        Vectors to tokens.
    decoder : nn.Module
        A mask decoder that was trained with the head; it takes the place of the model's own where there is text.
    device : torch.device
        Where the model computes.
    path : TextPath
        How texts alone enter the model.
    pictures : mapping of str to ndarray, optional
        Names that stand for crops of objects, with the mean vector (d,) of these; see :meth:`with_pictures`.
    """

    def __init__(
        self,
        clip: Callable[[], Clip],
        head: TextPromptHead,
        decoder: nn.Module,
        device: torch.device,
        path: TextPath = TextPath.MAP,
        pictures: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self._make = clip
        self.path = path
        self.pictures = dict(pictures or {})
        self.device = device
        self.head = head.to(device).eval().requires_grad_(False)
        self.decoder = decoder.to(device).eval().requires_grad_(False)

    def with_path(self, path: TextPath) -> TextPrompter:
        """Return the same prompts by another path."""
        return TextPrompter(lambda: self.clip, self.head, self.decoder, self.device, path, self.pictures)

    def with_pictures(self, crops: Mapping[str, np.ndarray]) -> TextPrompter:
        """Return the same prompts with names that stand for crops of objects, as the head was trained.

        Parameters
        ----------
        crops : mapping of str to ndarray
            Vectors (n, d) of crops by name, from :meth:`~napari_segany.models.text.clip.Clip.crop_vectors`. The name
            may be any word; one of the vocabulary means the crops instead.
        """
        means = {normalise_text(name): vectors.mean(axis=0) for name, vectors in crops.items()}
        pictures = {**self.pictures, **{name: mean / np.linalg.norm(mean) for name, mean in means.items()}}
        return TextPrompter(lambda: self.clip, self.head, self.decoder, self.device, self.path, pictures)

    @cached_property
    def clip(self) -> Clip:
        """The towers; loading them takes a second, and an error says what to install."""
        return self._make()

    @property
    def vocabulary(self) -> Vocabulary | None:
        """Words that can be used; None for any."""
        return self.clip.vocabulary

    def phrases(self, text: str) -> list[Phrase]:
        """What a text asks for; see :meth:`~napari_segany.models.text.clip.Clip.phrases`."""
        name = normalise_text(text)
        return [Phrase(name)] if name in self.pictures else self.clip.phrases(text)

    def vectors(self, phrases: list[Phrase]) -> Tensor:
        """Centred vectors of what is named, (B, d). Attributes select among objects and do not change it."""
        return torch.cat([self._vector(phrase) for phrase in phrases])

    def _vector(self, phrase: Phrase) -> Tensor:
        picture = self.pictures.get(phrase.name)
        found = self.clip.name_vector(phrase.name, (), phrase.modality) if picture is None else picture
        centred: Tensor = self.head.centred(
            torch.from_numpy(np.asarray(found, np.float32))[None].to(self.device), image=picture is not None
        )
        return centred

    def tokens(self, phrases: list[Phrase]) -> Tensor:
        """Prompt tokens (B, T, C)."""
        tokens: Tensor = self.head(self.vectors(phrases))
        return torch.zeros_like(tokens) if self.path is TextPath.NONE else tokens

    @torch.inference_mode()
    def rough(
        self, phrases: list[Phrase], image_embed: Tensor, cells: tuple[int, int], size: tuple[int, int]
    ) -> Tensor:
        """Mask prompts (B, 1, *size) that go with texts alone; see :func:`~.text_prompt.rough_mask`."""
        valid = _valid(image_embed, cells)
        relevance, _ = self.head.found(self.vectors(phrases), image_embed, valid)
        return rough_mask(relevance, valid, size)

    @torch.inference_mode()
    def found(self, phrase: Phrase, image_embed: Tensor, cells: tuple[int, int], scene_share: float = 0.0) -> TextMatch:
        """Where a phrase is.

        Parameters
        ----------
        phrase : Phrase
            What is asked for. What it must not be lowers the map where that is likelier.
        image_embed : Tensor
            (1, C, h, w).
        cells : tuple of int
            Rows and columns of the embedding that are picture.
        scene_share : float
            What the kind of picture has to say of the presence, next to what is seen.
        """
        valid = _valid(image_embed, cells)
        names = [phrase, *(Phrase(name) for name in phrase.avoided)]
        relevance, presence = self.head.found_in_scene(self.vectors(names), image_embed, valid, scene_share)
        likely = relevance.sigmoid() * valid
        if len(names) > 1:
            likely[0] *= (likely[0] >= likely[1:].amax(0)).float()
        return TextMatch(likely[0].cpu().numpy(), float(presence[0].sigmoid()))


def _valid(image_embed: Tensor, cells: tuple[int, int]) -> Tensor:
    valid = torch.zeros(1, *image_embed.shape[-2:], dtype=torch.bool, device=image_embed.device)
    valid[:, : cells[0], : cells[1]] = True
    return valid


def embedded_info() -> dict[str, str]:
    """Return the facts about the text prompts in the wheel, by heading."""
    vocabulary = read_vocabulary(embedded_folder()) if embedded_folder().is_dir() else None
    terms = () if vocabulary is None else tuple(vocabulary.terms.values())
    there = "there" if text_file().is_file() and terms else "not in this package"
    return {
        "model": EMBEDDED,
        "architecture": "a small CLIP of open_clip, and a head and a decoder for `tiny`",
        "made for": "microscopy; names of photographs are known roughly",
        "size": "in the package",
        "licence": "BSD-3-Clause",
        "cite": "the text prompts of napari-segany, after Kirillov et al. 2023, arXiv:2304.02643",
        "knows": "; ".join(f"{term.name} ({', '.join(term.words[1:])})" for term in terms),
        "attributes": "; ".join(f"{name} ({', '.join(words)})" for name, words in ATTRIBUTES.items()),
        "pictures": ", ".join(MODALITIES),
        "other words": "are refused, with the nearest known names",
        "files": f"{embedded_folder()}, {text_file().name} ({there})",
    }


def head_info(path: Path) -> dict[str, str]:
    """Return the facts about a text head that ``train text`` wrote, by heading.

    Raises
    ------
    ModelError
        The file is no text head.
    """
    about = _about(path)
    name = str(about.get("clip", EMBEDDED))
    folder = embedded_folder() if name == EMBEDDED else Path(name).expanduser()
    vocabulary = read_vocabulary(folder) if folder.is_dir() else None
    return {
        "text head": str(path),
        "model": str(about.get("model", "the one that it was trained with; not written down")),
        "clip": name,
        "path": str(about.get("path", TextPath.MAP)),
        "vocabulary": "any word" if vocabulary is None else f"closed: {', '.join(vocabulary.names)}",
    }


def _about(path: Path) -> dict[str, Any]:
    """What is written in a text head about itself."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["text"])
        return {**about, "vector_dim": int(about["vector_dim"]), "embed_dim": int(about["embed_dim"])}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ModelError(f"{path} holds no text prompts: {reason}") from error


def text_file() -> Path:
    """Where the head and the decoder of the embedded model lie."""
    return embedded_folder().with_suffix(".safetensors")


def load_text_prompter(decoder: nn.Module, path: Path, device: torch.device) -> TextPrompter:
    """Read a head and its decoder.

    Parameters
    ----------
    decoder : nn.Module
        Of the architecture that the head was trained next to; it is filled with the file's weights.
    path : Path
        A file that ``train text`` wrote.
    device : torch.device
        Where to compute.

    Raises
    ------
    ModelError
        The file cannot be read, or does not fit the model.
    """
    state = load_state(path)
    try:
        about = _about(path)
        head = TextPromptHead(about["vector_dim"], about["embed_dim"], int(about["tokens"]))
        weights = _part(state, HEAD)
        if "memory" in weights:
            head.remember(weights["memory"])
        text_path = TextPath(about.get("path", TextPath.MAP))
        head.load_state_dict(weights)
        decoder.load_state_dict(_part(state, DECODER))
    except (ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ModelError(f"{path} holds no text prompts for this model: {reason}") from error
    name = str(about.get("clip", EMBEDDED))
    return TextPrompter(lambda: load_clip(name, device), head, decoder, device, text_path)


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value.float() for name, value in state.items() if name.startswith(prefix)}
