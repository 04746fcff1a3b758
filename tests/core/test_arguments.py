"""Wrong types are one line that names the argument, from the first line of public functions on."""

from pathlib import Path

import numpy as np
import pytest

from napari_segany import load_segmenter
from napari_segany.batch.propagate_file import propagate_file
from napari_segany.batch.segment_file import SegmentJob, segment_file
from napari_segany.batch.segment_folder import FolderJob, segment_folder_files
from napari_segany.core.arguments import as_path, check_each, check_type
from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.io.export import export_labels
from napari_segany.io.images import read_image
from napari_segany.io.labels import check_output, read_labels, write_labels
from napari_segany.io.prompt_tables import read_prompts
from napari_segany.models.device import pick_device

LABELS = np.eye(4, dtype=np.uint16)
JOB = SegmentJob(Path("a.tif"), Path("o.tif"))
CALLS = {
    "path": [
        lambda wrong: read_image(wrong),
        lambda wrong: read_labels(wrong),
        lambda wrong: write_labels(wrong, LABELS),
        lambda wrong: check_output(wrong),
        lambda wrong: export_labels(LABELS, wrong),
        lambda wrong: read_prompts(wrong),
    ],
    "image": [lambda wrong: SegmentJob(wrong, Path("o.tif"))],
    "labels": [lambda wrong: SegmentJob(Path("a.tif"), wrong)],
    "prompts": [lambda wrong: SegmentJob(Path("a.tif"), Path("o.tif"), wrong)],
    "plane": [lambda wrong: SegmentJob(Path("a.tif"), Path("o.tif"), plane=wrong)],
    "planes": [lambda wrong: SegmentJob(Path("a.tif"), Path("o.tif"), planes=wrong)],
    "job": [
        lambda wrong: segment_file(wrong, print),
        lambda wrong: propagate_file(wrong, print),
        lambda wrong: list(segment_folder_files(wrong, print)),
    ],
    "load": [
        lambda wrong: segment_file(JOB, wrong),
        lambda wrong: propagate_file(JOB, wrong),
        lambda wrong: list(segment_folder_files(FolderJob(Path("a"), Path("o"), None, {}), wrong)),
    ],
    "source": [lambda wrong: FolderJob(wrong, Path("o"), None, {})],
    "out": [lambda wrong: FolderJob(Path("a"), wrong, None, {})],
    "grid": [lambda wrong: FolderJob(Path("a"), Path("o"), wrong, {})],
    "changes": [lambda wrong: FolderJob(Path("a"), Path("o"), None, wrong)],
    "objects": [lambda wrong: export_labels(LABELS, "a.csv", objects=wrong)],
    "model": [lambda wrong: load_segmenter(wrong)],
    "precision": [lambda wrong: load_segmenter("tiny", "cpu", wrong)],
    "device": [lambda wrong: pick_device(wrong)],
}


@pytest.mark.parametrize("wrong", [7.5, object(), b"bytes"], ids=["number", "object", "bytes"])
@pytest.mark.parametrize("name", CALLS)
def test_the_argument_is_named(name, wrong):
    for call in CALLS[name]:
        with pytest.raises(InputError, match=name) as error:
            call(wrong)
        assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def tiny():
    return load_segmenter("tiny", "cpu")


PLANE = np.zeros((32, 48, 3), np.uint8)


@pytest.mark.parametrize("wrong", [None, 7, "plane", [[1, 2], [3, 4]], object()])
def test_a_segmenter_names_it(tiny, wrong):
    embedding = tiny.embed(PLANE)
    for name, call in (
        ("plane", lambda: tiny.embed(wrong)),
        ("embedding", lambda: tiny.segment(wrong, [Prompt((Point(1, 1),))])),
        ("prompts", lambda: tiny.segment(embedding, wrong)),
        ("prompts", lambda: tiny.segment(embedding, [wrong])),
        ("candidates", lambda: tiny.segment(embedding, [Prompt((Point(1, 1),))], candidates=wrong or "x")),
        ("at_least", lambda: tiny.segment(embedding, [Prompt((Point(1, 1),))], at_least=str(wrong))),
    ):
        with pytest.raises(InputError, match=name):
            call()


def test_what_is_taken():
    check_type(1, (int, type(None)), "a")
    check_type(True, bool, "a")
    check_each((1, 2), int, "a")
    assert as_path("a.tif", "a") == as_path(Path("a.tif"), "a") == Path("a.tif")
    assert SegmentJob("a.tif", "o.tif", table="t.csv").table == Path("t.csv")
    with pytest.raises(InputError, match="a is of type int, got True"):
        check_type(True, int, "a")
    with pytest.raises(InputError, match="changes has sco"):
        FolderJob("a", "o", None, {"sco": 1.0})
