"""Classes of all objects of a label image, from a table of a few."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segany import cli
from napari_segany.batch.classify_file import ClassifyJob, LabelledFiles, classify_file
from napari_segany.core.errors import InputError
from napari_segany.models import loading
from tests.fakes import FakeSegmenter

PLANES = 5


def write(folder: Path, name: str, planes: int = 1, seed: int = 0) -> LabelledFiles:
    """Twelve objects, the even ones dark; in a stack each lies on three planes, and only on its middle one as it is."""
    rng = np.random.default_rng(seed)
    image, labels = rng.integers(90, 100, (planes, 60, 80), np.uint8), np.zeros((planes, 60, 80), np.uint16)
    rows, columns = np.ogrid[:60, :80]
    for label in range(1, 13):
        y, x = 10 + 20 * ((label - 1) // 4), 10 + 20 * ((label - 1) % 4)
        disc = (rows - y) ** 2 + (columns - x) ** 2 <= 36
        middle = label % 3 + 1 if planes > 1 else 0
        for plane in range(max(middle - 1, 0), min(middle + 2, planes)):
            labels[plane][disc] = label * 7
        image[middle][disc] = rng.integers(200, 230) if label % 2 else rng.integers(10, 40)
    files = LabelledFiles(folder / f"{name}.tif", folder / f"{name}_labels.tif")
    tifffile.imwrite(files.image, image[0] if planes == 1 else image, metadata={"axes": "YX" if planes == 1 else "ZYX"})
    tifffile.imwrite(files.labels, labels[0] if planes == 1 else labels)
    return files


def table(path: Path, classes: dict[int, str]) -> Path:
    path.write_text("label,class\n" + "".join(f"{label},{name}\n" for label, name in classes.items()))
    return path


def read(path: Path) -> dict[int, tuple[str, float]]:
    with path.open() as lines:
        return {int(row["label"]): (row["class"], float(row["probability"])) for row in csv.DictReader(lines)}


TRUTH = {label * 7: "bright" if label % 2 else "dark" for label in range(1, 13)}
KNOWN = {7: "bright", 14: "dark", 21: "bright", 28: "dark"}


@pytest.mark.parametrize("planes", [1, PLANES])
def test_all_objects_get_a_class(tmp_path: Path, planes: int) -> None:
    files = write(tmp_path, "cells", planes)
    job = ClassifyJob(files, table(tmp_path / "known.csv", KNOWN), tmp_path / "out.csv")
    report = classify_file(job, FakeSegmenter)
    assert (report.objects, report.known, report.classes) == (12, 4, ("bright", "dark"))
    found = read(job.out)
    assert {label: name for label, (name, _) in found.items()} == TRUTH
    assert all(found[label][1] == 1 for label in KNOWN)
    assert all(0.5 < found[label][1] <= 1 for label in TRUTH)


def test_a_table_of_another_image(tmp_path: Path) -> None:
    first, second = write(tmp_path, "first"), write(tmp_path, "second", PLANES, seed=1)
    job = ClassifyJob(second, table(tmp_path / "known.csv", KNOWN), tmp_path / "out.csv", first)
    assert classify_file(job, FakeSegmenter).objects == 12
    found = read(job.out)
    assert {label: name for label, (name, _) in found.items()} == TRUTH
    assert all(found[label][1] < 1 for label in KNOWN), "these are other objects of the same numbers"


@pytest.mark.parametrize(
    ("known", "line"),
    [
        ({7: "bright"}, "'bright'"),
        ({7: "bright", 8: "dark"}, "names the object 8"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(tmp_path: Path, known: dict[int, str], line: str) -> None:
    job = ClassifyJob(write(tmp_path, "cells"), table(tmp_path / "known.csv", known), tmp_path / "out.csv")
    with pytest.raises(InputError, match=line):
        classify_file(job, FakeSegmenter)
    assert not job.out.exists()


def test_inputs_are_not_replaced_and_shapes_must_fit(tmp_path: Path) -> None:
    files, known = write(tmp_path, "cells"), table(tmp_path / "known.csv", KNOWN)
    other = write(tmp_path, "stack", PLANES)
    for out in (known, files.labels, files.image):
        with pytest.raises(InputError, match="exists"):
            classify_file(ClassifyJob(files, known, out), FakeSegmenter)
        with pytest.raises(InputError):
            classify_file(ClassifyJob(files, known, out, overwrite=True), FakeSegmenter)
    with pytest.raises(InputError, match="5 planes"):
        classify_file(ClassifyJob(LabelledFiles(files.image, other.labels), known, tmp_path / "out.csv"), FakeSegmenter)
    assert known.read_text().startswith("label,class\n7,bright")


def test_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "load_segmenter", lambda *_, **__: FakeSegmenter())
    files, known = write(tmp_path, "cells"), table(tmp_path / "known.csv", KNOWN)
    words = ["classify", files.labels, "--image", files.image, "--classes", known, "-o", tmp_path / "out.csv"]
    assert cli.main([*map(str, words)]) == 0
    assert "12 objects, 2 classes learned from 4" in capsys.readouterr().out
    assert {label: name for label, (name, _) in read(tmp_path / "out.csv").items()} == TRUTH
    assert cli.main([*map(str, words), "--overwrite", "--exemplars", str(files.labels)]) == 2
    assert "belong together" in capsys.readouterr().err
