"""Whether a file of weights fits its architecture, and whether the model predicts the expected masks."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pooch
import scipy
from torch import Tensor

from napari_segany.core.errors import ModelError
from napari_segany.core.metrics import iou
from napari_segany.core.prompts import Prompt
from napari_segany.core.segmenter import Segmenter
from napari_segany.core.simulate import centre_point
from napari_segany.models.adapters.hub_folder import read_folder
from napari_segany.models.adapters.hub_loading import fetch_folder, folder_of, is_hub_folder
from napari_segany.models.adapters.meta_sam2 import is_meta_sam2
from napari_segany.models.adapters.sam_families import FAMILIES
from napari_segany.models.loading import (
    architecture_of,
    load_segmenter,
    locate,
    misfits,
    weights_of,
    without_texts,
)
from napari_segany.models.registry import EXPECTED_IOU, ModelSpec, list_models
from napari_segany.models.sam.model import ENCODERS
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.models.weights import Progress, fetch_decoder, is_published

SHOWN = 5
"""Number of weights that do not fit whose names are listed."""


@dataclass(frozen=True, slots=True)
class WeightReport:
    """What was found of a set of weights that can be used.

    Parameters
    ----------
    path : Path
        Where it lies.
    architecture : str
        As of :attr:`~napari_segany.models.registry.ModelSpec.architecture`.
    weights : int
        How many there are; all of them fit.
    digest : str
        xxh128 of the file.
    published : str
        Name of the published model that the file is, by its hash; empty when it is none.
    encoding, click : float
        Seconds to encode the sample, and to predict the masks of one click.
    iou : float
        Of the mask with the highest score, with the truth.
    best : float
        Of the best of the candidates.
    expected : float or None
        The least IoU that is expected of this model; None where none is known.
    """

    path: Path
    architecture: str
    weights: int
    digest: str
    published: str
    encoding: float
    click: float
    iou: float
    best: float
    expected: float | None

    @property
    def as_expected(self) -> bool:
        """Whether the IoU is no lower than what is expected."""
        return self.expected is None or self.iou >= self.expected


def check_model(
    model: str | Path,
    plane: np.ndarray,
    truth: np.ndarray,
    device: str | None = None,
    progress: Progress | None = None,
) -> WeightReport:
    """Check a model: its file, its weights, and one click on a sample.

    Parameters
    ----------
    model : str or Path
        As of :func:`~napari_segany.models.loading.load_segmenter`; a name is downloaded when it is not there.
    plane : ndarray
        (y, x, 3) uint8, the sample.
    truth : ndarray
        (y, x) integer labels of its objects.
    device : str, optional
        Where to compute.
    progress : callable, optional
        Of a download.

    Raises
    ------
    InputError
        The device is not there.
    ModelError
        The model cannot be used: there is none, it is damaged or not the published file, its architecture is unknown,
        weights do not fit (the first of them are named), or it cannot compute.
    """
    spec = next((one for one in list_models() if one.name == model), None)
    if (spec is not None and spec.folder) or is_hub_folder(model):
        return _check_folder(model, spec, plane, truth, device, progress)
    if spec is not None and spec.package:
        raise ModelError(f"{spec.name!r} is a model of {spec.package}, which has no weights that could be checked here")
    if spec is not None:
        _check_published(spec)
        fetch_decoder(spec, progress)
    path, _, expected = locate(model, progress)
    architecture, count = _check_weights(path, expected)
    digest = pooch.file_hash(str(path), "xxh128")
    published = spec.name if spec is not None and not spec.own else _named(path)
    known = EXPECTED_IOU.get(published)
    measured = _measured(partial(load_segmenter, model, device, progress=progress), path, plane, truth)
    return WeightReport(path, architecture, count, digest, published, *measured, known)


def _check_folder(
    model: str | Path,
    spec: ModelSpec | None,
    plane: np.ndarray,
    truth: np.ndarray,
    device: str | None,
    progress: Progress | None,
) -> WeightReport:
    """The same for a folder of `transformers`, whose weights its own library checks."""
    path = folder_of(model, progress) if spec is None else fetch_folder(spec, progress)
    folder = read_folder(path)
    measured = _measured(partial(load_segmenter, model, device, progress=progress), path, plane, truth)
    family = FAMILIES[folder.kind].title
    digest = pooch.file_hash(str(folder.weights[0]), "xxh128")
    return WeightReport(path, family, folder.count, digest, "", *measured, None)


def _measured(
    load: Callable[[], Segmenter], path: Path, plane: np.ndarray, truth: np.ndarray
) -> tuple[float, float, float, float]:
    """Seconds to encode the sample and to answer a click, and the IoU of the first and of the best mask."""
    try:
        segmenter = load()
        begin = time.perf_counter()
        embedding = segmenter.embed(plane)
        encoded = time.perf_counter()
        target = clearest_object(truth)
        begin_mask = time.perf_counter()
        masks = segmenter.segment(embedding, [Prompt((centre_point(target),))])[0]
        answered = time.perf_counter()
    except (RuntimeError, MemoryError) as error:  # torch's own, above all of memory that does not suffice
        raise ModelError(f"{path} cannot compute: {str(error)[:200]}") from error
    overlaps = [iou(mask.pixels, target) for mask in masks]
    return encoded - begin, answered - begin_mask, overlaps[0], max(overlaps)


def clearest_object(truth: np.ndarray) -> np.ndarray:
    """(y, x) bool, the object that lies farthest from all others, of those that the border does not cut.

    Parameters
    ----------
    truth : ndarray
        (y, x) integer labels, of which one at least is whole.
    """
    rim = np.concatenate([truth[0], truth[-1], truth[:, 0], truth[:, -1]])
    whole = np.setdiff1d(np.unique(truth), np.append(rim, 0))

    def clearance(label: int) -> float:
        own = truth == label
        others = (truth != 0) & ~own
        # without others there is no distance to them
        return float(scipy.ndimage.distance_transform_edt(~others)[own].min()) if others.any() else np.inf

    found: np.ndarray = truth == max(whole.tolist(), key=clearance)
    return found


def _check_published(spec: ModelSpec) -> None:
    """Refuse a file that lies where the published one belongs; loading it would download it again."""
    if spec.hash and spec.path.is_file() and not is_published(spec.path, spec):
        raise ModelError(f"{spec.path} is not the published {spec.name!r}: its hash is not {spec.hash}")


def _check_weights(path: Path, expected: str | None) -> tuple[str, int]:
    """Architecture and number of the weights in a file; all of them fit."""
    state = weights_of(path)
    sam = without_texts(state)
    if not sam:
        return "text prompts of tiny", len(state)
    if is_meta_sam2(sam):
        return FAMILIES["sam2"].title, len(sam)
    architecture = architecture_of(sam) or _nearest(sam)
    if architecture is None:
        raise ModelError(f"{path} holds an unknown architecture; its first weights are {_first(sam)}")
    if expected not in (None, architecture):
        raise ModelError(f"{path} holds the architecture {architecture!r}, and not {expected!r}")
    wrong = misfits(architecture, sam)
    if wrong:
        more = f", and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ModelError(f"{path} looks like {architecture!r}, but does not fit: {'; '.join(wrong[:SHOWN])}{more}")
    gc.collect()  # the largest models take gigabytes, and are loaded next
    return architecture, len(sam)


def _nearest(state: Mapping[str, Tensor]) -> str | None:
    """The architecture that weights are most like which lack what an architecture is known by; None if like none."""
    blocks = {name.split(".")[2] for name in state if name.startswith("image_encoder.blocks.")}
    for name, config in ENCODERS.items():
        if len(blocks) == config.depth:
            return name
    if any(name.startswith("image_encoder.layers.") for name in state):
        return "vit_t"
    own = TinySam().state_dict().keys()
    return "tiny" if 2 * len(own & state.keys()) > len(own) else None


def _first(state: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(value.shape)}" for name, value in list(state.items())[:SHOWN])


def _named(path: Path) -> str:
    """The published model that a file is by its hash; empty when it is none of them."""
    digests = {algorithm: pooch.file_hash(str(path), algorithm) for algorithm in ("sha256", "xxh128")}
    for spec in list_models():
        if spec.embedded:
            if path.samefile(spec.path):
                return spec.name
        elif spec.hash and digests[spec.hash.split(":")[0]] == spec.hash.split(":")[1]:
            return spec.name
    return ""
