"""Committed objects are opened to be changed, and earlier sessions to be continued."""

from __future__ import annotations

from collections.abc import Sequence

from napari.layers import Labels

from napari_segany.core.views import View
from napari_segany.layers.binding import Binding
from napari_segany.layers.prompt_marks import write_marks
from napari_segany.session.recovery import Recovered


def reopen_under(binding: Binding, position: Sequence[float]) -> bool:
    """Change the object under a place in the world: what it was made from comes back, else its mask is refined.

    Keeping it then replaces its pixels on this plane. False where there is no object.
    """
    view, label = binding.picker.label_under(position)
    if view is None or not label:
        return False
    _open(binding, view, label)
    return True


def reopen_label(binding: Binding, label: int) -> None:
    """Change an object of the plane that is shown; what was prompted there goes."""
    view = binding.planes.shown
    if view is not None:
        _open(binding, view, label)


def _open(binding: Binding, view: View, label: int) -> None:
    binding.clear_prompts()
    prompt = binding.keeping.open(view, label)
    if prompt is not None:
        binding.prompts.write(prompt, view)
    binding.refresh()


def close_reopened(binding: Binding) -> None:
    """Leave the object that was being changed as it is."""
    if binding.keeping.close_opened():
        binding.refresh()


def resume_session(binding: Binding, found: Recovered, labels: Labels | None = None) -> None:
    """Put labels and prompts of an earlier session into layers, and take up its history.

    Parameters
    ----------
    binding : Binding
        Nothing may have been prompted yet in its session.
    found : Recovered
        The earlier session.
    labels : Labels, optional
        A layer that holds the same labels and is to be used; by default a layer is made.
    """
    binding.ensure_layers()
    current, recorder, session = found.state.current, binding.recorder, binding.session
    recorder.begin_at(max(current.values(), default=0) + 1)
    session.forget(found.state.history)
    with recorder.hold(None):
        for kind, layer in (("points", binding.points), ("shapes", binding.shapes)):
            if layer is not None:
                write_marks(layer, tuple(m for m in found.marks(kind) if len(m.corners[0]) == layer.ndim))
                recorder.watch(layer, current.get(kind))
        if found.labels is not None:
            if labels is None:
                labels = binding.output.make(found.labels)
            binding.output.choose(labels)
            recorder.watch(labels, current["labels"])
            session.begin_at(binding.output.next_label)
    binding.planes.change_settings(found.state.channel_settings)
    binding.refresh()
    if found.state.choice:
        session.restore_choice(found.state.choice)
