"""What annotation cost in the sessions of this computer, by model."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from napari_segany.core.errors import InputError
from napari_segany.engine.session_files import sessions_folder
from napari_segany.session.effort import ModelEffort, measure_effort
from napari_segany.session.journal import JournalFile, read_journal


@dataclass(frozen=True, slots=True)
class EffortReport:
    """The work of some sessions.

    Parameters
    ----------
    efforts : tuple of ModelEffort
        By model, in the order in which models were first used.
    sessions : int
        Sessions that were read.
    problems : tuple of str
        A line for each file that could not be read, or not to its end.
    """

    efforts: tuple[ModelEffort, ...]
    sessions: int
    problems: tuple[str, ...]


def session_paths() -> list[Path]:
    """Files of all sessions of this computer, the one that was written to first comes first."""
    return sorted(sessions_folder().glob("*.jsonl"), key=lambda path: (path.stat().st_mtime, path))


def report_effort(paths: Iterable[Path], check: Callable[[], object] = lambda: None) -> EffortReport:
    """Measure the work of sessions; files that cannot be read are left out and named.

    Parameters
    ----------
    paths : iterable of Path
        Files of sessions.
    check : callable
        Called before each; what it raises ends the work.
    """
    problems: list[str] = []
    count = 0

    def measured() -> Iterator[ModelEffort]:
        nonlocal count
        for path in paths:
            check()
            try:
                journal: JournalFile = read_journal(path, partial=True)
                efforts = measure_effort([journal])
            except InputError as error:
                problems.append(str(error))
                continue
            except (ValueError, zlib.error) as error:
                problems.append(f"a change in the session {path} cannot be read: {error}")
                continue
            problems.extend([journal.warning] if journal.warning else [])
            count += 1
            yield from efforts

    found: dict[str, ModelEffort] = {}
    for one in measured():
        found[one.model] = found[one.model] + one if one.model in found else one
    return EffortReport(tuple(found.values()), count, tuple(problems))
