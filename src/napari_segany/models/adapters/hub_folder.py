"""Folders that ``save_pretrained`` of `transformers` writes, on this computer or on the Hugging Face hub."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError, safe_open

from napari_segany.core.errors import ModelError
from napari_segany.models.adapters.json_settings import CONFIG, read_json
from napari_segany.models.availability import INSTALL, LEAST_VERSION, memory_shortage
from napari_segany.models.weights import load_state

PREFIX = "hf:"
"""In front of a folder, or of a repository of the hub, where a model is named."""
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
WANTED = (CONFIG, "*.safetensors", "*.safetensors.index.json", "preprocessor_config.json", "processor_config.json",
          "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json")  # fmt: skip
"""Files of a repository that are downloaded: not the same weights in other formats."""
TRACKER = {
    r"^detector_model\.vision_encoder\.backbone\.": "vision_encoder.backbone.",
    r"^tracker_neck\.": "vision_encoder.neck.",
    r"^tracker_model\.": "",
}
"""Names of the tracker's weights in a folder that holds the detector of SAM 3, too; transformers 5.24 by itself does
not find them there."""


def load_library() -> Any:
    """Import `transformers`, which takes seconds.

    Raises
    ------
    ModelError
        It is not installed, or too old.
    """
    try:
        library = import_module("transformers")
    except ImportError as error:
        raise ModelError(f"this model needs the package transformers, which is not installed: {INSTALL}") from error
    version = str(getattr(library, "__version__", "0"))
    if int(version.split(".")[0]) < LEAST_VERSION:
        raise ModelError(f"this model needs transformers {LEAST_VERSION} or later, and there is {version}: {INSTALL}")
    return library


@dataclass(frozen=True, slots=True)
class HubFolder:
    """A folder with a configuration and weights.

    Parameters
    ----------
    path : Path
        Of the folder.
    config : dict
        Content of ``config.json``.
    weights : tuple of Path
        Files of the weights.
    """

    path: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]

    @property
    def kind(self) -> str:
        """The ``model_type``."""
        return str(self.config.get("model_type", ""))

    @property
    def stem(self) -> str:
        """Name of the folder, or of the repository that it is from."""
        # a snapshot in the hub's own cache is called like a commit
        parts = [part for part in self.path.resolve().parts if part.startswith("models--")]
        return parts[-1].split("--")[-1] if parts else self.path.resolve().name

    @property
    def digest(self) -> str:
        """The first eight digits of a hash of configuration and weights: embeddings are kept under it."""
        digest = xxhash.xxh128(json.dumps(self.config, sort_keys=True).encode())
        for file in self.weights:
            with file.open("rb") as opened:
                while block := opened.read(1 << 22):
                    digest.update(block)
        return str(digest.hexdigest()[:8])

    @property
    def count(self) -> int:
        """How many tensors the weights have."""
        return sum(len(_shapes(file)) for file in self.weights)

    def settings(self, name: str) -> dict[str, Any]:
        """The content of another JSON file in the folder; empty where there is none."""
        return read_json(self.path / name) if (self.path / name).is_file() else {}

    def check_memory(self) -> None:
        """Refuse weights that do not fit into the free memory.

        Raises
        ------
        ModelError
            They need more than is free.
        """
        check_room(self.stem, 4 * sum(_numbers(file) for file in self.weights))

    def load(self, kind: str) -> torch.nn.Module:
        """Load a class of `transformers` from the folder, on the CPU, in single precision.

        Raises
        ------
        ModelError
            The library is not there, the configuration is not understood, or weights are missing or do not fit.
        """
        library = load_library()
        found = getattr(library, kind, None)
        if found is None:
            raise ModelError(f"transformers {library.__version__} has no {kind}: {INSTALL} --upgrade")
        try:
            with _silent(library):
                model, report = found.from_pretrained(
                    self.path,
                    local_files_only=True,
                    output_loading_info=True,
                    dtype=torch.float32,
                    key_mapping=TRACKER if self.kind == "sam3_video" and "Tracker" in kind else None,
                )
        # what a configuration or weights of another kind were seen to raise there
        except (
            OSError,
            ValueError,
            TypeError,
            RuntimeError,
            KeyError,
            AttributeError,
            ImportError,
            SafetensorError,
        ) as error:
            raise ModelError(f"{self.path}: no {kind} can be loaded: {_line(error)}") from error
        missing = sorted(report.get("missing_keys", ())) + sorted(str(one) for one in report.get("mismatched_keys", ()))
        if missing:
            raise ModelError(f"{self.path} lacks {len(missing)} weights of {kind}, first {missing[0]!r}")
        _check_finite(model, self.path)
        return model.eval().requires_grad_(False)


def read_folder(path: Path) -> HubFolder:
    """Read the configuration of a folder, and find its weights.

    Raises
    ------
    ModelError
        There is no folder, or it lacks either of them.
    """
    if not path.is_dir():
        raise ModelError(f"there is no folder {path}")
    config = read_json(path / CONFIG)
    weights = sorted(path.glob("*.safetensors")) or sorted(path.glob("pytorch_model*.bin"))
    if not weights:
        raise ModelError(f"{path} holds no weights (model.safetensors)")
    return HubFolder(path, config, tuple(weights))


def check_room(name: str, bytes_of_weights: int) -> None:
    """Refuse weights of so many bytes in single precision that do not fit into the free memory.

    Raises
    ------
    ModelError
        They need more than is free.
    """
    problem = memory_shortage(bytes_of_weights)
    if problem:
        raise ModelError(f"{name} {problem}")


def _numbers(file: Path) -> int:
    """How many numbers a file of weights holds."""
    return sum(math.prod(shape) for shape in _shapes(file))


def _shapes(file: Path) -> list[tuple[int, ...]]:
    """Shapes of the weights in a file, without reading them where that is possible."""
    if file.suffix != ".safetensors":
        return [tuple(value.shape) for value in load_state(file).values()]
    try:
        with safe_open(file, "np") as opened:
            return [tuple(opened.get_slice(key).get_shape()) for key in opened.keys()]  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} is not a complete safetensors file") from error


def _check_finite(model: torch.nn.Module, path: Path) -> None:
    for name, value in model.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise ModelError(f"{path} holds weights that are no numbers (NaN or infinite), first {name!r}")


@contextmanager
def _silent(library: Any) -> Iterator[None]:
    """Keep the library's progress bars and warnings from the terminal while it loads."""
    logging = library.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _line(error: BaseException) -> str:
    """The first line of an error; the library's are pages."""
    text = str(error).strip() or type(error).__name__
    return " ".join(text.splitlines()[0].split())[:200]
