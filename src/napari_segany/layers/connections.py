"""Connections to events, disconnected together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Connections:
    """Remembers which callbacks were connected to which events."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, Callable[..., object]]] = []

    def add(self, event: Any, callback: Callable[..., object]) -> None:
        """Connect a callback to an event or a signal."""
        event.connect(callback)
        self._made.append((event, callback))

    def close(self) -> None:
        """Disconnect all of them."""
        for event, callback in self._made:
            event.disconnect(callback)
        self._made.clear()
