"""Where sessions are stored, and what their files begin with."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import platformdirs

from napari_segany.core.errors import ModelError
from napari_segany.core.planes import LazyArray
from napari_segany.models.inference_config import weights_hash
from napari_segany.models.registry import find
from napari_segany.session.events import ModelEvent
from napari_segany.session.fingerprint import sample_fingerprint
from napari_segany.session.journal import Header

FOLDER = "SEGANY_SESSIONS"
"""Environment variable that names another folder for sessions."""
UNKNOWN = "fake"
"""What stands for the hash of weights that are in no registry."""


def sessions_folder() -> Path:
    """The folder that sessions are kept in; not created here."""
    given = os.environ.get(FOLDER)
    return Path(given) if given else platformdirs.user_data_path("napari-segany", appauthor=False) / "sessions"


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
    """Where a session that begins now is stored."""
    return sessions_folder() / f"{header.image.name}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.jsonl"
