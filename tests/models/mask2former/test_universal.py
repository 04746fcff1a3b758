"""Ours beside `transformers.Mask2FormerForUniversalSegmentation`, with the same random weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from napari_segany.models.mask2former.deformable_attention import DeformableAttention, reference_points
from napari_segany.models.mask2former.published import KEYS, model_of, our_state
from napari_segany.models.mask2former.query_decoder import attended
from napari_segany.models.mask2former.set_loss import ObjectSet, SetLossConfig, set_loss
from napari_segany.models.mask2former.universal import Mask2Former

transformers = pytest.importorskip("transformers")

SIZES = {
    "feature_size": 32,
    "mask_feature_size": 32,
    "hidden_dim": 32,
    "encoder_feedforward_dim": 48,
    "encoder_layers": 2,
    "decoder_layers": 5,
    "num_attention_heads": 4,
    "dim_feedforward": 48,
    "num_queries": 9,
    "train_num_points": 64,
    "num_labels": 3,
}
SWIN = {
    "embed_dim": 16,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 2, 2, 4],
    "window_size": 4,
    "image_size": 64,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
RESNET = {
    "embedding_size": 8,
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}


def published(kind: str, **changes: Any) -> Any:
    torch.manual_seed(7)
    inner = transformers.SwinConfig(**SWIN) if kind == "swin" else transformers.ResNetConfig(**RESNET)
    config = transformers.Mask2FormerConfig(backbone_config=inner, **{**SIZES, **changes})
    model = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            # weights that begin at zero would hide what they multiply
            value.add_(0.05 * torch.randn_like(value))
    return model


def ours_of(theirs: Any) -> Mask2Former:
    encoder = theirs.model.pixel_level_module.encoder
    model = model_of(theirs.config.to_dict(), encoder, tuple(encoder.channels))
    model.load_state_dict(our_state(theirs.state_dict()))
    return model.eval()


def picture(rows: int = 64, columns: int = 96) -> torch.Tensor:
    return torch.randn(2, 3, rows, columns, generator=torch.Generator().manual_seed(3))


def objects() -> list[ObjectSet]:
    masks = torch.zeros(2, 3, 64, 96)
    masks[0, 0, 5:20, 10:30] = masks[0, 1, 30:60, 50:90] = masks[0, 2, 40:50, 5:25] = 1
    masks[1, 0, 10:50, 20:40] = masks[1, 1, 20:30, 60:80] = 1
    return [ObjectSet(masks[0], torch.tensor([0, 2, 1])), ObjectSet(masks[1, :2], torch.tensor([1, 1]))]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("swin", {}),
        ("resnet", {}),
        ("resnet", {"hidden_dim": 64}),
        ("resnet", {"enforce_input_projection": True, "mask_feature_size": 48}),
    ],
)
def test_every_layer_says_what_transformers_says(kind: str, changes: dict[str, Any]) -> None:
    theirs = published(kind, **changes)
    pixels = picture()
    with torch.no_grad():
        expected = theirs(pixels, output_auxiliary_logits=True)
        found = ours_of(theirs)(pixels)
    assert len(found) == 5
    layers = [*expected.auxiliary_logits, expected]
    for one, other in zip(found, layers, strict=True):
        torch.testing.assert_close(one.classes, other["class_queries_logits"], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.masks, other["masks_queries_logits"], atol=1e-4, rtol=1e-4)


def test_loss_and_gradients_are_those_of_transformers() -> None:
    theirs = published("resnet")
    ours = ours_of(theirs)
    given = objects()
    torch.manual_seed(11)
    expected = theirs(
        picture(), mask_labels=[one.masks for one in given], class_labels=[one.classes for one in given]
    ).loss
    losses = set_loss(ours(picture()), given, SetLossConfig(points=64), generator=torch.Generator().manual_seed(11))
    torch.testing.assert_close(losses["loss"], expected, atol=1e-4, rtol=1e-4)
    expected.backward()
    before = theirs.model.transformer_module.queries_features.weight.grad.clone()
    losses["loss"].backward()
    torch.testing.assert_close(ours.query_content.weight.grad, before, atol=1e-4, rtol=1e-3)


def test_every_rule_of_the_key_table_is_needed() -> None:
    names = published("swin").state_dict()
    firsts = {next((old for old, _ in KEYS if name.startswith(old)), name) for name in names}
    assert {old for old, _ in KEYS} <= firsts


def test_an_empty_mask_attends_everywhere_and_another_only_inside() -> None:
    masks = torch.full((1, 2, 8, 8), -1.0)
    masks[0, 1, :4, :4] = 1
    allowed = attended(masks, (4, 4)).view(2, 4, 4)
    assert allowed[0].all()
    assert allowed[1, :2, :2].all()
    assert not allowed[1, 2:].any()


@pytest.mark.parametrize("points", [1, 3])
def test_deformable_attention_agrees_with_a_loop(points: int) -> None:
    """One cell at a time, by hand: what a head sees is a mean of bilinear values around the reference point."""
    torch.manual_seed(1)
    shapes = [(2, 3), (4, 6)]
    layer = DeformableAttention(8, 2, 2, points)
    torch.nn.init.normal_(layer.sampling_offsets.weight, std=0.1)
    torch.nn.init.normal_(layer.attention_weights.weight)
    cells = torch.randn(1, 30, 8)
    reference = reference_points(shapes)
    found = layer(cells, cells, reference, shapes)[0]
    values = layer.value_proj(cells)[0].unflatten(-1, (2, 4))
    offsets = layer.sampling_offsets(cells)[0].view(30, 2, 2, points, 2)
    weights = layer.attention_weights(cells)[0].view(30, 2, -1).softmax(-1).view(30, 2, 2, points)
    expected = torch.zeros(30, 2, 4)
    for cell, head, level, point in torch.cartesian_prod(*map(torch.arange, (30, 2, 2, points))).tolist():
        rows, columns = shapes[level]
        level_values = values[6:, head] if level else values[:6, head]
        x, y = (reference[cell] * torch.tensor([columns, rows]) + offsets[cell, head, level, point] - 0.5).tolist()
        for row in (int(y // 1), int(y // 1) + 1):
            for column in (int(x // 1), int(x // 1) + 1):
                if 0 <= row < rows and 0 <= column < columns:
                    near = (1 - abs(y - row)) * (1 - abs(x - column))
                    expected[cell, head] += (
                        weights[cell, head, level, point] * near * level_values[row * columns + column]
                    )
    torch.testing.assert_close(found, layer.output_proj(expected.flatten(1)), atol=1e-5, rtol=1e-4)
