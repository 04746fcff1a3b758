"""Speed beside rivals: the table, not the seconds."""

from __future__ import annotations

import numpy as np
import pytest
import segment_anything
import torch

from napari_segany.cli import main
from napari_segany.core.automatic_masks import Candidate
from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.experiments import rivals, speed, untrained
from napari_segany.models.sam.image_encoder import EncoderConfig
from napari_segany.models.sam.model import build_sam
from tests.models.test_parity import reference_like

SMALL = EncoderConfig(width=48, depth=2, heads=2, global_blocks=(1,), image_size=256, out_channels=64)


@pytest.fixture
def small(monkeypatch):
    """A model and a picture that take no time, and the reference in the same size."""
    for name, value in (("SIDE", 256), ("MANY", 4), ("RATE_SIDE", 64)):
        monkeypatch.setattr(speed, name, value)
    for module in (speed, untrained):
        monkeypatch.setattr(module, "build_sam", lambda _: build_sam(SMALL))
    # Scores of random weights are so near to each other that fewer digits put another mask first.
    monkeypatch.setattr(speed, "pick_dtype", lambda *_: torch.float32)
    weights = build_sam(SMALL).state_dict()
    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_b", lambda: reference_like(SMALL, dict(weights)))
    monkeypatch.setattr(speed, "installed", lambda model: [rivals.SegmentAnything(model)])


@pytest.mark.usefixtures("small")
def test_rows_tell_who_is_faster_and_that_both_say_the_same():
    rows = speed.rows_of_speed(quick=True)
    found = {row["what"]: row for row in rows}
    assert {"embed_fp32", "click", f"prompts{speed.MANY}", "everything", "tiny_embed"} <= found.keys()
    for row in rows:
        assert row["ratio"] == pytest.approx(row["rival_ms"] / row["ours_ms"])
        assert row["floor_ms"] > 0
    assert found["embed_fp32"]["same"] < 1e-4
    assert found["click"]["same"] > 0.9
    assert found["everything"]["same"] == 1.0


def test_found_masks_are_compared_with_their_best_match():
    shape = (20, 30)

    def candidate(rows, columns):
        mask = np.ones((rows.stop - rows.start, columns.stop - columns.start), bool)
        return Candidate.of((rows, columns), mask, 1.0, 1.0, Prompt((Point(0, 0),)), (slice(0, 20), slice(0, 30)))

    def drawn(rows, columns):
        mask = np.zeros(shape, bool)
        mask[rows, columns] = True
        return mask

    first, second = (slice(0, 4), slice(0, 5)), (slice(10, 14), slice(10, 20))
    half = (slice(10, 14), slice(10, 15))
    assert speed._same_found(shape, [candidate(*second), candidate(*first)], [drawn(*first), drawn(*second)]) == 1.0
    assert speed._same_found(shape, [candidate(*first)], [drawn(*first), drawn(*half)]) == pytest.approx(2 / 3)
    assert speed._same_found(shape, [candidate(*half)], [drawn(*second)]) == 0.5
    assert speed._same_found(shape, [], []) == 1.0
    assert speed._same_found(shape, [], [drawn(*first)]) == 0.0


@pytest.mark.usefixtures("small")
def test_automatic_masks_of_both_are_asked_of_the_same_embedding():
    torch.manual_seed(0)
    model = build_sam(SMALL).eval()
    rival = rivals.SegmentAnything(model)
    plane = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    rival.embed(plane)
    kept = rival.predictor.get_image_embedding()
    assert isinstance(rival.everything(plane, 2), list)
    assert rival.predictor.get_image_embedding() is kept
    assert "set_image" not in vars(rival.predictor) or rival.predictor.set_image != rivals._nothing


def test_without_a_rival_there_is_nothing_to_compare(monkeypatch, capsys):
    monkeypatch.setattr(speed, "_scene", lambda: type("Scene", (), {"model": None})())
    monkeypatch.setattr(speed, "installed", lambda model: [])
    with pytest.raises(InputError, match="segment-anything"):
        speed.rows_of_speed()
    assert main(["bench", "speed"]) == 2
    assert "pip install" in capsys.readouterr().err


def test_what_cannot_be_imported_is_left_out(monkeypatch):
    def missing(self, model):
        raise ImportError

    monkeypatch.setattr(rivals.SegmentAnything, "__init__", missing)
    monkeypatch.setattr(rivals.Transformers, "__init__", missing)
    assert rivals.installed(build_sam(SMALL)) == []
