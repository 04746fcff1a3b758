"""open_clip's towers, frozen: texts and crops of objects to vectors that can be compared.

open_clip is imported where text is used and nowhere else. Where it is missing or broken, everything but text works.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.planes import Plane, Region
from napari_segany.core.terms import select_terms
from napari_segany.core.text_query import Phrase, Vocabulary, open_phrases, prompt_sentences

EMBEDDED = "tiny-text"
"""The CLIP in the wheel."""
KEPT = 4096
"""Texts whose vectors are kept."""
AT_ONCE = 64
"""Crops that are encoded together."""
VOCABULARY = "vocabulary.json"
"""Of a model's folder: the names that it was trained with."""
VIEWS = ((1.5, False), (1.2, True))
"""Views of an object whose vectors are averaged: side over that of the object's box, and whether all else is black."""

PIXEL_MEAN, PIXEL_STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
"""Of the embedded CLIP; other models of open_clip tell theirs."""


def import_open_clip() -> ModuleType:
    """open_clip itself.

    Raises
    ------
    ModelError
        It cannot be imported; the message says what to install.
    """
    try:
        import open_clip
    # a torchvision that does not fit torch fails with a RuntimeError, a broken shared library with an OSError
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ModelError(
            f"text needs open_clip, which cannot be imported ({reason}); install it with: pip install open-clip-torch, "
            "together with the torchvision that belongs to your torch"
        ) from error
    return open_clip


def embedded_folder() -> Path:
    """Where the CLIP of the wheel lies: a folder as open_clip reads it by "local-dir:"."""
    return Path(str(resources.files("napari_segany.models") / "data" / EMBEDDED))


def short_tokenizer(words: int, length: int) -> Any:
    """open_clip's tokenizer with the most frequent `words` tokens of its vocabulary, for texts of `length` tokens."""
    open_clip = import_open_clip()
    from open_clip.tokenizer import default_bpe

    # Of the tokens 512 are bytes and two begin and end a text; the first line of the file is a comment.
    lines = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split("\n")[: words - 514 + 1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bpe.txt.gz"
        path.write_bytes(gzip.compress("\n".join(lines).encode()))
        return open_clip.tokenizer.SimpleTokenizer(str(path), context_length=length)


def build_towers(config: dict[str, Any]) -> Any:
    """open_clip's own model with random weights, from the ``model_cfg`` of one of its configurations."""
    return import_open_clip().model.CLIP(**config)


def read_config(folder: Path) -> dict[str, Any]:
    """``open_clip_config.json`` of a folder.

    Raises
    ------
    ModelError
        There is none, or it cannot be read.
    """
    try:
        config: dict[str, Any] = json.loads((folder / "open_clip_config.json").read_text())
        text = config["model_cfg"]["text_cfg"]
        # a text tower of transformers knows its own vocabulary
        text["hf_tokenizer_name" if "hf_model_name" in text else "vocab_size"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder} is no model of open_clip: it holds no open_clip_config.json that can be used"
        ) from error
    return config


def load_clip(name: str = EMBEDDED, device: str | torch.device = "cpu") -> Clip:
    """Make a CLIP that is ready to use.

    Parameters
    ----------
    name : str
        "tiny-text"; a folder with ``open_clip_config.json`` and ``open_clip_model.safetensors``; an architecture of
        open_clip with its weights, "ViT-B-32/openai", or a repository of models as open_clip writes it,
        "hf-hub:OWNER/NAME", both of which open_clip downloads once. Some text towers, BiomedCLIP's for one, are those
        of the package ``transformers``.
    device : str or torch.device
        Where to compute.

    Raises
    ------
    ModelError
        open_clip cannot be imported, or the model cannot be had.
    """
    open_clip = import_open_clip()
    path = embedded_folder() if name == EMBEDDED else Path(name).expanduser()
    folder = path if path.is_dir() else None
    architecture, weights = _source(name, folder)
    try:
        model, _, _ = open_clip.create_model_and_transforms(architecture, pretrained=weights or None)
        tokenizer = _tokenizer(open_clip, architecture, folder)
    except (RuntimeError, OSError, ValueError, KeyError, ImportError) as error:
        lacking = find_spec("transformers") is None and "transformers" in str(error)
        reason = " ".join(str(error).split())[:160]
        if lacking:
            reason = 'it needs transformers; install it with: pip install "napari-segany[biomedclip]"'
        raise ModelError(f"the text model {name!r} cannot be had: {reason}") from error
    return Clip(model, tokenizer, name, device, None if folder is None else read_vocabulary(folder))


def read_vocabulary(folder: Path) -> Vocabulary | None:
    """Read which names a model was trained with; None, which is any, for a folder that does not list them."""
    path = folder / VOCABULARY
    if not path.is_file():
        return None
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return Vocabulary(select_terms(known["names"], known.get("synonyms")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError) as error:
        raise ModelError(f"{path} lists no names of a vocabulary: {error}") from error


def _source(name: str, folder: Path | None) -> tuple[str, str]:
    """What open_clip calls a model, and the weights that it shall have where the name does not tell."""
    if folder is not None:
        return f"local-dir:{folder}", ""
    if name.startswith("hf-hub:"):
        return name, ""
    architecture, _, weights = name.partition("/")
    return architecture, weights


def _tokenizer(open_clip: ModuleType, architecture: str, folder: Path | None) -> Any:
    if folder is not None:
        text = read_config(folder)["model_cfg"]["text_cfg"]
        if "hf_tokenizer_name" not in text:
            return short_tokenizer(text["vocab_size"], text["context_length"])
    return open_clip.get_tokenizer(architecture)


class Clip:
    """Both towers of a CLIP, for use.

    Parameters
    ----------
    model : nn.Module
        With open_clip's ``encode_text`` and ``encode_image``, and ``visual``.
    tokenizer : callable
        Texts to tokens.
    name : str
        Of the model.
    device : str or torch.device
        Where to compute; always in single precision, so that a text has one vector everywhere.
    vocabulary : Vocabulary, optional
        Words that it was taught; None when it was taught any.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        name: str,
        device: str | torch.device = "cpu",
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self.name, self.vocabulary = name, vocabulary
        self.device = torch.device(device)
        self.model = model.to(self.device, torch.float32).eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()
        size = self.model.visual.image_size
        self.side = int(size if isinstance(size, int) else size[0])

    @property
    def sharpness(self) -> float:
        """What cosines are multiplied by before they compete with each other."""
        return float(self.model.logit_scale.exp())

    def phrases(self, text: str) -> list[Phrase]:
        """What a text asks for; see :meth:`~napari_segany.core.text_query.Vocabulary.phrases` for its errors."""
        return open_phrases(text) if self.vocabulary is None else self.vocabulary.phrases(text)

    @torch.inference_mode()
    def text_vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, each of length 1: (n, d) float32; those used before are taken from memory."""
        new = [text for text in dict.fromkeys(texts) if text not in self._kept]
        for start in range(0, len(new), AT_ONCE):
            part = new[start : start + AT_ONCE]
            vectors = self.model.encode_text(self._tokenizer(part).to(self.device))
            self._kept |= dict(zip(part, F.normalize(vectors.float(), dim=-1).cpu().numpy(), strict=True))
        found = np.stack([self._kept[text] for text in texts])
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found

    def name_vector(self, name: str, attributes: Sequence[str] = (), modality: str = "") -> np.ndarray:
        """The mean direction of what is said of a name: (d,) float32 of length 1; see ``words.TEMPLATES``."""
        term = self.vocabulary.terms.get(name) if self.vocabulary is not None else None
        vectors = self.text_vectors(prompt_sentences(name, term.plural if term else "", attributes, modality))
        mean = vectors.mean(0)
        return mean / max(float(np.linalg.norm(mean)), 1e-9)

    @torch.inference_mode()
    def crop_vectors(self, plane: Plane, windows: Sequence[Region], masks: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors of objects, each of length 1.

        Parameters
        ----------
        plane : ndarray
            (y, x, 3) uint8.
        windows : sequence of tuple of slice
            Rows and columns of each object's bounding box.
        masks : sequence of ndarray
            bool, of the windows' shapes.

        Returns
        -------
        ndarray
            (n, d) float32: means over ``VIEWS``.
        """
        found = []
        for start in range(0, len(windows), AT_ONCE):
            part = [
                torch.stack(
                    [
                        square_crop(plane, window, mask, grown, self.side)
                        for window, mask in zip(windows[start : start + AT_ONCE], masks[start:], strict=False)
                    ]
                ).to(self.device)
                for grown, _ in VIEWS
            ]
            views = [self.image_vectors(crops, alone=alone) for crops, (_, alone) in zip(part, VIEWS, strict=True)]
            found.append(F.normalize(torch.stack(views).mean(0), dim=-1).cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, 1), np.float32)

    def image_vectors(self, crops: Tensor, *, alone: bool) -> Tensor:
        """Crops (n, 4, s, s), 0 to 255, the object's mask as fourth channel -> (n, d) of length 1."""
        return F.normalize(object_vectors(self.model, crops, torch.full((len(crops),), alone)).float(), dim=-1)


def object_vectors(model: Any, crops: Tensor, alone: Tensor) -> Tensor:
    """What the image tower says of objects.

    Parameters
    ----------
    model : nn.Module
        A CLIP of open_clip.
    crops : Tensor
        (n, 4, s, s) float, red, green, blue and the object's mask, 0 to 255, of the tower's size.
    alone : Tensor
        (n,) bool: of which everything but the object is made black. The others are seen with what is around them, but
        in the last layer nothing but the object is attended to (Kirillov et al. 2023, appendix D.5), where the tower is
        open_clip's own; else they are made black too.

    Returns
    -------
    Tensor
        (n, d), not normalised.
    """
    visual = model.visual
    own = all(hasattr(visual, name) for name in ("_embeds", "_pool", "transformer", "grid_size", "proj"))
    mask = crops[:, 3:] / 255
    black = alone.to(crops.device)[:, None, None, None] | torch.tensor(not own, device=crops.device)
    seen = torch.where(black, crops[:, :3] * mask, crops[:, :3]) / 255
    mean, deviation = (
        torch.tensor(getattr(visual, f"image_{kind}", None) or default, device=crops.device)[:, None, None]
        for kind, default in (("mean", PIXEL_MEAN), ("std", PIXEL_STD))
    )
    pixels = (seen - mean) / deviation
    return _attending(visual, pixels, mask) if own else model.encode_image(pixels)


def _attending(visual: Any, pixels: Tensor, mask: Tensor) -> Tensor:
    """The tower's forward pass whose last layer lets the class token see patches of the object only."""
    x = visual._embeds(pixels)
    transformer = visual.transformer
    for block in transformer.resblocks[:-1]:
        x = _block(transformer, block, x, None)
    last = transformer.resblocks[-1]
    inside = F.adaptive_max_pool2d(mask, visual.grid_size).flatten(1) > 0.05
    bias = torch.zeros(len(x), x.shape[1], x.shape[1], dtype=x.dtype, device=x.device)
    # Of nothing at all the class token may look at everything: attention over no place is not defined.
    hidden = ~inside & inside.any(1, keepdim=True)
    bias[:, 0, 1:] = bias[:, 0, 1:].masked_fill(hidden, float("-inf"))
    x = _block(transformer, last, x, bias.repeat_interleave(last.attn.num_heads, dim=0))
    pooled, _ = visual._pool(x)
    return pooled @ visual.proj if visual.proj is not None else pooled


def _block(transformer: Any, block: Any, x: Tensor, bias: Tensor | None) -> Tensor:
    if getattr(transformer, "batch_first", True):
        return block(x, attn_mask=bias)
    return block(x.transpose(0, 1), attn_mask=bias).transpose(0, 1)


def square_crop(plane: Plane, window: Region, mask: np.ndarray, grown: float, size: int) -> Tensor:
    """An object in a square crop with its mask.

    Parameters
    ----------
    plane : ndarray
        (y, x, 3) uint8.
    window : tuple of slice
        Rows and columns of the object's bounding box.
    mask : ndarray
        bool, of the window's shape.
    grown : float
        Side of the crop over the longest side of the box; beyond the plane it is black.
    size : int
        Side of the result.

    Returns
    -------
    Tensor
        (4, size, size) float32 from 0 to 255, antialiased.
    """
    side = grown * max(mask.shape)
    middle = [(span.start + span.stop - 1) / 2 for span in window]
    low = [int(np.floor(m - side / 2)) for m in middle]
    length = int(np.ceil(side)) + 1
    part = np.zeros((length, length, 4), np.float32)
    for channels, values, start in ((slice(0, 3), plane, (0, 0)), (slice(3, 4), mask[..., None] * 255.0, None)):
        first = start or (window[0].start, window[1].start)
        shifted = [a - f for a, f in zip(low, first, strict=True)]
        rows, columns = (
            slice(min(max(a, 0), n), max(min(a + length, n), 0)) for a, n in zip(shifted, values.shape, strict=False)
        )
        place = tuple(slice(s.start - a, s.stop - a) for s, a in zip((rows, columns), shifted, strict=True))
        if rows.stop > rows.start and columns.stop > columns.start:
            part[place][..., channels] = values[rows, columns]
    tensor = torch.from_numpy(part).permute(2, 0, 1)[None]
    return F.interpolate(tensor, (size, size), mode="bilinear", antialias=True, align_corners=False)[0]
