"""Tracks with their divisions for other tracking programs: GEFF, and the XML of TrackMate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import scipy

from napari_segany.core.track_graph import Parents, TrackGraph
from napari_segany.io.formats.labelled_image import LabelledImage
from napari_segany.io.formats.tracks import graph_of
from napari_segany.io.output_checks import MARK

TRACKMATE = "7.14.0"
"""Version of TrackMate whose files these are like."""
_UNITS = {"µm": "micrometer", "nm": "nanometer", "mm": "millimeter", "cm": "centimeter", "m": "meter"}
_Feature = tuple[str, str, str, bool]
"""Name, title, dimension, and whether it is an integer."""
_SPOT: tuple[_Feature, ...] = (
    ("QUALITY", "Quality", "QUALITY", False),
    ("POSITION_X", "X", "POSITION", False),
    ("POSITION_Y", "Y", "POSITION", False),
    ("POSITION_Z", "Z", "POSITION", False),
    ("POSITION_T", "T", "TIME", False),
    ("FRAME", "Frame", "NONE", True),
    ("RADIUS", "Radius", "LENGTH", False),
    ("VISIBILITY", "Visibility", "NONE", True),
    ("LABEL", "Label", "NONE", True),
)
_EDGE: tuple[_Feature, ...] = (
    ("SPOT_SOURCE_ID", "Source spot ID", "NONE", True),
    ("SPOT_TARGET_ID", "Target spot ID", "NONE", True),
    ("LINK_COST", "Edge cost", "COST", False),
    ("EDGE_TIME", "Edge time", "TIME", False),
)
_TRACK: tuple[_Feature, ...] = (
    ("TRACK_INDEX", "Track index", "NONE", True),
    ("TRACK_ID", "Track ID", "NONE", True),
    ("NUMBER_SPOTS", "Number of spots in track", "NONE", True),
    ("NUMBER_SPLITS", "Number of split events", "NONE", True),
    ("TRACK_START", "Track start", "TIME", False),
    ("TRACK_STOP", "Track stop", "TIME", False),
)


def parents_of(image: LabelledImage) -> Parents:
    """Mothers by the labels of their daughters, as far as they are known; 0 for objects that are known to have none."""
    return {label: one.parent for label, one in image.about.items() if one.parent is not None}


def lineage_of(image: LabelledImage) -> TrackGraph:
    """The graph of a label image whose first axis is time."""
    return graph_of(image.labels, parents_of(image))


def write_geff(image: LabelledImage, path: Path) -> None:
    """Write a folder in the Graph Exchange File Format: a node for each object in each frame, and its edges.

    Nodes have ``t``, the number of the frame, (``z``,) ``y`` and ``x`` in the unit of the image, label, pixels, and
    ``tracklet``.

    Notes
    -----
    https://liveimagetrackingtools.org/geff
    """
    # (export asks for the package before)
    from geff.core_io import write_arrays
    from geff_spec import Axis, GeffMetadata, PropMetadata

    graph, space = lineage_of(image), image.axes[1:]
    places = graph.places * np.array(image.scale[1:])
    columns = {
        "t": graph.times.astype(float),
        **{axis: places[:, number] for number, axis in enumerate(space)},
        "label": graph.labels,
        "pixels": graph.sizes,
        "tracklet": graph.segment_numbers,
    }
    unit = _UNITS.get(image.unit, image.unit)
    metadata = GeffMetadata(
        directed=True,
        axes=[Axis(name="t", type="time", unit="frame"), *(Axis(name=a, type="space", unit=unit) for a in space)],
        node_props_metadata={
            name: PropMetadata(identifier=name, dtype=str(values.dtype)) for name, values in columns.items()
        },
        edge_props_metadata={},
        track_node_props={"tracklet": "tracklet"},
        extra={MARK: True},
    )
    edges = graph.edges().astype(np.uint64)
    props: Any = {name: {"values": values, "missing": None} for name, values in columns.items()}
    write_arrays(path, np.arange(len(graph.labels), dtype=np.uint64), props, edges, {}, metadata, zarr_format=2)


def write_trackmate(image: LabelledImage, path: Path) -> None:
    """Write an XML file as TrackMate's, with a spot for each object in each frame.

    A track of TrackMate is a mother with all that descends from it; an object of a single frame is in none. A spot is
    a circle of the size of the object, and has its label. Places are in the unit of the image.

    Notes
    -----
    https://imagej.net/plugins/trackmate
    """
    graph = lineage_of(image)
    root = ET.Element("TrackMate", version=TRACKMATE)
    ET.SubElement(root, "Log").text = f"Written by {MARK}."
    model = ET.SubElement(root, "Model", spatialunits=image.unit, timeunits="frame")
    declared = ET.SubElement(model, "FeatureDeclarations")
    for kind, features in (("SpotFeatures", _SPOT), ("EdgeFeatures", _EDGE), ("TrackFeatures", _TRACK)):
        parent = ET.SubElement(declared, kind)
        for name, title, dimension, whole in features:
            about = {"feature": name, "name": title, "shortname": title, "dimension": dimension}
            ET.SubElement(parent, "Feature", about, isint=str(whole).lower())
    _add_spots(model, graph, image)
    _add_tracks(model, graph)
    _add_settings(root, image)
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="UTF-8", xml_declaration=True)


def _add_spots(model: ET.Element, graph: TrackGraph, image: LabelledImage) -> None:
    scale = np.array(image.scale[1:])
    spots = ET.SubElement(model, "AllSpots", nspots=str(len(graph.labels)))
    flat = len(scale) == 2
    size = graph.sizes * float(np.prod(scale))
    radii = np.sqrt(size / math.pi) if flat else np.cbrt(size * 3 / (4 * math.pi))
    for time in np.unique(graph.times).tolist():
        frame = ET.SubElement(spots, "SpotsInFrame", frame=str(time))
        for row in np.flatnonzero(graph.times == time).tolist():
            *depth, y, x = (graph.places[row] * scale).tolist()
            label = int(graph.labels[row])
            values = {
                "ID": row,
                "name": image.known(label).name or f"ID{label}",
                "QUALITY": 1.0,
                "POSITION_X": x,
                "POSITION_Y": y,
                "POSITION_Z": depth[0] if depth else 0.0,
                "POSITION_T": float(time),
                "FRAME": time,
                "RADIUS": float(radii[row]),
                "VISIBILITY": 1,
                "LABEL": label,
            }
            ET.SubElement(frame, "Spot", _texts(values))


def _add_tracks(model: ET.Element, graph: TrackGraph) -> None:
    every, kept = ET.SubElement(model, "AllTracks"), ET.SubElement(model, "FilteredTracks")
    for number, edges in enumerate(_families(graph)):
        rows = np.unique(edges)
        splits = int(np.count_nonzero(np.unique(edges[:, 0], return_counts=True)[1] > 1))
        about = {
            "name": f"Track_{number}",
            "TRACK_INDEX": number,
            "TRACK_ID": number,
            "NUMBER_SPOTS": len(rows),
            "NUMBER_SPLITS": splits,
            "TRACK_START": float(graph.times[rows].min()),
            "TRACK_STOP": float(graph.times[rows].max()),
        }
        track = ET.SubElement(every, "Track", _texts(about))
        for source, target in edges.tolist():
            middle = float(graph.times[[source, target]].mean())
            values = {"SPOT_SOURCE_ID": source, "SPOT_TARGET_ID": target, "LINK_COST": 0.0, "EDGE_TIME": middle}
            ET.SubElement(track, "Edge", _texts(values))
        ET.SubElement(kept, "TrackID", TRACK_ID=str(number))


def _families(graph: TrackGraph) -> Iterator[np.ndarray]:
    """Edges of each connected part of a graph, in the order of their first rows."""
    edges = graph.edges()
    if not len(edges):
        return
    count = len(graph.labels)
    matrix = scipy.sparse.coo_matrix((np.ones(len(edges)), tuple(edges.T)), shape=(count, count))
    family = scipy.sparse.csgraph.connected_components(matrix, directed=False)[1][edges[:, 0]]
    for one in dict.fromkeys(family.tolist()):
        yield edges[family == one]


def _add_settings(root: ET.Element, image: LabelledImage) -> None:
    """What TrackMate needs to open the file: the image, and filters that pass all."""
    settings = ET.SubElement(root, "Settings")
    *depth, height, width = image.labels.shape[1:]
    *step, row, column = image.scale[1:]
    picture = {
        "filename": image.name,
        "folder": "",
        "width": width,
        "height": height,
        "nslices": depth[0] if depth else 1,
        "nframes": image.labels.shape[0],
        "pixelwidth": column,
        "pixelheight": row,
        "voxeldepth": step[0] if step else 1.0,
        "timeinterval": 1.0,
    }
    ET.SubElement(settings, "ImageData", _texts(picture))
    ET.SubElement(settings, "InitialSpotFilter", feature="QUALITY", value="0.0", isabove="true")
    for name in ("SpotFilterCollection", "TrackFilterCollection"):
        ET.SubElement(settings, name)


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}
