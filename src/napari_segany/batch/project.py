"""A project: a folder of images that are worked on one after the other, and which of them are done.

The images are those of the folder; the file ``segany-project.json`` in it holds what is known of some of them. Their
sessions lie in ``segany-sessions``, labels of batch runs in ``segany-labels``, so that all of it goes with the folder.
"""

from __future__ import annotations

import getpass
import glob
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from napari_segany.batch.segment_folder import images_of
from napari_segany.core.errors import InputError
from napari_segany.engine.session_files import PROJECT
from napari_segany.io.labels import replacing

LABELS = "segany-labels"
"""Folder of a project that batch runs write to."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What is known of an image.

    Parameters
    ----------
    done : bool
        Whether the user has finished it.
    by, when : str
        Who marked it last, and when (ISO 8601, UTC).
    sample : str
        Of its :class:`~napari_segany.session.fingerprint.ImageFingerprint`: it recognises a file under another name.
    """

    done: bool = False
    by: str = ""
    when: str = ""
    sample: str = ""


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
        """Names of the images that are done."""
        return frozenset(name for name in self.names if self.records.get(name, ImageRecord()).done)

    def neighbour(self, name: str, step: int, *, skip_done: bool = False, skipped: Collection[str] = ()) -> str | None:
        """The next image (`step` 1) or the previous one (-1) of an image; None where there is none.

        With `skip_done` images that are done are passed over, and behind the last image the first one follows. From a
        name that is no image of the folder the first or last one is next. Images that are `skipped` do not count.
        """
        if name in self.names:
            position = self.names.index(name)
            others = self.names[position + 1 :] if step > 0 else self.names[:position][::-1]
        else:
            others = self.names if step > 0 else self.names[::-1]
        passed = {*skipped, *(self.done if skip_done else ())}
        if skip_done and name in self.names:
            others += (
                self.names[: self.names.index(name)] if step > 0 else self.names[self.names.index(name) + 1 :][::-1]
            )
        return next((other for other in others if other not in passed), None)

    def run_folder(self, text: str, model: str) -> Path:
        """Where a batch run with a model writes its results, for a text or, without one, for all objects."""
        name = "-".join(filter(None, (text or "all objects", model)))
        return self.folder / LABELS / re.sub(r"[^\w .+-]", "-", name).strip(" .")

    def labels_of(self, name: str) -> Path | None:
        """The labels of an image that a batch run wrote last; None where none did."""
        found = (self.folder / LABELS).glob(f"*/{glob.escape(self.results[name])}_labels.tif")
        return max(found, key=lambda path: path.stat().st_mtime, default=None)


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
    if not (folder / PROJECT).exists():
        _write(folder, ProjectFile())
    return project


def mark_image(project: Project, name: str, *, done: bool | None = None, sample: str = "") -> Project:
    """Note in the project's file that an image is done or not, or its sample.

    The file is read again first, so that what others noted of other images stays. An image whose name is new takes over
    what is known of one with the same sample whose file is gone.

    Parameters
    ----------
    project : Project
        The project.
    name : str
        Of the image.
    done : bool, optional
        Whether it is done; None leaves that as it is.
    sample : str
        Of its fingerprint; empty leaves that as it is.

    Raises
    ------
    InputError
        The file cannot be read or written.
    """
    records = dict(_read(project.folder).images)
    before = records.get(name)
    if before is None and sample:
        gone = (old for old, one in records.items() if one.sample == sample and not (project.folder / old).exists())
        before = records.pop(next(gone, ""), None)
    record = replace(before or ImageRecord(), sample=sample or (before.sample if before else ""))
    if done is not None and done != record.done:
        record = replace(record, done=done, by=_user(), when=datetime.now(UTC).isoformat(timespec="seconds"))
    if records.get(name) != record:
        records[name] = record
        _write(project.folder, ProjectFile(images=records))
    return replace(project, records=records)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def _read(folder: Path) -> ProjectFile:
    path = folder / PROJECT
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
    path = folder / PROJECT
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
