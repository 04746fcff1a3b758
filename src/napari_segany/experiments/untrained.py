"""A SAM with random weights, for speed measurements, whose masks have realistic sizes and numbers.

Masks of random weights fill the picture, and no filter lets them pass. So a few of the weights are set by hand, until
the mask of each click is a blob around it. The cost of a click in the decoder does not change.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_segany.core.filters import Filters
from napari_segany.models.sam.model import Sam, build_sam

FREQUENCY = 2.0
"""How much faster than in a trained model positions change; blobs are that much smaller."""
QUIET = 0.05
"""Remaining amplitude of the image features in channels that encode the position."""
HEADS = 8
"""Of every attention of every published model."""
MARKED = 16.0
"""The mark of a click; other channels are around 1."""
MARK = 0.1
"""How much of it each head passes to a cell that attends to the click alone."""
SLOPE = 20.0
"""How steep the edges of masks are: so steep that some are stable, and some are not."""
SLIGHT = 0.1
"""What is left of the rest, of which masks are made too."""
LEAST = 5.0
"""Of the mark in the end, where a mask begins."""


def random_vit_b() -> Sam:
    """ViT-B with random weights, all of which matter, that draws blobs, and scores more than half of them well."""
    torch.manual_seed(0)
    model = build_sam("vit_b").eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:
                weights.normal_(0, 0.02)
        dict(model.named_parameters())["mask_decoder.iou_prediction_head.layers.2.bias"].add_(Filters().score)
    draw_blobs(model)
    return model


def draw_blobs(model: Sam) -> None:
    """Set weights of a SAM, C wide, until the mask of a single positive click is a blob around it.

    The click's token encodes its position, and has a mark in its last channel. Near cells of the image attend to it,
    and take the mark into their first channel, from which masks are computed.
    """
    weights = model.state_dict()
    weights["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"].mul_(FREQUENCY)
    # the sines and cosines of half of the frequencies
    where = torch.arange(weights["mask_decoder.iou_token.weight"].shape[1]).view(4, -1)[::2]
    click = "prompt_encoder.point_embeddings.1"
    tokens = ("mask_decoder.iou_token", "mask_decoder.mask_tokens", "prompt_encoder.not_a_point_embed", click)
    for token in tokens:
        weights[f"{token}.weight"][:, where.flatten()] = 0
        weights[f"{token}.weight"][:, -1] = MARKED if token == click else 0
    first, last = (_below(weights, f"mask_decoder.transformer.layers.{i}") for i in range(2))
    _stay(_below(first, "self_attn"))
    first["norm4.weight"][where.flatten()] = QUIET
    _leave_marks(_below(last, "cross_attn_image_to_token"), where)
    _draw_marks(_below(weights, "mask_decoder"))


def _below(weights: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """The weights of a part of a model, by their names in it."""
    return {name.removeprefix(f"{part}."): of for name, of in weights.items() if name.startswith(f"{part}.")}


def _stay(attention: dict[str, Tensor]) -> None:
    """Each token attends to itself alone, and is what it was."""
    for layer, size in (("q_proj", 2), ("k_proj", 2), ("v_proj", 1), ("out_proj", 1)):
        weight = attention[f"{layer}.weight"]
        weight.copy_(size * torch.eye(len(weight)))


def _leave_marks(attention: dict[str, Tensor], where: Tensor) -> None:
    """Cells attend to the token whose position, in channels (2, C / 4), is theirs, and take its mark."""
    compared = where.view(2, HEADS, -1).transpose(0, 1).flatten()
    for layer in ("q_proj", "k_proj"):
        weight = attention[f"{layer}.weight"]
        weight.copy_(torch.eye(weight.shape[1])[compared])
        attention[f"{layer}.bias"].zero_()
    # the first channel of each head
    carried = torch.arange(0, len(compared), len(compared) // HEADS)
    attention["v_proj.weight"].zero_()[carried, -1] = 1
    attention["v_proj.bias"].zero_()
    attention["out_proj.weight"][0] = 0
    attention["out_proj.weight"][0, carried] = MARK
    attention["out_proj.bias"][0] = 0


def _draw_marks(decoder: dict[str, Tensor]) -> None:
    """The first channel becomes the first of the pixels, the second is one; a mask is where the first is large."""
    for layer, kept in ((0, 1), (3, 2)):
        weight = decoder[f"output_upscaling.{layer}.weight"]
        weight[:, :kept] = 0
        weight[0, 0] = 1
        decoder[f"output_upscaling.{layer}.bias"][:kept] = torch.arange(kept)
    for mask in range(len(decoder["mask_tokens.weight"])):
        kernel = _below(decoder, f"output_hypernetworks_mlps.{mask}.layers.2")
        for values in kernel.values():
            values.mul_(SLIGHT)
        kernel["bias"][:2] = SLOPE * torch.tensor([1, -LEAST])
