"""Campaigns of faults: kills, bad inputs, full disks. Nothing acknowledged may be lost, nothing may end in a traceback.

python benchmarks/faults.py [--quick] [--json FILE] [--only NAME ...]

A row for each campaign: what was tried and how often, what was lost, how many inputs ended in anything but an answer or
one line (tracebacks), and how many took more than ten seconds (hangs). The whole takes about half an hour on two cores,
``--quick`` a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile

from napari_segany import Box, Point, Prompt
from napari_segany.cli import main as command_line
from napari_segany.core.errors import SeganyError
from napari_segany.core.planes import Stack
from napari_segany.io.export import FORMATS, ObjectInfo, export_labels
from napari_segany.io.images import read_image, reading
from napari_segany.io.prompt_tables import read_prompts
from napari_segany.session.events import ActionEvent
from napari_segany.session.recovery import recover

ROOT = Path(__file__).parents[1]
SECONDS = 10


@dataclass
class Row:
    """What came of a campaign."""

    what: str
    tried: int = 0
    lost: int = 0
    tracebacks: int = 0
    hangs: int = 0
    example: str = ""


class HungError(BaseException):
    """Raised in work that takes too long."""


@contextlib.contextmanager
def limited(row: Row, example: object) -> Iterator[None]:
    """Count an input, and how it ends; typed errors and TypeErrors of wrong arguments are right."""

    def ring(*_: object) -> None:
        raise HungError

    row.tried += 1
    signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    except (SeganyError, TypeError):
        pass
    except HungError:
        row.hangs += 1
        row.example = row.example or f"{example!r} hangs"[:200]
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        row.tracebacks += 1
        row.example = row.example or f"{type(error).__name__} {error}: {example!r}"[:200]
    finally:
        signal.alarm(0)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Some bytes exchanged, cut, doubled or set to their ends."""
    damaged = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        place = chance.randrange(max(len(damaged), 1))
        kind = chance.randrange(5)
        if kind == 0:
            del damaged[place:]
        elif kind == 1:
            damaged[place:place] = damaged[place : place + chance.randrange(1, 30)]
        elif kind == 2:
            damaged[place : place + 4] = chance.choice([b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"])
        elif damaged:
            damaged[min(place, len(damaged) - 1)] = chance.randrange(256)
    return bytes(damaged)


# -- kills ------------------------------------------------------------------------------------------------------------


def kills(count: int, folder: Path) -> Row:
    """Children that annotate are killed, most after an acknowledged step, a fifth in the middle of a record."""
    row = Row("kills")
    command = [sys.executable, "-m", "tests.run.annotate_and_die", str(folder), str(count), "1"]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"})
    nothing = zlib.crc32(np.zeros((64, 64), np.int32).tobytes())
    for place in sorted(folder.iterdir()):
        lines = (place / "acknowledged").read_text().splitlines()
        row.tried += 1
        if not lines:
            continue
        steps, labels, marks = json.loads(lines[-1])
        wanted = [0 if labels == nothing else labels, marks]
        try:
            (journal,) = place.glob("*.jsonl")
            found = recover(journal)
            kept = len(found.state.history) >= steps and sums_at(found, steps) == wanted
        except (SeganyError, ValueError):
            kept = False
        if not kept:
            row.lost += 1
            row.example = row.example or str(place)
    return row


def sums_at(found: Any, steps: int) -> list[int]:
    """Sums of labels and prompts as they were after so many steps."""
    while found.state.history.position > steps:
        found.state.take(ActionEvent("undone"))
    labels = found.labels
    painted = labels is not None and labels.any()
    marks = repr((found.marks("points"), found.marks("shapes")))
    return [zlib.crc32(labels.tobytes()) if painted else 0, zlib.crc32(marks.encode())]


def window_kills(count: int, folder: Path) -> Row:
    """The widget in a window, killed after objects that it had committed."""
    row, chance = Row("kills of the widget"), random.Random(3)
    for number in range(count):
        place = folder / f"window-{number}"
        place.mkdir()
        env = {**os.environ, "SEGANY_SESSIONS": str(place), "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
        command = ["xvfb-run", "-a", "-s", "-screen 0 1280x800x24"] if "DISPLAY" not in env else []
        command += [sys.executable, "-m", "tests.widgets.annotate_in_window"]
        with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as window:
            acknowledged = [window.stdout.readline() for _ in range(chance.randrange(1, 12))]
            time.sleep(chance.uniform(0, 0.2))
            kill_tree(window.pid)
            acknowledged += window.stdout.readlines()
        whole = [int(line) for line in acknowledged if line.endswith("\n")]
        journals = list(place.glob("*.jsonl"))
        found = recover(journals[0]).objects if journals else 0
        row.tried += 1
        # a window that committed nothing was not tried
        row.lost += not whole or found < max(whole)
    return row


def kill_tree(pid: int) -> None:
    """Kill a process and those that it started, the youngest first."""
    started = psutil.Process(pid).children(recursive=True)
    for process in [*reversed(started), psutil.Process(pid)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


# -- bad inputs -------------------------------------------------------------------------------------------------------

VALUES = (
    None, True, -1, 0, 1, 3.5, 1e300, -1e300, float("nan"), float("inf"), 2**70, "", "3", "é", b"x", (), (1,), [1, 2],
    {}, 1j, np.float32(2), np.uint8(3), np.zeros(0), np.zeros((2, 2)), np.ones((60, 80), bool), object(),
)  # fmt: skip


def api(count: int, _: Path) -> Row:
    """Wrong types and values in the public classes, and what is right of them asked of the model."""
    from napari_segany import load_segmenter

    row, chance = Row("API"), random.Random(5)
    segmenter = load_segmenter("tiny", "cpu")
    embedding = segmenter.embed(np.zeros((60, 80, 3), np.uint8))
    for number in range(count):
        values = [chance.choice(VALUES) for _ in range(5)]
        with limited(row, values):
            kind = number % 5
            if kind == 0:
                Point(*values[: chance.randrange(1, 4)])
            elif kind == 1:
                Box(*values[:4])
            elif kind == 2:
                Prompt(points=values[0], box=values[1], text=values[2], mask=values[3])
            elif kind == 3:
                Stack(values[0], channel_axis=values[1], rgb=values[2], limits=values[3]).plane(0)
            elif number % 100 == 4:
                prompt = Prompt(
                    (Point(chance.uniform(-90, 90), 30, chance.random() < 0.5),),
                    mask=chance.choice((None, np.ones((60, 80), bool), np.zeros((4, 4), np.float32))),
                )
                segmenter.segment(embedding, chance.choice(([prompt], prompt, [values[0]], [])), candidates=values[1])
            else:
                segmenter.embed(values[0])
    return row


TABLE = "label,y,x,positive,z\n1,30,40,true,0\n1,35,40,false,0\n2,10,12,1,0\n"


def tables(count: int, folder: Path) -> Row:
    """Damaged tables of clicks."""
    row, chance, path = Row("tables"), random.Random(7), folder / "clicks.csv"
    for _ in range(count):
        path.write_bytes(mutated(TABLE.encode(), chance))
        with limited(row, path.read_bytes()):
            read_prompts(path)
    return row


def journals(count: int, folder: Path) -> Row:
    """Damaged sessions, and ones with right checksums and wrong values."""
    from napari_segany.session.journal import _line

    row, chance, path = Row("journals"), random.Random(11), folder / "session.jsonl"
    kills(2, _made(folder / "for journals"))
    whole = max((folder / "for journals").rglob("*.jsonl"), key=lambda each: each.stat().st_size).read_bytes()
    lines = whole.splitlines(keepends=True)
    for number in range(count):
        if number % 2:
            path.write_bytes(mutated(whole, chance))
        else:
            at = chance.randrange(len(lines))
            plain = json.loads(lines[at])
            plain.pop("crc")
            plain[chance.choice(list(plain))] = chance.choice([v for v in VALUES if not isinstance(v, np.ndarray)])
            path.write_bytes(b"".join([*lines[:at], _line(plain), *lines[at + 1 :]]))
        with limited(row, f"record of {path.stat().st_size} bytes"):
            recover(path, partial=bool(number % 3))
    return row


def images(count: int, folder: Path) -> Row:
    """Damaged TIFF, PNG, JPEG and BMP files."""
    from PIL import Image

    row, chance = Row("images"), random.Random(13)
    values = np.random.default_rng(0).integers(0, 2**12, (3, 40, 50)).astype(np.uint16)
    tifffile.imwrite(folder / "a.tif", values, imagej=True)
    tifffile.imwrite(folder / "b.tif", values[0], compression="zlib", predictor=True)
    tifffile.imwrite(folder / "c.ome.tif", values, metadata={"axes": "ZYX"})
    for ending in ("png", "jpg", "bmp"):
        Image.fromarray((values[0] // 16).astype(np.uint8)).save(folder / f"d.{ending}")
    sources = [(path, path.read_bytes()) for path in sorted(folder.glob("[abcd].*"))]
    for number in range(count):
        path, data = sources[number % len(sources)]
        damaged = folder / f"damaged{''.join(path.suffixes)}"
        damaged.write_bytes(mutated(data, chance))
        with limited(row, damaged.name), reading(damaged), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stack = read_image(damaged).stack()
            if np.prod(stack.plane_shape) < 2**24:
                stack.plane(0)
    return row


def checkpoints(count: int, folder: Path) -> Row:
    """Damaged weights, and files that are none."""
    import torch
    from safetensors.torch import save_file

    from napari_segany.models.loading import load_segmenter

    row, chance = Row("checkpoints"), random.Random(17)
    state = {"a.weight": torch.zeros(3, 4), "b": torch.ones(2, dtype=torch.int64)}
    save_file(state, folder / "a.safetensors")
    torch.save({"model": state, "metric": np.float64(3)}, folder / "a.pt")
    sources = [(path, path.read_bytes()) for path in (folder / "a.safetensors", folder / "a.pt")]
    for number in range(count):
        path, data = sources[number % 2]
        damaged = folder / f"damaged{path.suffix}"
        damaged.write_bytes(mutated(data, chance))
        with limited(row, damaged.name):
            load_segmenter(damaged, device="cpu")
    return row


def commands(count: int, folder: Path) -> Row:
    """Command lines with wrong options: status 2 and one line, or status 0."""
    row, chance = Row("command line"), random.Random(19)
    tifffile.imwrite(folder / "image.tif", np.zeros((40, 50), np.uint8))
    words = [
        "segment", "replay", "embed", "models", "info", "train", "sam", "bench", "clicks", "--point", "--box", "-o",
        "--everything", "--grid", "--model", "--points", "--overwrite", "--plane", "--text", "--help",
        str(folder / "image.tif"), str(folder / "no.tif"), str(folder), "", "0", "-1", "1e400", "nan", "3,4", "3,4,5,6",
        "é\udcff", "x" * 300, str(2**80), str(folder / "out.tif"),
    ]  # fmt: skip
    for _ in range(count):
        given = [chance.choice(["segment", "replay", "embed", "models", "bench", "train"])]
        given += [chance.choice(words) for _ in range(chance.randrange(6))]
        lines = io.StringIO()
        with limited(row, given), contextlib.redirect_stderr(lines), contextlib.redirect_stdout(io.StringIO()):
            status = command_line(given)
            told = lines.getvalue().splitlines()
            if status not in (0, 2) or (status == 2 and len(told) > 1):
                raise RuntimeError(f"status {status}, {len(told)} lines")
    return row


# -- full disks -------------------------------------------------------------------------------------------------------


def full_disks(count: int, folder: Path) -> Row:
    """Each export format on a disk that takes `count` different parts of its file."""
    import resource

    row = Row("full disk, exports")
    labels = np.kron(np.arange(1, 401).reshape(20, 20), np.ones((12, 12), int)).astype(np.uint16)
    objects = [ObjectInfo(n, name=f"cell {n}") for n in range(1, 401)]
    for name, one in FORMATS.items():
        whole = export_labels(_of(labels, name), folder / f"whole-{name}{one.endings[0]}", format=name, objects=objects)
        files = [one for one in (whole.rglob("*") if whole.is_dir() else [whole]) if one.is_file()]
        largest = max(one.stat().st_size for one in files)
        for number in range(count):
            place = _made(folder / f"{name}-{number}")
            child = os.fork()
            if child == 0:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest * number // count,) * 2)
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                os._exit(_exported(_of(labels, name), place / f"out{one.endings[0]}", name, objects))
            _, status = os.waitpid(child, 0)
            row.tried += 1
            row.tracebacks += os.waitstatus_to_exitcode(status) not in (0, 2)
            left = list(place.iterdir())
            row.lost += bool(left) and os.waitstatus_to_exitcode(status) != 0
    return row


def _of(labels: np.ndarray, name: str) -> np.ndarray:
    """The tracking formats want frames."""
    return np.stack([labels, labels]) if name in ("tracks", "ctc") else labels


def _exported(labels: np.ndarray, path: Path, name: str, objects: list[ObjectInfo]) -> int:
    try:
        export_labels(labels, path, format=name, objects=objects)
    except (SeganyError, OSError):
        return 2
    except BaseException:  # noqa: BLE001 - counted
        return 1
    return 0


class Disk:
    """A file on a disk that, while it is `full`, takes a part of each record, which is no error to the system."""

    def __init__(self, file: Any, chance: random.Random) -> None:
        self.full = False
        self._file, self._chance = file, chance

    def write(self, data: bytes) -> int:
        """How many bytes were taken."""
        return self._file.write(data[: self._chance.randrange(len(data))] if self.full else data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def full_sessions(count: int, folder: Path) -> Row:
    """A disk that takes a part of a record at each record of a session."""
    from napari_segany.engine.autosave import Autosave
    from napari_segany.engine.session_files import FOLDER
    from napari_segany.session.session import Session
    from tests.layers.desk import Desk

    row, chance = Row("full disk, sessions"), random.Random(23)
    for number in range(count):
        os.environ[FOLDER] = str(folder / f"session-{number}")
        image, session = np.full((64, 64), number % 250, np.uint8), Session()
        keeper = Autosave(session, lambda: "fake")
        keeper.watch(lambda image=image: image)
        desk = Desk(image, session=session)
        desk.click(10, 10)
        keeper.flush()
        journal = keeper._writer._journal
        disk = journal._file = Disk(journal._file, chance)
        for step in range(8):
            disk.full = chance.random() < 0.5
            desk.click(5 + 7 * step, 20)
            desk.binding.keep()
            keeper.flush()
        disk.full = False
        desk.click(60, 60)
        keeper.flush()
        row.tried += 1
        try:
            kept = np.array_equal(recover(keeper.path).labels, desk.labels)
        except SeganyError:
            kept = False
        row.lost += not kept
        keeper.close()
    return row


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


CAMPAIGNS: dict[str, tuple[Callable[[int, Path], Row], int, int]] = {
    "kills": (kills, 1000, 40),
    "window": (window_kills, 20, 1),
    "sessions": (full_sessions, 200, 10),
    "exports": (full_disks, 25, 4),
    "api": (api, 50_000, 2000),
    "tables": (tables, 20_000, 1000),
    "journals": (journals, 15_000, 300),
    "images": (images, 12_000, 400),
    "checkpoints": (checkpoints, 2000, 60),
    "commands": (commands, 1000, 60),
}
"""What is tried, how often, and how often with --quick."""


def main() -> None:
    """Run the campaigns and tell what came of each."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--quick", action="store_true")
    reader.add_argument("--json", type=Path)
    reader.add_argument("--only", nargs="*", choices=CAMPAIGNS, default=list(CAMPAIGNS))
    given = reader.parse_args()
    sys.path[:0] = [str(ROOT)]
    os.environ.setdefault("SEGANY_EMBEDDINGS_GB", "0")
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    failed = False
    for name in given.only:
        campaign, whole, quick = CAMPAIGNS[name]
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="segany-faults-") as folder:
            row = campaign(quick if given.quick else whole, Path(folder))
        failed |= bool(row.lost or row.tracebacks or row.hangs)
        print(
            f"{row.what}: {row.tried} tried, {row.lost} lost, {row.tracebacks} tracebacks, {row.hangs} hangs, "
            f"{time.monotonic() - began:.0f} s {row.example}".rstrip(),
            flush=True,
        )
        if given.json is not None:
            with given.json.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
