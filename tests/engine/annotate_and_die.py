"""Annotate in children that are killed at random moments; what each had acknowledged lies next to its journal.

Run as ``python -m tests.engine.annotate_and_die FOLDER KILLS SEED``. Every fifth child ends in the middle of a record.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sys
import time
import zlib
from pathlib import Path

import numpy as np

from napari_segany.engine.autosave import Autosave
from napari_segany.engine.session_files import FOLDER
from napari_segany.layers.prompt_marks import read_marks
from napari_segany.session.session import Session
from tests.layers.desk import Desk


def die_in_a_record(keeper: Autosave, share: float) -> None:
    """Write a part of the next record, and end as the system ends a process."""
    keeper.flush()
    journal = keeper._writer._journal if keeper._writer is not None else None
    if journal is None:
        return
    file = journal._file

    class Torn:
        def write(self, data: bytes) -> int:
            file.write(data[: int(share * len(data))])
            os.kill(os.getpid(), signal.SIGKILL)
            return 0

    journal._file = Torn()


def annotate(desk: Desk, keeper: Autosave, acknowledge: int, seed: int) -> None:
    """Click, choose, keep and paint without end; after each, write on a file descriptor what there is by now."""
    chance = random.Random(seed)
    last = chance.randrange(1, 8) if seed % 5 == 0 else -1
    for number in itertools.count():
        if number == last:
            die_in_a_record(keeper, chance.random())
        y, x = chance.uniform(5, 58), chance.uniform(5, 58)
        what = chance.choice(["click", "click", "click", "negative", "choose", "keep", "keep", "brush"])
        what = what if number else "click"
        if what in ("click", "negative"):
            desk.click(y, x, positive=what == "click")
        elif what == "choose":
            desk.session.choose(chance.randrange(3))
        elif what == "keep":
            desk.binding.keep()
        elif desk.binding.labels is not None:
            desk.binding.labels.paint((y, x), chance.randrange(9))
        # as it is written before the next prediction is shown
        keeper.flush()
        os.write(acknowledge, (json.dumps(acknowledged(desk)) + "\n").encode())


def acknowledged(desk: Desk) -> list[int]:
    """Steps so far, and sums of labels and prompts."""
    labels = desk.binding.labels
    marks = repr((read_marks(desk.binding.points), read_marks(desk.binding.shapes)))
    return [desk.steps, 0 if labels is None else zlib.crc32(labels.data.tobytes()), zlib.crc32(marks.encode())]


def main(folder: Path, kills: int, seed: int) -> None:
    """Fork, let it do a few things, wait for a random time, kill; one after the other."""
    chance, image, session = random.Random(seed), np.zeros((64, 64), np.uint8), Session()
    keeper = Autosave(session, lambda: "fake")
    keeper.watch(lambda: image)
    desk = Desk(image, session=session)
    for number in range(kills):
        place = folder / f"{number:03}"
        place.mkdir()
        os.environ[FOLDER] = str(place)
        receive, send = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(receive)
            annotate(desk, keeper, send, seed + number)
        os.close(send)
        with os.fdopen(receive, "rb") as lines, (place / "acknowledged").open("wb") as copy:
            # a child that ends by itself closes the pipe, so no line is waited for in vain
            copy.writelines(lines.readline() for _ in range(chance.randrange(8)))
            # the kill comes at any moment of the work
            time.sleep(chance.uniform(0, 0.03))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            copy.write(lines.read())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
