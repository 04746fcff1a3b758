"""Objects in the colours of what they are called."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
"""Colours that colour-blind people can distinguish (Okabe and Ito 2008); they repeat where there are more names."""
NAMELESS = "#999999"
TRANSPARENT = "#00000000"


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, the same whenever the same names are there; what has no name is grey."""
    known = sorted({name for name in names if name})
    return {"": NAMELESS} | {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(known)}


def paler(colour: str) -> str:
    """A colour ``#rrggbb`` half way to white."""
    return "#" + "".join(f"{(int(colour[k : k + 2], 16) + 255) // 2:02x}" for k in (1, 3, 5))


class NameColours:
    """Colours a Labels layer by names, and gives it its own colours back.

    Parameters
    ----------
    labels : Labels
        The layer.
    """

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self._own = labels.colormap
        self._shown: dict[int, str] = {}

    def show(
        self, names: Mapping[int, str], chosen: Mapping[str, str] | None = None, hidden: Collection[int] = ()
    ) -> dict[str, str]:
        """Show each label in the colour of its name.

        Parameters
        ----------
        names : mapping of int to str
            What each label is called; with less than two names the layer has its own colours.
        chosen : mapping of str to str, optional
            Colours of names; the others have ours.
        hidden : collection of int
            Labels of objects that are transparent.

        Returns
        -------
        dict of str to str
            The colour of each name; empty where the layer has its own.
        """
        if len(set(names.values())) < 2 and not any(name in (chosen or {}) for name in names.values()):
            self.show_own(names, hidden)
            return {}
        colours = colours_of(names.values()) | dict(chosen or {})
        self._apply({label: TRANSPARENT if label in hidden else colours[name] for label, name in names.items()})
        return {name: colours[name] for name in sorted(set(names.values()))}

    def show_own(self, labels: Iterable[int], hidden: Collection[int]) -> None:
        """Show objects in the layer's own colours, but for some that are transparent; without those, clear."""
        if not hidden:
            self.clear()
            return
        there = list(labels)
        own = self.labels.colormap if not self._shown else self._own
        shades = np.asarray(own.map(np.array(there, self.labels.data.dtype)))
        bytes_of = np.round(255 * shades).astype(np.uint8)
        # text of few colours is read once by napari, arrays are converted one by one
        texts = [f"#{row.hex()}" for row in map(bytes, bytes_of)]
        self._apply({k: TRANSPARENT if k in hidden else text for k, text in zip(there, texts, strict=True)})

    def _apply(self, colours: dict[int, str]) -> None:
        if colours == self._shown:
            return
        if not self._shown:
            # the user may have chosen other ones since
            self._own = self.labels.colormap
        self._shown = colours
        table: dict[int | None, str | np.ndarray] = {None: NAMELESS, 0: np.zeros(4)}
        self.labels.colormap = DirectLabelColormap(color_dict=table | colours)

    def clear(self) -> None:
        """Give the layer its own colours back."""
        if self._shown:
            self._shown = {}
            self.labels.colormap = self._own
