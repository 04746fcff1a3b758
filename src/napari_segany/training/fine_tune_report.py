"""What came of fine-tuning, as it is stored with the weights; readable before torch is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from napari_segany.training.held_out_examples import HeldOutExample

REPORT = "fine_tuning"
"""Of the entry in the metadata of the weights: the report, as JSON."""
EXAMPLES = "fine_tuning_examples"
"""Of the entry with held-out objects before and after, as JSON."""


@dataclass(frozen=True, slots=True)
class FineTuneReport:
    """What came of fine-tuning. IoU is the mean over held-out objects and clicks, 0 to 1.

    Parameters
    ----------
    parent, name, note : str
        From the configuration.
    masks, held_out_masks, images : int
        Masks that were trained on, masks that were held out, and images of both.
    before, after : float
        IoU of one click with held-out masks, with the parent and with the result.
    low, high : float
        95 % bootstrap interval over held-out objects of the mean gain of the best mixture, paired; both 0 where none of
        them was better than the parent.
    alpha : float
        Share of the new weights in the result; 0 when the parent is kept.
    gauge_before, gauge_after : float
        IoU of one click on synthetic images, which are of other kinds.
    steps : int
        Of training.
    seconds : float
        In all.
    made : str
        Day and time of the end, ISO 8601 in UTC; empty in older files.
    parent_hash : str
        Hash of the weights of the parent, "algorithm:digest"; empty where it is not known.
    """

    parent: str
    name: str
    note: str
    masks: int
    held_out_masks: int
    images: int
    before: float
    after: float
    low: float
    high: float
    alpha: float
    gauge_before: float
    gauge_after: float
    steps: int
    seconds: float
    made: str = ""
    parent_hash: str = ""

    @property
    def accepted(self) -> bool:
        """Whether there is a new model."""
        return self.alpha > 0

    @property
    def sentence(self) -> str:
        """The report in a line."""
        held, gain = f"{self.held_out_masks} held-out masks", f"gain {self.low:+.2f} to {self.high:+.2f}"
        if self.accepted:
            return f"One click improved from {self.before:.2f} to {self.after:.2f} on {held} ({gain})."
        return f"The model was not surely improved on {held} ({gain}); the parent {self.parent!r} is kept."

    @property
    def gauge_sentence(self) -> str:
        """What was forgotten, in a line."""
        change = f"{self.gauge_before:.2f} to {self.gauge_after:.2f}"
        lost = round(self.gauge_before, 2) - round(self.gauge_after, 2)
        what = f"{lost:.2f} forgotten" if lost > 0 else "nothing forgotten"
        return f"On synthetic images of other kinds: {change}, {what}."


def report_metadata(report: FineTuneReport, examples: Sequence[HeldOutExample] = ()) -> dict[str, str]:
    """The entries for the metadata of the weights."""
    entries = {REPORT: json.dumps(asdict(report))}
    return {**entries, EXAMPLES: json.dumps([asdict(one) for one in examples])} if examples else entries


def read_report(metadata: Mapping[str, Any]) -> FineTuneReport | None:
    """The report in the metadata of weights; None where they were not fine-tuned, or it cannot be read."""
    return _read(metadata, REPORT, FineTuneReport, None)


def read_examples(metadata: Mapping[str, Any]) -> tuple[HeldOutExample, ...]:
    """Held-out objects before and after, in the metadata of weights; none where they hold none that can be read."""
    return tuple(_read(metadata, EXAMPLES, list[HeldOutExample], []))


def _read(metadata: Mapping[str, Any], name: str, kind: Any, usual: Any) -> Any:
    try:
        return msgspec.json.decode(metadata[name], type=kind)
    except (KeyError, TypeError, msgspec.DecodeError):
        return usual
