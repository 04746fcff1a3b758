"""Models as packages of the BioImage Model Zoo (bioimage.io), written and read by its library ``bioimageio.spec``.

A package is a zip file with a description, ``rdf.yaml``, the weights as a state dict of torch, and an image, points
and masks with which others can test it. What the weights of this project hold besides, the settings of inference and
the report of fine-tuning, is in the description, under ``config.napari_segany``.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.simulate import centre_point
from napari_segany.models.inference_config import KEY, read_metadata
from napari_segany.models.loading import architecture_of, load_model, locate, misfits, weights_of, without_texts
from napari_segany.models.promptable_module import PromptableModule
from napari_segany.models.registry import ModelSpec, new_own_model

CONFIG = "napari_segany"
"""Of the entry of the description with the metadata of the weights."""
TESTED = 3
"""Objects of the test image that are clicked."""
_CITED = {"text": "Kirillov et al. 2023, Segment Anything", "url": "https://arxiv.org/abs/2304.02643"}


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """What an author says of a model.

    Parameters
    ----------
    name : str
        Of the package, as the zoo shows it: letters, digits, spaces, ``-``, ``_`` and brackets.
    description : str
        A sentence or two.
    authors : sequence of str
        Names.
    licence : str
        SPDX identifier, such as "CC-BY-4.0"; empty where it is not decided yet, of which the zoo warns.
    """

    name: str
    description: str
    authors: Sequence[str] = ()
    licence: str = ""


def export_package(
    model: str | Path, out: Path, facts: PackageFacts, plane: np.ndarray, truth: np.ndarray
) -> list[str]:
    """Write a model as a package; texts are left out.

    Parameters
    ----------
    model : str or Path
        As of :func:`~napari_segany.models.loading.load_segmenter`.
    out : Path
        The zip file; it must not exist.
    facts : PackageFacts
        What the description says.
    plane : ndarray
        (y, x, 3) uint8, the image to test with.
    truth : ndarray
        (y, x) integer labels of its objects; the middles of the largest are the points to test with.

    Returns
    -------
    list of str
        Warnings of the zoo's checks; empty where there are none.

    Raises
    ------
    InputError
        `out` exists, the test image has no objects, the zoo refuses the description, or ``bioimageio.spec`` is not
        installed; nothing is written.
    ModelError
        The model cannot be loaded, or is of another kind than a SAM.
    """
    library = _library()
    if out.exists():
        raise InputError(f"{out} exists already; choose another name")
    path, _, _ = locate(model, None)
    metadata = read_metadata(path)
    module = _module(path, str(model), metadata.get(KEY, ""))
    points = _middles(truth)
    # (removed with all that is in it, whatever happens)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        _write_parts(folder, module, plane, points, facts)
        description = folder / "rdf.yaml"
        # JSON is YAML
        description.write_text(json.dumps(_description(module, facts, metadata, plane.shape[:2], len(points))))
        found = _checked(library, description)
        made_at = library.save_bioimageio_package(found, output_path=folder / "package.zip")
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(f"{out.name}.partial")
        shutil.copyfile(made_at, partial)
        partial.replace(out)
    # (a sample is a picture, which points, labels and scores are not)
    return [
        f"{'.'.join(map(str, one.loc))}: {one.msg}"
        for one in found.validation_summary.warnings
        if "sample_tensor" not in one.loc
    ]


def import_package(package: str | Path, name: str) -> ModelSpec:
    """Add the model in a package to the models of the user.

    Parameters
    ----------
    package : str or Path
        A zip file, as :func:`export_package` and micro-sam write them, or a folder with ``rdf.yaml``.
    name : str
        What it is called here.

    Returns
    -------
    ModelSpec
        Its entry among the models; the weights were copied.

    Raises
    ------
    InputError
        A model has this name already, it is no name for one, or ``bioimageio.spec`` is not installed.
    ModelError
        This is no complete package, or its weights are not those of a SAM.
    """
    library = _library()
    spec = new_own_model(name)
    if spec.path.exists():
        raise InputError(f"there is a model {name!r} already; choose another name")
    source = Path(package).expanduser()
    if not source.exists():
        raise ModelError(f"there is no package {source}")
    if source.is_file() and source.suffix != ".yaml" and not zipfile.is_zipfile(source):
        raise ModelError(f"{source} is no package of bioimage.io: these are zip files, or folders with rdf.yaml")
    found = _checked(library, source)
    weights = getattr(getattr(found, "weights", None), "pytorch_state_dict", None)
    if weights is None:
        raise ModelError(f"{source} has no weights of torch, which alone can be read here")
    with tempfile.TemporaryDirectory() as made:
        copied = Path(made) / "weights.pt"
        copied.write_bytes(weights.get_reader().read())
        state = without_texts(weights_of(copied))
    architecture = architecture_of(state)
    wrong = misfits(architecture, state) if architecture else ["they are not those of a SAM"]
    if wrong:
        raise ModelError(f"{source} has weights that cannot be used here: {wrong[0]}")
    spec.path.parent.mkdir(parents=True, exist_ok=True)
    partial = spec.path.with_name(f"{spec.path.name}.partial")
    save_file({key: value.contiguous() for key, value in state.items()}, partial, _metadata(found) or None)
    partial.replace(spec.path)
    return spec


def _library() -> ModuleType:
    try:
        import bioimageio.spec
    except ImportError:
        raise InputError(
            'packages of bioimage.io need its library; install it with: pip install "napari-segany[bioimageio]"'
        ) from None
    from loguru import logger

    # its log repeats what the checks say
    logger.disable("bioimageio")
    return bioimageio.spec


def _module(path: Path, model: str, inference: str) -> PromptableModule:
    """The model to be packaged, with its weights."""
    architecture = architecture_of(without_texts(weights_of(path)))
    if architecture is None:
        raise ModelError(f"{model!r} is not a SAM: packages are made of these alone")
    module = PromptableModule(architecture, inference).eval()
    module.sam.load_state_dict(load_model(path).state_dict())
    return module


def _middles(truth: np.ndarray) -> np.ndarray:
    """Points (1, object, 1, 2) float32, (x, y), in the largest objects."""
    sizes = np.bincount(truth.ravel())[1:]
    largest = [label + 1 for label in np.argsort(-sizes, kind="stable")[:TESTED] if sizes[label]]
    if not largest:
        raise InputError("the image to test with has no objects")
    points = [centre_point(truth == label) for label in largest]
    return np.array([[[[point.x, point.y]] for point in points]], np.float32)


def _write_parts(
    folder: Path, module: PromptableModule, plane: np.ndarray, points: np.ndarray, facts: PackageFacts
) -> None:
    """The files that the description names."""
    torch.save(module.state_dict(), folder / "weights.pt")
    image = np.ascontiguousarray(plane.transpose(2, 0, 1)[None])
    labels = np.ones(points.shape[:3], np.int8)
    with torch.inference_mode():
        masks, scores = module(*map(torch.from_numpy, (image, points, labels)))
    for name, array in (("image", image), ("points", points), ("point_labels", labels)):
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "masks.npy", masks.numpy())
    np.save(folder / "scores.npy", scores.numpy())
    (folder / "README.md").write_text(
        f"# {facts.name}\n\n{facts.description}\n\nThe package `napari-segany` makes the module: it takes an image and "
        "points of objects, and gives a mask and a predicted IoU for each.\n\n## Validation\n\n"
        "On an image of your own, click objects whose outline you know, and compare the masks.\n"
    )


def _description(
    module: PromptableModule, facts: PackageFacts, metadata: Mapping[str, str], shape: Sequence[int], objects: int
) -> dict[str, Any]:
    """The content of ``rdf.yaml``."""
    any_size, tested = {"min": 1, "step": 1}, {"tensor_id": "image"}
    object_axis = {"type": "index", "id": "object", "size": {"tensor_id": "points", "axis_id": "object"}}
    batch: dict[str, Any] = {"type": "batch", "size": 1}
    sides = [{"type": "space", "id": side, "size": {"min": 32, "step": 1}} for side in "yx"]
    outputs = [{**side, "size": {**tested, "axis_id": side["id"]}} for side in sides]
    prompted = [
        batch,
        {"type": "index", "id": "object", "size": any_size},
        {"type": "index", "id": "point", "size": any_size},
    ]
    return {
        "type": "model",
        "format_version": "0.5.4",
        "name": facts.name,
        "description": facts.description,
        "authors": [{"name": author} for author in facts.authors],
        **({"license": facts.licence} if facts.licence else {}),
        "cite": [_CITED],
        "documentation": "README.md",
        "tags": ["segment-anything", "instance-segmentation", "interactive-segmentation", "napari", "napari-segany"],
        "timestamp": dt.datetime.now(dt.UTC).isoformat(),
        "inputs": [
            _tensor("image", [batch, {"type": "channel", "channel_names": ["r", "g", "b"]}, *sides], "uint8"),
            _tensor("points", [*prompted, {"type": "channel", "channel_names": ["x", "y"]}], "float32"),
            _tensor("point_labels", prompted, "int8"),
        ],
        "outputs": [
            _tensor("masks", [batch, object_axis, *outputs], "uint8"),
            _tensor("scores", [batch, object_axis], "float32"),
        ],
        "weights": {
            "pytorch_state_dict": {
                "source": "weights.pt",
                "pytorch_version": torch.__version__.partition("+")[0],
                "architecture": {
                    "import_from": PromptableModule.__module__,
                    "callable": PromptableModule.__name__,
                    "kwargs": {"architecture": module.architecture, "inference": module.inference},
                },
            }
        },
        "config": {CONFIG: {"metadata": dict(metadata)}},
    }


def _tensor(name: str, axes: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return {"id": name, "axes": axes, "data": {"type": kind}, "test_tensor": {"source": f"{name}.npy"}}


def _checked(library: ModuleType, source: Path) -> Any:
    """The description of a package, after the checks of the zoo."""
    with warnings.catch_warnings():
        # what its own libraries deprecate is of no use to the user
        warnings.simplefilter("ignore")
        found = library.load_description(source)
    if isinstance(found, library.InvalidDescr):
        first = found.validation_summary.errors[0] if found.validation_summary.errors else None
        reason = "" if first is None else f": {'.'.join(map(str, first.loc))}: {first.msg}"
        raise ModelError(f"{source} is no valid package of bioimage.io{reason}")
    return found


def _metadata(found: Any) -> dict[str, str]:
    """The metadata of the weights in a description; empty in packages of others."""
    own = (found.config.model_extra or {}).get(CONFIG)
    metadata = own.get("metadata") if isinstance(own, dict) else None
    return {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {}
