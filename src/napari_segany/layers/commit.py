"""Masks become labels, and labels are opened to be changed: each time one step of undo, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Prompt
from napari_segany.core.views import View
from napari_segany.layers import write
from napari_segany.layers.output_layer import OutputLayer, Pixels
from napari_segany.layers.propagated_objects import present_labels
from napari_segany.session.history import Step
from napari_segany.session.session import Committed, Session

Steps = Callable[..., AbstractContextManager[None]]
"""Makes one step of undo of what is done within it, see :meth:`Binding.step`."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A kept object that is being changed: where, its label, and its mask unless what it was made from is known."""

    view: View
    label: int
    base: np.ndarray | None


class Committer:
    """Writes objects into the layer of an :class:`OutputLayer`.

    Parameters
    ----------
    session : Session
        Its masks are committed.
    output : OutputLayer
        The layer to write to.
    step : callable
        Context manager that records everything within it as one step of undo.
    clear : callable
        Removes the prompts of the current plane.

    Attributes
    ----------
    opened : Opened or None
        The object that is being changed.
    """

    def __init__(self, session: Session, output: OutputLayer, step: Steps, clear: Callable[[], None]) -> None:
        self._session, self._output, self._step, self._clear = session, output, step, clear
        self.opened: Opened | None = None

    def keep(self, inside: int = 0, state: str = "", review: tuple[str, str] = ("", "")) -> None:
        """Keep the mask that is shown as a new label, or as the object that is being changed.

        Parameters
        ----------
        inside : int
            The label of the object that was clicked into; 0 for none.
        state : str
            State of the object that is being changed, which it loses in the same step.
        review : (str, str)
            Who set that state, and when.

        Raises
        ------
        InputError
            When there is none, or it cannot be painted; then nothing changes.
        """
        result, mask = self._session.result, self._session.mask
        if result is None or mask is None or self._session.waiting:
            raise InputError("there is no mask to keep yet")
        plane = result.request.plane
        if self.opened is not None and self.opened.view == plane:
            states = ((self.opened.label, state, ""),) if state else ()
            reviews = ((self.opened.label, review, ("", "")),) if state and any(review) else ()
            self._change(self.opened, mask.pixels, Step("change", states=states, reviews=reviews))
            return
        self._output.check_room(plane, mask.pixels, inside)
        label = write.free_label(self._output.ensure(), plane, self._session.label)
        with self._step(Step("keep", label=label, overwrite=self._output.overwrite)):
            self._session.begin_at(label)
            self._session.commit()
        if self._session.label > self._output.last_label:
            self._session.begin_at(self._output.next_label)

    def paint(self, kept: Committed) -> None:
        """Paint an object that the session keeps."""
        with self._step(Step("keep", label=kept.label, overwrite=self._output.overwrite)):
            self._write(self._output.room(kept.plane, kept.mask.pixels), kept.label)
            self._clear()

    def _change(self, opened: Opened, pixels: np.ndarray, about: Step) -> None:
        """Give the object that was opened other pixels, in one step."""
        change = self._output.replacement(opened.view, opened.label, pixels)
        self._session.made_from[opened.label] = opened.view, self._session.prompt or Prompt()
        with self._step(replace(about, label=self._session.label)):
            self._write(*change)
            self._clear()
        self.close_opened()

    def keep_all(self, view: View, found: np.ndarray, *, clear: bool = False) -> dict[int, int]:
        """Paint all objects that were found on a plane, each with a separate label, in one step.

        Parameters
        ----------
        view : View
            The plane.
        found : ndarray
            (rows, columns) integer labels from 1.
        clear : bool
            Whether to remove the clicks and shapes of the plane in the same step.

        Returns
        -------
        dict of int to int
            The number of each object that was painted, by its label.

        Raises
        ------
        InputError
            When nothing can be painted.
        """
        pixels, values, numbers = self._output.additions(view, found, self._session.label, pointed=clear)
        with self._step(Step("keep all", label=int(values.min()))):
            self._write(pixels, values)
            if clear:
                self._clear()
        self._session.begin_at(int(values.max()) + 1)
        return dict(zip(values.tolist(), numbers.tolist(), strict=True))

    def add(self, view: View, found: np.ndarray) -> None:
        """Paint objects that were followed to a plane, or found there, into what is free; those that are there stay.

        Parameters
        ----------
        view : View
            The plane.
        found : ndarray
            (rows, columns) integers, the labels that the objects are to have.
        """
        if self._output.labels is None:
            return
        plane = view.read(self._output.labels.data)
        rows, columns = np.nonzero((found != 0) & (plane == 0))
        fresh = ~np.isin(found[rows, columns], present_labels(plane))
        if fresh.any():
            rows, columns = rows[fresh], columns[fresh]
            with self._step(Step("follow"), view):
                self._write(view.indices(rows, columns), found[rows, columns].astype(plane.dtype))

    def erase(self, places: Collection[tuple[int, View]]) -> None:
        """Take objects off planes, all in one step."""
        if self._output.labels is None or not places:
            return
        with self._step(Step("follow anew")):
            for view in dict.fromkeys(view for _, view in places):
                gone = [label for label, where in places if where == view]
                rows, columns = np.nonzero(np.isin(view.read(self._output.labels.data), gone))
                self._write(view.indices(rows, columns), 0)

    def open(self, view: View, label: int) -> Prompt | None:
        """Start to change an object of a plane; return its prompt, if the object can be predicted from it again."""
        made_from = self._session.made_from.get(label)
        known = made_from is not None and made_from[0] == view and made_from[1].mask is None and not made_from[1].text
        labels = self._output.ensure()
        self.opened = Opened(view, label, None if known else view.read(labels.data) == label)
        self._session.begin_at(label)
        return made_from[1] if made_from is not None and known else None

    def close_opened(self) -> bool:
        """Leave the object that was being changed as it is; whether there was one."""
        was = self.opened is not None
        self.opened = None
        if was:
            self._session.begin_at(self._output.next_label)
        return was

    def with_base(self, view: View, prompt: Prompt) -> Prompt:
        """The prompt, with the mask of the object that is being changed."""
        opened = self.opened
        if opened is None or opened.view != view or prompt.mask is not None or opened.base is None:
            return prompt
        return replace(prompt, mask=opened.base)

    def _write(self, pixels: Pixels, values: Any) -> None:
        if self._output.labels is not None:
            write.set_pixels(self._output.labels, pixels, values)
