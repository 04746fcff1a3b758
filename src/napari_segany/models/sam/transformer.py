"""The two-way transformer of the mask decoder (Kirillov et al. 2023, appendix A, "Lightweight mask decoder").

Prompt tokens and image tokens attend to each other in turn. Position encodings, and for the tokens their original
prompt embeddings, are added again at every attention, so that neither place nor kind of a prompt is ever forgotten.

A prompt is a few tokens, an image thousands. Between the two, the linear layers that the published models apply to the
image are therefore applied to the tokens instead, which comes to the same: q' (W x) = (W' q)' x. Nothing as large as
the image is made but the image itself, and prompts that see the same image share one product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIP = 2**22
"""Bytes of a strip of images: what is made of more is out of a processor's cache before it is used again."""


class DecoderAttention(nn.Module):
    """Multi-head attention whose inner width may be smaller than the embedding's.

    Parameters
    ----------
    embedding_dim : int
        Width C of queries, keys and values.
    num_heads : int
        Heads; must divide the inner width.
    downsample_rate : int
        C over the inner width.
    """

    def __init__(self, embedding_dim: int, num_heads: int, downsample_rate: int = 1) -> None:
        super().__init__()
        inner = embedding_dim // downsample_rate
        if inner % num_heads:
            raise ValueError(f"{num_heads} heads do not divide the inner width {inner}")
        self.num_heads = num_heads
        self.head_scale = (inner // num_heads) ** -0.5
        self.q_proj = nn.Linear(embedding_dim, inner)
        self.k_proj = nn.Linear(embedding_dim, inner)
        self.v_proj = nn.Linear(embedding_dim, inner)
        self.out_proj = nn.Linear(inner, embedding_dim)

    def _split(self, x: Tensor) -> Tensor:
        """(B, N, c * heads) -> (B, heads, N, c)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _through(self, x: Tensor, layer: nn.Linear) -> Tensor:
        """Vectors (B, heads, N, c) that a layer's outputs would meet -> (B, heads, N, C) that meet its inputs alike."""
        return x @ layer.weight.unflatten(0, (self.num_heads, -1))

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, Nq, C), (B, Nk, C), (B, Nk, C) -> (B, Nq, C)."""
        q, k, v = self._split(self.q_proj(q)), self._split(self.k_proj(k)), self._split(self.v_proj(v))
        return self.out_proj(_attend(q, k, v).transpose(1, 2).flatten(2))


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention of (B, heads, N, c)."""
    if torch.is_grad_enabled():
        # On a CPU, the gradient of the fused kernel is slow where there are as few tokens as here.
        return (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


def _strips(image: Tensor, batch: int) -> list[slice]:
    """Places of an image (1 or B, hw, C) that are dealt with one after the other, where `batch` images are made.

    All together where something is learned, which is kept for the way back anyhow, and on other devices than CPUs.
    """
    places = image.shape[1]
    if torch.is_grad_enabled() or image.device.type != "cpu":
        return [slice(0, places)]
    some = max(STRIP // (batch * image.shape[2] * image.element_size()), 1)
    return [slice(start, start + some) for start in range(0, places, some)]


def _against(vectors: Tensor, image: Tensor) -> Tensor:
    """Products of vectors (B, heads, N, C) with an image (1 or B, hw, C): (B, heads, N, hw)."""
    own = vectors.reshape(len(image), -1, vectors.shape[-1])
    if len(image) > 1:
        # In the order in which a softmax wants it; that alone takes twice as long in the other.
        return (own @ image.transpose(1, 2)).view(*vectors.shape[:3], -1)
    # Many vectors meet one image: so they are multiplied faster than the other way round, for all that comes after.
    return (image @ own.transpose(1, 2)).transpose(1, 2).reshape(*vectors.shape[:3], -1)


class TokenToImageAttention(DecoderAttention):
    """Attention of tokens to the image."""

    def forward(self, q: Tensor, image: Tensor, image_pe: Tensor) -> Tensor:
        """(B, N, C), image (1 or B, hw, C) and its encoding -> (B, N, C)."""
        batch, count, width = q.shape
        # The keys' bias adds the same to all scores of a token, which does not change a softmax.
        queries = self._through(self._split(self.q_proj(q)) * self.head_scale, self.k_proj)
        strips = _strips(image, len(image))
        weights = torch.cat([_against(queries, image[:, part] + image_pe[:, part]) for part in strips], -1).softmax(-1)
        seen = (weights.view(len(image), -1, image.shape[1]) @ image).view(batch, self.num_heads, count, width)
        seen = seen @ self.v_proj.weight.unflatten(0, (self.num_heads, -1)).transpose(1, 2)
        return self.out_proj(seen.transpose(1, 2).flatten(2) + self.v_proj.bias)


class FoldedTokens(NamedTuple):
    """Tokens with the linear layers of the image folded in.

    Keys (B, heads, N, C), the bias of their scores (B, heads, N, 1) and values (B, heads N, C).
    """

    keys: Tensor
    bias: Tensor
    values: Tensor


class ImageToTokenAttention(DecoderAttention):
    """Attention of the image to tokens."""

    def folded(self, k: Tensor, v: Tensor) -> FoldedTokens:
        """Tokens (B, N, C) with their encoding and without -> keys and values for the places of an image."""
        k = self._split(self.k_proj(k)) * self.head_scale
        values = self._split(self.v_proj(v)) @ self.out_proj.weight.T.unflatten(0, (self.num_heads, -1))
        # The weights of each head sum to one, so the bias is added once.
        values = (values + self.out_proj.bias / self.num_heads).flatten(1, 2)
        return FoldedTokens(self._through(k, self.q_proj), k @ self.q_proj.bias.view(self.num_heads, -1, 1), values)

    def added(self, image: Tensor, image_pe: Tensor, tokens: FoldedTokens) -> Tensor:
        """Image (1 or B, hw, C) or a strip of it, and its encoding -> image plus the attended values, (B, hw, C)."""
        keys, bias, values = tokens
        weights = (_against(keys, image + image_pe) + bias).softmax(2).flatten(1, 2).transpose(1, 2)
        return torch.baddbmm(image.to(values.dtype).expand(len(values), -1, -1), weights, values)


class TokenMLP(nn.Module):
    """The two linear layers, with ReLU between, that act on each token."""

    def __init__(self, embedding_dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(embedding_dim, mlp_dim)
        self.lin2 = nn.Linear(mlp_dim, embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> the same shape."""
        return self.lin2(F.relu(self.lin1(x)))


class TwoWayAttentionBlock(nn.Module):
    """Self-attention of tokens, tokens to image, token MLP, image to tokens."""

    def __init__(
        self, embedding_dim: int, num_heads: int, mlp_dim: int, downsample_rate: int, *, first: bool = False
    ) -> None:
        super().__init__()
        self.first = first
        self.self_attn = DecoderAttention(embedding_dim, num_heads)
        self.norm1 = nn.LayerNorm(embedding_dim)
        self.cross_attn_token_to_image = TokenToImageAttention(embedding_dim, num_heads, downsample_rate)
        self.norm2 = nn.LayerNorm(embedding_dim)
        self.mlp = TokenMLP(embedding_dim, mlp_dim)
        self.norm3 = nn.LayerNorm(embedding_dim)
        self.norm4 = nn.LayerNorm(embedding_dim)
        self.cross_attn_image_to_token = ImageToTokenAttention(embedding_dim, num_heads, downsample_rate)

    def forward(self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, C) and image (1 or B, hw, C) with their encodings -> both of B, updated."""
        if self.first:
            # The tokens still equal their own encoding here, so nothing is added and nothing is carried over.
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pe
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)

        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_pe, image, image_pe))
        tokens = self.norm3(tokens + self.mlp(tokens))
        return tokens, self._updated(image, image_pe, self.cross_attn_image_to_token.folded(tokens + token_pe, tokens))

    def _updated(self, image: Tensor, image_pe: Tensor, folded: FoldedTokens) -> Tensor:
        """Image (1 or B, hw, C) and its encoding -> image (B, hw, C) updated from the tokens."""
        added, batch = self.cross_attn_image_to_token.added, len(folded.values)
        strips = _strips(image, batch)
        if len(strips) == 1:
            return self.norm4(added(image, image_pe, folded))
        # The output of the block before is not used anywhere else, so it may be overwritten.
        updated = folded.values.new_empty(batch, *image.shape[1:]) if self.first else image
        for part in strips:
            updated[:, part] = self.norm4(added(image[:, part], image_pe[:, part], folded))
        return updated


class TwoWayTransformer(nn.Module):
    """A stack of two-way blocks and a final attention of the tokens to the image.

    Parameters
    ----------
    depth : int
        Number of blocks; two in every published model.
    embedding_dim : int
        Width C of tokens and image features.
    num_heads : int
        Heads of every attention.
    mlp_dim : int
        Hidden width of the token MLP.
    downsample_rate : int
        C over the inner width of the attentions between tokens and image.
    """

    def __init__(self, depth: int, embedding_dim: int, num_heads: int, mlp_dim: int, downsample_rate: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(embedding_dim, num_heads, mlp_dim, downsample_rate, first=i == 0) for i in range(depth)
        )
        self.final_attn_token_to_image = TokenToImageAttention(embedding_dim, num_heads, downsample_rate)
        self.norm_final_attn = nn.LayerNorm(embedding_dim)

    def forward(
        self, image: Tensor, image_pe: Tensor, tokens: Tensor, read: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the transformer.

        Parameters
        ----------
        image : Tensor
            (1 or B, C, h, w) image features.
        image_pe : Tensor
            (1 or B, C, h, w) position encoding of the image's grid.
        tokens : Tensor
            (B, N, C) output tokens followed by prompt tokens.
        read : sequence of int, optional
            Indices of the tokens that are used afterwards, by default all: the final attention skips the others.

        Returns
        -------
        tokens : Tensor
            (B, N, C), or the R that are read, (B, R, C).
        image : Tensor
            (B, h * w, C).
        """
        # A place's channels next to each other: whatever follows would be slower by half on another order.
        image, image_pe = (x.flatten(2).transpose(1, 2).contiguous() for x in (image, image_pe))
        token_pe = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pe, image_pe)
        if read is not None:
            tokens, token_pe = tokens[:, read], token_pe[:, read]
        attended = self.final_attn_token_to_image(tokens + token_pe, image, image_pe)
        return self.norm_final_attn(tokens + attended), image
