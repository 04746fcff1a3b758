"""One table of all images of a folder: which labels belong to which image, and what is left out."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segany import cli
from napari_segany.batch.measure_folder import MeasureJob, labels_of, measure_folder
from napari_segany.batch.project import begin_project
from napari_segany.batch.track_labels import TrackJob, export_file
from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectInfo
from napari_segany.engine.session_files import FOLDER, new_path
from napari_segany.io.export import export_labels
from napari_segany.io.labels import write_labels
from napari_segany.io.spacing import Calibration
from napari_segany.session.events import LayerEvent, ModelEvent
from napari_segany.session.fingerprint import fingerprint_of
from napari_segany.session.history import Patch, Step
from napari_segany.session.journal import Header, Journal


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def drawn() -> np.ndarray:
    labels = np.zeros((20, 30), np.uint16)
    labels[2:6, 3:9], labels[10:14, 20:26] = 1, 5
    return labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images: of a batch run, exported from the window, and without labels."""
    place = tmp_path / "images"
    run = place / "segany-labels" / "all objects-tiny"
    run.mkdir(parents=True)
    for number, name in enumerate("abc"):
        tifffile.imwrite(place / f"{name}.tif", np.full((20, 30), number + 1, np.uint8))
    write_labels(run / "a_labels.tif", drawn())
    export_labels(drawn(), run / "a_objects.csv", objects=[ObjectInfo(5, class_name="nucleus")])
    write_labels(place / "b labels.tif", drawn() * 2, calibration=Calibration((0.5, 0.5), (), ("micrometer",) * 2))
    return place


def test_batch_runs_and_exports_are_found(folder: Path) -> None:
    reports = list(measure_folder(MeasureJob(folder, folder / "all.csv")))
    assert [(one.image.name, one.objects) for one in reports] == [("a.tif", 2), ("b.tif", 2), ("c.tif", -1)]
    table = rows(folder / "all.csv")
    assert list(table[0])[:2] == ["image", "label"]
    assert [(row["image"], row["label"], row["class"]) for row in table] == [
        ("a.tif", "1", ""),
        ("a.tif", "5", "nucleus"),
        ("b.tif", "2", ""),
        ("b.tif", "10", ""),
    ]
    assert [row["intensity_mean"] for row in table] == ["1.0", "1.0", "2.0", "2.0"]
    # each in its unit
    assert [(row["area [pixel^2]"], row["area [µm^2]"]) for row in table[1:3]] == [("24.0", ""), ("", "6.0")]


def test_the_folder_of_a_run_is_measured_with_its_images(folder: Path) -> None:
    run = folder / "segany-labels" / "all objects-tiny"
    reports = list(measure_folder(MeasureJob(run, folder / "all.csv")))
    assert [(one.image.name, one.objects) for one in reports] == [("a.tif", 2), ("b.tif", -1), ("c.tif", -1)]


def test_the_latest_run_counts(folder: Path) -> None:
    later = folder / "segany-labels" / "nuclei-tiny"
    later.mkdir()
    write_labels(later / "a_labels.tif", drawn())
    os.utime(folder / "segany-labels" / "all objects-tiny" / "a_labels.tif", (1, 1))
    assert labels_of(folder / "a.tif", "a", None) == later / "a_labels.tif"


def test_labels_of_other_programs_are_no_images(folder: Path, tmp_path: Path) -> None:
    tifffile.imwrite(folder / "c_labels.tif", drawn())
    reports = list(measure_folder(MeasureJob(folder, tmp_path / "all.csv")))
    assert [one.image.name for one in reports] == ["a.tif", "b.tif", "c.tif"]
    assert reports[2].objects == 2


def test_pairs_of_image_and_labels(tmp_path: Path) -> None:
    for name in ("v_image.tif", "v_labels.tif"):
        tifffile.imwrite(tmp_path / name, drawn())
    reports = list(measure_folder(MeasureJob(tmp_path, tmp_path / "all.csv")))
    assert [(one.image.name, one.objects) for one in reports] == [("v_image.tif", 2)]


def test_channels_and_times(tmp_path: Path) -> None:
    place = tmp_path / "images"
    place.mkdir()
    image = np.zeros((2, 3, 20, 30), np.uint16)
    image[:, 1] = 7
    tifffile.imwrite(place / "m.tif", image, imagej=True, metadata={"axes": "TCYX"})
    tifffile.imwrite(place / "m_labels.tif", np.stack([drawn(), drawn()]))
    assert [one.objects for one in measure_folder(MeasureJob(place, tmp_path / "t.csv"))] == [4]
    table = rows(tmp_path / "t.csv")
    # the labels have no names of axes, the image has
    assert [row["t"] for row in table] == ["0", "0", "1", "1"]
    assert [table[0][f"intensity_mean_c{number}"] for number in range(3)] == ["0.0", "7.0", "0.0"]
    assert not any(name.startswith("centroid_z") for name in table[0])


def test_figures_are_those_of_export(folder: Path, tmp_path: Path) -> None:
    list(measure_folder(MeasureJob(folder, tmp_path / "all.csv")))
    export_file(TrackJob(folder / "b labels.tif", tmp_path / "b.csv", image=folder / "b.tif"))
    whole = [
        {name: row[name] for name in row if name not in ("image", "area [pixel^2]")}
        for row in rows(tmp_path / "all.csv")
    ]
    for one, other in zip(rows(tmp_path / "b.csv"), whole[2:], strict=True):
        assert {name: value for name, value in other.items() if value} == {name: v for name, v in one.items() if v}


def test_damaged_images_are_named_at_the_end(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "b.tif").write_bytes(b"II*\0nothing")
    assert cli.main(["measure", str(folder), "-o", str(folder / "all.csv")]) == 2
    shown = capsys.readouterr()
    assert "b.tif" in shown.err
    assert "2 objects of 1 image, 1 without labels, 1 left out" in shown.out
    assert {row["image"] for row in rows(folder / "all.csv")} == {"a.tif"}


def test_an_image_that_cannot_be_read_is_not_one_without_labels(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "c.tif").write_bytes(b"II*\0nothing")
    write_labels(folder / "b labels.tif", (drawn() == 1).astype(np.uint16), overwrite=True)
    (folder / "a.tif").unlink()
    assert cli.main(["measure", str(folder), "-o", str(folder / "all.csv")]) == 2
    shown = capsys.readouterr()
    assert "c.tif" in shown.err
    assert "1 object of 1 image, 1 left out" in shown.out


@pytest.fixture
def project(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder as a project, with a session of the first image in which its objects were corrected."""
    monkeypatch.setenv(FOLDER, str(tmp_path / "sessions"))
    begin_project(folder)
    corrected = drawn()
    corrected[10:14, 2:6], corrected[16:19, 2:6], corrected[corrected == 1] = 2, 3, 0
    session(
        folder / "a.tif",
        corrected,
        ObjectInfo(2, "round", class_name="nucleus", state="accepted", reviewed_by="ada", reviewed_at="2026-01-01"),
        ObjectInfo(3, state="rejected"),
    )
    return folder


def session(image: Path, labels: np.ndarray, *objects: ObjectInfo, closed: bool = True) -> Journal:
    """A session of an image in its project."""
    header = Header("1", ModelEvent("tiny", "x"), fingerprint_of(tifffile.imread(image)), path=str(image))
    journal = Journal.create(new_path(header), header)
    journal.write(LayerEvent(1, "labels", labels.shape, "<u2"))
    journal.write(Step("keep all", ((1, Patch.between(np.zeros_like(labels), labels)),), label=1))
    for about in objects:
        journal.write(about)
    if closed:
        journal.close()
    return journal


def test_what_was_corrected_in_a_session_is_measured(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["measure", str(project), "-o", str(project / "all.csv")]) == 0
    assert "4 objects of 2 images (1 from sessions), 1 without labels, 0 left out" in capsys.readouterr().out
    first, second = rows(project / "all.csv")[:2]
    assert [row["image"] for row in rows(project / "all.csv")] == ["a.tif"] * 2 + ["b.tif"] * 2
    told = [first[name] for name in ("label", "name", "class", "state", "reviewed_by", "reviewed_at")]
    assert told == ["2", "round", "nucleus", "accepted", "ada", "2026-01-01"]
    # the rejected object is left out, and stays a neighbour
    assert (second["label"], first["neighbour_distance [pixel]"]) == ("5", "5.5")


def test_the_latest_session_with_objects_counts_also_while_it_is_open(project: Path) -> None:
    session(project / "a.tif", (drawn() == 1).astype(np.uint16))
    going_on = session(project / "c.tif", drawn(), closed=False)
    session(project / "a.tif", drawn() * 0 + (np.indices((20, 30)).sum(0) < 1).astype(np.uint16))
    reports = list(measure_folder(MeasureJob(project, project / "all.csv")))
    going_on.close()
    assert [(one.objects, one.from_session) for one in reports] == [(1, True), (2, False), (2, True)]


def test_labels_that_are_named_win_over_sessions(project: Path) -> None:
    run = project / "segany-labels" / "all objects-tiny"
    for job in (MeasureJob(run, project / "all.csv"), MeasureJob(project, project / "b.csv", labels=run)):
        assert not any(one.from_session for one in measure_folder(job))
        assert {row["label"] for row in rows(job.out)} == {"1", "5"}


def test_sessions_outside_of_projects_do_not_count(project: Path) -> None:
    (project / "segany-project.json").unlink()
    reports = list(measure_folder(MeasureJob(project, project / "all.csv")))
    assert not any(one.from_session for one in reports)


@pytest.mark.parametrize("name", ["all.json", "all.png"])
def test_only_tables_are_written(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"written to|exported to"):
        list(measure_folder(MeasureJob(folder, folder / name)))


def test_nothing_to_measure_is_an_error(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", drawn())
    with pytest.raises(InputError, match="has labels"):
        list(measure_folder(MeasureJob(tmp_path, tmp_path / "all.csv")))
    assert not (tmp_path / "all.csv").exists()


def test_the_table_replaces_nothing_unasked(folder: Path) -> None:
    (folder / "all.csv").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        list(measure_folder(MeasureJob(folder, folder / "all.csv")))


def test_export_measures_an_image(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "l.tif", drawn())
    tifffile.imwrite(tmp_path / "i.tif", np.dstack([drawn() * 0 + value for value in (1, 2, 3)]).astype(np.uint8))
    command = ["export", str(tmp_path / "l.tif"), "-o", str(tmp_path / "o.csv"), "--image", str(tmp_path / "i.tif")]
    assert cli.main(command) == 0
    assert [rows(tmp_path / "o.csv")[0][f"intensity_mean_{name}"] for name in ("red", "green", "blue")] == [
        "1.0",
        "2.0",
        "3.0",
    ]
    assert cli.main([*command[:3], str(tmp_path / "o.geojson"), *command[4:]]) == 2


def test_a_stack_without_names_has_no_z(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "l.tif", np.stack([drawn()] * 5))
    assert cli.main(["export", str(tmp_path / "l.tif"), "-o", str(tmp_path / "o.csv")]) == 0
    row = rows(tmp_path / "o.csv")[0]
    assert "centroid_axis-0 [pixel]" in row
    assert "centroid_z [pixel]" not in row
