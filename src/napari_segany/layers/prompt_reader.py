"""Reads the prompts of the current plane, and passes them to the session."""

from __future__ import annotations

from psygnal import Signal

from napari_segany.core.prompts import Prompt
from napari_segany.core.views import View
from napari_segany.layers.commit import Committer
from napari_segany.layers.image_planes import ImagePlanes
from napari_segany.layers.prompt_layers import PromptLayers
from napari_segany.session.session import Session


class PromptReader:
    """Turns prompt layers into the prompt of a session, or into prompts of many objects.

    Parameters
    ----------
    session : Session
        Gets the prompt.
    planes : ImagePlanes
        Which plane is shown.
    prompts : PromptLayers
        Where prompts are read from.
    keeping : Committer
        Knows the mask of an object that is being changed.

    Attributes
    ----------
    several : bool
        Whether each click and each shape is an object.
    listed : Signal
        Emitted with a View and a list of Prompt when it is.
    """

    listed = Signal(View, list)

    def __init__(self, session: Session, planes: ImagePlanes, prompts: PromptLayers, keeping: Committer) -> None:
        self._session, self._planes, self._prompts, self._keeping = session, planes, prompts, keeping
        self.several = False
        self._last: tuple[View, Prompt] | None = None

    def read(self) -> None:
        """Read the prompts of the plane that is shown and hand them to the session."""
        view = self._planes.view()
        if view is None or self.several:
            self._last = None
            self._session.discard()
            if view is not None:
                self.listed.emit(view, self._prompts.read_all(view))
            return
        prompt = self._keeping.with_base(view, self._prompts.read(view))
        # napari emits several events for one click; one request is enough
        if self._last is None or self._last[0] != view or not prompt.says_the_same(self._last[1]):
            self._last = view, prompt
            self._session.set_prompt(view, prompt)

    def forget(self) -> None:
        """The image has other values: the same prompt is another request."""
        self._last = None
