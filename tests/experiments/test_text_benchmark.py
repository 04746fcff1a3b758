from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import io

from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Prompt
from napari_segany.core.synthetic import synthetic_image
from napari_segany.experiments import named_sets, text_benchmark
from napari_segany.models.text.text_prompter import TextMatch
from tests.engine.test_crop_ranking import FakeClip, FakeTexts, NamingSegmenter

PRESENCE = {"nucleus": 0.9, "cell": 0.8, "person": 0.1}


class Measured(NamingSegmenter):
    """Sees the nuclei of a synthetic picture where they are, and the presence of words as told."""

    def __init__(self, places) -> None:
        super().__init__(places, radius=9.0)
        self.texts.clip = FakeClip()

    def known_texts(self):
        return self.texts

    def found(self, embedding, phrase) -> TextMatch:
        return TextMatch(np.zeros((4, 4), np.float32), PRESENCE.get(phrase.name, 0.2))

    def segment(self, embedding, prompts, **options):
        """A text alone means all of them."""
        return super().segment(embedding, [p if p.points else Prompt(tuple(self.places)) for p in prompts], **options)

    def named_proposals(self, embedding, phrases):
        return [Prompt((p,), text=one.label) for one in phrases if one.name == "nucleus" for p in self.places]


@pytest.fixture
def data(tmp_path) -> Path:
    for kind in ("images", "labels"):
        (tmp_path / "dsb2018" / kind).mkdir(parents=True)
    for number in range(3):
        made = synthetic_image(np.random.default_rng(number), (128, 128), kind="fluorescence", radius=9)
        io.imsave(tmp_path / f"dsb2018/images/{number}.png", made.image, check_contrast=False)
        labels = made.levels[0].astype(np.uint16)
        io.imsave(tmp_path / f"dsb2018/labels/{number}.png", labels, check_contrast=False)
    return tmp_path


def places_of(data: Path):
    from napari_segany.experiments.datasets import labelled_planes, targets

    return [one.point for one in targets(next(iter(labelled_planes(data / "dsb2018"))).labels)]


def test_rows(data):
    segmenter = Measured(places_of(data))
    rows = text_benchmark.rows_of_text(data, lambda: segmenter, limit=1)
    assert [row["method"] for row in rows if row["set"] == "dsb2018"] == list(text_benchmark.METHODS)
    first = rows[0]
    assert first["class"] == "nucleus"
    assert 0.3 < first["iou"] <= 1
    assert 0 < first["msa"] <= first["ap50"] <= 1
    assert first["auroc"] == 1.0
    assert first["iou_with_click"] == pytest.approx(first["iou_click"])
    assert first["click_low"] <= 0 <= first["n"]
    assert {row["method"] for row in rows if row["set"] == "all"} == set(text_benchmark.METHODS)


def test_a_word_that_is_not_known_counts_as_absent(data, monkeypatch):
    segmenter = Measured(places_of(data))
    monkeypatch.setitem(text_benchmark.TRUTH["dsb2018"], "mitochondrion", True)
    rows = text_benchmark.rows_of_text(data, lambda: segmenter, methods=("text",), limit=1)
    assert not [row for row in rows if row["class"] == "mitochondrion"], "no labels, no row"
    everything = next(row for row in rows if row["set"] == "all")
    assert everything["auroc"] < 1


def test_no_word_is_both_there_and_not():
    for words in text_benchmark.TRUTH.values():
        assert set(words) <= set(named_sets.WORDS)
    assert "cell" not in text_benchmark.TRUTH["dsb2018"]
    assert "nucleus" not in text_benchmark.TRUTH["usiigaci"]


def test_attributes_against_the_true_objects(data):
    segmenter = Measured(places_of(data))
    (row,) = text_benchmark.attribute_rows(data, lambda: segmenter, [("dsb2018", "bright nuclei")], limit=1)
    assert 0 <= row["precision"] <= 1
    assert row["f1"] == pytest.approx(2 / (1 / row["precision"] + 1 / row["recall"]))
    assert row["n"] > 0


def test_matches_are_counted():
    truth = np.zeros((40, 40), int)
    truth[:10, :10], truth[20:30, 20:30] = 1, 2
    found = np.where(truth == 1, 5, 0)
    found[:10, 30:] = 6
    assert text_benchmark._matches(found, truth).tolist() == [1, 2, 2]
    assert text_benchmark._matches(np.zeros_like(truth), truth).tolist() == [0, 0, 2]


@pytest.mark.parametrize("bright", [True, False])
def test_otsu_by_name(bright):
    plane = np.full((40, 40, 3), 20 if bright else 220, np.uint8)
    plane[10:20, 10:20] = 220 if bright else 20
    labels = text_benchmark.named_by_otsu(plane)
    assert labels.max() == 1
    assert 60 < (labels > 0).sum() < 140


def test_what_cannot_be_measured(data):
    for options in ({"sets": ("moon",)}, {"methods": ("magic",)}):
        with pytest.raises(InputError, match="cannot measure"):
            text_benchmark.rows_of_text(data, lambda: pytest.fail("loaded"), **options)
    with pytest.raises(InputError, match="nothing is known of what is on"):
        list(text_benchmark.text_cases(data))


def test_photographs_are_decided_by_their_own_labels(tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / "coco128" / kind).mkdir(parents=True)
    io.imsave(tmp_path / "coco128/images/a.png", np.zeros((50, 60, 3), np.uint8), check_contrast=False)
    (tmp_path / "coco128/labels/a.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n14 0.6 0.6 0.9 0.6 0.9 0.9\n")
    (one,) = text_benchmark.text_cases(tmp_path / "coco128")
    assert one.truth["person"] is True
    assert one.truth["animal"] is True
    assert one.truth["car"] is False
    assert one.truth["nucleus"] is False
    assert one.labels["person"][12, 15] == 1


def test_a_set_goes_by_the_name_that_is_given(data):
    (data / "elsewhere").mkdir()
    (data / "dsb2018").rename(data / "elsewhere" / "some-other-name")
    (data / "dsb2018").symlink_to(data / "elsewhere" / "some-other-name")
    segmenter = Measured(places_of(data))
    for sets in ((), ("dsb2018",)):
        rows = text_benchmark.rows_of_text(data, lambda: segmenter, sets=sets, limit=1)
        assert {(row["set"], row["class"]) for row in rows} == {("dsb2018", "nucleus"), ("all", "all")}
        assert next(row for row in rows if row["set"] == "dsb2018")["iou"] > 0.3


def test_rows_come_when_their_set_is_done(data):
    segmenter = Measured(places_of(data))
    (data / "usiigaci").symlink_to(data / "dsb2018")
    seen = []
    rows = text_benchmark.measured_text(data, lambda: segmenter, ["dsb2018", "usiigaci"], ["otsu"], 1, seen.append)
    assert next(rows)["set"] == "dsb2018"
    assert seen == [1]
    assert [row["set"] for row in rows] == ["usiigaci", "all"]


def test_a_picture_stands_for_a_name_on_the_planes_after_the_one_that_it_is_from(data, monkeypatch):
    segmenter = Measured(places_of(data))
    used = []
    monkeypatch.setattr(FakeTexts, "with_pictures", lambda self, crops: used.append(crops) or self, raising=False)
    rows = text_benchmark.rows_of_text(data, lambda: segmenter, methods=("text:tokens", "picture:tokens"))
    (text, picture) = (row for row in rows if row["set"] == "dsb2018")
    assert (text["method"], picture["method"], picture["path"]) == ("text", "picture", "tokens")
    assert picture["images"] == text["images"] - 1
    assert np.isnan(picture["auroc"])
    assert {tuple(crops) for crops in used} == {("nucleus",)}
    assert len(used[0]["nucleus"]) == text_benchmark.EXAMPLES
