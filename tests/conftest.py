"""Fixtures for every room; nothing here imports Qt, napari or torch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with the public labelled images; see docs/measured.md for what they are."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SEGANY_DATA", default))
    if not folder.is_dir():
        pytest.skip("needs the labelled images: set SEGANY_DATA to their folder")
    return folder
