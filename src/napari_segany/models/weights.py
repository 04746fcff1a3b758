"""Weights: fetched once, verified before use, and never run as code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pooch
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from napari_segany.core.errors import ModelError
from napari_segany.models.registry import ModelSpec

Progress = Callable[[int, int | None], None]

_CHUNK = 1 << 18
# What training scripts put around a state dict, and in front of its names.
_WRAPPERS = ("model_state", "model", "state_dict")
_PREFIXES = ("module.", "sam.")


class _Reporter:
    """What pooch expects of a progress bar, over a plain function."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.total = 0
        self.done = 0

    def update(self, step: int) -> None:
        self.done = min(self.done + step, self.total or self.done + step)
        self.progress(self.done, self.total or None)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        """Nothing is open."""


def fetch(spec: ModelSpec, progress: Progress | None = None) -> Path:
    """Path of a model's verified weights; downloads them when they are not there yet.

    A download goes to a temporary file beside its target, is verified, and then renamed, so that there is never half a
    file. A file that was put in place by hand is verified the same way and needs no network.

    Parameters
    ----------
    spec : ModelSpec
        Which model.
    progress : callable, optional
        Called with the bytes done and the bytes in all, the latter None when unknown. What it raises stops the
        download.

    Raises
    ------
    ModelError
        The weights cannot be had, or are not the published ones; nothing is left behind.
    """
    path = spec.path
    if spec.embedded:
        if not path.is_file():
            raise ModelError(f"the weights of {spec.name!r} are missing from this installation: {path}")
        return path
    if path.is_file() and _is_published(path, spec):
        return path
    by_hand = f"download {spec.url} by hand and save it as {path}"
    downloader = pooch.HTTPDownloader(chunk_size=_CHUNK, progressbar=_Reporter(progress) if progress else False)
    try:
        pooch.retrieve(spec.url, spec.hash, fname=path.name, path=path.parent, downloader=downloader)
    except OSError as error:  # requests' errors are OSErrors too
        found = f"{path} is not the published file, and " if path.exists() else ""
        reason = " ".join(str(error).split())[:120]
        raise ModelError(f"{found}{spec.name!r} could not be downloaded ({reason}); {by_hand}") from error
    except ValueError as error:
        raise ModelError(f"what {spec.url} sent is not the published {spec.name!r} (its hash differs)") from error
    return path


def _is_published(path: Path, spec: ModelSpec) -> bool:
    algorithm, digest = spec.hash.split(":")
    return bool(pooch.file_hash(str(path), algorithm) == digest)


def load_state(path: str | Path) -> dict[str, Tensor]:
    """Read the weights in a checkpoint, on the CPU, under SAM's own names.

    Parameters
    ----------
    path : str or Path
        A .safetensors file, or a .pt or .pth file written by torch. The state dict may stand under "model_state",
        "model" or "state_dict", and its names behind "module." or "sam.".

    Raises
    ------
    ModelError
        The file is missing, damaged, holds no weights, or would run code when loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"there is no checkpoint {path}")
    state: object = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for wrapper in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    tensors = {
        _plain(name): value
        for name, value in (state.items() if isinstance(state, dict) else ())
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not tensors:
        raise ModelError(f"{path} holds no weights")
    return tensors


def _plain(name: str) -> str:
    """A weight's name without what training scripts put in front."""
    while name.startswith(_PREFIXES):
        name = name.split(".", 1)[1]
    return name


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a complete safetensors file") from error


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):  # torch's word for a class or function that is no tensor
            raise ModelError(f"{path} holds more than weights: loading it would run code, so it is refused") from error
        raise ModelError(f"{path} is not a complete torch checkpoint") from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is not a complete torch checkpoint") from error
