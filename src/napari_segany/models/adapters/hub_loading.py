"""From a folder or a name of the hub to a segmenter."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from napari_segany.core.errors import ModelError
from napari_segany.models.adapters.concept_finder import ConceptFinder, holds_tokenizer
from napari_segany.models.adapters.concept_segmenter import ConceptSegmenter, DetectorSegmenter
from napari_segany.models.adapters.hub_download import download
from napari_segany.models.adapters.hub_folder import (
    PREFIX,
    REPOSITORY,
    HubFolder,
    check_room,
    read_folder,
)
from napari_segany.models.adapters.json_settings import holds_config
from napari_segany.models.adapters.sam_families import DETECTOR, FAMILIES, MEMORY, WITH_DETECTOR, SamFamily
from napari_segany.models.adapters.transformers_segmenter import TransformersSegmenter
from napari_segany.models.registry import ModelSpec
from napari_segany.models.weights import Progress


def is_hub_folder(model: object) -> bool:
    """Whether a model is named ``hf:…``, or is the path of a folder with ``config.json``."""
    if isinstance(model, str) and model.startswith(PREFIX):
        return True
    if not isinstance(model, str | Path) or not str(model):
        return False
    try:
        return holds_config(Path(model).expanduser())
    except RuntimeError:  # the home of somebody unknown
        return False


def folder_of(model: str | Path, progress: Progress | None = None) -> Path:
    """The folder that ``hf:FOLDER``, ``hf:OWNER/NAME`` or a path means; a name of the hub is downloaded.

    Raises
    ------
    ModelError
        There is none.
    """
    given = str(model).removeprefix(PREFIX)
    if not given:
        raise ModelError(f"{PREFIX} needs a folder or a name of the hub after it: {PREFIX}FOLDER or {PREFIX}OWNER/NAME")
    try:
        folder = Path(given).expanduser()
        if folder.is_dir():
            return folder
    except (RuntimeError, OSError, ValueError):  # the home of somebody unknown, or no name of a file
        folder = Path(given)
    if str(model).startswith(PREFIX) and REPOSITORY.fullmatch(given):
        return download(given, progress=progress)
    raise ModelError(f"there is no folder {folder}")


def fetch_folder(spec: ModelSpec, progress: Progress | None = None) -> Path:
    """The folder of an entry of the registry; one of the hub is downloaded when it is not there.

    Raises
    ------
    ModelError
        It does not fit into memory, or cannot be had.
    """
    if spec.installed or not spec.hub:
        return spec.path
    # (checked before a gigabyte is downloaded in vain)
    check_room(spec.name, spec.bytes or 0)
    return download(spec.hub, spec.path, progress)


def load_hub_folder(
    folder: Path, device: torch.device, dtype: torch.dtype = torch.float32, name: str = ""
) -> TransformersSegmenter:
    """Load the model in a folder.

    Parameters
    ----------
    folder : Path
        Holds ``config.json`` and weights.
    device : torch.device
        Where to compute.
    dtype : torch.dtype
        What the image encoder computes in.
    name : str
        Of the segmenter, in front of a hash of the weights; by default that of the folder.

    Raises
    ------
    ModelError
        The model is of a kind that is not supported, does not fit into memory, or cannot be loaded.
    """
    found = read_folder(folder)
    family = FAMILIES.get(found.kind)
    if family is None:
        kinds = ", ".join(sorted({one.title for one in FAMILIES.values()}))
        raise ModelError(f"{folder} holds a model of the kind {found.kind!r}; supported are {kinds}")
    found.check_memory()
    memory = partial(found.load, family.video_class) if found.kind.endswith(MEMORY) else None
    family, full_name = with_colours(family, found), f"{name or found.stem}-{found.digest}"
    if found.kind == DETECTOR and not holds_tokenizer(found):
        raise ModelError(f"{folder} lacks the tokenizer (tokenizer.json), without which SAM 3's detector finds nothing")
    model = found.load(family.image_class)
    if found.kind == DETECTOR:
        return DetectorSegmenter(
            model, family, full_name, (device, dtype), partial(ConceptFinder.of, found, device=device)
        )
    if found.kind == WITH_DETECTOR and holds_tokenizer(found):
        finder = partial(ConceptFinder.load, found, device=device)
        return ConceptSegmenter(model, family, full_name, (device, dtype), memory, finder)
    return TransformersSegmenter(model, family, full_name, device, dtype, memory)


def with_colours(family: SamFamily, folder: HubFolder) -> SamFamily:
    """The family with the mean and deviation of a picture that the folder states, where it states them.

    Raises
    ------
    ModelError
        They are not those of three colours.
    """
    settings = folder.settings("preprocessor_config.json")
    settings = settings or folder.settings("processor_config.json").get("image_processor", {})
    try:
        mean, deviation = (
            tuple(float(x) for x in settings.get(key) or usual)
            for key, usual in (("image_mean", family.mean), ("image_std", family.deviation))
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"the settings of the picture in {folder.path} cannot be read: {error}") from error
    if len(mean) != 3 or len(deviation) != 3 or not min(deviation) > 0:
        raise ModelError(f"the settings of the picture in {folder.path} are not of three colours")
    return replace(family, mean=mean, deviation=deviation)
