"""Checkpoints of SAM 2 under Meta's names of weights: the same masks, and one line for what does not fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_segany.core.errors import ModelError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.models.adapters import meta_sam2
from napari_segany.models.adapters.hub_loading import load_hub_folder
from napari_segany.models.adapters.meta_sam2 import config_of, renamed
from napari_segany.models.loading import load_segmenter
from napari_segany.models.weights import load_state

from tests.models.adapters.small_models import small_model, transformers  # isort: skip

THEIRS = (
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"^vision_encoder\.neck\.convs\.(\d+)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"\.projection\.(weight|bias)$", r".proj.\1"),
    (r"\.blocks\.(\d+)\.mlp\.proj_in", r".blocks.\1.mlp.layers.0"),
    (r"\.blocks\.(\d+)\.mlp\.proj_out", r".blocks.\1.mlp.layers.1"),
    (r"transformer\.layers\.(\d+)\.mlp\.proj_in", r"transformer.layers.\1.mlp.layers.0"),
    (r"transformer\.layers\.(\d+)\.mlp\.proj_out", r"transformer.layers.\1.mlp.layers.1"),
    (r"(head|mlps\.\d|pointer_proj)\.layers\.0\.", r"\1.layers.1."),
    (r"(head|mlps\.\d|pointer_proj)\.proj_in\.", r"\1.layers.0."),
    (r"(head|mlps\.\d|pointer_proj)\.proj_out\.", r"\1.layers.2."),
    (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
    (r"mask_embed\.conv1", "mask_downscaling.0"),
    (r"mask_embed\.layer_norm1", "mask_downscaling.1"),
    (r"mask_embed\.conv2", "mask_downscaling.3"),
    (r"mask_embed\.layer_norm2", "mask_downscaling.4"),
    (r"mask_embed\.conv3", "mask_downscaling.6"),
    (r"upscale_conv1", "output_upscaling.0"),
    (r"upscale_layer_norm", "output_upscaling.1"),
    (r"upscale_conv2", "output_upscaling.3"),
    (r"mask_downsampler\.layers\.(\d)\.conv", lambda m: f"mask_downsampler.encoder.{3 * int(m[1])}"),
    (r"mask_downsampler\.layers\.(\d)\.layer_norm", lambda m: f"mask_downsampler.encoder.{3 * int(m[1]) + 1}"),
    (r"mask_downsampler\.final_conv", "mask_downsampler.encoder.12"),
    (r"memory_encoder\.proj\.", "memory_encoder.out_proj."),
    (r"memory_encoder\.feature_projection", "memory_encoder.pix_feat_proj"),
    (r"memory_encoder\.memory_fuser", "memory_encoder.fuser"),
    (r"\.layer_norm(\d?)\.", r".norm\1."),
    (r"\.scale$", ".gamma"),
    (r"depthwise_conv", "dwconv"),
    (r"pointwise_conv", "pwconv"),
    (r"\.o_proj\.", ".out_proj."),
    (r"shared_embedding\.positional_embedding$", "pe_layer.positional_encoding_gaussian_matrix"),
    (r"^(prompt_encoder|mask_decoder)\.", r"sam_\1."),
    (r"^memory_temporal_positional_encoding$", "maskmem_tpos_enc"),
    (r"^no_memory_embedding$", "no_mem_embed"),
    (r"^no_memory_positional_encoding$", "no_mem_pos_enc"),
    (r"^no_object_pointer$", "no_obj_ptr"),
    (r"^occlusion_spatial_embedding_parameter$", "no_obj_embed_spatial"),
    (r"^temporal_positional_encoding_projection_layer", "obj_ptr_tpos_proj"),
    (r"^object_pointer_proj", "obj_ptr_proj"),
)  # fmt: skip
"""From the names of `transformers` to Meta's."""

PUBLISHED = {
    "image_encoder.trunk.pos_embed", "image_encoder.trunk.pos_embed_window",
    "image_encoder.trunk.patch_embed.proj.weight", "image_encoder.trunk.blocks.0.norm1.weight",
    "image_encoder.trunk.blocks.0.attn.qkv.weight", "image_encoder.trunk.blocks.0.mlp.layers.1.bias",
    "image_encoder.trunk.blocks.1.proj.weight", "image_encoder.neck.convs.0.conv.weight",
    "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", "sam_prompt_encoder.point_embeddings.3.weight",
    "sam_prompt_encoder.not_a_point_embed.weight", "sam_prompt_encoder.no_mask_embed.weight",
    "sam_prompt_encoder.mask_downscaling.6.weight", "sam_mask_decoder.iou_token.weight",
    "sam_mask_decoder.transformer.layers.0.self_attn.out_proj.weight",
    "sam_mask_decoder.transformer.layers.0.mlp.layers.0.weight", "sam_mask_decoder.transformer.norm_final_attn.weight",
    "sam_mask_decoder.output_upscaling.3.bias", "sam_mask_decoder.output_hypernetworks_mlps.3.layers.2.weight",
    "sam_mask_decoder.iou_prediction_head.layers.1.weight", "sam_mask_decoder.pred_obj_score_head.layers.2.bias",
    "sam_mask_decoder.conv_s0.weight", "sam_mask_decoder.obj_score_token.weight",
    "memory_attention.layers.0.cross_attn_image.out_proj.weight", "memory_attention.layers.0.linear1.weight",
    "memory_attention.norm.weight", "memory_encoder.mask_downsampler.encoder.12.weight",
    "memory_encoder.mask_downsampler.encoder.10.weight", "memory_encoder.fuser.layers.1.gamma",
    "memory_encoder.fuser.layers.0.dwconv.weight", "memory_encoder.fuser.layers.0.pwconv2.bias",
    "memory_encoder.fuser.layers.0.norm.weight", "memory_encoder.pix_feat_proj.weight",
    "memory_encoder.out_proj.weight",
    "maskmem_tpos_enc", "no_mem_embed", "no_mem_pos_enc", "no_obj_ptr", "no_obj_embed_spatial",
    "obj_ptr_proj.layers.0.weight", "obj_ptr_tpos_proj.weight", "mask_downsample.weight",
}  # fmt: skip
"""Names that the modules of facebookresearch/sam2 give their weights."""


def their_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state of ``Sam2VideoModel`` under Meta's names."""
    found = {}
    for name, value in state.items():
        if name == "shared_image_embedding.positional_embedding":
            continue
        if name == "prompt_encoder.point_embed.weight":
            found |= {f"sam_prompt_encoder.point_embeddings.{k}.weight": row[None] for k, row in enumerate(value)}
            continue
        theirs = name
        for pattern, replacement in THEIRS:
            theirs = re.sub(pattern, replacement, theirs)
        found[theirs] = value.clone()
    return found


@pytest.fixture(scope="module")
def model() -> Any:
    found = small_model("sam2_video")
    # one matrix in Meta's model
    shared = found.prompt_encoder.shared_embedding.positional_embedding
    with torch.no_grad():
        found.shared_image_embedding.positional_embedding.copy_(shared)
    return found


def test_the_names_are_those_of_metas_modules(model) -> None:
    theirs = their_names(model.state_dict())
    assert sorted(PUBLISHED - theirs.keys()) == []
    assert not [
        name for name in theirs if re.search(r"layer_norm|o_proj\.|vision_encoder|proj_in|proj_out|scale", name)
    ]


def test_every_weight_finds_its_place(model) -> None:
    state = model.state_dict()
    back = renamed(their_names(state))
    assert back.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(back[name], value)


def test_masks_and_memory_are_those_of_the_folder(model, monkeypatch, tmp_path) -> None:
    """A small model, whose size no published one has; its configuration is given."""
    monkeypatch.setattr(meta_sam2, "config_of", lambda state, path: model.config)
    torch.save({"model": their_names(model.state_dict())}, tmp_path / "sam2.1_small.pt")
    model.save_pretrained(tmp_path / "folder")
    ours = load_segmenter(tmp_path / "sam2.1_small.pt", "cpu", "float32")
    theirs = load_hub_folder(tmp_path / "folder", torch.device("cpu"))
    assert ours.name.startswith("sam2.1_small-")
    assert ours.capabilities.memory
    plane = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    answers = [one.segment(one.embed(plane), [Prompt((Point(30, 40),))])[0] for one in (ours, theirs)]
    for one, two in zip(*answers, strict=True):
        np.testing.assert_allclose(one.logits, two.logits, atol=1e-5)
    pixels = np.zeros((70, 90), bool)
    pixels[20:50, 30:60] = True
    steps = []
    for one in (ours, theirs):
        memory = one.remember(3)
        memory.give(0, one.embed(plane), pixels)
        steps.append(memory.step(1, one.embed(plane[::-1].copy()), backward=False))
    np.testing.assert_allclose(steps[0].logits, steps[1].logits, atol=1e-5)


def light(size: str) -> dict[str, torch.Tensor]:
    """Weights of a published size that share one number each, under Meta's names."""
    hiera = {
        "tiny": {},
        "small": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
        "base_plus": {
            "hidden_size": 112, "embed_dim_per_stage": [112, 224, 448, 896], "blocks_per_stage": [2, 3, 16, 3],
            "num_attention_heads_per_stage": [2, 4, 8, 16], "global_attention_blocks": [12, 16, 20],
            "window_positional_embedding_background_size": [14, 14],
        },
        "large": {
            "hidden_size": 144, "embed_dim_per_stage": [144, 288, 576, 1152], "blocks_per_stage": [2, 6, 36, 4],
            "num_attention_heads_per_stage": [2, 4, 8, 16], "global_attention_blocks": [23, 33, 43],
            "window_size_per_stage": [8, 4, 16, 8],
        },
    }[size]  # fmt: skip
    widths = hiera.get("embed_dim_per_stage", [96, 192, 384, 768])
    vision = transformers.Sam2VisionConfig(
        backbone_config=transformers.Sam2HieraDetConfig(**hiera), backbone_channel_list=widths[::-1]
    )
    config = transformers.Sam2VideoConfig(vision_config=vision)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in transformers.Sam2VideoModel(config).state_dict().items()}
    state = {name: torch.tensor(0.01).expand(shape) for name, shape in shapes.items()}
    return their_names(state), config


@pytest.mark.parametrize("size", ["tiny", "small", "base_plus", "large"])
def test_published_sizes_are_known(size) -> None:
    state, theirs = light(size)
    ours = config_of(renamed(state), Path("a.pt"))
    assert ours.vision_config.to_dict() == theirs.vision_config.to_dict()
    assert ours.to_dict() == theirs.to_dict()


def test_the_first_sam_2_has_fewer_weights() -> None:
    state, _ = light("tiny")
    first = {
        name: value
        for name, value in state.items()
        if "obj_ptr_tpos_proj" not in name and name != "no_obj_embed_spatial"
    }
    config = config_of(renamed(first), Path("a.pt"))
    assert not config.enable_occlusion_spatial_embedding
    assert not config.enable_temporal_pos_encoding_for_object_pointers


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda state: state.pop("sam_mask_decoder.iou_token.weight"), "1 weights do not fit, first 'mask_decoder.iou"),
        (lambda state: state.update({"no_mem_embed": torch.ones(1, 1, 5)}), "first 'no_memory_embedding'"),
    ],
)
def test_weights_that_do_not_fit_are_named(model, monkeypatch, tmp_path, change, line) -> None:
    monkeypatch.setattr(meta_sam2, "config_of", lambda state, path: model.config)
    state = their_names(model.state_dict())
    change(state)
    torch.save({"model": state}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=line):
        load_segmenter(tmp_path / "a.pt", "cpu")


def test_an_unknown_size_is_one_line(model, tmp_path) -> None:
    torch.save({"model": their_names(model.state_dict())}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"SAM 2 of an unknown size, with \[1, 1, 2, 1\] blocks") as caught:
        load_segmenter(tmp_path / "a.pt", "cpu")
    assert "\n" not in str(caught.value)


def test_code_in_a_checkpoint_is_not_run(tmp_path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("code of the checkpoint was run",))

    torch.save({"model": {"a": torch.ones(1)}, "more": Evil()}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="would run code"):
        load_state(tmp_path / "a.pt")
