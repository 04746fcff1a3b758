"""The two-way transformer of the mask decoder (Kirillov et al. 2023, appendix A, "Lightweight mask decoder").

Prompt tokens and image tokens attend to each other in turn. Position encodings, and for the tokens their original
prompt embeddings, are added again at every attention, so that neither place nor kind of a prompt is ever forgotten.

A prompt is a few tokens, an image thousands. Between the two, the linear layers that the published models apply to the
image are therefore applied to the tokens instead, which comes to the same: q' (W x) = (W' q)' x. Nothing as large as
the image is made but the image itself, and prompts that see the same image share one product.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
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


def _against(vectors: Tensor, image: Tensor) -> Tensor:
    """Products of vectors (B, heads, N, C) with an image (1 or B, hw, C): (B, heads, N, hw)."""
    own = vectors.reshape(len(image), -1, vectors.shape[-1])
    if len(image) > 1:
        # In the order in which a softmax wants it; that alone takes twice as long in the other.
        return (own @ image.transpose(1, 2)).view(*vectors.shape[:3], -1)
    # Many vectors meet one image: so they are multiplied faster than the other way round, for all that comes after.
    return (image @ own.transpose(1, 2)).transpose(1, 2).reshape(*vectors.shape[:3], -1)


class TokenToImageAttention(Attention):
    """Attention of tokens to the image."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, N, C), image (1 or B, hw, C) with its positions, and without -> (B, N, C)."""
        batch, count, width = q.shape
        # What the keys' bias adds to the scores of a token is the same everywhere, and means nothing to a softmax.
        asked = self._through(self._split(self.q_proj(q)) * self.head_scale, self.k_proj)
        weights = _against(asked, k).softmax(-1)
        seen = (weights.view(len(v), -1, v.shape[1]) @ v).view(batch, self.num_heads, count, width)
        seen = seen @ self.v_proj.weight.unflatten(0, (self.num_heads, -1)).transpose(1, 2)
        return self.out_proj(seen.transpose(1, 2).flatten(2) + self.v_proj.bias)


class ImageToTokenAttention(Attention):
    """Attention of the image to tokens."""

    def added(self, image: Tensor, q: Tensor, k: Tensor, v: Tensor, *, over: bool = False) -> Tensor:
        """Image (1 or B, hw, C), the same with its positions, tokens (B, N, C) twice -> image plus what it saw.

        With `over` the sum is written over the image, which has to be of B then.
        """
        k = self._split(self.k_proj(k)) * self.head_scale
        always = k @ self.q_proj.bias.view(self.num_heads, -1, 1)
        weights = (_against(self._through(k, self.q_proj), q) + always).softmax(2).flatten(1, 2).transpose(1, 2)
        told = self._split(self.v_proj(v)) @ self.out_proj.weight.T.unflatten(0, (self.num_heads, -1))
        # The weights of each head sum to one: so the bias comes in once.
        told = (told + self.out_proj.bias / self.num_heads).flatten(1, 2)
        if over:
            return image.baddbmm_(weights, told)
        return torch.baddbmm(image.to(told.dtype).expand(len(told), -1, -1), weights, told)


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
        self.self_attn = Attention(embedding_dim, num_heads)
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

        image_keys = image + image_pe
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_pe, image_keys, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        # What the block before has made is read by nobody else, but where something is learned from it.
        over = not self.first and torch.is_inference_mode_enabled()
        seen = self.cross_attn_image_to_token.added(image, image_keys, tokens + token_pe, tokens, over=over)
        return tokens, self.norm4(seen)


class TwoWayTransformer(nn.Module):
    """A stack of two-way blocks and one last look of the tokens at the image.

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
            Those of the N that are read afterwards, all without it: no other needs the last look.

        Returns
        -------
        tokens : Tensor
            (B, N, C), or the R that are read, (B, R, C).
        image : Tensor
            (B, h * w, C).
        """
        # A place's channels beside each other: whatever follows would be slower by half on another order.
        image, image_pe = (x.flatten(2).transpose(1, 2).contiguous() for x in (image, image_pe))
        token_pe = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pe, image_pe)
        if read is not None:
            tokens, token_pe = tokens[:, read], token_pe[:, read]
        looked = self.final_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        return self.norm_final_attn(tokens + looked), image
