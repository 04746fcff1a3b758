"""The numbers of inference that were chosen for one model; they are kept in the metadata of its weights.

A file of weights in the safetensors format has one entry of metadata, ``inference_config``: JSON with the fields of
:class:`InferenceConfig`. ``scripts/inference_config.py`` prints and changes it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError, safe_open

from napari_segany.core.confidence import Gates
from napari_segany.core.errors import ModelError
from napari_segany.core.filters import Filters
from napari_segany.core.ranking import RankingConfig

SESSION_HASH = "session_hash"
"""Of the entry of the hash that recorded sessions know the weights by."""
KEY = "inference_config"
"""Of the entry in the metadata of a safetensors file."""
_METADATA = "__metadata__"
"""What the format calls metadata in its header."""


@dataclass(frozen=True, slots=True)
class ZoomConfig:
    """How ``tiny`` magnifies objects for its refinement pass; see :mod:`napari_segany.models.tiny.zoom`.

    Parameters
    ----------
    window : int
        Side of a window in pixels; a multiple of 32.
    object_side : float
        Longest side, in window pixels, that an object is magnified to.
    large_object_side : float
        The same for objects that are larger than that in the plane and in the input frame.
    magnification : float
        Window pixels per plane pixel, at most.
    click_magnification : float
        The same where the prompt is a single click.
    dot_side : float
        Longest side, in window pixels, up to which an object of a single click is magnified beyond
        `click_magnification`.
    unseen_magnification : float
        Window pixels per plane pixel around a click at which the coarse pass found nothing.
    look_again : float
        Factor between the magnification of a window and the one that suits the predicted object, above which the object
        is predicted in another window.
    overview_suffices : float
        The same factor for the coarse pass, up to which its mask is final.
    looks : int
        Windows of an object, at most.
    nothing : float
        Predicted IoU below which no further window is used.
    coarse : float
        Frame pixels per plane pixel below which the coarse pass cannot resolve small objects.
    glance : int
        Side, in pixels, of the windows around clicks that are predicted before that.
    glances : tuple of (float, float)
        Their pixels per plane pixel, each with the frame pixels per plane pixel below which it is used.
    """

    window: int
    object_side: float
    large_object_side: float
    magnification: float
    click_magnification: float
    dot_side: float
    unseen_magnification: float
    look_again: float
    overview_suffices: float
    looks: int
    nothing: float
    coarse: float
    glance: int
    glances: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class PostprocessConfig:
    """From the logits of ``tiny`` to masks; see :mod:`napari_segany.models.tiny.postprocess`.

    Parameters
    ----------
    outwards : float
        Added to the logits of the single mask.
    leaning : (float, float)
        Share of the best of the three masks in the single mask, and of the single mask in the best of the three.
    beyond_box : float
        Subtracted from the logits outside a box prompt.
    speck : float
        Share of an object's largest part below which another part is removed.
    least_part : int
        Pixels from which on a part of a mask of many objects is an object.
    crumb : float
        Share of the median part below which a part of a mask of many objects is removed.
    """

    outwards: float
    leaning: tuple[float, float]
    beyond_box: float
    speck: float
    least_part: int
    crumb: float


@dataclass(frozen=True, slots=True)
class ProposalConfig:
    """Proposals from the dense heads; see :mod:`napari_segany.models.tiny.object_proposals`.

    Parameters
    ----------
    blur : float
        Standard deviation of the Gaussian filter of the heat map, in dense cells.
    least_heat : float
        Peaks below are no objects.
    """

    blur: float
    least_heat: float


@dataclass(frozen=True, slots=True)
class TextConfig:
    """How texts are used; see :class:`~napari_segany.models.text.text_prompter.TextPrompter`.

    Parameters
    ----------
    score : float
        Predicted IoU from which on objects are shown that a text finds.
    presence : float
        Probability that the named object is in the picture, below which it is not searched for.
    relevance : float
        Relevance of a place, below which nothing is searched for there.
    foreground_relevance : float
        Relevance from which on foreground belongs to the named object.
    agreement : float
        Weight of the overlap with the mask of a text in the choice among the masks of a click.
    certainty : float
        Power of the predicted IoU of that mask, by which the weight is multiplied.
    union_agreement, union_certainty : float
        The same for the mask of all that a text names, with the overlap around the click. Chosen on six sets of train/.
    scene_share : float
        Weight of the kind of image in the presence, next to what is visible.
    """

    score: float = 0.5
    presence: float = 0.5
    relevance: float = 0.4
    foreground_relevance: float = 0.2
    agreement: float = 0.1
    certainty: float = 4.0
    union_agreement: float = 0.8
    union_certainty: float = 2.0
    scene_share: float = 0.0


@dataclass(frozen=True, slots=True)
class InferenceConfig:
    """Settings of inference of one model. The defaults are those of a published SAM.

    Parameters
    ----------
    filters : Filters
        Which automatic masks pass.
    gates : Gates
        Weight of the model's mask in propagation, when an object counts as lost, and the calibration of the confidence.
    ranking : RankingConfig
        How committed objects rank the masks of a click.
    text : TextConfig
        How texts are used.
    zoom : ZoomConfig, optional
        The refinement pass; only ``tiny`` has one.
    postprocess : PostprocessConfig, optional
        From logits to masks; only for ``tiny``.
    proposals : ProposalConfig, optional
        Proposals of the dense heads; only for ``tiny``.
    chosen_on : dict of str to str
        For a field, such as ``"zoom.window"``, on which images its number was chosen, and what other numbers cost.
    """

    filters: Filters = field(default_factory=Filters)
    gates: Gates = field(default_factory=Gates)
    ranking: RankingConfig = field(default_factory=RankingConfig)
    text: TextConfig = field(default_factory=TextConfig)
    zoom: ZoomConfig | None = None
    postprocess: PostprocessConfig | None = None
    proposals: ProposalConfig | None = None
    chosen_on: dict[str, str] = field(default_factory=dict)

    def to_metadata(self) -> dict[str, str]:
        """The entry for the metadata of a safetensors file."""
        return {KEY: msgspec.json.encode(self).decode()}


def read_inference_config(path: str | Path, usual: InferenceConfig | None = None) -> InferenceConfig | None:
    """The configuration in a file of weights; `usual` in files of other formats, and where there is none.

    What it lacks, as it was written before there was such a number, is as in `usual` too.

    Raises
    ------
    ModelError
        It cannot be read.
    """
    text = read_metadata(path).get(KEY)
    return usual if text is None else parse_inference_config(text, path, usual)


def parse_inference_config(text: str, source: str | Path, usual: InferenceConfig | None = None) -> InferenceConfig:
    """The configuration in JSON; what it lacks is as in `usual`, or else as the defaults.

    Raises
    ------
    ModelError
        It cannot be read; the message names the `source`.
    """
    try:
        own = msgspec.json.decode(text, type=InferenceConfig)
        return own if usual is None else _completed(text, usual)
    except msgspec.DecodeError as error:
        raise ModelError(f"{source} has settings of inference that cannot be read: {error}") from None


def _completed(text: str, usual: InferenceConfig) -> InferenceConfig:
    def over(old: Any, new: Any) -> Any:
        return {**old, **{k: over(old.get(k), v) for k, v in new.items()}} if old and isinstance(new, dict) else new

    return msgspec.convert(over(msgspec.to_builtins(usual), msgspec.json.decode(text)), InferenceConfig)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata of a safetensors file; empty for files of other formats."""
    try:
        with safe_open(path, "np") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):
        return {}


def write_metadata(path: Path, changes: Mapping[str, str]) -> None:
    """Change entries in the metadata of a safetensors file; the bytes of the weights stay.

    The new file takes the place of the old one once it is on the disk whole.

    Raises
    ------
    OSError
        It cannot be read or written; the old file is as it was then.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with path.open("rb") as old, partial.open("wb") as new:
            header = json.loads(old.read(int.from_bytes(old.read(8), "little")))
            header[_METADATA] = {**header.get(_METADATA, {}), **changes}
            text = json.dumps(header, separators=(",", ":")).encode()
            # (weights begin at a multiple of 8 bytes, as safetensors writes them)
            text += b" " * (-len(text) % 8)
            new.write(len(text).to_bytes(8, "little") + text)
            shutil.copyfileobj(old, new)
            new.flush()
            os.fsync(new.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def weights_hash(path: Path) -> str:
    """SHA-256 of the weights in a safetensors file, independent of its metadata.

    Where the metadata contain the hash that earlier sessions recorded, which was that of the whole file, that hash is
    returned.
    """
    known = read_metadata(path).get(SESSION_HASH)
    if known is not None:
        return str(known)
    with path.open("rb") as file:
        file.seek(int.from_bytes(file.read(8), "little"), os.SEEK_CUR)
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


@functools.cache
def tiny_inference_config() -> InferenceConfig:
    """The configuration of the shipped ``tiny``, also used for weights of its architecture that have none."""
    from napari_segany.models.registry import find

    found = read_inference_config(find("tiny").path)
    if found is None:
        raise ModelError(f"{find('tiny').path} has no settings of inference; install napari-segany again")
    return found
