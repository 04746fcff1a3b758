"""Small models of `transformers` with random weights, as ``save_pretrained`` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers", minversion="5", reason="needs transformers 5")

# (the library fixes 64 channels of a memory, and splits pointers of more)
WIDTH = 128
DECODER = {
    "hidden_size": WIDTH,
    "mlp_dim": 48,
    "num_attention_heads": 4,
    "iou_head_hidden_dim": 24,
}
HIERA = {
    "hidden_size": 16,
    "num_attention_heads": 1,
    "image_size": [128, 128],
    "blocks_per_stage": [1, 1, 2, 1],
    "embed_dim_per_stage": [16, 32, 64, 128],
    "num_attention_heads_per_stage": [1, 2, 4, 8],
    "window_size_per_stage": [8, 4, 4, 4],
    "global_attention_blocks": [3],
    "window_positional_embedding_background_size": [4, 4],
}
MAPS = [[32, 32], [16, 16], [8, 8]]
MEMORY = {
    "image_size": 128,
    "memory_attention_hidden_size": WIDTH,
    "memory_attention_num_layers": 2,
    "memory_attention_feed_forward_hidden_size": 48,
    "memory_attention_rope_feat_sizes": [8, 8],
    "memory_encoder_hidden_size": WIDTH,
    "memory_encoder_output_channels": 64,
    "mask_downsampler_embed_dim": WIDTH,
    "memory_fuser_embed_dim": WIDTH,
    "memory_fuser_intermediate_dim": 48,
    "num_maskmem": 4,
}
EDGETAM_MEMORY = {
    "memory_attention_mlp_hidden_size": 48,
    "memory_attention_rope_k_sizes": [4, 4],
    "perceiver_resampler_hidden_size": 64,
    "perceiver_resampler_attention_head_dim": 64,
    "perceiver_resampler_mlp_intermediate_size": 24,
    "perceiver_resampler_num_latents": 16,
    "perceiver_resampler_num_latents_2d": 16,
}


def prompts_of(side: int, patch: int) -> dict[str, Any]:
    return {"hidden_size": WIDTH, "image_size": side, "patch_size": patch, "mask_input_channels": 8}


def sam_config(kind: str) -> Any:
    vision = {
        "hidden_size": 48,
        "output_channels": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 128,
        "patch_size": 16,
        "window_size": 3,
        "global_attn_indexes": [1],
        "mlp_dim": 64,
        "num_pos_feats": WIDTH // 2,
    }
    own = getattr(transformers, f"{kind}Config")
    decoder = {**DECODER, "vit_dim": 48} if kind == "SamHQ" else DECODER
    return own(vision_config=vision, prompt_encoder_config=prompts_of(128, 16), mask_decoder_config=decoder)


def sam2_vision() -> Any:
    return transformers.Sam2VisionConfig(
        backbone_config=transformers.Sam2HieraDetConfig(**HIERA),
        backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=MAPS,
        fpn_hidden_size=WIDTH,
    )


def edgetam_vision() -> Any:
    backbone = transformers.TimmWrapperConfig(
        architecture="repvit_m1",
        model_args={
            "in_chans": 3,
            "features_only": True,
            "out_indices": [0, 1, 2, 3],
            "embed_dim": [8, 16, 24, 32],
            "depth": [1, 1, 1, 1],
        },
    )
    return transformers.EdgeTamVisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[32, 24, 16, 8],
        backbone_feature_sizes=MAPS,
        fpn_hidden_size=WIDTH,
    )


def sam3_vision() -> Any:
    backbone = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 112,
        "patch_size": 14,
        "window_size": 4,
        "global_attn_indexes": [1],
        "pretrain_image_size": 56,
    }
    return transformers.Sam3VisionConfig(
        backbone_config=transformers.Sam3ViTConfig(**backbone), fpn_hidden_size=WIDTH, backbone_feature_sizes=MAPS
    )


def config_of(kind: str) -> Any:
    """The configuration of a small model, by its `model_type`."""
    if kind in ("sam", "sam_hq"):
        return sam_config({"sam": "Sam", "sam_hq": "SamHQ"}[kind])
    title = {"sam2": "Sam2", "edgetam": "EdgeTam", "sam3": "Sam3Tracker"}[kind.split("_")[0]]
    vision = {"sam2": sam2_vision, "edgetam": edgetam_vision, "sam3": sam3_vision}[kind.split("_")[0]]()
    prompts = prompts_of(112, 14) if kind.startswith("sam3") else prompts_of(128, 16)
    more: dict[str, Any] = {}
    if kind.endswith("_video"):
        title, more = f"{title}Video", dict(MEMORY)
        if kind.startswith("sam3"):
            more["image_size"] = 112
        if kind.startswith("edgetam"):
            more |= EDGETAM_MEMORY
    own = getattr(transformers, f"{title}Config")
    return own(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=DECODER, **more)


CLASSES = {
    "sam": "SamModel",
    "sam_hq": "SamHQModel",
    "sam2": "Sam2Model",
    "edgetam": "EdgeTamModel",
    "sam3_tracker": "Sam3TrackerModel",
    "sam2_video": "Sam2VideoModel",
    "edgetam_video": "EdgeTamVideoModel",
    "sam3_tracker_video": "Sam3TrackerVideoModel",
}


def small_model(kind: str, seed: int = 3) -> Any:
    """A model whose weights all matter: fresh ones are zero in places."""
    torch.manual_seed(seed)
    model = getattr(transformers, CLASSES[kind])(config_of(kind)).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.08 * torch.randn_like(value))
        if hasattr(model.mask_decoder, "pred_obj_score_head"):
            # objects are there: what is not is an empty mask, whatever else is computed
            model.mask_decoder.pred_obj_score_head.proj_out.bias.add_(3)
    return model


def small_folder(kind: str, path: Path, seed: int = 3) -> Path:
    small_model(kind, seed).save_pretrained(path)
    return path


# (as wide as the tracker, as published)
CONCEPT = WIDTH


def small_detector_config() -> Any:
    sizes = {"hidden_size": CONCEPT, "num_attention_heads": 4}
    vision = sam3_vision()
    vision.fpn_hidden_size = CONCEPT
    text = transformers.CLIPTextConfig(
        vocab_size=300,
        bos_token_id=53,
        eos_token_id=54,
        hidden_size=32,
        intermediate_size=48,
        projection_dim=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=32,
        hidden_act="gelu",
    )
    return transformers.Sam3Config(
        vision_config=vision,
        text_config=text,
        geometry_encoder_config={**sizes, "num_layers": 1, "intermediate_size": 48},
        detr_encoder_config={**sizes, "num_layers": 1, "intermediate_size": 48},
        detr_decoder_config={**sizes, "num_layers": 2, "intermediate_size": 48, "num_queries": 9},
        mask_decoder_config=sizes,
    )


def concept_folder(path: Path, seed: int = 3) -> Path:
    """SAM 3 as it is published: detector, tracker and tokenizer in one folder."""
    torch.manual_seed(seed)
    tracker = config_of("sam3_tracker_video")
    config = transformers.Sam3VideoConfig(detector_config=small_detector_config(), tracker_config=tracker)
    model = transformers.Sam3VideoModel(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.08 * torch.randn_like(value))
    model.save_pretrained(path)
    return with_tokenizer(path)


def detector_folder(path: Path, seed: int = 3) -> Path:
    """The detector of SAM 3 alone, with its tokenizer."""
    torch.manual_seed(seed)
    model = transformers.Sam3Model(small_detector_config()).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.08 * torch.randn_like(value))
    model.save_pretrained(path)
    return with_tokenizer(path)


def with_tokenizer(path: Path) -> Path:
    letters = [chr(number) for number in range(97, 123)]
    words = [*letters, *(f"{one}</w>" for one in letters), "ce</w>", "<|startoftext|>", "<|endoftext|>"]
    (path / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (path / "merges.txt").write_text("#version: 0.2\nc e</w>\n")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 32}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return path
