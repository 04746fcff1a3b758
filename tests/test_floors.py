"""What is heavy stays out until it is needed; the contracts in pyproject.toml check the imports that are written."""

from __future__ import annotations

import subprocess
import sys

import pytest

LATE = ("pandas", "zarr", "dask.array", "scipy.stats", "scipy.signal")
"""What the dock widget opens without, so that nobody waits for it."""
QT = ("qtpy", "PySide6", "PyQt6", "PyQt5")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("napari_segany", ("torch", "napari", *QT)),
        ("napari_segany.core.planes", ("torch", "napari", "dask", "zarr", *QT)),
        ("napari_segany.session", ("torch", "napari", *QT)),
        ("napari_segany.layers", ("torch", *QT)),
        ("napari_segany.io.labels", ("torch", "napari", *QT)),
        ("napari_segany.sample_data", ("torch", "napari", *QT)),
        ("napari_segany.models", ("napari", *QT)),
        ("napari_segany.training", ("napari", *QT)),
        (
            "napari_segany.widgets.main",
            ("torch", "open_clip", "pandas", "zarr", "dask.array", "scipy.ndimage", "skimage.transform"),
        ),
        ("napari_segany.cli", ("torch", "napari", *QT)),
    ],
)
def test_importing_leaves_out(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*(set({absent!r}) & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == []
