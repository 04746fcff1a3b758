"""A session's journal and its image become its labels again, decoded again by the model, without a window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.masks import paintable
from napari_segany.core.planes import ChannelSettings, LazyArray, Stack
from napari_segany.core.segmenter import Segmenter
from napari_segany.core.views import View, planes_of
from napari_segany.engine.prediction import PredictionService
from napari_segany.engine.remote_segmenter import load_remote
from napari_segany.engine.session_files import model_of
from napari_segany.io.images import ImageFile, read_image, reading
from napari_segany.io.labels import check_axes, check_output, write_labels
from napari_segany.io.output_checks import check_apart
from napari_segany.io.spacing import Calibration
from napari_segany.session.events import ActionEvent, Event, ModelEvent, PromptEvent
from napari_segany.session.fingerprint import fingerprint_of
from napari_segany.session.history import Patch, Step
from napari_segany.session.journal import Header, JournalFile
from napari_segany.session.recovery import Recovered, State, recover
from napari_segany.session.session import Committed, SegmentRequest, Session


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """What to replay, and where to write its labels.

    Parameters
    ----------
    session : Path
        The journal.
    labels : Path
        Anything that :func:`~napari_segany.io.labels.write_labels` writes.
    image : Path, optional
        The image, when it is not where it was opened from.
    overwrite : bool
        Replace the file of labels when it exists.
    """

    session: Path
    labels: Path
    image: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What became of a job.

    Parameters
    ----------
    path : Path
        Where the labels were written.
    objects : int
        How many labels there are.
    differing : int
        Pixels that the session itself has otherwise.
    warning : str
        What else the user should know; empty for nothing.
    """

    path: Path
    objects: int
    differing: int
    warning: str


class Replay:
    """Repeats the events of a journal.

    Parameters
    ----------
    header : Header
        Of the journal.
    image : array
        The image, of the content that the header names.
    load : callable
        Makes a segmenter by its name.

    Attributes
    ----------
    state : State
        State after all events so far.
    """

    def __init__(self, header: Header, image: LazyArray, load: Callable[[str], Segmenter]) -> None:
        self.state = State()
        self._header, self._image, self._load = header, image, load
        self._answers = PredictionService(lambda: load(header.model.name))
        self._stacks: dict[tuple[int, int], Stack] = {}
        self._request: SegmentRequest | None = None
        self._session = Session()
        self._session.requested.connect(self._hold)

    def close(self) -> None:
        """Let go of the segmenter."""
        self._answers.close()

    def _hold(self, request: SegmentRequest) -> None:
        """The question that is open; it is answered only if its answer was accepted."""
        self._request = request

    def take(self, event: Event) -> None:
        """Do one thing again."""
        if isinstance(event, PromptEvent):
            self._session.set_prompt(event.plane, event.prompt)
        elif isinstance(event, ModelEvent):
            self._answers.use(lambda: self._load(event.name))
        elif isinstance(event, ActionEvent) and event.what not in ("undone", "redone"):
            self._act(event)
        elif isinstance(event, Step) and event.kind == "keep":
            self._keep(event)
        else:
            self.state.take(event)
            if isinstance(event, ChannelSettings):
                self._stacks.clear()
            if isinstance(event, Step) and not (event.patches or event.marks):
                self._session.choose(event.choice[1])

    def _act(self, did: ActionEvent) -> None:
        if did.what == "accepted" and self._request is not None:
            self._session.accept(self._answers.answer(*self._plane(self._request.plane), self._request))
        elif did.what == "chosen":
            self._session.restore_choice(did.value)
        elif did.what == "discarded":
            self._session.discard()
        elif did.what == "repeated":
            self._session.repeat()
        elif did.what == "resumed":
            self._session.forget()

    def _plane(self, view: View) -> tuple[Stack, int]:
        settings = self.state.channel_settings
        if view.axes not in self._stacks:
            self._stacks[view.axes] = planes_of(self._image, view, rgb=self._header.rgb, settings=settings)
        return self._stacks[view.axes], view.number(self._header.label_shape, settings.together)

    def _keep(self, step: Step) -> None:
        """The step with the mask that is decoded now in place of the one that was painted then."""
        self._session.begin_at(step.label)
        kept = self._session.commit()
        painted = []
        for number, _ in step.patches:
            patch = None if kept is None else _patch(self.state.labels[number], kept, overwrite=step.overwrite)
            painted += [(number, patch)] if patch is not None else []
        self.state.take(replace(step, patches=tuple(painted)))


def _patch(labels: np.ndarray, kept: Committed, *, overwrite: bool) -> Patch | None:
    """What an object changes in an array of labels; nothing is written."""
    free = paintable(kept.plane.read(labels), kept.mask.pixels, overwrite=overwrite)
    if not free[0].size:
        return None
    places = kept.plane.indices(*free)
    start = [int(axis.min()) for axis in places]
    before = labels[tuple(slice(low, int(axis.max()) + 1) for low, axis in zip(start, places, strict=True))]
    after = before.copy()
    after[tuple(axis - low for low, axis in zip(start, places, strict=True))] = kept.label
    patch = Patch.between(before, after)
    return patch and replace(patch, start=tuple(int(a + b) for a, b in zip(start, patch.start, strict=True)))


def replay_file(job: ReplayJob, load: Callable[[str], Segmenter] = load_remote) -> ReplayReport:
    """Replay a session and write its labels.

    Parameters
    ----------
    job : ReplayJob
        What to do.
    load : callable
        Makes a segmenter by its name; by default as the widget does, in a separate process with as many threads, on
        which the last bits may hang.

    Raises
    ------
    InputError
        When the session or the image cannot be read, image or weights are not those of the session, no object was ever
        kept, or the labels cannot be written; nothing is written then.
    """
    check_output(job.labels, overwrite=job.overwrite)
    found = recover(job.session)
    if found.labels is None:
        raise InputError(f"no object was kept in the session {job.session}")
    _check_models(found.journal)
    image = _image(job, found)
    check_apart(job.labels, (job.session, job.image or found.journal.header.path or None))
    axes = check_axes(job.labels, found.labels.ndim, _letters(image, found.labels.ndim))
    state = replay_events(found.journal, image.array, load)
    labels = state.labels[state.current["labels"]]
    differing = sum(int((state.labels[number] != array).sum()) for number, array in found.state.labels.items())
    placed = Calibration(image.scale, image.translation, image.units).along(range(labels.ndim))
    path = write_labels(job.labels, labels, axes=axes, calibration=placed, overwrite=job.overwrite)
    return ReplayReport(path, len(np.unique(labels[labels != 0])), differing, found.journal.warning)


def replay_events(journal: JournalFile, image: LazyArray, load: Callable[[str], Segmenter]) -> State:
    """What a journal comes to when its masks are decoded again."""
    replay = Replay(journal.header, image, load)
    try:
        for event in journal.events:
            replay.take(event)
    finally:
        replay.close()
    return replay.state


def _check_models(journal: JournalFile) -> None:
    model, needed = journal.header.model, []
    for event in journal.events:
        if isinstance(event, ModelEvent):
            model = event
        elif event == ActionEvent("new image"):
            raise InputError("the image was replaced by another one during the session, which cannot be replayed")
        elif isinstance(event, ActionEvent) and event.what == "accepted":
            needed.append(model)
    for model in dict.fromkeys(needed):
        there = model_of(model.name)
        if there.hash != model.hash:
            differ = f"it names {model.hash}, here is {there.hash}"
            raise InputError(f"the weights of {model.name!r} are not those of the session: {differ}")


def _image(job: ReplayJob, found: Recovered) -> ImageFile:
    header = found.journal.header
    path = job.image or (Path(header.path) if header.path else None)
    if path is None:
        raise InputError(f"the session {job.session} does not name its image; give it with --image")
    for raw in (False, True):
        # napari may have shown the numbers as they are stored, where here they stand for colours
        image = read_image(path, raw=raw)
        with reading(path):
            content = fingerprint_of(image.array)
        if content.is_same_as(found.journal.image):
            break
    else:
        what = f"{header.image.dtype} of shape {header.image.shape}"
        raise InputError(f"{path} is not the image of this session, which is {what}, SHA-256 {header.image.name}…")
    return image


def _letters(image: ImageFile, ndim: int) -> str | None:
    """Axes of the labels; the usual ones where the image has axes that label files have no name for."""
    axes = image.axes[:ndim]
    return axes if set(axes) <= set("tzyx") else None
