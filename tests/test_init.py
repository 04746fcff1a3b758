"""The package's root costs nothing to import."""

from __future__ import annotations

import subprocess
import sys

import pytest


def modules_after(code: str) -> set[str]:
    """Names of all modules that are there once a fresh Python has run some code."""
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_the_root_brings_nothing() -> None:
    assert not {"numpy", "scipy", "torch", "napari", "typer"} & modules_after("import napari_segany")


def test_a_prompt_needs_no_model() -> None:
    assert not {"torch", "napari", "zarr"} & modules_after("from napari_segany import Box, Point, Prompt, Stack, Mask")


@pytest.mark.parametrize("arguments", [["--help"], ["models", "list"], ["segment", "gone.png", "-o", "out.tif"]])
def test_the_command_line_starts_quickly(arguments: list[str]) -> None:
    found = modules_after(f"from napari_segany.cli import main; main({arguments!r})")
    assert not {"torch", "napari", "open_clip", "qtpy"} & found
