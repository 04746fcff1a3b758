"""Meta's own checkpoints of SAM 2 and 2.1: their names of weights become those of `transformers`.

The names are facts of the two public programs: ``sam2/modeling`` of facebookresearch/sam2, and
``models/sam2_video`` of huggingface/transformers. What the weights do not tell (heads, windows, which blocks see the
whole picture) is known for the four published sizes, by their blocks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_segany.core.errors import ModelError
from napari_segany.models.adapters.hub_folder import check_room, load_library
from napari_segany.models.adapters.sam_families import FAMILIES
from napari_segany.models.adapters.transformers_segmenter import TransformersSegmenter

PATCHES = "image_encoder.trunk.patch_embed.proj.weight"
"""Every such checkpoint has this weight, and no other that is known."""

SIZES: Mapping[tuple[int, ...], dict[str, Any]] = {
    (1, 2, 7, 2): {"global_attention_blocks": [5, 7, 9]},
    (1, 2, 11, 2): {"global_attention_blocks": [7, 10, 13]},
    (2, 3, 16, 3): {"global_attention_blocks": [12, 16, 20]},
    (2, 6, 36, 4): {"global_attention_blocks": [23, 33, 43], "window_size_per_stage": [8, 4, 16, 8]},
}
"""Of the published models, by the blocks of their stages: tiny, small, base+ and large."""
HEAD = 96, 112, 144
"""Channels of the first stage; tiny and small have one head there, the others two."""

_HEADS = r"(iou_prediction_head|pred_obj_score_head|output_hypernetworks_mlps\.\d+|object_pointer_proj)"
_RENAMED = (
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^sam_(prompt_encoder|mask_decoder)\.", r"\1."),
    (r"\bpe_layer\.positional_encoding_gaussian_matrix$", "shared_embedding.positional_embedding"),
    (r"\bpatch_embed\.proj\.", "patch_embed.projection."),
    (r"\bmask_downscaling\.([036])\.", lambda found: f"mask_embed.conv{int(found[1]) // 3 + 1}."),
    (r"\bmask_downscaling\.([14])\.", lambda found: f"mask_embed.layer_norm{int(found[1]) // 3 + 1}."),
    (r"\boutput_upscaling\.0\.", "upscale_conv1."),
    (r"\boutput_upscaling\.1\.", "upscale_layer_norm."),
    (r"\boutput_upscaling\.3\.", "upscale_conv2."),
    (r"\.norm(\d*|_final_attn)\.", r".layer_norm\1."),
    (r"^memory_encoder\.out_proj\.", "memory_encoder.projection."),
    (r"\.out_proj\.", ".o_proj."),
    (r"^memory_encoder\.pix_feat_proj\.", "memory_encoder.feature_projection."),
    (r"^memory_encoder\.fuser\.", "memory_encoder.memory_fuser."),
    (r"\.gamma$", ".scale"),
    (r"\.dwconv\.", ".depthwise_conv."),
    (r"\.pwconv([12])\.", r".pointwise_conv\1."),
    (r"\bmask_downsampler\.encoder\.12\.", "mask_downsampler.final_conv."),
    (r"\bmask_downsampler\.encoder\.([0369])\.", lambda found: f"mask_downsampler.layers.{int(found[1]) // 3}.conv."),
    (
        r"\bmask_downsampler\.encoder\.(1|4|7|10)\.",
        lambda found: f"mask_downsampler.layers.{int(found[1]) // 3}.layer_norm.",
    ),
    (r"^maskmem_tpos_enc$", "memory_temporal_positional_encoding"),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"^no_mem_pos_enc$", "no_memory_positional_encoding"),
    (r"^no_obj_ptr$", "no_object_pointer"),
    (r"^no_obj_embed_spatial$", "occlusion_spatial_embedding_parameter"),
    (r"^obj_ptr_tpos_proj\.", "temporal_positional_encoding_projection_layer."),
    (r"^obj_ptr_proj\.", "object_pointer_proj."),
    # networks of three layers, and of two
    (_HEADS + r"\.layers\.0\.", r"\1.proj_in."),
    (_HEADS + r"\.layers\.1\.", r"\1.layers.0."),
    (_HEADS + r"\.layers\.2\.", r"\1.proj_out."),
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
)


def is_meta_sam2(state: Mapping[str, Tensor]) -> bool:
    """Whether weights are those of a SAM 2 under Meta's names."""
    return PATCHES in state and any(name.startswith("sam_mask_decoder.") for name in state)


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights under Meta's names to those of ``Sam2VideoModel``."""
    found: dict[str, Tensor] = {}
    points: dict[int, Tensor] = {}
    for name, value in state.items():
        ours = name
        for pattern, replacement in _RENAMED:
            ours = re.sub(pattern, replacement, ours)
        point = re.fullmatch(r"prompt_encoder\.point_embeddings\.(\d+)\.weight", ours)
        if point:
            points[int(point[1])] = value
        else:
            found[ours] = value
    if points:
        found["prompt_encoder.point_embed.weight"] = torch.cat([points[number] for number in sorted(points)])
    shared = found.get("prompt_encoder.shared_embedding.positional_embedding")
    if shared is not None:
        found["shared_image_embedding.positional_embedding"] = shared
    return found


def config_of(state: Mapping[str, Tensor], path: Path) -> Any:
    """The configuration of a published size, from the shapes of weights under the names of `transformers`.

    Raises
    ------
    ModelError
        It is none of the published sizes, or `transformers` is not installed.
    """
    stem = "vision_encoder.backbone."
    widths: list[int] = []
    blocks: list[int] = []
    names = {
        int(name.removeprefix(f"{stem}blocks.").split(".")[0]) for name in state if name.startswith(f"{stem}blocks.")
    }
    for number in sorted(names):
        width = int(state[f"{stem}blocks.{number}.attn.proj.weight"].shape[0])
        if not widths or widths[-1] != width:
            widths.append(width)
            blocks.append(0)
        blocks[-1] += 1
    own = SIZES.get(tuple(blocks))
    if own is None or widths[0] not in HEAD:
        raise ModelError(f"{path} holds a SAM 2 of an unknown size, with {blocks} blocks of {widths} channels")
    first = 1 if widths[0] == HEAD[0] else 2
    library = load_library()
    backbone = library.Sam2HieraDetConfig(
        hidden_size=widths[0],
        embed_dim_per_stage=widths,
        blocks_per_stage=blocks,
        num_attention_heads_per_stage=[first * 2**stage for stage in range(len(widths))],
        window_positional_embedding_background_size=list(state[f"{stem}pos_embed"].shape[2:]),
        **own,
    )
    vision = library.Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=widths[::-1])
    return library.Sam2VideoConfig(
        vision_config=vision,
        enable_temporal_pos_encoding_for_object_pointers="temporal_positional_encoding_projection_layer.weight"
        in state,
        enable_occlusion_spatial_embedding="occlusion_spatial_embedding_parameter" in state,
    )


def load_meta_sam2(
    state: Mapping[str, Tensor], path: Path, name: str, device: torch.device, dtype: torch.dtype
) -> TransformersSegmenter:
    """Make a segmenter from weights under Meta's names.

    Parameters
    ----------
    state : mapping of str to Tensor
        From :func:`~napari_segany.models.loading.weights_of`.
    path : Path
        Of their file, for messages.
    name : str
        Of the segmenter.
    device, dtype : torch.device, torch.dtype
        See :class:`TransformersSegmenter`.

    Raises
    ------
    ModelError
        It is no published size, weights are missing or do not fit, or `transformers` is not installed.
    """
    own = renamed(state)
    check_room(name, 4 * sum(value.numel() for value in own.values()))
    return sam2_segmenter(own, config_of(own, path), path, name, (device, dtype))


def sam2_segmenter(
    own: Mapping[str, Tensor], config: Any, path: Path, name: str, place: tuple[torch.device, torch.dtype]
) -> TransformersSegmenter:
    """The same with a configuration of ``Sam2VideoModel`` and weights under its names."""
    library = load_library()
    parts = config.to_dict()
    still = library.Sam2Config(
        vision_config=config.vision_config,
        **{key: _plain(parts[key]) for key in ("prompt_encoder_config", "mask_decoder_config")},
    )
    memory = partial(_filled, library.Sam2VideoModel, config, own, path)
    model = _filled(library.Sam2Model, still, own, path)
    device, dtype = place
    return TransformersSegmenter(model, FAMILIES["sam2"], name, device, dtype, load_memory=memory)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a part of a configuration, without the name of its kind."""
    return {key: value for key, value in config.items() if key != "model_type"}


def _filled(kind: Any, config: Any, state: Mapping[str, Tensor], path: Path) -> torch.nn.Module:
    """A model of a class that holds these weights; those of other parts are left out."""
    model: torch.nn.Module = kind(config)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    wrong = sorted(name for name, shape in wanted.items() if name not in state or tuple(state[name].shape) != shape)
    if wrong:
        raise ModelError(f"{path} looks like a SAM 2, but {len(wrong)} weights do not fit, first {wrong[0]!r}")
    model.load_state_dict({name: state[name].float() for name in wanted})
    return model.eval().requires_grad_(False)
