"""What a batch wrote next to labels is known when they are opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_segany.core.objects import AUTOMATIC, ObjectInfo
from napari_segany.io.export import export_labels
from napari_segany.io.object_tables import objects_of_labels

LABELS = np.zeros((30, 40), np.int32)
LABELS[2:9, 2:9], LABELS[15:25, 15:25] = 1, 2


@pytest.mark.parametrize(("how", "state"), [("automatic", AUTOMATIC), ("text", AUTOMATIC), ("2 clicks", ""), ("", "")])
def test_what_nobody_looked_at_is_automatic(tmp_path: Path, how: str, state: str) -> None:
    objects = [ObjectInfo(1, "first", "cell", 0.75, 0.5, source=how), ObjectInfo(2, source=how)]
    for ending in ("_labels.tif", "_objects.csv"):
        export_labels(LABELS, tmp_path / f"a{ending}", objects=objects, axes="yx")
    found = objects_of_labels(tmp_path / "a_labels.tif")
    assert found[1] == ObjectInfo(1, "first", "cell", 0.75, 0.5, source=how, pixels=49, state=state)
    assert found[2].confirmed == (state == "")


def test_states_that_were_exported_hold(tmp_path: Path) -> None:
    objects = [ObjectInfo(1, source="automatic", state="accepted"), ObjectInfo(2, source="automatic", state=AUTOMATIC)]
    export_labels(LABELS, tmp_path / "a_objects.csv", objects=objects, axes="yx")
    found = objects_of_labels(tmp_path / "a_labels.tif")
    assert {label: about.state for label, about in found.items()} == {1: "accepted", 2: AUTOMATIC}


@pytest.mark.parametrize("text", ["", "label,score\n1,0.5\n", "label,name,class,score\nx,y,z,w\n", "\0", "a,b\n1"])
def test_other_tables_tell_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "a_objects.csv").write_text(text)
    assert objects_of_labels(tmp_path / "a_labels.tif") == {}
    assert objects_of_labels(tmp_path / "b_labels.tif") == {}
    assert objects_of_labels(tmp_path / "a.tif") == {}
