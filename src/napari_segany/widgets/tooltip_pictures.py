"""Small pictures for tooltips, where a word is not enough: drawn labels before and after, made by what they explain."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

import numpy as np
from qtpy.QtCore import QBuffer, QByteArray, QIODevice
from qtpy.QtGui import QImage

SIDE, GAP, ZOOM = 40, 6, 2
"""Pixels of a drawing's side, between drawings, and how many pixels of the screen each of them is."""
COLOURS = np.array([(38, 41, 48), (79, 143, 220), (230, 159, 0), (0, 158, 115), (255, 255, 255)], np.uint8)
"""Of the ground, of the labels 1 to 3, and of clicks (4)."""
CLICK = 4


def disc(y: float, x: float, radius: float) -> np.ndarray:
    """(SIDE, SIDE) bool, a disc in a drawing."""
    rows, columns = np.indices((SIDE, SIDE))
    inside: np.ndarray = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return inside


def drawing(*parts: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) int, masks as the labels 1, 2 …; later ones lie above."""
    labels = np.zeros((SIDE, SIDE), int)
    for label, part in enumerate(parts, start=1):
        labels[part] = label
    return labels


def clicked(labels: np.ndarray, *places: tuple[int, int]) -> np.ndarray:
    """A drawing with clicks at places (y, x)."""
    shown = labels.copy()
    for y, x in places:
        shown[disc(y, x, 2)] = CLICK
    return shown


def with_pictures(text: str, drawings: Sequence[np.ndarray], words: Sequence[str] = ()) -> str:
    """A tooltip: a text, and drawings in a row, with words below them.

    Parameters
    ----------
    text : str
        Plain text.
    drawings : sequence of ndarray
        (SIDE, SIDE) int.
    words : sequence of str
        One for each drawing, as "off" and "on".
    """
    cells = "".join(f"<td><img src='data:image/png;base64,{_png(one)}'></td>" for one in drawings)
    names = "".join(f"<td align='center'>{word}</td>" for word in words)
    return f"<qt>{text}<br><table cellspacing='{GAP}'><tr>{cells}</tr><tr>{names}</tr></table></qt>"


def _png(labels: np.ndarray) -> str:
    pixels = np.ascontiguousarray(COLOURS[labels].repeat(ZOOM, axis=0).repeat(ZOOM, axis=1))
    height, width = pixels.shape[:2]
    image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    held = QByteArray()
    buffer = QBuffer(held)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")  # type: ignore[call-overload]  # PySide declares bytes, PyQt str; both take str
    return b64encode(bytes(held.data())).decode("ascii")
