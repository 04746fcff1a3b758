"""Versions that crash are told of; all others are not."""

from __future__ import annotations

import pytest

from napari_segany.widgets.qt_versions import warning_of_versions


@pytest.mark.parametrize(
    ("api", "version", "python", "warns"),
    [
        ("PySide6", "6.12.0", (3, 11), True),
        ("PySide6", "6.12.0", (3, 12), False),
        ("PySide6", "6.12.1", (3, 11), False),
        ("PySide6", "6.11.3", (3, 11), False),
        ("PyQt6", "6.12.0", (3, 11), False),
    ],
)
def test_one_line_tells_of_what_crashes(api: str, version: str, python: tuple[int, int], warns: bool) -> None:
    said = warning_of_versions(api, version, python)
    assert bool(said) is warns
    assert "\n" not in said


def test_nothing_is_wrong_here() -> None:
    assert warning_of_versions() == ""
