"""Folders of images that are worked on one after the other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segany.batch import project as project_module
from napari_segany.batch.project import (
    Project,
    begin_project,
    mark_image,
    mark_images,
    read_project,
    recognise_images,
)
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
        project = mark_image(project, name, state="done")
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
    assert not mark_image(project, "b.tif", state="").records["b.tif"].done


def test_what_another_window_noted_stays(folder: Path) -> None:
    ours, theirs = begin_project(folder), read_project(folder)
    mark_image(theirs, "d.tif", state="done")
    assert mark_image(ours, "a.tif", state="done").done == {"a.tif", "d.tif"}


def test_a_file_under_another_name_keeps_its_state(folder: Path) -> None:
    project = mark_image(begin_project(folder), "b.tif", sample="123", state="done")
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
    for work in (lambda: begin_project(folder), lambda: mark_image(before, "a.tif", state="done")):
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
    project = mark_image(begin_project(folder), "a.tif", state="done", sample="1")
    stamp = (folder / PROJECT).stat().st_mtime_ns
    mark_image(project, "a.tif", state="done", sample="1")
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


def test_states_of_images_and_the_order_of_a_list(folder: Path) -> None:
    project = begin_project(folder)
    for name, state in (("a.tif", "uncertain"), ("b.tif", "accepted"), ("c.tif", "rejected")):
        project = mark_image(project, name, state=state)
    assert project.done == {"b.tif", "c.tif"}, "what is uncertain is not finished"
    again = read_project(folder)
    assert [again.state_of(name) for name in again.names] == ["uncertain", "accepted", "rejected", ""]
    order = ("d.tif", "c.tif", "a.tif")
    assert again.neighbour("d.tif", 1, order=order) == "c.tif"
    assert again.neighbour("d.tif", 1, order=order, skip_done=True) == "a.tif"
    assert again.neighbour("a.tif", -1, order=order) == "c.tif"
    # files of earlier versions tell only what is done
    (folder / PROJECT).write_text('{"version": 1, "images": {"d.tif": {"done": true}}}')
    assert read_project(folder).state_of("d.tif") == "done"


def test_an_image_that_has_gone_gets_no_state(folder: Path) -> None:
    project = begin_project(folder)
    (folder / "b.tif").unlink()
    with pytest.raises(InputError, match=r"b\.tif is no longer in"):
        mark_image(project, "b.tif", state="done")
    assert "b.tif" not in (folder / PROJECT).read_text()


def test_a_folder_for_reading_alone_has_its_project_with_the_user(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("SEGANY_SESSIONS", str(home / "sessions"))
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder and allowed(path, mode))
    before = sorted(folder.iterdir())
    project = mark_image(begin_project(folder), "b.tif", state="done")
    assert sorted(folder.iterdir()) == before
    assert read_project(folder).done == {"b.tif"}
    assert project_folder(folder / "a.tif") == folder
    assert home in project.run_folder("", "tiny").parents


def test_what_runs_found_gives_an_order(folder: Path) -> None:
    project = begin_project(folder)
    for run, low in (("old", 0.9), ("new", 0.3)):
        out = folder / "segany-labels" / run
        out.mkdir(parents=True)
        tifffile.imwrite(out / "b_labels.tif", np.zeros((9, 9), np.int32))
        rows = [f"{label},,,{score},,text,9,automatic" for label, score in ((1, low), (2, 0.95), (3, 0.95))]
        header = "label,name,class,score,stability,how,pixels,state"
        (out / "b_objects.csv").write_text("\n".join([header, *rows]) + "\n")
        os.utime(out, (1, 1) if run == "old" else None)
    found = project.found()
    assert set(found) == {"b.tif"}
    assert found["b.tif"].objects == 3
    assert found["b.tif"].certainty == pytest.approx(np.quantile([0.3, 0.95, 0.95], 0.1))


def test_an_image_that_got_another_name_is_known_again(folder: Path) -> None:
    project = begin_project(folder)
    for name, state in (("b.tif", "accepted"), ("c.tif", "rejected")):
        project = mark_image(project, name, state=state, sample=f"sample of {name}")
    (folder / "b.tif").rename(folder / "z.tif")
    read: list[str] = []

    def sample_of(path: Path) -> str:
        read.append(path.name)
        if path.name == "a.tif":
            raise InputError("cannot be read")
        return {"z.tif": "sample of b.tif"}.get(path.name, "another")

    again = recognise_images(read_project(folder), sample_of)
    assert again.state_of("z.tif") == "accepted"
    assert read_project(folder).state_of("z.tif") == "accepted"
    assert "c.tif" not in read, "what is known is not read"
    read.clear()
    recognise_images(read_project(folder), sample_of)
    assert not read, "nothing is read where no image has gone"


def test_many_images_are_marked_with_one_read_and_one_write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, done = begin_project(folder), []
    for name in ("_read", "_write"):
        work = getattr(project_module, name)
        monkeypatch.setattr(project_module, name, lambda *a, work=work, name=name: done.append(name) or work(*a))
    marked = mark_images(project, ["a.tif", "b.tif", "d.tif"], "done")
    assert done == ["_read", "_write"]
    assert marked.done == {"a.tif", "b.tif", "d.tif"} == read_project(folder).done
    mark_images(marked, ["a.tif", "b.tif"], "done")
    assert done.count("_write") == 1


def test_of_many_images_none_is_marked_when_one_has_gone(folder: Path) -> None:
    project = begin_project(folder)
    (folder / "b.tif").unlink()
    with pytest.raises(InputError, match=r"b\.tif is no longer"):
        mark_images(project, ["a.tif", "b.tif"], "done")
    assert not read_project(folder).done
