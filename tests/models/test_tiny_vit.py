"""The encoder of MobileSAM computes what TinyViT computes in timm, with the same weights."""

import re

import pytest
import torch

from napari_segany.models.sam.tiny_vit import DEPTHS, HEADS, STRIDES, WIDTHS, WINDOWS, TinyViT

timm_tiny_vit = pytest.importorskip("timm.models.tiny_vit", reason="comes with open-clip-torch")


def in_timm(name: str) -> str:
    """What timm calls a weight: there a stage begins with the step to it."""
    name = re.sub(r"\.c\.", ".conv.", name)
    name = name.replace("patch_embed.seq.0", "patch_embed.conv1").replace("patch_embed.seq.2", "patch_embed.conv2")
    name = re.sub(r"layers\.(\d)\.downsample", lambda m: f"stages.{int(m[1]) + 1}.downsample", name)
    return name.replace("layers.", "stages.")


@pytest.fixture(scope="module")
def encoder() -> TinyViT:
    torch.manual_seed(0)
    encoder = TinyViT().eval()
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 2)
    for name, weight in encoder.named_parameters():
        if name.endswith("attention_biases"):
            torch.nn.init.normal_(weight)
    return encoder


@pytest.mark.parametrize("shape", [(224, 224), (160, 256)])
def test_parity_with_timm(encoder, shape):
    reference = timm_tiny_vit.TinyVit(
        embed_dims=WIDTHS,
        depths=DEPTHS,
        num_heads=(2, *HEADS),
        window_sizes=(7, *WINDOWS),
        drop_path_rate=0.0,
        num_classes=0,
    ).eval()
    # timm's own last step halves the resolution, MobileSAM's does not
    reference.stages[3].downsample.conv2.conv.stride = (STRIDES[-1],) * 2
    weights = {in_timm(name): value for name, value in encoder.state_dict().items() if not name.startswith("neck.")}
    missing, unexpected = reference.load_state_dict(weights, strict=False)
    assert unexpected == []
    assert all(name.startswith("head.") or "attention_bias_idxs" in name for name in missing)
    picture = torch.randn(1, 3, *shape)
    with torch.inference_mode():
        expected = reference.stages(reference.patch_embed(picture))
        found = encoder.layers(encoder.patch_embed(picture))
    assert found.shape == expected.shape == (1, 320, shape[0] // 16, shape[1] // 16)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_the_embedding_is_that_of_sam(encoder):
    with torch.inference_mode():
        assert encoder(torch.randn(1, 3, 256, 256)).shape == (1, 256, 16, 16)


def test_names_are_those_of_the_checkpoint(encoder):
    names = set(encoder.state_dict())
    assert {
        "patch_embed.seq.0.c.weight",
        "layers.0.blocks.1.conv3.bn.running_var",
        "layers.0.downsample.conv2.c.weight",
        "layers.1.blocks.0.attn.attention_biases",
        "layers.2.blocks.5.attn.qkv.bias",
        "layers.3.blocks.1.local_conv.c.weight",
        "layers.3.blocks.1.mlp.fc2.weight",
        "neck.3.bias",
    } <= names
    assert not any("offsets" in name for name in names)
