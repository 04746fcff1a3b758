"""Fixtures for every room; nothing here imports Qt, napari or torch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sessions, settings and embeddings are kept in a folder of the test's own, not in the user's."""
    folder = tmp_path / "sessions"
    monkeypatch.setenv("SEGANY_SESSIONS", str(folder))
    monkeypatch.setenv("SEGANY_SETTINGS", str(tmp_path / "settings.json"))
    monkeypatch.setenv("SEGANY_EMBEDDINGS", str(tmp_path / "embeddings"))
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with the public labelled images; see docs/development/measurement-log.md for what they are."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SEGANY_DATA", default))
    if not folder.is_dir():
        pytest.skip("needs the labelled images: set SEGANY_DATA to their folder")
    return folder
