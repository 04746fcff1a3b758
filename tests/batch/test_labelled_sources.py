"""Labelled planes of a session: what the user has not confirmed teaches nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_segany.batch.labelled_sources import session_planes
from napari_segany.core.objects import STATES, ObjectInfo
from napari_segany.session.events import LayerEvent, ModelEvent
from napari_segany.session.fingerprint import fingerprint_of
from napari_segany.session.history import Patch, Step
from napari_segany.session.journal import Header, Journal

IMAGE = np.random.default_rng(0).integers(0, 255, (30, 40)).astype(np.uint8)


@pytest.mark.parametrize("state", ["", *STATES])
@pytest.mark.parametrize("confirmed", [True, False])
def test_only_confirmed_objects_of_a_session_are_learned_from(tmp_path: Path, state: str, confirmed: bool) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGE)
    labels = np.zeros(IMAGE.shape, np.int32)
    labels[2:9, 2:9], labels[15:25, 15:25] = 1, 2
    header = Header("1", ModelEvent("tiny", "x"), fingerprint_of(IMAGE), path=str(tmp_path / "a.tif"))
    journal = Journal.create(tmp_path / "a.jsonl", header)
    journal.write(LayerEvent(1, "labels", IMAGE.shape, "<i4"))
    journal.write(Step("keep all", ((1, Patch.between(np.zeros_like(labels), labels)),), label=1))
    journal.write(ObjectInfo(1, source="everything", state=state))
    journal.write(ObjectInfo(2, source="everything"))
    journal.close()
    ((_, _, own),) = session_planes(tmp_path / "a.jsonl", confirmed=confirmed)
    stays = not confirmed or state in ("", "accepted")
    assert len(np.unique(own)) == 3 if stays else len(np.unique(own)) == 2
    assert (own[20, 20] > 0, own[4, 4] > 0) == (True, stays)
