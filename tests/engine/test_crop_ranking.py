from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage import io
from skimage.draw import disk

from napari_segany import cli
from napari_segany.batch.segment_folder import FolderJob, segment_folder_files
from napari_segany.core import tiles
from napari_segany.core.automatic_masks import Candidate, Grid
from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.filters import Filters
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.query import Query, phrases_of, query_for
from napari_segany.core.segmenter import Capabilities, ImageEmbedding
from napari_segany.core.terms import TERMS
from napari_segany.core.text_query import Phrase, Vocabulary
from napari_segany.engine.crop_ranking import find, ranked, ranked_candidates
from napari_segany.models.text.text_prompter import TextPath
from tests.fakes import KnowingSegmenter

VOCABULARY = Vocabulary(TERMS)
PLACES = (Point(20, 20), Point(20, 70), Point(60, 20), Point(60, 70), Point(40, 45), Point(85, 90))


class FakeTexts:
    vocabulary = VOCABULARY
    path = TextPath.TOKENS

    def with_path(self, _: TextPath) -> FakeTexts:
        return self

    phrases = staticmethod(VOCABULARY.phrases)


class NamingSegmenter(KnowingSegmenter):
    """Knows the names of what it sees: nuclei on the left, cells on the right; nothing else is there."""

    capabilities = Capabilities(proposals=True, texts=True, filters=Filters(stability=0))
    texts = FakeTexts()
    phrases = staticmethod(VOCABULARY.phrases)

    def named_proposals(self, embedding: ImageEmbedding, phrases: Sequence[Phrase]) -> list[Prompt]:
        sides = {"nucleus": lambda x: x < 50, "cell": lambda x: x >= 50}
        return [
            Prompt((place,), text=phrase.label)
            for phrase in phrases
            for place in self.places
            if sides.get(phrase.name, lambda x: False)(place.x)
        ]


class FakeClip:
    """Crops that are bright are nuclei, others cells."""

    vocabulary = VOCABULARY
    sharpness = 50.0
    phrases = staticmethod(VOCABULARY.phrases)

    def name_vector(self, name: str) -> np.ndarray:
        return np.eye(3, dtype=np.float32)[{"nucleus": 0, "cell": 1}.get(name, 2)]

    def crop_vectors(self, plane: np.ndarray, windows: Sequence, masks: Sequence[np.ndarray]) -> np.ndarray:
        bright = [plane[window].mean(-1)[mask].mean() > 150 for window, mask in zip(windows, masks, strict=True)]
        return np.eye(3, dtype=np.float32)[[0 if one else 1 for one in bright]].reshape(-1, 3)


@pytest.fixture
def plane() -> np.ndarray:
    picture = np.full((100, 100, 3), 20, np.uint8)
    for number, place in enumerate(PLACES):
        picture[disk((place.y, place.x), 8, shape=(100, 100))] = 100 + 25 * number
    return picture


@pytest.fixture
def segmenter() -> NamingSegmenter:
    return NamingSegmenter(PLACES, radius=8.0)


ALL = {"score": 0.0, "stability": 0.0}


def query(segmenter, text, clip=None, **changes) -> Query:
    return query_for(segmenter, text, changes=ALL | changes, reader=clip)


def found_by(segmenter, plane, text, clip=None) -> list[Candidate]:
    asked = query(segmenter, text, clip)
    if clip is None:
        return list(asked.candidates(segmenter, plane))
    return list(ranked_candidates(segmenter, asked, plane, clip))


def test_each_candidate_has_its_name(segmenter, plane):
    found = found_by(segmenter, plane, "nuclei; cell")
    assert sorted(one.prompt.text for one in found) == ["cell"] * 3 + ["nucleus"] * 3
    named = find(segmenter, query(segmenter, "nuclei; cell"), plane)
    assert len(named.names) == named.labels.max() == 6
    for number, name in enumerate(named.names, start=1):
        assert (np.argwhere(named.labels == number)[:, 1].mean() < 50) == (name == "nucleus")


def test_what_is_absent_is_not_found(segmenter, plane):
    assert found_by(segmenter, plane, "person") == []
    assert find(segmenter, query(segmenter, "person"), plane).labels.max() == 0


def test_attributes_select_by_what_is_measured(segmenter, plane):
    segmenter.places = [Point(place.y, min(place.x, 49)) for place in PLACES[:4]] + [Point(85, 45)]
    for number, place in enumerate(segmenter.places):
        plane[disk((place.y, place.x), 8, shape=(100, 100))] = 90 + 30 * number
    named = find(segmenter, query(segmenter, "bright nuclei"), plane)
    assert 0 < len(named.names) < len(segmenter.places)
    values = [plane[named.labels == number].mean() for number in range(1, len(named.names) + 1)]
    assert min(values) > 120
    assert set(named.names) == {"bright nucleus"}


def test_a_threshold_is_changed_without_the_model(segmenter, plane):
    found = query(segmenter, "cell").candidates(segmenter, plane)
    asked = len(segmenter.asked)
    counts = [len(query(segmenter, "cell", score=s).select(found).names) for s in (0.0, 0.95)]
    assert counts == [3, 0]
    assert len(segmenter.asked) == asked


def test_automatic_masks_are_ranked_by_their_crops(segmenter, plane):
    found = found_by(segmenter, plane, "nucleus; cell", FakeClip())
    bright = {one.prompt.text for one in found if plane[one.window].mean(-1)[one.mask].mean() > 150}
    assert bright == {"nucleus"}
    assert {one.prompt.text for one in found} == {"nucleus", "cell"}
    assert all(0 < one.score <= 1 for one in found)
    assert ranked(plane, [], [Phrase("cell")], FakeClip()) == []


@pytest.mark.parametrize(("changes", "some"), [({}, True), ({"score": 0.95}, False), ({"smallest": 9999}, False)])
def test_filters_hold_for_ranked_masks_too(segmenter, plane, changes, some):
    selection = find(segmenter, query(segmenter, "nucleus; cell", FakeClip(), **changes), plane, FakeClip())
    assert bool(len(selection.objects)) == some


def test_a_grid_is_prompted_for_ranked_masks_too(segmenter, plane):
    asked = replace(query(segmenter, "cell", FakeClip()), grid=Grid(3))
    ranked_candidates(segmenter, asked, plane, FakeClip())
    assert sum(map(len, segmenter.asked)) == 9


def test_what_is_likelier_something_else_is_left_out(segmenter, plane):
    assert found_by(segmenter, plane, "person", FakeClip()) == []
    only = found_by(segmenter, plane, "cell", FakeClip())
    assert only
    assert all(plane[one.window].mean(-1)[one.mask].mean() <= 150 for one in only)


def test_phrases_of_a_model(segmenter):
    assert phrases_of(segmenter, "cells") == [Phrase("cell")]
    with pytest.raises(InputError, match="an empty text"):
        phrases_of(segmenter, " ; ")
    with pytest.raises(ModelError, match="--clip"):
        phrases_of(KnowingSegmenter(PLACES), "cells")
    assert phrases_of(KnowingSegmenter(PLACES), "cells", FakeClip()) == [Phrase("cell")]


class TestFolders:
    @pytest.fixture
    def folder(self, tmp_path, plane) -> Path:
        (tmp_path / "in").mkdir()
        io.imsave(tmp_path / "in/a.png", plane, check_contrast=False)
        io.imsave(tmp_path / "in/b.png", plane[::-1].copy(), check_contrast=False)
        return tmp_path / "in"

    def run(self, folder, out, segmenter, text, **options):
        job = FolderJob(folder, out, None, {"score": 0.1, "stability": 0.0}, text=text, **options)
        return list(segment_folder_files(job, lambda: segmenter))

    def test_labels_and_names_are_written(self, folder, tmp_path, segmenter):
        reports = self.run(folder, tmp_path / "out", segmenter, "nucleus; cell")
        assert [report.objects for report in reports] == [6, 6]
        with (tmp_path / "out/a_objects.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert {row["class"] for row in rows} == {"nucleus", "cell"}
        assert {row["how"] for row in rows} == {"text"}
        assert io.imread(tmp_path / "out/a_labels.tif").max() == 6
        settings = json.loads((tmp_path / "out/everything.json").read_text())
        assert settings["text"] == "nucleus; cell"

    def test_another_text_is_not_mixed_in(self, folder, tmp_path, segmenter):
        self.run(folder, tmp_path / "out", segmenter, "nucleus")
        with pytest.raises(InputError, match="another text"):
            self.run(folder, tmp_path / "out", segmenter, "cell")

    def test_an_unknown_word_leaves_nothing_behind(self, folder, tmp_path, segmenter):
        with pytest.raises(InputError, match="'zebra' is not known to this model; nearest:"):
            self.run(folder, tmp_path / "out", segmenter, "zebra")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("text", ["", "nucleus", "small nuclei; cell"])
    def test_a_large_plane_is_read_in_tiles(self, tmp_path, monkeypatch, text):
        monkeypatch.setattr(tiles, "LARGE", 1300 * 1300 - 1)
        io.imsave(tmp_path / "large.png", np.full((1300, 1300), 9, np.uint8), check_contrast=False)
        segmenter = NamingSegmenter(PLACES, radius=8.0)
        self.run(tmp_path / "large.png", tmp_path / "out", segmenter, text)
        assert max(one.shape[0] * one.shape[1] for one in segmenter.embedded) <= tiles.SIDE**2

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--text", "cell", "--point", "1,1"], "--text takes no points"),
            (["--text", "cell", "-o", "x.tif"], "labels go to a folder"),
            (["--clip", "tiny-text"], "belong to --text"),
        ],
    )
    def test_what_does_not_go_together(self, folder, tmp_path, words, said, capsys):
        assert cli.main(["segment", str(folder), "-o", str(tmp_path / "out"), *words]) == 2
        assert said in capsys.readouterr().err

    def test_the_model_of_the_wheel(self, tmp_path, data_dir, capsys):
        image = sorted((data_dir / "dev/dsb2018/images").glob("*.png"))[0]
        out = tmp_path / "out"
        assert cli.main(["segment", str(image), "--text", "nucleus; person", "-o", str(out)]) == 0
        with next(out.glob("*_objects.csv")).open() as file:
            rows = list(csv.DictReader(file))
        assert rows
        assert {row["class"] for row in rows} == {"nucleus"}
        assert cli.main(["segment", str(image), "--text", "zebra", "-o", str(tmp_path / "other")]) == 2
        assert "nearest" in capsys.readouterr().err


def test_what_is_known_is_listed(capsys):
    assert cli.main(["models", "info", "tiny-text"]) == 0
    heard = capsys.readouterr().out
    for word in ("nucleus", "neurite", "elongated", "phase contrast"):
        assert word in heard
