"""What the keys do: one list for the window, the command palette and the sheet of keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a key does.

    Parameters
    ----------
    key : str
        As napari writes it. None of ours is one of napari's, whichever layer is active.
    title : str
        What it does, for the command palette and the sheet of keys.
    """

    key: str
    title: str


ACTIONS: Mapping[str, Action] = {
    "keep": Action("K", "Keep the mask as a new label, or all that was found"),
    "discard": Action("Q", "Clear the prompts, or drop what was found"),
    "toggle_sign": Action("N", "Switch between clicks on the object and off it"),
    "next_candidate": Action("J", "Show the next candidate mask"),
    "find_everything": Action("G", "Find everything on this slice"),
    "toggle_hint": Action("H", "Show what a click would give, or stop showing it"),
    "reopen": Action("U", "Change the object under the cursor"),
    "delete_object": Action("W", "Delete the object under the cursor"),
    "next_object": Action(".", "Look at the next object of the table"),
    "previous_object": Action(",", "Look at the object before it in the table"),
    "follow": Action("Shift+G", "Track the objects of this slice through the other slices"),
    "show_uncertain": Action("Shift+N", "Go to the next uncertain slice of what was tracked"),
    "work_here": Action("Shift+W", "Work on the part of a large image that is shown"),
    "show_keys": Action("/", "Show what the keys do"),
}
"""Under the names of the methods of :class:`~napari_segany.widgets.main.SeganyWidget` that do it."""
