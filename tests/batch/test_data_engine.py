"""What a round of the data engine reads from sessions, and which images come next."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segany.batch.data_engine import ImageCertainty, review_order, session_images, write_review
from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectInfo
from napari_segany.engine.session_files import FOLDER, new_path
from napari_segany.session.events import LayerEvent, ModelEvent
from napari_segany.session.fingerprint import fingerprint_of
from napari_segany.session.history import Patch, Step
from napari_segany.session.journal import Header, Journal


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three images; sessions are stored in a folder of the test."""
    monkeypatch.setenv(FOLDER, str(tmp_path / "sessions"))
    (tmp_path / "sessions").mkdir()
    images = tmp_path / "plate"
    images.mkdir()
    for number, name in enumerate("abc"):
        tifffile.imwrite(images / f"{name}.tif", np.random.default_rng(number).integers(0, 255, (30, 40), np.uint8))
    return images


def annotate(image: Path, states: dict[int, str], *, closed: bool = True) -> Journal:
    """A session in which objects of these labels and states were committed."""
    array = tifffile.imread(image)
    labels = np.zeros(array.shape, np.int32)
    for label in states:
        labels[8 * label - 6 : 8 * label, 2:10] = label
    header = Header("1", ModelEvent("tiny", "x"), fingerprint_of(array), path="/elsewhere/before.tif")
    journal = Journal.create(new_path(header), header)
    journal.write(LayerEvent(1, "labels", labels.shape, "<i4"))
    journal.write(Step("keep all", ((1, Patch.between(np.zeros_like(labels), labels)),), label=1))
    for label, state in states.items():
        journal.write(ObjectInfo(label, state=state))
    if closed:
        journal.close()
    return journal


def test_images_are_recognised_by_their_content(folder: Path, tmp_path: Path) -> None:
    annotate(folder / "b.tif", {1: "", 2: ""})
    moved = tmp_path / "moved"
    shutil.move(folder, moved)
    (moved / "b.tif").rename(moved / "renamed.tif")
    ((image, ((_, plane, labels),)),) = session_images(moved).items()
    assert image.name == "renamed.tif"
    assert plane.shape == (30, 40, 3)
    assert len(np.unique(labels)) == 3


def test_only_objects_of_the_user_count(folder: Path) -> None:
    annotate(folder / "a.tif", {1: "automatic"})
    annotate(folder / "b.tif", {1: "automatic", 2: "accepted"})
    ((image, ((_, _, labels),)),) = session_images(folder).items()
    assert image.name == "b.tif"
    assert len(np.unique(labels)) == 2


def test_a_session_that_a_window_has_open_counts(folder: Path) -> None:
    journal = annotate(folder / "c.tif", {1: ""}, closed=False)
    assert [image.name for image in session_images(folder)] == ["c.tif"]
    journal.close()


def test_the_latest_session_of_an_image_counts(folder: Path) -> None:
    annotate(folder / "a.tif", {1: ""})
    annotate(folder / "a.tif", {1: "", 2: "", 3: ""})
    ((_, ((_, _, labels),)),) = session_images(folder).items()
    assert len(np.unique(labels)) == 4


def test_what_is_no_image_is_no_image_of_the_user(folder: Path) -> None:
    (folder / "d.tif").write_bytes(b"no image")
    assert session_images(folder) == {}
    with pytest.raises(InputError, match="there is no image"):
        session_images(folder.parent / "sessions")


def test_the_least_certain_image_comes_first(folder: Path) -> None:
    tables = {"a": ["0.9", "0.8"], "b": [], "c": ["0.95", "0.3"]}
    for name, scores in tables.items():
        rows = "".join(f"{label},{score}\n" for label, score in enumerate(scores, start=1))
        (folder / f"{name}_objects.csv").write_text(f"label,score\n{rows}")
    images = {folder / f"{name}.tif": name for name in "abcd"}
    order = review_order(images, folder)
    assert [one.image.stem for one in order] == ["b", "c", "a"]
    assert order[1] == ImageCertainty(folder / "c.tif", 2, pytest.approx(0.625), 0.3)
    write_review(order, folder / "review.csv")
    with (folder / "review.csv").open(newline="") as file:
        assert list(csv.reader(file))[1:3] == [["b.tif", "0", "", ""], ["c.tif", "2", "0.625", "0.300"]]
