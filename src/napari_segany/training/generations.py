"""The models that were fine-tuned from the user's masks, as their own files tell; readable before torch is imported."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from napari_segany.core.errors import InputError
from napari_segany.models.inference_config import read_metadata, write_metadata
from napari_segany.models.registry import RECORDED, ModelSpec, file_digest, own_models
from napari_segany.training.fine_tune_report import REPORT, FineTuneReport, read_examples, read_report
from napari_segany.training.held_out_examples import HeldOutExample

SHOWN_TIME = "%d %b %Y %H:%M"


@dataclass(frozen=True, slots=True)
class Generation:
    """A model of the user's own.

    Parameters
    ----------
    spec : ModelSpec
        Its entry in the registry.
    made : datetime
        When it was made, with its time zone: from its report, else that of its file.
    report : FineTuneReport, optional
        None of weights that came from elsewhere.
    """

    spec: ModelSpec
    made: datetime
    report: FineTuneReport | None = None

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return self.spec.name

    @property
    def scores(self) -> str:
        """One click on held-out masks before and after, in short; empty where it is not known."""
        return "" if self.report is None else f"{self.report.before:.2f} → {self.report.after:.2f}"

    @property
    def description(self) -> str:
        """What is known of it, in a few lines."""
        day = f"{self.made.astimezone():{SHOWN_TIME}}"
        if self.report is None:
            return f"Its file is of {day}. It has no report of fine-tuning."
        told = self.report
        learned = f"Learned on {day} from {told.parent}, on {_count(told.masks, 'mask')} of "
        share = f"Share of the new weights: {told.alpha:g}."
        return f"{learned}{_count(told.images, 'image')}. {told.sentence} {share} {told.gauge_sentence}"


def generations() -> list[Generation]:
    """The models that the user trained or imported, the latest first; folders of other packages are not among them."""
    found = []
    for spec in (one for one in own_models() if not one.folder):
        report = read_report(read_metadata(spec.path))
        found.append(Generation(spec, _made(spec, report), report))
    return sorted(found, key=lambda one: one.made, reverse=True)


def latest_generation(name: str) -> tuple[int, Generation | None]:
    """The latest of the models NAME-1, NAME-2 and so on, and its number; 0 and None where there is none."""
    numbered = {
        int(number): one
        for one in generations()
        for stem, _, number in [one.name.rpartition("-")]
        if stem == name and number.isdecimal()
    }
    highest = max(numbered, default=0)
    return highest, numbered.get(highest)


def examples_of(generation: Generation) -> tuple[HeldOutExample, ...]:
    """Held-out objects before and after, from the worst gain to the best."""
    return read_examples(read_metadata(generation.spec.path))


def write_note(spec: ModelSpec, note: str) -> None:
    """Write another note into the report of a model; its weights, and the name that sessions record, stay.

    Raises
    ------
    InputError
        It has no report, or its file cannot be written.
    """
    report = read_report(read_metadata(spec.path))
    if report is None:
        raise InputError(f"the model {spec.name!r} has no report of fine-tuning to keep a note in")
    changes = {REPORT: json.dumps(asdict(replace(report, note=note))), RECORDED: file_digest(spec.path)}
    try:
        write_metadata(spec.path, changes)
    except OSError as error:
        raise InputError(f"the note was not kept: {spec.path}: {error.strerror or error}") from error


def _made(spec: ModelSpec, report: FineTuneReport | None) -> datetime:
    try:
        return datetime.fromisoformat(report.made if report is not None else "").astimezone(UTC)
    except ValueError:
        return datetime.fromtimestamp(spec.path.stat().st_mtime, UTC)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
