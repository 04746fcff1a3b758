"""From a name or a checkpoint to a segmenter."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.segmenter import Segmenter
from napari_segany.models.adapters.hub_loading import fetch_folder, folder_of, is_hub_folder, load_hub_folder
from napari_segany.models.adapters.json_settings import CONFIG, read_json
from napari_segany.models.adapters.meta_sam2 import is_meta_sam2, load_meta_sam2
from napari_segany.models.device import pick_device, pick_dtype
from napari_segany.models.entry_points import load_registered
from napari_segany.models.inference_config import read_inference_config, read_metadata, tiny_inference_config
from napari_segany.models.mask2former.mask2former_segmenter import (
    PREFIX,
    is_mask2former,
    load_mask2former,
)
from napari_segany.models.mask2former.query_segmenter import holds_queries, load_queries
from napari_segany.models.micro_sam.decoder_segmenter import DecoderSegmenter
from napari_segany.models.micro_sam.unetr_decoder import load_decoder
from napari_segany.models.registry import WEIGHT_ENDINGS, ModelSpec, file_digest, find, list_models
from napari_segany.models.sam.image_encoder import EncoderConfig
from napari_segany.models.sam.model import ENCODERS, SIZES, Sam, build_sam
from napari_segany.models.sam_segmenter import SamSegmenter
from napari_segany.models.text.own_heads import find_head, own_heads
from napari_segany.models.text.text_prompter import DECODER, HEAD, TextPrompter, load_text_prompter, text_file
from napari_segany.models.tiny.mask_classes import (
    ENCODER,
    MaskClasses,
    MaskNamer,
    classes_file,
    encoder_digest,
    read_classes,
)
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.models.tiny.zoom import ZoomSegmenter
from napari_segany.models.weights import (
    Progress,
    check_usable,
    fetch,
    is_file,
    load_decoder_state,
    load_state,
)

# Kept by some exporters; here they are constants of the model.
_CONSTANTS = ("pixel_mean", "pixel_std")
# The classifier that MobileSAM's encoder was pretrained with; nothing uses it.
_CLASSIFIER = ("image_encoder.norm_head.", "image_encoder.head.")

OWN_SIZES = "vit"
"""Architecture of a SAM whose vision transformer has sizes of your own."""
NEAR = 0.1
"""Change of an encoder's weights, over their length, up to which it takes the text prompts of `tiny`. Fine-tuning on
ten masks changes them by 0.007; another training by 1."""


def load_segmenter(
    model: str | Path,
    device: str | torch.device | None = None,
    precision: str = "auto",
    progress: Progress | None = None,
    text: str | Path | None = None,
) -> Segmenter:
    """Make a segmenter that is ready to use.

    Parameters
    ----------
    model : str or Path
        Name of a model in the registry, whose weights are downloaded when needed; or path of a checkpoint, whose
        architecture is recognised from its weights; or ``mask2former:FOLDER``, a published Mask2Former; or a folder
        that ``transformers`` wrote, or ``hf:OWNER/NAME`` of the Hugging Face hub. Other packages add names, see
        :mod:`napari_segany.models.entry_points`.
    device : str or torch.device, optional
        "cpu", "cuda", "mps"; None takes the fastest that is there.
    precision : {"auto", "float32", "bfloat16", "float16"}
        What the image encoder computes in.
    progress : callable, optional
        Called during a download with the bytes done and the bytes in all.
    text : str or Path, optional
        A text head that was trained for this model, in place of the model's own: a file that ``train text`` wrote, or
        the name of one that was added. A model without texts takes the first that was added for it.

    Raises
    ------
    InputError
        The device is not there, or the precision unknown.
    ModelError
        The model is unknown, cannot be had, or its architecture is not supported; or the text head does not fit it.
    """
    place = pick_device(device)
    dtype = pick_dtype(precision, place)
    if is_mask2former(model):
        _refuse_text(text, str(model))
        return load_mask2former(str(model), place)
    spec = _other_spec(model)
    if spec is not None and spec.package:
        _refuse_text(text, str(model))
        return load_registered(spec.name, str(place))
    if spec is not None or _is_folder(model):
        _refuse_text(text, str(model))
        folder = folder_of(model, progress) if spec is None else fetch_folder(spec, progress)
        if read_json(folder / CONFIG).get("model_type") == "mask2former":
            return load_mask2former(f"{PREFIX}{folder}", place)
        return load_hub_folder(folder, place, dtype, "" if spec is None else spec.name)
    path, name, expected = locate(model, progress)
    if holds_queries(path):
        _refuse_text(text, name)
        return load_queries(path, _tiny(name, place, dtype))
    state = weights_of(path)
    if is_meta_sam2(state):
        _refuse_text(text, name)
        return load_meta_sam2(state, path, name, place, dtype)
    own_texts = any(key.startswith(HEAD) for key in state)
    # A file that ``train text`` wrote holds the head alone, which was trained next to `tiny` and goes with it.
    sam = _read(find("tiny").path, "tiny") if own_texts and not without_texts(state) else _built(state, path, expected)
    source = find_head(text) if text is not None else path if own_texts else _usual_head(sam, str(model))
    texts = None if source is None else load_text_prompter(copy.deepcopy(sam.mask_decoder), source, place)
    decoder = None if isinstance(sam, TinySam) or texts is not None else load_decoder_state(path)
    if decoder is not None:
        return DecoderSegmenter(sam, load_decoder(decoder, str(path)), name, (place, dtype))
    if not isinstance(sam, TinySam):
        return SamSegmenter(sam, name, place, dtype, texts, read_inference_config(path))
    classes = _usual_classes(sam)
    return _with_names(ZoomSegmenter(sam, name, place, dtype, texts, sam.inference), classes)


def _usual_classes(sam: TinySam) -> MaskClasses | None:
    """The names of masks in the package, for the weights that they were trained with, or nearly these."""
    path = classes_file()
    if not path.is_file():
        return None
    same = read_metadata(path).get(ENCODER) == encoder_digest(sam.state_dict())
    return read_classes(path) if same or (_names_fit() and _sees_as_tiny(sam)) else None


def _names_fit() -> bool:
    """Whether the names in the package were trained with the weights in the package."""
    return bool(read_metadata(classes_file()).get(ENCODER) == encoder_digest(weights_of(find("tiny").path)))


def _with_names(segmenter: ZoomSegmenter, classes: MaskClasses | None) -> ZoomSegmenter:
    """A segmenter that names masks, where there is a branch for that."""
    if classes is not None:
        segmenter.namer = MaskNamer(segmenter.model, classes, segmenter.device)
    return segmenter


def _usual_head(sam: Sam, model: str) -> Path | None:
    """The text head of a model that holds none: that of the package for ``tiny``, else the first that was added."""
    if isinstance(sam, TinySam) and (model == "tiny" or _sees_as_tiny(sam)) and text_file().is_file():
        return text_file()
    return next(iter(own_heads(model).values()), None)


def _other_spec(model: str | Path) -> ModelSpec | None:
    """The entry of the registry that a name means, where that is a folder or in another package."""
    if not isinstance(model, str):
        return None
    others = {one.name: one for one in list_models() if one.folder or one.package}
    stem, _, digest = model.rpartition("-")
    # sessions record a name with the hash of its weights
    recorded = stem in others and re.fullmatch("[0-9a-f]{8}", digest) is not None and not is_hub_folder(model)
    return find(model) if recorded else others.get(model)


def _is_folder(model: str | Path) -> bool:
    """Whether a model is a folder of `transformers`; a name of the registry is never one that is called like it."""
    named = isinstance(model, str) and any(spec.name == model for spec in list_models())
    return not named and is_hub_folder(model)


def _refuse_text(text: str | Path | None, name: str) -> None:
    if text is not None:
        raise ModelError(f"the model {name!r} takes no text head")


def _tiny(name: str, place: torch.device, dtype: torch.dtype) -> ZoomSegmenter:
    """The segmenter in the package under another name."""
    model = _read(find("tiny").path, "tiny")
    if not isinstance(model, TinySam):
        raise ModelError(f"{find('tiny').path} is not 'tiny'; install napari-segany again")
    classes = _usual_classes(model)
    segmenter = ZoomSegmenter(model, name, place, dtype, _texts_of(text_file(), place), model.inference)
    return _with_names(segmenter, classes)


def _texts_of(source: Path, place: torch.device) -> TextPrompter | None:
    """The text prompts in a file; open_clip is imported when the first text is used."""
    return load_text_prompter(TinySam().mask_decoder, source, place) if source.is_file() else None


def without_texts(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a file that are no part of its text prompts."""
    return {key: value for key, value in state.items() if not key.startswith((HEAD, DECODER))}


def _sees_as_tiny(sam: TinySam) -> bool:
    """Whether a model makes nearly the embeddings of `tiny`, from which the text prompts of the wheel were learned.

    So it is where prompts and masks alone were trained further, or where the encoder was fine-tuned on a few masks:
    texts lose little then, and follow what was learned (the figures are in docs/learning.md).
    """
    known = find("tiny").path
    if not known.is_file():
        return False
    own = weights_of(known)
    change = total = 0.0
    for name, value in sam.image_encoder.named_parameters():
        before = own[f"image_encoder.{name}"].float()
        change += float((value.detach().float() - before).square().sum())
        total += float(before.square().sum())
    return math.sqrt(change / total) < NEAR


def load_model(model: str | Path) -> Sam:
    """The model alone, as it is trained; parameters and errors are those of :func:`load_segmenter`."""
    path, _, expected = locate(model, None)
    return _read(path, expected)


def load_weights(model: str | Path) -> dict[str, Tensor]:
    """The weights alone, by name; parameters and errors are those of :func:`load_segmenter`."""
    return weights_of(locate(model, None)[0])


def weights_of(path: Path) -> dict[str, Tensor]:
    """What a file holds, by name, without what is no part of a model here.

    Raises
    ------
    ModelError
        As of :func:`~napari_segany.models.weights.load_state`, or nothing can be computed with it.
    """
    state = {
        key: value
        for key, value in load_state(path).items()
        if key not in _CONSTANTS and not key.startswith(_CLASSIFIER)
    }
    check_usable(state, path)
    return state


def _read(path: Path, expected: str | None) -> Sam:
    return _built(weights_of(path), path, expected)


def _built(given: dict[str, Tensor], path: Path, expected: str | None) -> Sam:
    state = without_texts(given)
    architecture = architecture_of(state)
    if architecture not in (*_builders(), OWN_SIZES) or architecture != (expected or architecture):
        what = f"the architecture {architecture!r}" if architecture else "an unknown architecture"
        raise ModelError(f"{path} holds {what}; supported are {', '.join(_builders())}")
    model = _filled(architecture, state, path)
    if isinstance(model, TinySam):
        model.inference = read_inference_config(path, tiny_inference_config())
    return model


def locate(model: str | Path, progress: Progress | None) -> tuple[Path, str, str | None]:
    """Path of the weights, name of the segmenter, and the architecture that the registry promises.

    Parameters and errors are those of :func:`load_segmenter`.
    """
    if not isinstance(model, str | Path):
        raise InputError(f"model is the name of one or the path of a checkpoint, got {model!r}")
    path = _expanded(Path(model))
    # A name of the registry is never a file that happens to be called like it.
    named = isinstance(model, str) and any(spec.name == model for spec in list_models())
    ending = path.suffix.lower() in WEIGHT_ENDINGS
    if not named and (isinstance(model, Path) or ending or len(path.parts) > 1 or is_file(path)):
        if not is_file(path):
            raise ModelError(f"there is no checkpoint {path}")
        # Embeddings are kept under this name: two files that share theirs must not share embeddings.
        return path, f"{path.stem}-{file_digest(path)}", None
    spec = find(str(model))
    if spec.own:
        return spec.path, f"{spec.name}-{file_digest(spec.path)}", None
    return fetch(spec, progress), spec.name, spec.architecture


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # the home of somebody unknown: a name that begins with ~ then
        return path


def new_model(architecture: str) -> Sam:
    """A model of an architecture, with random weights.

    Raises
    ------
    ModelError
        There is no such architecture.
    """
    if architecture not in _builders():
        raise ModelError(f"there is no architecture {architecture!r}; there are {', '.join(_builders())}")
    return _builders()[architecture]()


def _builders() -> dict[str, Callable[[], Sam]]:
    """What makes a model of each supported architecture."""
    return {"tiny": TinySam, **{size: partial(build_sam, size) for size in SIZES}}


def architecture_of(state: dict[str, Tensor]) -> str | None:
    """Recognise an architecture from the names and shapes of its weights.

    Parameters
    ----------
    state : dict of str to Tensor
        From :func:`~napari_segany.models.weights.load_state`.

    Returns
    -------
    str or None
        "vit_b", "vit_l", "vit_h", "vit_t" or "tiny"; "vit" for a SAM with a vision transformer of other sizes; None
        when it is none of these.
    """
    if "image_encoder.stem.0.weight" in state:
        return "tiny"
    if any(name.startswith("image_encoder.patch_embed.seq.") for name in state):
        return "vit_t"
    positions = state.get("image_encoder.pos_embed")
    if positions is None or positions.ndim != 4:
        return None
    blocks = {name.split(".")[2] for name in state if name.startswith("image_encoder.blocks.")}
    for name, config in ENCODERS.items():
        if positions.shape[1:] == (config.grid, config.grid, config.width) and len(blocks) == config.depth:
            return name
    return None if own_sizes(state) is None else OWN_SIZES


def own_sizes(state: dict[str, Tensor]) -> EncoderConfig | None:
    """Read the sizes of a vision transformer from the shapes of a SAM's weights; None where it has none.

    Every size but the window shows in one shape; of the window the relative positions tell, where a block has one.
    """
    tables = {
        name.split(".")[2]: value.shape
        for name, value in state.items()
        if name.startswith("image_encoder.blocks.") and name.endswith(".attn.rel_pos_h") and value.ndim == 2
    }
    parts = [state.get(f"image_encoder.{name}") for name in ("pos_embed", "patch_embed.proj.weight", "neck.0.weight")]
    positions, patches, neck = parts
    if positions is None or patches is None or neck is None or {one.ndim for one in (positions, patches, neck)} != {4}:
        return None
    grid, width = positions.shape[1], positions.shape[-1]
    reaches = [(tables[number][0] + 1) // 2 for number in map(str, range(len(tables))) if number in tables]
    windows, heads = set(reaches) - {grid}, {width // max(shape[1], 1) for shape in tables.values()}
    if len(reaches) != len(tables) or len(heads) != 1 or len(windows) > 1 or 0 in heads:
        return None
    everywhere = tuple(number for number, reach in enumerate(reaches) if reach == grid)
    patch = patches.shape[-1]
    window = max(windows, default=grid)
    return EncoderConfig(width, len(tables), heads.pop(), everywhere, grid * patch, patch, window, neck.shape[0])


def _new(architecture: str, state: dict[str, Tensor]) -> Sam:
    """An untrained model of an architecture; the sizes of ``OWN_SIZES`` are read from the weights."""
    sizes = own_sizes(state) if architecture == OWN_SIZES else None
    return _builders()[architecture]() if sizes is None else build_sam(sizes)


def misfits(architecture: str, state: dict[str, Tensor]) -> list[str]:
    """Where weights differ from what an architecture needs, in words: a name with both shapes, sorted.

    Parameters
    ----------
    architecture : str
        From :func:`architecture_of`.
    state : dict of str to Tensor
        Weights by name.
    """
    wanted = {name: tuple(value.shape) for name, value in _new(architecture, state).state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    names = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
    return [_misfit(name, wanted.get(name), given.get(name)) for name in names]


def _misfit(name: str, wanted: tuple[int, ...] | None, given: tuple[int, ...] | None) -> str:
    if given is None:
        return f"{name} is missing"
    if wanted is None:
        return f"{name} is unknown"
    return f"{name} has the shape {given} instead of {wanted}"


def _filled(architecture: str, state: dict[str, Tensor], path: Path) -> Sam:
    """A model that holds these weights."""
    # Not on the meta device, which would save the random numbers: it makes torch import triton, whose LLVM and that of
    # Mesa's OpenGL bring the process down when a window is open.
    model = _new(architecture, state)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    if wanted != given:
        names = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
        raise ModelError(f"{path} looks like {architecture!r}, but {len(names)} weights do not fit, first {names[0]!r}")
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not state[name].is_floating_point():
            kind = str(state[name].dtype).removeprefix("torch.")
            raise ModelError(f"{path} holds weights of {kind}, first {name!r}, with which nothing can be computed")
    model.load_state_dict(state, assign=True)
    return model
