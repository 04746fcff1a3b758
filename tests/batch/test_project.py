"""Folders of images that are worked on one after the other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segany.batch.project import Project, begin_project, mark_image, read_project
from napari_segany.core.errors import InputError
from napari_segany.engine.session_files import PROJECT, project_folder, session_files
from napari_segany.session.fingerprint import sample_fingerprint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images."""
    for number, name in enumerate("abcd"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.full((9, 9), number, np.uint8))
    return tmp_path


def test_the_images_that_are_done_are_passed_over(folder: Path) -> None:
    project = begin_project(folder)
    assert project.names == ("a.tif", "b.tif", "c.tif", "d.tif")
    for name in ("b.tif", "c.tif"):
        project = mark_image(project, name, done=True)
    assert project.neighbour("a.tif", 1) == "b.tif"
    assert project.neighbour("a.tif", 1, skip_done=True) == "d.tif"
    assert project.neighbour("d.tif", 1) is None
    assert project.neighbour("d.tif", 1, skip_done=True) == "a.tif", "behind the last image the first one follows"
    assert project.neighbour("a.tif", 1, skip_done=True, skipped={"d.tif"}) is None
    assert project.neighbour("d.tif", -1) == "c.tif"
    assert project.neighbour("", 1) == "a.tif"
    assert project.done == {"b.tif", "c.tif"}
    assert read_project(folder) == project
    assert project.records["b.tif"].by
    assert project.records["b.tif"].when
    assert not mark_image(project, "b.tif", done=False).records["b.tif"].done


def test_what_another_window_noted_stays(folder: Path) -> None:
    ours, theirs = begin_project(folder), read_project(folder)
    mark_image(theirs, "d.tif", done=True)
    assert mark_image(ours, "a.tif", done=True).done == {"a.tif", "d.tif"}


def test_a_file_under_another_name_keeps_its_state(folder: Path) -> None:
    project = mark_image(begin_project(folder), "b.tif", sample="123", done=True)
    (folder / "b.tif").rename(folder / "z.tif")
    project = mark_image(read_project(folder), "z.tif", sample="123")
    assert project.done == {"z.tif"}
    assert "b.tif" not in project.records
    # a copy is another image
    (folder / "y.tif").write_bytes((folder / "z.tif").read_bytes())
    assert mark_image(read_project(folder), "y.tif", sample="123").done == {"z.tif"}


@pytest.mark.parametrize("content", ["", "[]", '{"version": 99}', '{"images": {"a.tif": {"done": "yes"}}}', "\xff"])
def test_a_damaged_file_is_one_line_and_stays(folder: Path, content: str) -> None:
    (folder / PROJECT).write_text(content, encoding="latin-1")
    before = Project(folder, {"a.tif": "a"}, {})
    for work in (lambda: begin_project(folder), lambda: mark_image(before, "a.tif", done=True)):
        with pytest.raises(InputError) as error:
            work()
        assert "\n" not in str(error.value)
        assert str(folder / PROJECT) in str(error.value)
    assert (folder / PROJECT).read_text(encoding="latin-1") == content


def test_a_folder_without_images_becomes_no_project(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image"):
        begin_project(tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_again_that_is_known(folder: Path) -> None:
    project = mark_image(begin_project(folder), "a.tif", done=True, sample="1")
    stamp = (folder / PROJECT).stat().st_mtime_ns
    mark_image(project, "a.tif", done=True, sample="1")
    assert (folder / PROJECT).stat().st_mtime_ns == stamp
    assert json.loads((folder / PROJECT).read_text())["version"] == 1


def test_sessions_of_a_project_count_with_those_of_the_computer(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("sessions")
    monkeypatch.setenv("SEGANY_SESSIONS", str(other))
    image = sample_fingerprint(np.zeros((9, 9), np.uint8))
    assert project_folder(folder / "a.tif") is None
    begin_project(folder)
    assert project_folder(folder / "a.tif") == folder
    assert project_folder("") is None
    assert project_folder("https://a.org/b.tif") is None
    (folder / "segany-sessions").mkdir()
    old, new = other / f"{image.name}-20250101-1.jsonl", folder / "segany-sessions" / f"{image.name}-20260101-1.jsonl"
    old.touch()
    new.touch()
    assert session_files(image, str(folder / "a.tif")) == [new, old]
    assert session_files(image) == [old]
