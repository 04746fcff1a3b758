"""Digits that give classes, while that is switched on: they are keys of napari's layers otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakMethod

from napari.components import ViewerModel
from napari.layers import Layer

DIGITS = range(10)


class ClassKeys:
    """Takes the digits of all layers of a viewer, and gives them back.

    Parameters
    ----------
    viewer : ViewerModel
        Whose keys.
    act : callable
        A method that gets the digit; its object is not kept alive by this one.
    """

    def __init__(self, viewer: ViewerModel, act: Callable[[int], None]) -> None:
        self._viewer = viewer
        method = WeakMethod(act)
        self._press = {str(digit): _pressed(method, digit) for digit in DIGITS}
        self._before: list[tuple[Any, str, Any]] = []

    @property
    def on(self) -> bool:
        """Whether digits give classes."""
        return bool(self._before)

    def switch(self, on: bool) -> None:
        """Have digits give classes, or do what they did before."""
        if on == self.on:
            return
        events = self._viewer.layers.events
        if on:
            # a layer's own keys go before the viewer's, which are for no layer at all
            for owner in (self._viewer, *self._viewer.layers):
                self._take(owner)
            events.inserted.connect(self._inserted)
        else:
            events.inserted.disconnect(self._inserted)
            for owner, key, before in self._before:
                owner.bind_key(key, before, overwrite=True)
            self._before.clear()

    def _take(self, owner: ViewerModel | Layer) -> None:
        for key, press in self._press.items():
            self._before.append((owner, key, owner.bind_key(key, press, overwrite=True)))

    def _inserted(self, event: Any) -> None:
        if not any(owner is event.value for owner, _, _ in self._before):
            self._take(event.value)


def _pressed(method: WeakMethod[Callable[[int], None]], digit: int) -> Callable[[object], None]:
    # napari takes functions only
    def press(_: object) -> None:
        act = method()
        if act is not None:
            act(digit)

    return press
