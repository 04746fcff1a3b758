"""Objects that the user has not confirmed can be told from the others in what is exported."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import roifile

from napari_segany.core.objects import STATES, ObjectInfo
from napari_segany.io.export import export_labels

LABELS = np.zeros((20, 30), np.int32)
LABELS[2:6, 2:6] = 1
LABELS[10:14, 10:15] = 2


@pytest.mark.parametrize("state", STATES)
def test_formats_tell_the_state_of_each_object(tmp_path: Path, state: str) -> None:
    objects = [ObjectInfo(1, source="everything", state=state), ObjectInfo(2, source="1 click")]
    with export_labels(LABELS, tmp_path / "a.csv", objects=objects).open(encoding="utf-8") as file:
        assert [row["state"] for row in csv.DictReader(file)] == [state, ""]
    first, second = json.loads(export_labels(LABELS, tmp_path / "a.json", objects=objects).read_text())["annotations"]
    assert first["state"] == state
    assert "state" not in second
    features = json.loads(export_labels(LABELS, tmp_path / "a.geojson", objects=objects).read_text())["features"]
    assert [one["properties"]["metadata"] for one in features] == [
        {"how": "everything", "state": state},
        {"how": "1 click"},
    ]
    rois = roifile.roiread(export_labels(LABELS, tmp_path / "a.zip", objects=objects))
    assert [f"state: {state}" in roi.props for roi in rois] == [True, False]


def test_without_states_there_is_no_column(tmp_path: Path) -> None:
    path = export_labels(LABELS, tmp_path / "a.csv", objects=[ObjectInfo(1)])
    assert "state" not in path.read_text().splitlines()[0].split(",")
