"""Whether a model can be used on this computer, and why not; known without importing torch."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import psutil
from safetensors import SafetensorError, safe_open

from napari_segany.core.errors import ModelError
from napari_segany.models.adapters.json_settings import CONFIG, read_json
from napari_segany.models.adapters.sam_families import FAMILIES
from napari_segany.models.inference_config import read_metadata
from napari_segany.models.registry import WEIGHT_ENDINGS, ModelSpec

INSTALL = "pip install 'napari-segany[transformers]'"
"""Installs what folders of the hub need."""
LEAST_VERSION = 5
"""Of transformers."""
WORKING_BYTES = 2**30
"""Memory that encoding a picture takes next to the weights; measured with SAM 2.1 (docs/other-models.md)."""
OTHER_FOLDERS = ("mask2former",)
"""Kinds of folders that are loaded without the families of SAM."""
PREFIXES = ("image_encoder.", "head.", "sam.", "module.")
"""Beginnings of the names of weights in files that are models here, or text heads."""
_WEIGHTS = (*WEIGHT_ENDINGS, ".bin")
QUERIES = "tiny_queries"
"""Metadata of a file that ``train mask2former`` wrote."""


def why_not(spec: ModelSpec) -> str:
    """Why a model cannot be used on this computer, in one line that says what helps.

    Parameters
    ----------
    spec : ModelSpec
        The model. Nothing is downloaded, and its weights are not read.

    Returns
    -------
    str
        Empty where it can be used, as far as is known before it is loaded.
    """
    if spec.embedded or spec.package:
        return ""
    problems = (_other_kind, _missing_library, _locked, _shortage)
    return next((problem for find in problems if (problem := find(spec))), "")


def memory_shortage(bytes_of_weights: int) -> str:
    """What weights of so many bytes in single precision lack of memory; empty where they fit into what is free."""
    needed, free = bytes_of_weights + WORKING_BYTES, psutil.virtual_memory().available
    if needed <= free:
        return ""
    return (
        f"needs about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: "
        "close other programs, or choose a smaller model"
    )


def _other_kind(spec: ModelSpec) -> str:
    if not spec.installed:
        return ""
    return _kind_of_folder(spec.path) if spec.folder else _kind_of_file(spec.path)


def _kind_of_folder(path: Path) -> str:
    try:
        kind = read_json(path / CONFIG).get("model_type")
    except ModelError as error:
        return str(error)
    if kind in FAMILIES or kind in OTHER_FOLDERS:
        return ""
    titles = ", ".join(sorted({family.title for family in FAMILIES.values()}))
    return f"is of another kind, {kind!r}; supported are {titles}"


def _kind_of_file(path: Path) -> str:
    """What is wrong with a safetensors file; files of torch are judged when they are loaded."""
    if path.suffix != ".safetensors":
        return ""
    try:
        with safe_open(path, "np") as file:
            names = list(file.keys())
    except (SafetensorError, OSError):
        return "is not a complete safetensors file"
    known = any(name.startswith(PREFIXES) for name in names) or QUERIES in read_metadata(path)
    return "" if known else f"is of another kind: its weights are not those of a SAM, first {min(names, default='')!r}"


def _missing_library(spec: ModelSpec) -> str:
    if not spec.folder:
        return ""
    if find_spec("transformers") is None:
        return f"needs the package transformers, which is not installed: {INSTALL}"
    try:
        found = version("transformers")
    except PackageNotFoundError:
        return ""
    if int(found.split(".")[0]) < LEAST_VERSION:
        return f"needs transformers {LEAST_VERSION} or later, and there is {found}: {INSTALL}"
    return ""


def _locked(spec: ModelSpec) -> str:
    if not spec.gated or spec.installed or _logged_in():
        return ""
    return (
        f"is gated: accept its licence at {spec.url} and log in with `hf auth login`, or save its files in {spec.path}"
    )


def _logged_in() -> bool:
    """Whether the hub knows the user; only that there is a token matters here."""
    try:
        from huggingface_hub import get_token
    except ImportError:
        return False
    return get_token() is not None


def _shortage(spec: ModelSpec) -> str:
    if spec.installed:
        files = spec.path.glob("*.*") if spec.folder else (spec.path,)
        return memory_shortage(sum(file.stat().st_size for file in files if file.suffix in _WEIGHTS))
    return memory_shortage(spec.expected_bytes)
