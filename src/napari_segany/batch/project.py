"""A project: a folder of images that are worked on one after the other, and the state of each.

The images are those of the folder; the file ``segany-project.json`` in it holds what is known of some of them. Their
sessions lie in ``segany-sessions``, labels of batch runs in ``segany-labels``, so that all of it goes with the folder.
A folder that cannot be written to has these in the user's data folder instead.
"""

from __future__ import annotations

import getpass
import glob
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from napari_segany.batch.segment_folder import images_of
from napari_segany.core.errors import InputError
from napari_segany.engine.session_files import PROJECT, project_place
from napari_segany.io.labels import replacing
from napari_segany.io.object_tables import LABELS as LABELS_ENDING
from napari_segany.io.object_tables import objects_of_labels

LABELS = "segany-labels"
"""Folder of a project that batch runs write to."""
UNCERTAIN, DONE, ACCEPTED, REJECTED = IMAGE_STATES = ("uncertain", "done", "accepted", "rejected")
"""States of an image: to be checked by someone else, finished, checked and right, not to be used."""
FINISHED = frozenset((DONE, ACCEPTED, REJECTED))
"""States of images that the way to the next image passes over."""
LOWEST = 0.1
"""The certainty of an image is this quantile of the scores of its objects."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What is known of an image.

    Parameters
    ----------
    done : bool
        Whether its state is one of ``FINISHED``; files of earlier versions have nothing else.
    by, when : str
        Who marked it last, and when (ISO 8601, UTC).
    sample : str
        Of its :class:`~napari_segany.session.fingerprint.ImageFingerprint`: it recognises a file under another name.
    state : str
        One of ``IMAGE_STATES``; empty for an image that is not finished.
    """

    done: bool = False
    by: str = ""
    when: str = ""
    sample: str = ""
    state: str = ""

    def __post_init__(self) -> None:
        if self.done and not self.state:
            object.__setattr__(self, "state", DONE)


@dataclass(frozen=True, slots=True)
class FoundInImage:
    """What batch runs found in an image: how many objects, and the score that one in ten of them is below, or None."""

    objects: int
    certainty: float | None


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """What ``segany-project.json`` holds."""

    version: int = 1
    images: dict[str, ImageRecord] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Project:
    """A folder of images and what is known of them.

    Parameters
    ----------
    folder : Path
        The folder.
    results : dict of str to str
        By the file names of its images, sorted, what names of results begin with.
    records : dict of str to ImageRecord
        By file name; images that nothing is known of are missing.
    """

    folder: Path
    results: dict[str, str]
    records: dict[str, ImageRecord]

    @property
    def names(self) -> tuple[str, ...]:
        """File names of the images, sorted."""
        return tuple(self.results)

    @property
    def done(self) -> frozenset[str]:
        """Names of the images that are finished."""
        return frozenset(name for name in self.names if self.state_of(name) in FINISHED)

    def state_of(self, name: str) -> str:
        """One of ``IMAGE_STATES``; empty for an image that is not finished."""
        return self.records[name].state if name in self.records else ""

    def neighbour(
        self,
        name: str,
        step: int,
        *,
        skip_done: bool = False,
        skipped: Collection[str] = (),
        order: Sequence[str] = (),
    ) -> str | None:
        """The next image (`step` 1) or the previous one (-1) of an image; None where there is none.

        With `skip_done` images that are finished are passed over, and behind the last image the first one follows. From
        a name that is no image of the folder the first or last one is next. Images that are `skipped` do not count.
        With an `order` of names only these are gone through, in that order.
        """
        names = tuple(order) or self.names
        if name in names:
            position = names.index(name)
            others = names[position + 1 :] if step > 0 else names[:position][::-1]
        else:
            others = names if step > 0 else names[::-1]
        passed = {*skipped, *(self.done if skip_done else ())}
        if skip_done and name in names:
            others += names[: names.index(name)] if step > 0 else names[names.index(name) + 1 :][::-1]
        return next((other for other in others if other not in passed), None)

    def run_folder(self, text: str, model: str) -> Path:
        """Where a batch run with a model writes its results, for a text or, without one, for all objects."""
        name = "-".join(filter(None, (text or "all objects", model)))
        return self.place / LABELS / re.sub(r"[^\w .+-]", "-", name).strip(" .")

    @property
    def place(self) -> Path:
        """The folder of the project's own files: that of the images, where it can be written to."""
        return project_place(self.folder)

    def labels_of(self, name: str) -> Path | None:
        """The labels of an image that a batch run wrote last; None where none did."""
        found = (self.place / LABELS).glob(f"*/{glob.escape(self.results[name])}_labels.tif")
        return max(found, key=lambda path: path.stat().st_mtime, default=None)

    def found(self) -> dict[str, FoundInImage]:
        """What batch runs found last, by the names of the images that they segmented; reads a table for each."""
        runs = sorted(filter(Path.is_dir, (self.place / LABELS).glob("*")), key=lambda run: run.stat().st_mtime)
        files = {path.name: path for run in runs for path in run.glob(f"*{LABELS_ENDING}")}
        named = {name: files.get(f"{result}{LABELS_ENDING}") for name, result in self.results.items()}
        return {name: _found_in(path) for name, path in named.items() if path is not None}


def read_project(folder: Path) -> Project:
    """Read a folder that is a project, or would become one.

    Raises
    ------
    InputError
        There is no image in the folder, or its file is damaged or of a later version.
    """
    results = {path.name: result for path, result in images_of(folder).items()}
    return Project(folder, results, _read(folder).images)


def begin_project(folder: Path) -> Project:
    """Make a folder a project, if it is none yet; errors as of :func:`read_project`, or it cannot be written to."""
    project = read_project(folder)
    if not (project_place(folder) / PROJECT).exists():
        _write(folder, ProjectFile())
    return project


def recognise_images(project: Project, sample_of: Callable[[Path], str]) -> Project:
    """Give images that got other names the states of those that have gone; reads new images where some have gone.

    Parameters
    ----------
    project : Project
        The project.
    sample_of : callable
        Returns the sample of the fingerprint of an image file; an InputError leaves that image out.
    """
    gone = {one.sample for name, one in project.records.items() if one.sample and name not in project.results}
    for name in project.names if gone else ():
        if name not in project.records:
            try:
                sample = sample_of(project.folder / name)
            except InputError:
                continue
            if sample in gone:
                project = mark_image(project, name, sample=sample)
    return project


def _found_in(labels: Path) -> FoundInImage:
    objects = objects_of_labels(labels).values()
    scores = [one.score for one in objects if one.score is not None]
    return FoundInImage(len(objects), float(np.quantile(scores, LOWEST)) if scores else None)


def mark_image(project: Project, name: str, *, state: str | None = None, sample: str = "") -> Project:
    """Note in the project's file the state of an image, or its sample.

    The file is read again first, so that what others noted of other images stays. An image whose name is new takes over
    what is known of one with the same sample whose file is gone.

    Parameters
    ----------
    project : Project
        The project.
    name : str
        Of the image.
    state : str, optional
        One of ``IMAGE_STATES``, or empty for an image that is not finished; None leaves it as it is.
    sample : str
        Of its fingerprint; empty leaves that as it is.

    Raises
    ------
    InputError
        The file cannot be read or written, or the image has gone.
    """
    return _marked(project, [name], state, {name: sample})


def mark_images(project: Project, names: Sequence[str], state: str) -> Project:
    """Note the state of images, as :func:`mark_image` does of one; the file is read and written once.

    Raises
    ------
    InputError
        The file cannot be read or written, or an image has gone; then no image is marked.
    """
    return _marked(project, names, state, {})


def note_samples(project: Project, samples: Mapping[str, str]) -> Project:
    """Note the samples of images, by name, as :func:`mark_image` does of one; the file is read and written once."""
    return _marked(project, tuple(samples), None, samples)


def _marked(project: Project, names: Sequence[str], state: str | None, samples: Mapping[str, str]) -> Project:
    for name in names if state is not None else ():
        if not (project.folder / name).exists():
            raise InputError(f"{name} is no longer in {project.folder}")
    before = _read(project.folder).images
    records = dict(before)
    for name in names:
        records[name] = _record(project, records, name, state, samples.get(name, ""))
    if records != before:
        _write(project.folder, ProjectFile(images=records))
    return replace(project, records=records)


def _record(
    project: Project, records: dict[str, ImageRecord], name: str, state: str | None, sample: str
) -> ImageRecord:
    """What is known of an image now; what it takes over from one under another name is taken out of the records."""
    before = records.get(name)
    if before is None and sample:
        gone = (old for old, one in records.items() if one.sample == sample and not (project.folder / old).exists())
        before = records.pop(next(gone, ""), None)
    record = replace(before or ImageRecord(), sample=sample or (before.sample if before else ""))
    if state is not None and state != record.state:
        when = datetime.now(UTC).isoformat(timespec="seconds")
        record = replace(record, state=state, done=state in FINISHED, by=_user(), when=when)
    return record


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def _read(folder: Path) -> ProjectFile:
    path = project_place(folder) / PROJECT
    try:
        found = msgspec.json.decode(path.read_bytes(), type=ProjectFile)
    except FileNotFoundError:
        return ProjectFile()
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"cannot read the project {path} ({error}); move it away to begin a new one") from error
    if found.version > ProjectFile().version:
        raise InputError(f"{path} was written by a later version of napari-segany")
    return found


def _write(folder: Path, content: ProjectFile) -> None:
    path = project_place(folder) / PROJECT
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
