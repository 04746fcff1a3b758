"""``napari-segany bench all``: every figure of a model on the public sets, as rows and as a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from napari_segany.core.errors import InputError
from napari_segany.core.segmenter import Segmenter
from napari_segany.experiments.benchmark import BenchConfig, commit, rows_of, write_rows
from napari_segany.experiments.instance_scores import rows_of_everything
from napari_segany.experiments.linking import rows_of_links
from napari_segany.experiments.scores import Row
from napari_segany.experiments.stack_benchmark import rows_of_stacks
from napari_segany.experiments.text_benchmark import rows_of_text

SUITE: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("clicks", "dsb2018", {"by_group": True}),
    ("boxes", "dsb2018", {"by_group": True}),
    ("clicks", "usiigaci", {}),
    ("boxes", "usiigaci", {}),
    ("clicks", "epfl6", {}),
    ("boxes", "epfl6", {}),
    ("clicks", "plant3d", {"per_image": 4}),
    ("boxes", "plant3d", {"per_image": 4}),
    ("clicks", "dsb2018", {"rounds": 8, "per_image": 8}),
    ("clicks", "usiigaci", {"rounds": 8, "per_image": 40}),
    ("prompts", "dsb2018", {"per_image": 8}),
    ("empty", "dsb2018", {"per_image": 20}),
    ("sizes", "dsb2018", {"per_image": 3}),
    ("everything", "dsb2018", {}),
    ("everything", "dsb2018", {"method": ("seeds", "grid"), "limit": 6}),
    ("stack", "epfl6", {}),
    ("stack", "plant3d", {"per_image": 6}),
    ("link", "usiigaci_movie", {"first": 1}),
    ("link", "epfl6", {}),
    ("link", "plant3d", {"given_only": True}),
    ("text", "", {"method": ("text",)}),
)
"""Each bench with its set, a folder below the data's or all of them, and its options."""


def _rows_of_text(data: Path, load: Callable[[], Segmenter], method: Sequence[str], **options: Any) -> list[Row]:
    return rows_of_text(data, load, methods=method, **options)


_OWN: dict[str, Callable[..., list[Row]]] = {
    "everything": rows_of_everything,
    "stack": rows_of_stacks,
    "link": rows_of_links,
    "text": _rows_of_text,
}
"""Benches that do not go plane by plane from click to click."""

_SAID_ABOVE = ("bench", "set", "device", "commit")


def command_of(bench: str, folder: str, options: dict[str, Any], model: str) -> str:
    """The command line that makes the same rows."""
    words = ["napari-segany bench", bench, "--model", model, "--data", f'"$SEGANY_DATA/dev{folder and "/"}{folder}"']
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        for one in value if isinstance(value, tuple) else (value,):
            words += [option, *([] if one is True else [str(one)])]
    return " ".join(words)


def run_suite(
    data: Path,
    load: Callable[[], Segmenter],
    progress: Callable[[int], None] | None = None,
    kept: Path | None = None,
) -> Iterator[tuple[tuple[str, str, dict[str, Any]], list[Row]]]:
    """Run all benches, one after the other.

    Parameters
    ----------
    data : Path
        Folder that holds the folders of the sets.
    load : callable
        Makes the segmenter; called once.
    progress : callable, optional
        Called with the number of planes done of each bench.
    kept : Path, optional
        Folder for the rows of each bench, a file each, by bench and set. Results of the same commit in it are not
        measured again; each model needs a separate folder.

    Yields
    ------
    (entry, rows)
        An entry of ``SUITE`` and its rows, see :func:`~napari_segany.experiments.benchmark.rows_of`.

    Raises
    ------
    InputError
        A set is missing, and nothing has been run then; or rows cannot be written.
    """
    if missing := sorted({folder for _, folder, _ in SUITE if not (data / folder).is_dir()}):
        raise InputError(f"{data} lacks the folders {', '.join(missing)}")
    loaded = cache(load)
    for number, entry in enumerate(SUITE):
        file = None if kept is None else kept / f"{number:02}-{entry[0]}-{entry[1] or 'all'}.json"
        rows = _rows_before(file)
        if rows is None:
            rows = _measured(entry, data, loaded, progress)
            if file is not None:
                write_rows(file, rows)
        yield entry, rows


def _measured(
    entry: tuple[str, str, dict[str, Any]],
    data: Path,
    load: Callable[[], Segmenter],
    progress: Callable[[int], None] | None,
) -> list[Row]:
    bench, folder, options = entry
    if bench in _OWN:
        return _OWN[bench](data / folder, load, progress=progress, **options)
    return rows_of(BenchConfig(bench, data / folder, **options), load, progress)


def _rows_before(file: Path | None) -> list[Row] | None:
    """Rows that this very commit has measured before; None where there are none."""
    if file is None or not file.is_file():
        return None
    try:
        rows: list[Row] = json.loads(file.read_text())
    except ValueError:
        # it was stopped as it wrote
        return None
    now = commit()
    return rows if rows and rows[0]["commit"] == now and not now.endswith("-dirty") else None


def page(results: Sequence[tuple[tuple[str, str, dict[str, Any]], list[Row]]], model: str) -> str:
    """A Markdown page with a table for each bench and the command that makes it again."""
    first = results[0][1][0]
    parts = [
        f"# Figures of `{model}`",
        "Made by `napari-segany bench all`; do not edit. Columns: see the [log](development/measurement-log.md).",
        f"Commit {first['commit']}, on {first['device']}.",
    ]
    for (bench, folder, options), rows in results:
        parts.append(f"## {bench} on {folder or 'all sets'}")
        parts.append(f"```sh\n{command_of(bench, folder, options, model)}\n```")
        columns = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in _SAID_ABOVE]
        lines = [columns, ["---"] * len(columns), *([_cell(row.get(name, "")) for name in columns] for row in rows)]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
