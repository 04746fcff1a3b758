"""TextPromptHead: the vector of a text to prompt tokens, to a map of where it is, and to whether it is there at all."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEY_DIM = 64
"""Width in which texts and places of a picture are compared."""
CERTAIN = 8.0
"""Logits of a rough mask, at most."""
SHARPNESS = 50.0
"""How much nearer crops count more, where a text is asked for by crops: times their cosine with it."""


class TextPromptHead(nn.Module):
    """What stands between a CLIP and the prompt path of a SAM (Kirillov et al. 2023, section 7.5).

    Texts and image crops have vectors that lie apart (the modality gap). Each kind has its mean, which is taken off
    when it is known; and a head that learned from crops alone may remember some, and take of them those that a text is
    nearest to in its place.

    Parameters
    ----------
    vector_dim : int
        d, length of the CLIP's vectors.
    embed_dim : int
        C, width of prompt tokens and of the image embedding.
    tokens : int
        T, prompt tokens that a text becomes.
    width : int
        Inside.
    """

    text_mean: Tensor
    image_mean: Tensor
    memory: Tensor
    scene_mean: Tensor
    scene_scale: Tensor

    def __init__(self, vector_dim: int, embed_dim: int, tokens: int = 2, width: int = 256) -> None:
        super().__init__()
        self.tokens = tokens
        self.register_buffer("text_mean", torch.zeros(vector_dim))
        self.register_buffer("image_mean", torch.zeros(vector_dim))
        self.register_buffer("memory", torch.zeros(0, vector_dim), persistent=False)
        self.norm = nn.LayerNorm(vector_dim)
        self.hidden = nn.Linear(vector_dim, width)
        self.out = nn.Linear(width, tokens * embed_dim)
        self.kind = nn.Parameter(0.02 * torch.randn(1, 1, embed_dim))
        self.query = nn.Linear(width, KEY_DIM)
        self.key = nn.Sequential(
            nn.Conv2d(embed_dim, 96, 1),
            nn.GELU(),
            nn.Conv2d(96, 96, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(96, KEY_DIM, 1),
        )
        self.level = nn.Linear(width, 1)
        self.seen = nn.Sequential(nn.Linear(5 * KEY_DIM + 2, 96), nn.GELU(), nn.Linear(96, 1))
        self.register_buffer("scene_mean", torch.zeros(2 * embed_dim))
        self.register_buffer("scene_scale", torch.ones(2 * embed_dim))
        self.scene = nn.Sequential(nn.Dropout(0.5), nn.Linear(2 * embed_dim, KEY_DIM), nn.GELU(), nn.Dropout(0.5))
        self.scene_query = nn.Linear(width, KEY_DIM + 1)
        # until it has learned something, the kind of picture says nothing
        for parameter in self.scene_query.parameters():
            nn.init.zeros_(parameter)

    def centred(self, vectors: Tensor, *, image: bool = False) -> Tensor:
        """Vectors (B, d) of texts, or of image crops, without the mean of their kind, of length 1."""
        if not image and len(self.memory):
            vectors, image = self._recalled(vectors), True
        return F.normalize(vectors - (self.image_mean if image else self.text_mean), dim=-1)

    def remember(self, crops: Tensor) -> None:
        """Ask for a text by those of vectors (n, d) of crops that it is nearest to; they are kept with the weights."""
        self.register_buffer("memory", F.normalize(crops, dim=-1).to(self.text_mean))

    def _recalled(self, texts: Tensor) -> Tensor:
        """For vectors (B, d) of texts a mean of the crops that they are nearest to, of length 1."""
        nearness = F.normalize(texts, dim=-1) @ self.memory.T
        return F.normalize((SHARPNESS * nearness).softmax(-1) @ self.memory, dim=-1)

    def inner(self, vectors: Tensor) -> Tensor:
        """Centred vectors (..., d) as everything here takes them, (..., width)."""
        return F.gelu(self.hidden(self.norm(vectors)))

    def forward(self, vectors: Tensor) -> Tensor:
        """Centred vectors (B, d) -> prompt tokens (B, T, C)."""
        return self.out(self.inner(vectors)).unflatten(1, (self.tokens, -1)) + self.kind

    def moments(self, image_embed: Tensor, valid: Tensor) -> Tensor:
        """What kind of picture (B, C, h, w) is, (B, 2 C): mean and deviation of its embedding where it is picture."""
        return _moments(image_embed, valid)

    def suits(self, inner: Tensor, moments: Tensor) -> Tensor:
        """Logits (...) of whether names, (..., width), are on kinds of pictures, (..., 2 C)."""
        scene = self.scene((moments - self.scene_mean) / self.scene_scale)
        query = self.scene_query(inner)
        return (query[..., :-1] * scene).sum(-1) + query[..., -1]

    def found(self, vectors: Tensor, image_embed: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Where in a picture a text is, and whether it is there.

        Parameters
        ----------
        vectors : Tensor
            (B, d) centred.
        image_embed : Tensor
            (1 or B, C, h, w).
        valid : Tensor
            (1 or B, h, w) bool, which cells are picture and not padding.

        Returns
        -------
        relevance : Tensor
            (B, h, w) logits.
        presence : Tensor
            (B,) logits.
        """
        inner = self.inner(vectors)
        query, keys = F.normalize(self.query(inner), dim=-1), self.key(image_embed)
        scale = KEY_DIM**0.5
        relevance = torch.einsum("bk,bkhw->bhw", query, keys.expand(len(query), -1, -1, -1)) * scale / 2
        relevance = relevance + self.level(inner)[..., None]
        valid = valid.expand_as(relevance)
        weights = relevance.masked_fill(~valid, float("-inf")).flatten(1).softmax(1)
        there = torch.einsum("bn,bkn->bk", weights, keys.expand(len(query), -1, -1, -1).flatten(2))
        shares = relevance.sigmoid() * valid
        mean = shares.flatten(1).sum(1) / valid.flatten(1).sum(1).clamp_min(1)
        most = shares.flatten(1).amax(1)
        # What kind of picture it is tells much of what can be on it.
        kind = _moments(keys, valid[: len(keys)]).expand(len(query), -1)
        evidence = torch.cat([query, there * query, there, kind, mean[:, None], most[:, None]], dim=1)
        return relevance, self.seen(evidence)[:, 0]

    def found_in_scene(
        self, vectors: Tensor, image_embed: Tensor, valid: Tensor, share: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The same as :meth:`found`, a `share` of what the kind of picture says added to the presence."""
        relevance, presence = self.found(vectors, image_embed, valid)
        suits = self.suits(self.inner(vectors), self.moments(image_embed, valid))
        return relevance, presence + share * suits


def _moments(keys: Tensor, valid: Tensor) -> Tensor:
    """Mean and deviation of features (B, K, h, w) over what is picture, (B, h, w): (B, 2 K)."""
    share = valid[:, None].to(keys.dtype)
    count = share.flatten(2).sum(2).clamp_min(1)
    mean = (keys * share).flatten(2).sum(2) / count
    variance = ((keys - mean[..., None, None]).square() * share).flatten(2).sum(2) / count
    return torch.cat([mean, (variance + 1e-6).sqrt()], dim=1)


def rough_mask(relevance: Tensor, valid: Tensor, size: tuple[int, int]) -> Tensor:
    """A map of relevance, (B, h, w) logits, as the mask prompt that goes with a text alone: (B, 1, *size) logits.

    A token has to mean many objects at once; with the map next to it the decoder is told where they are, roughly.
    """
    known = relevance.clamp(-CERTAIN, CERTAIN).masked_fill(~valid, -CERTAIN)
    return F.interpolate(known[:, None].float(), size, mode="bilinear", align_corners=False)
