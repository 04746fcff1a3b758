"""The one table of actions: keys, titles, and what each does.

The window binds the keys, :mod:`napari_segany.widgets.commands` has a command for each, the sheet of keys lists them.
The manifest and the table of keys in ``docs/panel.md`` are written from here by ``python scripts/write_tables.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_segany.core.objects import ACCEPTED, REJECTED, UNCERTAIN

if TYPE_CHECKING:
    from napari_segany.widgets.main import SeganyWidget


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a key does.

    Parameters
    ----------
    key : str
        As napari writes it. None of ours is one of napari's, whichever layer is active.
    title : str
        What it does, for the command palette, the sheet of keys and the documentation.
    run : callable
        Does it in a widget.
    """

    key: str
    title: str
    run: Callable[[SeganyWidget], object]


def _review(state: str) -> Callable[[SeganyWidget], None]:
    def run(widget: SeganyWidget) -> None:
        widget.tabs.show_box(widget.objects_box)
        widget.reviewing.decide(state)

    return run


ACTIONS: Mapping[str, Action] = {
    "keep": Action("K", "Keep the mask as a new label, or all that was found", lambda widget: widget.keep()),
    "discard": Action("Q", "Clear the prompts, or drop what was found", lambda widget: widget.discard()),
    "toggle_sign": Action(
        "N", "Switch between clicks on the object and off it", lambda widget: widget.prompt_box.toggle_sign()
    ),
    "next_candidate": Action("J", "Show the next candidate mask", lambda widget: widget.committing.next_candidate()),
    "find_everything": Action("G", "Find all objects on this slice", lambda widget: widget.find_everything()),
    "find_like": Action("Shift+F", "Find objects like the committed ones", lambda widget: widget.find_like()),
    "keep_confident": Action(
        "Shift+K",
        "Keep the confident ones of what was found, marked automatic",
        lambda widget: widget.committing.keep_confident(),
    ),
    "next_uncertain": Action(
        "Shift+J", "Show what was found one by one, the least certain first", lambda widget: widget.finder.step()
    ),
    "reject_found": Action("Shift+X", "Reject the found object under the cursor", lambda widget: widget.reject_found()),
    "find_edges": Action("Shift+E", "Compute the edges of this slice", lambda widget: widget.edges.find()),
    "toggle_hint": Action(
        "H", "Switch the preview under the cursor on or off", lambda widget: widget.prompt_box.toggle_hover()
    ),
    "reopen": Action("U", "Change the object under the cursor", lambda widget: widget.committing.reopen()),
    "delete_object": Action(
        "W", "Delete the object under the cursor", lambda widget: widget.committing.delete_object()
    ),
    "next_object": Action(".", "Go to the next object of the table", lambda widget: widget.objects_box.go(1)),
    "previous_object": Action(",", "Go to the previous object of the table", lambda widget: widget.objects_box.go(-1)),
    "accept_object": Action("Shift+Y", "Accept the selected objects, and go to the next one", _review(ACCEPTED)),
    "reject_object": Action("Shift+B", "Reject the selected objects, and go to the next one", _review(REJECTED)),
    "mark_uncertain": Action(
        "Shift+U",
        "Mark the selected objects uncertain, and go on",
        _review(UNCERTAIN),
    ),
    "follow": Action(
        "Shift+G", "Track the objects of this slice through the other slices", lambda widget: widget.follow()
    ),
    "show_uncertain": Action(
        "Shift+N",
        "Go to the next uncertain slice of what was tracked",
        lambda widget: widget.follower.show_uncertain(),
    ),
    "refine_labels": Action(
        "Shift+R",
        "Draw the objects of a Labels layer again, with each as prompt",
        lambda widget: widget.refine(),
    ),
    "cut_objects": Action(
        "Shift+C", "Cut objects along the strokes on this slice", lambda widget: widget.cleaning.cut()
    ),
    "join_objects": Action(
        "Shift+M", "Merge the objects under each stroke on this slice", lambda widget: widget.cleaning.join()
    ),
    "work_here": Action(
        "Shift+W", "Work on the part of a large image that is shown", lambda widget: widget.regions.work_here()
    ),
    "show_objects": Action(
        "Shift+T", "Show the table of objects and their sizes", lambda widget: widget.tabs.show_box(widget.objects_box)
    ),
    "next_image": Action("PageDown", "Open the next image that is not done", lambda widget: widget.project.step(1)),
    "previous_image": Action("PageUp", "Open the previous image", lambda widget: widget.project.step(-1)),
    "finish_image": Action(
        "Shift+PageDown", "Mark this image done, and open the next one", lambda widget: widget.project.finish()
    ),
    "show_keys": Action("/", "Show what the keys do", lambda widget: widget.keys.toggle_sheet()),
}
"""Under the names of their commands, without the plugin's."""

OTHER_KEYS: Mapping[str, str] = {
    "Shift+click": "A click off the object while clicks are on it, and the other way round",
    "Right click": "A click off the object (dragged, the right button zooms)",
    "1 to 9, 0": "While class keys are on: give the object under the cursor a class; 0 takes it away",
    "Ctrl+Z": "Take the last step back, in the clicks, shapes, preview and labels layers",
    "Ctrl+Shift+Z": "Do it again",
    "Enter": "End a scribble",
}
"""Keys that are napari's or the mouse's, and what they do here."""


def key_titles() -> dict[str, str]:
    """All keys and what they do, in the order of the sheet."""
    return {action.key: action.title for action in ACTIONS.values()} | dict(OTHER_KEYS)
