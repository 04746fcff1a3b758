"""Lineages in the formats of other tracking programs, read back by their own libraries."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import tifffile

from napari_segany.core.objects import ObjectInfo
from napari_segany.io.export import FORMATS, export_labels
from napari_segany.io.formats.tracks import graph_of

needs_geff = pytest.mark.skipif(importlib.util.find_spec("geff") is None, reason="the package geff is not installed")


def movie(depth: int = 0) -> np.ndarray:
    """Object 3 divides in frame 2 into 3 and 8, which is missed in frame 4; 5 is there in all frames, 6 in one."""
    labels = np.zeros((6, 30, 40), np.uint16)
    for time in range(6):
        labels[time, 20:26, 5 + time : 12 + time] = 5
        if time < 2:
            labels[time, 4:14, 10:30] = 3
        else:
            labels[time, 4:14, 10 - time : 19 - time] = 3
            labels[time, 4:14, 21 + time : 30 + time] = 8 if time != 4 else 0
    labels[3, 27:29, 30:34] = 6
    return labels if not depth else np.stack([labels] * depth, axis=1)


TRUE_EDGES = {
    *[((5, time), (5, time + 1)) for time in range(5)],
    ((3, 0), (3, 1)),
    ((3, 1), (3, 2)),
    ((3, 1), (8, 2)),
    *[((3, time), (3, time + 1)) for time in range(2, 5)],
    ((8, 2), (8, 3)),
    ((8, 3), (8, 5)),
}
"""(label, frame) before and after."""
NODES = int(sum(len(np.unique(frame)) - 1 for frame in movie()))


def edges_of(graph: Any, label: str, time: str) -> set[tuple[tuple[int, int], tuple[int, int]]]:
    def name(node: Any) -> tuple[int, int]:
        return round(graph.nodes[node][label]), round(graph.nodes[node][time])

    return {(name(one), name(other)) for one, other in graph.edges}


@needs_geff
@pytest.mark.parametrize("depth", [0, 3])
def test_geff_is_read_back_by_its_library(tmp_path: Path, depth: int) -> None:
    import geff

    labels = movie(depth)
    options = {"axes": "tzyx", "scale": (1, 2, 0.5, 0.5)} if depth else {"axes": "tyx", "scale": (1, 0.5, 0.5)}
    path = export_labels(labels, tmp_path / "a.geff", unit="µm", **options)
    geff.validate_structure(path)
    graph, metadata = geff.read(path, backend="networkx")
    assert edges_of(graph, "label", "t") == TRUE_EDGES
    assert len(graph) == NODES
    assert [axis.name for axis in metadata.axes] == (["t", "z", "y", "x"] if depth else ["t", "y", "x"])
    assert [axis.unit for axis in metadata.axes] == ["frame", *["micrometer"] * (3 if depth else 2)]
    node = next(node for node in graph if (graph.nodes[node]["label"], graph.nodes[node]["t"]) == (3, 0))
    assert [graph.nodes[node][axis] for axis in ("y", "x")] == [8.5 * 0.5, 19.5 * 0.5]
    assert graph.nodes[node]["pixels"] == 200 * max(depth, 1)


@needs_geff
def test_geff_is_replaced_only_where_it_is_ours(tmp_path: Path) -> None:
    from napari_segany.core.errors import InputError

    path = export_labels(movie(), tmp_path / "a.geff", axes="tyx")
    export_labels(movie(), path, axes="tyx", overwrite=True)
    (path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="did not write"):
        export_labels(movie(), path, axes="tyx", overwrite=True)


@needs_geff
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("depth", [0, 3])
def test_trackmate_is_read_back_by_geff(tmp_path: Path, depth: int) -> None:
    import geff
    from geff.convert import from_trackmate_xml_to_geff

    labels = movie(depth)
    path = export_labels(labels, tmp_path / "a.xml", axes="tzyx" if depth else "tyx")
    from_trackmate_xml_to_geff(path, tmp_path / "b.geff")
    graph, _ = geff.read(tmp_path / "b.geff", backend="networkx")
    assert edges_of(graph, "LABEL", "FRAME") == TRUE_EDGES
    assert len(graph) == NODES


def test_trackmate_has_a_track_for_each_family(tmp_path: Path) -> None:
    path = export_labels(
        movie(), tmp_path / "a.xml", axes="tyx", scale=(1, 0.5, 0.25), unit="µm", objects=[ObjectInfo(5, "left <1>")]
    )
    root = ET.parse(path).getroot()
    model = root.find("Model")
    assert model is not None
    assert model.attrib == {"spatialunits": "µm", "timeunits": "frame"}
    tracks = model.findall("AllTracks/Track")
    assert [(one.get("NUMBER_SPOTS"), one.get("NUMBER_SPLITS")) for one in tracks] == [("9", "1"), ("6", "0")]
    spots = model.findall("AllSpots/SpotsInFrame/Spot")
    assert len(spots) == int(model.find("AllSpots").get("nspots")) == NODES  # type: ignore[union-attr,arg-type]
    first = next(spot for spot in spots if spot.get("LABEL") == "5")
    assert first.get("name") == "left <1>"
    assert [float(first.get(f"POSITION_{axis}", "nan")) for axis in "YX"] == [22.5 * 0.5, 8 * 0.25]
    assert float(first.get("RADIUS", "nan")) == pytest.approx(np.sqrt(42 * 0.125 / np.pi))
    image = root.find("Settings/ImageData")
    assert image is not None
    assert [image.get(name) for name in ("width", "height", "nslices", "nframes")] == ["40", "30", "1", "6"]


@pytest.mark.filterwarnings("ignore")
def test_trackmate_is_read_back_by_pytrackmate(tmp_path: Path) -> None:
    trackmate = pytest.importorskip("pytrackmate")
    path = export_labels(movie(), tmp_path / "a.xml", axes="tyx")
    table = trackmate.trackmate_peak_import(path, get_tracks=True)
    # two families, and the object of a single frame
    assert (len(table), table["label"].nunique()) == (NODES, 3)


def test_the_challenge_has_parents(tmp_path: Path) -> None:
    path = export_labels(movie(), tmp_path / "a.ctc", axes="tyx")
    lines = [list(map(int, line.split())) for line in (path / "res_track.txt").read_text().splitlines()]
    assert lines == [[1, 0, 1, 0], [2, 2, 5, 1], [3, 0, 5, 0], [4, 3, 3, 0], [5, 2, 3, 1], [6, 5, 5, 5]]
    # what the challenge asks: every track is in all its frames, and in no others
    masks = [tifffile.imread(path / f"mask{time:03d}.tif") for time in range(6)]
    for number, first, last, parent in lines:
        assert [time for time in range(6) if (masks[time] == number).any()] == list(range(first, last + 1))
        assert parent == 0 or lines[parent - 1][2] < first


@needs_geff
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("depth", [0, 3])
def test_the_challenge_is_read_back_by_geff(tmp_path: Path, depth: int) -> None:
    import geff
    from geff.convert import from_ctc_to_geff

    labels = movie(depth)
    path = export_labels(labels, tmp_path / "a.ctc", axes="tzyx" if depth else "tyx")
    from_ctc_to_geff(path, tmp_path / "b.geff")
    graph, _ = geff.read(tmp_path / "b.geff", backend="networkx")
    assert (len(graph), graph.number_of_edges()) == (NODES, len(TRUE_EDGES))
    assert [degree for _, degree in graph.out_degree if degree > 1] == [2]


def test_known_mothers_count_and_not_the_overlap(tmp_path: Path) -> None:
    known = [ObjectInfo(label, parent=0) for label in (3, 5, 8)]
    path = export_labels(movie(), tmp_path / "a.ctc", axes="tyx", objects=known)
    parents = [line.split()[3] for line in (path / "res_track.txt").read_text().splitlines()]
    # 8 after its gap
    assert parents == ["0", "0", "0", "0", "4"]
    jumped = [ObjectInfo(3), ObjectInfo(5), ObjectInfo(6, parent=5), ObjectInfo(8, parent=0)]
    lines = (export_labels(movie(), tmp_path / "b.ctc", axes="tyx", objects=jumped) / "res_track.txt").read_text()
    # 5 divides into itself and 6
    assert lines.splitlines() == ["1 0 5 0", "2 0 2 0", "3 3 5 2", "4 3 3 2", "5 2 3 0", "6 5 5 5"]


def test_a_table_of_tracks_has_a_column_of_parents(tmp_path: Path) -> None:
    path = export_labels(movie(), tmp_path / "a.csv", format="tracks", axes="tyx")
    assert path.read_text().splitlines()[0] == "track_id,t,y,x,parent"
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    expected, parents = graph_of(movie()).tracks()
    assert np.allclose(table[:, :4], expected, atol=1e-3)
    assert {int(row[0]): [int(row[4])] for row in table if row[4]} == parents


def test_a_table_of_objects_has_a_column_of_mothers_where_they_are_known(tmp_path: Path) -> None:
    rows = export_labels(movie(), tmp_path / "a.csv", axes="tyx").read_text().splitlines()
    assert "parent" not in rows[0]
    known = [ObjectInfo(3, parent=0), ObjectInfo(8, parent=3)]
    rows = export_labels(movie(), tmp_path / "b.csv", axes="tyx", objects=known).read_text().splitlines()
    column = rows[0].split(",").index("parent")
    assert {row.split(",")[column] for row in rows[1:] if row.startswith("8,")} == {"3"}
    assert {row.split(",")[column] for row in rows[1:] if row.startswith(("3,", "5,"))} == {""}


@pytest.mark.parametrize("kind", [pytest.param("geff", marks=needs_geff), "trackmate", "ctc", "tracks"])
def test_a_single_plane_has_no_tracks(tmp_path: Path, kind: str) -> None:
    with pytest.raises(Exception, match="tracks are of"):
        export_labels(movie()[0], tmp_path / f"a{FORMATS[kind].endings[0]}", format=kind)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [pytest.param("geff", marks=needs_geff), "trackmate", "ctc", "tracks"])
def test_movies_without_objects(tmp_path: Path, kind: str) -> None:
    empty = np.zeros((3, 8, 8), np.uint16)
    assert export_labels(empty, tmp_path / f"a{FORMATS[kind].endings[0]}", format=kind).exists()
