"""Repositories of the Hugging Face hub, downloaded when their name is given."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from napari_segany.core.errors import ModelError
from napari_segany.models.adapters.hub_folder import WANTED
from napari_segany.models.adapters.json_settings import holds_config
from napari_segany.models.availability import INSTALL
from napari_segany.models.weights import Progress

HUB = "https://huggingface.co"


def download(repository: str, target: Path | None = None, progress: Progress | None = None) -> Path:
    """Folder with the files of a repository; what is on this computer is not downloaded again.

    Parameters
    ----------
    repository : str
        OWNER/NAME.
    target : Path, optional
        Folder to put the files into; by default the hub's own cache.
    progress : callable, optional
        Called with the bytes done and the bytes in all. What it raises stops the download.

    Raises
    ------
    ModelError
        The repository is unknown or gated, or the hub cannot be reached.
    """
    if target is not None and holds_config(target) and any(target.glob("*.safetensors")):
        return target
    try:
        hub, errors = import_module("huggingface_hub"), import_module("huggingface_hub.errors")
    except ImportError as error:
        raise ModelError(f"downloads from the hub need huggingface_hub, which is not installed: {INSTALL}") from error
    where: dict[str, Any] = {} if target is None else {"local_dir": target}
    if target is None:
        try:
            return Path(hub.snapshot_download(repository, allow_patterns=list(WANTED), local_files_only=True))
        except (errors.LocalEntryNotFoundError, errors.HFValidationError):
            pass
    by_hand = f"download {HUB}/{repository} by hand" + (f" and save its files in {target}" if target else "")
    try:
        found = hub.snapshot_download(
            repository, allow_patterns=list(WANTED), tqdm_class=_reporting(hub, progress), **where
        )
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{repository} is gated: accept its licence at {HUB}/{repository} and log in with `hf auth login`, "
            f"or {by_hand}"
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise ModelError(f"the hub has no repository {repository}, or only for those who are logged in") from error
    except (OSError, errors.HfHubHTTPError, errors.LocalEntryNotFoundError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ModelError(f"{repository} could not be downloaded ({reason}); {by_hand}") from error
    return Path(found)


def _reporting(hub: Any, progress: Progress | None) -> type:
    """A bar of tqdm that shows nothing, and reports bytes."""
    base: type = import_module("huggingface_hub.utils").tqdm

    class Reporting(base):
        def __init__(self, *given: Any, **options: Any) -> None:
            self.counts_bytes = options.get("unit") == "B"
            super().__init__(*given, **{**options, "disable": True})
            self.done = 0

        def update(self, n: float | None = 1) -> bool | None:
            if self.counts_bytes and progress is not None:
                self.done += int(n or 0)
                progress(self.done, int(self.total) if getattr(self, "total", None) else None)
            return None

    return Reporting
