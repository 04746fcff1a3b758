"""Published checkpoints: a folder of ``transformers`` to a :class:`Mask2Former`.

Only the backbone comes from that package; its configuration names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_segany.core.errors import ModelError
from napari_segany.models.adapters.json_settings import read_json
from napari_segany.models.mask2former.pixel_decoder import PixelDecoderConfig
from napari_segany.models.mask2former.query_decoder import QueryDecoderConfig
from napari_segany.models.mask2former.universal import Mask2Former
from napari_segany.models.weights import load_state

WEIGHTS = ("model.safetensors", "pytorch_model.bin")

KEYS = (
    ("model.pixel_level_module.encoder.", "backbone."),
    ("model.pixel_level_module.decoder.encoder.layers.", "pixel_decoder.layers."),
    ("model.pixel_level_module.decoder.adapter_1.", "pixel_decoder.lateral."),
    ("model.pixel_level_module.decoder.layer_1.", "pixel_decoder.output."),
    ("model.pixel_level_module.decoder.", "pixel_decoder."),
    ("model.transformer_module.queries_features.", "query_content."),
    ("model.transformer_module.queries_embedder.", "query_position."),
    ("model.transformer_module.decoder.mask_predictor.mask_embedder.", "query_decoder.mask_head."),
    ("model.transformer_module.decoder.layernorm.", "query_decoder.norm."),
    ("model.transformer_module.decoder.layers.", "query_decoder.layers."),
    ("model.transformer_module.", "query_decoder."),
    ("class_predictor.", "query_decoder.class_head."),
)
"""Beginnings of names in published checkpoints, and of ours; the first that fits counts."""
_LAYER_NORM = re.compile(r"(self_attn|cross_attn|final)_layer_norm")
_FUSED = ("q_proj", "k_proj", "v_proj")
_BACKBONES = ("swin", "resnet")


@dataclass(frozen=True, slots=True)
class PublishedInput:
    """What a published model wants of a picture.

    Parameters
    ----------
    shortest, longest : int
        Pixels that the shortest side is resized to, unless the longest would exceed its own.
    mean, deviation : tuple of float
        Of R, G and B from 0 to 1.
    """

    shortest: int = 800
    longest: int = 1333
    mean: tuple[float, ...] = (0.48500001430511475, 0.4560000002384186, 0.4059999883174896)
    deviation: tuple[float, ...] = (0.2290000021457672, 0.2239999920129776, 0.22499999403953552)


def our_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a published checkpoint to those of :class:`Mask2Former`."""
    state: dict[str, Tensor] = {}
    for name, value in published.items():
        if name.startswith("criterion."):
            continue
        ours = next((new + name.removeprefix(old) for old, new in KEYS if name.startswith(old)), name)
        if not ours.startswith("backbone."):
            ours = _LAYER_NORM.sub(r"\1_norm", ours)
        if ours.startswith("query_decoder.mask_head."):
            ours = ours.replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        if ".cross_attn.in_proj_" in ours and ours.startswith("query_decoder."):
            stem, _, kind = ours.rpartition("in_proj_")
            state |= {f"{stem}{part}.{kind}": rows for part, rows in zip(_FUSED, value.chunk(3), strict=True)}
        else:
            state[ours] = value
    return state


def load_published(folder: Path) -> tuple[Mask2Former, tuple[str, ...], PublishedInput]:
    """Read a folder that ``save_pretrained`` of ``transformers`` wrote.

    Parameters
    ----------
    folder : Path
        Holds ``config.json`` and ``model.safetensors``, and may hold ``preprocessor_config.json``.

    Returns
    -------
    model : Mask2Former
        With these weights.
    names : tuple of str
        Of its classes.
    wanted : PublishedInput
        What it wants of a picture.

    Raises
    ------
    ModelError
        The package ``transformers`` is not installed, a file is missing or cannot be read, the configuration is of
        another model or uses what is not supported, or weights do not fit.
    """
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}; a Mask2Former is a folder with config.json and its weights")
    config = read_json(folder / "config.json")
    _check(config, folder)
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise ModelError(f"{folder} holds no weights ({' or '.join(WEIGHTS)})")
    model = _model(config, folder)
    state = our_state(load_state(weights))
    _check_fit(model, state, weights)
    model.load_state_dict(state)
    named = config.get("id2label") or {}
    count = model.query_decoder.config.classes
    return model, tuple(str(named.get(str(i), f"class {i}")) for i in range(count)), _input_of(folder)


def model_of(config: Mapping[str, Any], backbone: nn.Module, channels: tuple[int, ...]) -> Mask2Former:
    """Make a model of the sizes of a published configuration, with random weights."""
    features, masks = int(config.get("feature_size", 256)), int(config.get("mask_feature_size", 256))
    heads = int(config.get("num_attention_heads", 8))
    pixels = PixelDecoderConfig(
        inputs=channels,
        channels=features,
        mask_channels=masks,
        layers=int(config.get("encoder_layers", 6)),
        width=int(config.get("encoder_feedforward_dim", 1024)),
        heads=heads,
    )
    decoder = QueryDecoderConfig(
        classes=len(config.get("id2label") or (0, 1)),
        inputs=features,
        channels=int(config.get("hidden_dim", 256)),
        mask_channels=masks,
        # the first prediction counts as a layer there
        layers=int(config.get("decoder_layers", 10)) - 1,
        width=int(config.get("dim_feedforward", 2048)),
        heads=heads,
        project=bool(config.get("enforce_input_projection", False)),
    )
    return Mask2Former(backbone, pixels, decoder, int(config.get("num_queries", 100)))


def _check(config: Mapping[str, Any], folder: Path) -> None:
    """Refuse configurations that would be computed in another way than they are meant."""
    if config.get("model_type") != "mask2former":
        raise ModelError(f"{folder} holds the configuration of {config.get('model_type')!r}, not of 'mask2former'")
    usual = {"pre_norm": False, "activation_function": "relu", "common_stride": 4, "feature_strides": [4, 8, 16, 32]}
    for name, value in usual.items():
        if config.get(name, value) != value:
            raise ModelError(f"{folder}: {name} = {config[name]!r} is not supported, only {value!r}")
    inner = config.get("backbone_config")
    kind = inner.get("model_type") if isinstance(inner, dict) else None
    if kind not in _BACKBONES:
        raise ModelError(f"{folder}: the backbone {kind!r} is not supported, only {' and '.join(_BACKBONES)}")


def _model(config: dict[str, Any], folder: Path) -> Mask2Former:
    if find_spec("transformers") is None:
        raise ModelError(
            f'{folder} needs the backbones of transformers; install them with: pip install "napari-segany[mask2former]"'
        )
    from transformers import AutoBackbone, AutoConfig

    inner = dict(config["backbone_config"])
    try:
        backbone = AutoBackbone.from_config(AutoConfig.for_model(inner.pop("model_type"), **inner))
        model = model_of(config, backbone, tuple(backbone.channels))
    except (ValueError, TypeError, RuntimeError, KeyError, AttributeError) as error:
        raise ModelError(f"{folder}: no model can be made of its config.json: {error}") from error
    return model


def _check_fit(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    wanted = {name: value.shape for name, value in model.state_dict().items()}
    given = {name: value.shape for name, value in state.items()}
    misfits = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
    if misfits:
        raise ModelError(f"{path}: {len(misfits)} weights do not fit its config.json, first {misfits[0]!r}")
    if any(not bool(torch.isfinite(value).all()) for value in state.values() if value.is_floating_point()):
        raise ModelError(f"{path} holds weights that are not finite")


def _input_of(folder: Path) -> PublishedInput:
    """Return the content of ``preprocessor_config.json``, where there is one."""
    usual = PublishedInput()
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return usual
    settings = read_json(path)
    size = settings.get("size")
    sides: dict[str, Any] = size if isinstance(size, dict) else {}
    try:
        return PublishedInput(
            shortest=int(sides.get("shortest_edge", sides.get("height", usual.shortest))),
            longest=int(sides.get("longest_edge", sides.get("width", usual.longest))),
            mean=tuple(float(x) for x in settings.get("image_mean", usual.mean)),
            deviation=tuple(float(x) for x in settings.get("image_std", usual.deviation)),
        )
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: {error}") from error
