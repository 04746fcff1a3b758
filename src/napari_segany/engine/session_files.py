"""Where sessions are stored, and what their files begin with."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import platformdirs
from xxhash import xxh3_64_hexdigest

from napari_segany.core.errors import ModelError
from napari_segany.core.planes import LazyArray
from napari_segany.models.inference_config import weights_hash
from napari_segany.models.registry import find
from napari_segany.session.events import ModelEvent
from napari_segany.session.fingerprint import ImageFingerprint, sample_fingerprint
from napari_segany.session.journal import Header

FOLDER = "SEGANY_SESSIONS"
"""Environment variable that names another folder for sessions."""
PROJECT = "segany-project.json"
"""Makes a folder of images a project; the sessions of its images are kept in it."""
PROJECT_SESSIONS = "segany-sessions"
"""Folder of a project that sessions are kept in, so that they go with the images to other computers."""
UNKNOWN = "fake"
"""What stands for the hash of weights that are in no registry."""


def sessions_folder() -> Path:
    """The folder that sessions are kept in; not created here."""
    given = os.environ.get(FOLDER)
    return Path(given) if given else platformdirs.user_data_path("napari-segany", appauthor=False) / "sessions"


def project_place(folder: Path) -> Path:
    """Where the files of a project lie: in the folder of its images, or with the user's data.

    The second holds for a folder that has no such file yet and cannot be written to, as on a drive that is shared for
    reading alone.

    Parameters
    ----------
    folder : Path
        Of the images.
    """
    folder = folder.absolute()
    if (folder / PROJECT).is_file() or os.access(folder, os.W_OK):
        return folder
    return sessions_folder().parent / "projects" / f"{folder.name}-{xxh3_64_hexdigest(str(folder).encode())}"


def project_folder(image: str | Path) -> Path | None:
    """The folder of an image, if it is a project.

    Parameters
    ----------
    image : str or Path
        Where the image was opened from; empty when it is not known.
    """
    if not str(image) or "://" in str(image):
        return None
    folder = Path(image).absolute().parent
    return folder if (project_place(folder) / PROJECT).is_file() else None


def session_files(image: ImageFingerprint, path: str = "") -> list[Path]:
    """The files of sessions of images with the same sample, the newest first.

    Parameters
    ----------
    image : ImageFingerprint
        Only its sample counts.
    path : str
        Where the image was opened from; in a project its sessions there count, too.
    """
    project = project_folder(path)
    folders = [sessions_folder(), *([project_place(project) / PROJECT_SESSIONS] if project is not None else [])]
    found = [file for folder in folders for file in folder.glob(f"{image.name}-*.jsonl")]
    return sorted(found, key=lambda file: file.name, reverse=True)


def model_of(name: str) -> ModelEvent:
    """A model by its name with the hash of its weights: that of the registry, else that of the weights in its file."""
    try:
        spec = find(name)
        digest = spec.hash or weights_hash(spec.path)
    except (ModelError, OSError):
        digest = UNKNOWN
    return ModelEvent(name, digest)


@dataclass(frozen=True, slots=True, eq=False)
class SessionStart:
    """What a session's file begins with; nothing of it is read before :meth:`header`.

    Parameters
    ----------
    image : callable
        Gives the image's array.
    rgb : bool
        Whether its last axis holds colours.
    path : str
        Where it was opened from; empty when it is not known.
    model : str
        Name of the first model.
    """

    image: Callable[[], LazyArray]
    rgb: bool
    path: str
    model: str

    def header(self) -> Header:
        """The first record. Reads a sample of the image, and raises what the image raises."""
        version = metadata.version("napari-segany")
        return Header(version, model_of(self.model), sample_fingerprint(self.image()), self.rgb, self.path)


def new_path(header: Header) -> Path:
    """Where a session that begins now is stored: with its project, where that can be written to."""
    project = project_folder(header.path)
    place = project_place(project) if project is not None else None
    inside = place is not None and os.access(place, os.W_OK)
    folder = place / PROJECT_SESSIONS if place is not None and inside else sessions_folder()
    return folder / f"{header.image.name}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.jsonl"
