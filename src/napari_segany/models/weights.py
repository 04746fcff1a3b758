"""Weights: fetched once, verified before use, and never run as code."""

from __future__ import annotations

import contextlib
import logging
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from napari_segany.core.errors import ModelError
from napari_segany.models.registry import ModelSpec

Progress = Callable[[int, int | None], None]
_LOG = logging.getLogger(__name__)

_CHUNK = 1 << 18
# What training scripts put around a state dict, and in front of its names.
_WRAPPERS = ("model_state", "model", "state_dict")
_PREFIXES = ("module.", "sam.")
_DECODER = "decoder_state"
# what torch-em's trainer writes in any case
_TRAINER = {"model_state", "optimizer_state", "iteration", "epoch", "init"}
# What damaged files were seen to raise from torch, its unpickler and safetensors.
_DAMAGE = (
    SafetensorError, RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError,
    AssertionError, ArithmeticError, MemoryError, ImportError, struct.error, zipfile.BadZipFile, pickle.PickleError,
)  # fmt: skip


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

    A download goes to a temporary file next to its target, is verified, and then renamed, so that there is never half a
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
    if path.is_file() and is_published(path, spec):
        return path
    by_hand = f"download {spec.url} by hand and save it as {path}"
    downloader = pooch.HTTPDownloader(chunk_size=_CHUNK, progressbar=_Reporter(progress) if progress else False)
    try:
        with _quiet():
            pooch.retrieve(spec.url, spec.hash, fname=path.name, path=path.parent, downloader=downloader)
    except OSError as error:  # requests' errors are OSErrors too
        found = f"{path} is not the published file, and " if path.exists() else ""
        reason = " ".join(str(error).split())[:120]
        raise ModelError(f"{found}{spec.name!r} could not be downloaded ({reason}); {by_hand}") from error
    except ValueError as error:
        raise ModelError(f"what {spec.url} sent is not the published {spec.name!r} (its hash differs)") from error
    fetch_decoder(spec, progress)
    return path


def fetch_decoder(spec: ModelSpec, progress: Progress | None = None) -> None:
    """Download the decoder that belongs to a model, where it is not there yet.

    The model works without it, so a failure is a warning.
    """
    path = spec.decoder_path
    if not spec.decoder_hash or path.is_file():
        return
    downloader = pooch.HTTPDownloader(chunk_size=_CHUNK, progressbar=_Reporter(progress) if progress else False)
    try:
        with _quiet():
            pooch.retrieve(
                spec.decoder_url, spec.decoder_hash, fname=path.name, path=path.parent, downloader=downloader
            )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        _LOG.warning("the decoder of %s could not be downloaded (%s): automatic masks use a grid", spec.name, reason)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep pooch's own messages from the terminal: progress and errors are reported by this package."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def is_published(path: Path, spec: ModelSpec) -> bool:
    """Whether a file is the published one of a model, by its hash."""
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
    if not is_file(path):
        raise ModelError(f"there is no checkpoint {path}")
    state: object = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    for wrapper in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    tensors = _tensors(state)
    if not tensors:
        raise ModelError(f"{path} holds no weights")
    return tensors


def load_decoder_state(path: Path) -> dict[str, Tensor] | None:
    """The weights of a decoder that micro-sam trained next to a SAM; None where a checkpoint has none.

    They are in the checkpoint, under "decoder_state", or in a file next to it, NAME_decoder.pt of NAME.pt.

    Raises
    ------
    ModelError
        As of :func:`load_state`.
    """
    beside = path.with_name(f"{path.stem}_decoder{path.suffix}")
    if is_file(beside):
        return load_state(beside)
    if _is_safetensors(path) or not zipfile.is_zipfile(path):
        return None
    state = _read_torch(path)
    found = state.get(_DECODER) if isinstance(state, dict) else None
    return _tensors(found) if isinstance(found, dict) else None


def _tensors(state: object) -> dict[str, Tensor]:
    return {
        _plain(name): value
        for name, value in (state.items() if isinstance(state, dict) else ())
        if isinstance(name, str) and isinstance(value, Tensor)
    }


def check_usable(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights with which no valid mask can be computed.

    Raises
    ------
    ModelError
        When one is not of finite numbers that lie in memory.
    """
    for name, value in state.items():
        if value.is_meta:
            raise ModelError(f"{path} holds only the shapes of its weights, first {name!r}: it was saved without them")
        if value.layout != torch.strided or value.is_quantized:
            raise ModelError(
                f"{path} holds weights that are sparse or quantized, first {name!r}; save them as they were"
            )
        # (float32: not every operation knows types of eight bits)
        if value.is_complex() or not bool(torch.isfinite(value.float()).all()):
            raise ModelError(f"{path} holds weights that are no numbers (NaN or infinite), first {name!r}")


def is_file(path: Path) -> bool:
    """Whether there is a file; a name that the system does not take is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _is_safetensors(path: Path) -> bool:
    """By the name, or else by the JSON that a file begins with after eight bytes of length."""
    if path.suffix.lower() == ".safetensors":
        return True
    try:
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError:
        return False


def _plain(name: str) -> str:
    """A weight's name without what training scripts put in front."""
    while name.startswith(_PREFIXES):
        name = name.split(".", 1)[1]
    return name


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except _DAMAGE as error:
        raise ModelError(f"{path} is not a complete safetensors file") from error


def _read_torch(path: Path) -> object:
    try:
        with _scalars_allowed(), warnings.catch_warnings():
            # what torch thinks of old formats is of no use to who only reads one
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):  # torch's word for a class or function that is no tensor
            trained = _read_trainer(path)
            if trained is not None:
                return trained
            raise ModelError(f"{path} holds more than weights: loading it would run code, so it is refused") from error
        raise ModelError(f"{path} is not a complete torch checkpoint") from error
    except _DAMAGE as error:
        raise ModelError(f"{path} is not a complete torch checkpoint") from error


class _Inert:
    """Stands for whatever a trainer keeps of its own program next to the weights: it does nothing."""

    def __init__(self, *given: object, **named: object) -> None:
        """Nothing is kept."""

    def __setstate__(self, state: object) -> None:
        """Nothing is kept."""


def _read_trainer(path: Path) -> object | None:
    """The parts of a checkpoint that torch-em's trainer wrote; None for any other file.

    The trainer also stores how it was set up, with classes and functions of its own. torch's reader of weights, which
    runs no code, gets a class without any content for each of these names.
    """
    names = getattr(torch.serialization, "get_unsafe_globals_in_checkpoint", None)
    if names is None:  # before torch 2.5
        return None
    try:
        inert: list[Any] = [(type("Inert", (_Inert,), {}), name) for name in names(path)]
        with torch.serialization.safe_globals(inert):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE:
        return None
    return state if isinstance(state, dict) and _TRAINER.issubset(state) else None


def _scalars_allowed() -> contextlib.AbstractContextManager[Any]:
    """Let torch read the numbers of numpy that trainers keep with their weights, such as a best metric.

    They are data: a type and its bytes. Nothing else is let in, and no code is run.
    """
    safe_globals = getattr(torch.serialization, "safe_globals", None)
    if safe_globals is None:  # before torch 2.5
        return contextlib.nullcontext()
    # (the message of numpy for pickled files)
    scalar: Any = np.float64(0).__reduce__()[0]
    rebuild: Any = np.zeros(1).__reduce__()[0]
    kinds = {type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?SU"}
    # pickles of numpy before and after 2.0 name the same functions differently
    named = [
        (function, f"{module}.{function.__name__}")
        for function in (scalar, rebuild)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    ]
    context: contextlib.AbstractContextManager[Any] = safe_globals([*named, np.dtype, np.ndarray, *kinds])
    return context
