"""Objects of arrays: found, prompted, and of a folder, through the package's public names."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import napari_segany
from napari_segany import Box, Point, Prompt, Stack, find_objects, segment_folder, segment_image
from napari_segany.batch.found_objects import SeenFrames, collect_planes, link_frames
from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.synthetic import synthetic_image
from napari_segany.models.loading import load_segmenter

IMAGE = synthetic_image(np.random.default_rng(5), (160, 160), kind="fluorescence", radius=10).image[..., 0]


@pytest.fixture(scope="module")
def tiny():
    return load_segmenter("tiny")


def test_every_public_name_is_there():
    for name in napari_segany.__all__:
        assert getattr(napari_segany, name).__doc__


def test_objects_of_a_plane_are_described_in_the_order_of_their_labels(tiny):
    found = find_objects(IMAGE, model=tiny)
    assert found.labels.shape == IMAGE.shape
    assert len(found.objects) > 5
    assert [one.label for one in found.objects] == np.unique(found.labels)[1:].tolist()
    assert all(one.score > 0.5 and one.source == "automatic" for one in found.objects)


def test_a_text_names_what_it_finds(tiny):
    found = find_objects(IMAGE, "nucleus", model=tiny)
    assert {one.class_name for one in found.objects} == {"nucleus"}
    with pytest.raises(InputError, match="xylophone"):
        find_objects(IMAGE, "xylophone", model=tiny)


def test_filters_replace_those_of_the_model(tiny):
    areas = np.bincount(find_objects(IMAGE, model=tiny, filters={"smallest": 100}).labels.ravel())[1:]
    assert areas.min() >= 90  # overlapping masks may lose some pixels


def test_objects_go_on_through_slices_where_they_are_linked(tiny):
    volume = np.stack([IMAGE, IMAGE])
    linked, apart = (find_objects(volume, model=tiny, link=link) for link in (True, False))
    assert np.array_equal(linked.labels[0], linked.labels[1])
    assert len(apart.objects) == 2 * len(linked.objects)
    assert not set(np.unique(apart.labels[0])[1:]) & set(np.unique(apart.labels[1]))


def test_linking_stays_within_stacks_of_a_length():
    plane = np.zeros((4, 4), np.int32)
    plane[1:3, 1:3] = 1
    labels = np.zeros((4, 4, 4), np.int32)
    objects = collect_planes([(plane, [ObjectInfo(1, score=k / 10)]) for k in range(4)], labels, 2)
    assert labels.max(axis=(1, 2)).tolist() == [1, 1, 2, 2]
    assert [one.score for one in objects] == [0.1, 0.3]


def test_each_prompt_is_an_object(tiny):
    found = find_objects(IMAGE, model=tiny)
    rows, columns = np.nonzero(found.labels == 1)
    box = Box(rows.min() - 1, columns.min() - 1, rows.max() + 1, columns.max() + 1)
    again = segment_image(np.stack([IMAGE, IMAGE]), [Prompt(box=box)], model=tiny, planes=1)
    assert not again.labels[0].any()
    both = (again.labels[1] == 1) & (found.labels == 1)
    assert both.sum() / ((again.labels[1] == 1) | (found.labels == 1)).sum() > 0.7
    assert again.objects[0].score > 0.5


@pytest.mark.parametrize(
    ("image", "prompts", "planes", "words"),
    [
        (IMAGE, [], None, "no prompt"),
        (IMAGE, [Prompt((Point(500, 3),))], None, "outside"),
        (np.stack([IMAGE, IMAGE]), [Prompt((Point(5, 3),))], None, "2 planes"),
        (IMAGE, [Prompt((Point(5, 3),))], [0, 0], "2 entries for 1"),
        (IMAGE, [Prompt((Point(5, 3),))], 3, "3"),
        (IMAGE, [Prompt((Point(5, 3),))], [0.5], "planes"),
        (IMAGE, ["nucleus"], None, "prompts"),
        (np.zeros(3), [Prompt((Point(5, 3),))], None, "axes"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(image, prompts, planes, words):
    with pytest.raises(InputError, match=words):
        segment_image(image, prompts, planes=planes)


def test_a_model_that_is_unknown():
    with pytest.raises(ModelError, match="nothing"):
        find_objects(IMAGE, model="nothing")


def test_a_stack_says_what_its_channels_are(tiny):
    stack = Stack(np.stack([IMAGE, IMAGE // 2]), channel_axis=0)
    assert find_objects(stack, model=tiny).labels.shape == IMAGE.shape


def test_a_folder(tmp_path, tiny):
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", IMAGE)
    (report,) = segment_folder(tmp_path / "images", tmp_path / "out", "nucleus", model=tiny)
    assert report.objects == len(find_objects(IMAGE, "nucleus", model=tiny).objects)
    assert (tmp_path / "out" / "a_objects.csv").is_file()
    (again,) = segment_folder(tmp_path / "images", tmp_path / "out", "nucleus", model=tiny)
    assert again.objects == -1


def test_objects_like_exemplars(tiny):
    everything = find_objects(IMAGE, model=tiny).labels
    few = np.where(everything <= 3, everything, 0)
    found = find_objects(IMAGE, model=tiny, exemplars=few)
    assert len(found.objects) > 5
    assert all(found.labels[few == label].any() for label in (1, 2, 3)), "the exemplars are found again"
    for exemplars, text, message in (
        (np.zeros_like(few), "", "there is no object"),
        (few[:50], "", "exemplars has 1 planes of 50 x 160 pixels, the image 1 of 160 x 160"),
        (few, "nucleus", "either a text or exemplars"),
        ([1], "", "exemplars is of type ndarray"),
    ):
        with pytest.raises(InputError, match=message):
            find_objects(IMAGE, text, model=tiny, exemplars=exemplars)


def test_frames_are_linked_with_mothers_and_the_best_of_each_object_is_known() -> None:
    labels = np.zeros((5, 20, 60), np.int32)
    labels[:2, 5:15, 10:40] = np.array([1, 2])[:, None, None]
    labels[2:, 5:15, 10:24] = np.array([3, 5, 7])[:, None, None]
    labels[2:, 5:15, 26:40] = np.array([4, 6, 8])[:, None, None]
    objects = [ObjectInfo(label, score=label / 10) for label in range(1, 9)]
    found = link_frames(labels, objects, None)
    assert [(one.label, one.parent, one.score) for one in found] == [(1, 0, 0.7), (2, 1, 0.8)]
    assert [sorted(np.unique(frame[frame > 0])) for frame in labels] == [[1], [1], [1, 2], [1, 2], [1, 2]]


def test_an_association_decides_instead_of_the_overlap() -> None:
    class Crossing:
        """Objects of neighbouring frames are linked in the reverse order."""

        def describe(self, labels, embedding):
            assert embedding == "seen"
            return sorted(np.unique(labels[labels > 0]).tolist())

        def link(self, before, after, gap, among):
            return list(zip(before, reversed(after), strict=True)), []

    labels = np.zeros((2, 20, 60), np.int32)
    for frame, numbers in enumerate(((1, 2), (3, 4))):
        labels[frame, 5:15, 5:15], labels[frame, 5:15, 40:50] = numbers
    objects = [ObjectInfo(label) for label in range(1, 5)]
    found = link_frames(labels, objects, SeenFrames(Crossing(), lambda _: "seen"))
    assert [labels[1, 10, 10], labels[1, 10, 45]] == [2, 1]
    assert [one.parent for one in found] == [0, 0]
