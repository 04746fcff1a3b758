import numpy as np
import pytest
from skimage import io

from napari_segany.core.errors import InputError
from napari_segany.training.batches import BatchConfig, CropDataset, dense_known
from napari_segany.training.data import Sample, SourceConfig, load_sources, read_folder, split


@pytest.fixture
def folder(tmp_path):
    """A folder with any name, of fields with two channels each."""
    for place in ("images", "labels"):
        (tmp_path / "any name" / place).mkdir(parents=True)
    for field in range(10):
        for channel in ("a", "b"):
            labels = np.zeros((40, 50), np.uint16)
            labels[5:20, 5:20] = 1
            for place, values in (("images", labels * 90), ("labels", labels)):
                path = tmp_path / "any name" / place / f"field{field}_{channel}.png"
                io.imsave(path, values.astype(np.uint8), check_contrast=False)
    return tmp_path / "any name"


def test_a_folder_of_any_name_is_read(folder):
    samples = read_folder(folder)
    assert len(samples) == 20
    assert all(sample.image.shape == (40, 50, 3) for sample in samples.values())
    (sources,) = load_sources(folder.parent, SourceConfig({"any name": 1.0}, partial=("any name",)), seed=0).values()
    assert not any(sample.complete for sample in sources)


def test_what_is_no_source_is_one_line(tmp_path):
    with pytest.raises(InputError, match="is not in"):
        read_folder(tmp_path / "nothing")


def test_channels_of_a_field_are_held_out_together(folder):
    learned, tested = split(read_folder(folder), 5)
    assert sorted(tested) == ["field4_a", "field4_b", "field9_a", "field9_b"]
    assert len(learned) == 16
    assert not set(learned) & set(tested)


def test_of_few_pictures_the_last_rows_are_held_out(folder):
    few = {"one": read_folder(folder)["field0_a"]}
    learned, tested = split(few, 5)
    assert learned["one"].image.shape == (32, 50, 3)
    assert tested["one"].levels[0].shape == (8, 50)


def test_labels_of_the_same_field_are_nested(folder):
    config = SourceConfig({"any name": 1.0}, nested={"any name/field0_a": "any name/field0_b"})
    (samples,) = load_sources(folder.parent, config, seed=0).values()
    assert [len(sample.levels) for sample in samples[:2]] == [2, 1]


def test_where_dense_targets_hold():
    level = np.zeros((32, 32), np.int32)
    level[8:16, 8:16] = 1
    assert dense_known([level], complete=True).all()
    partly = dense_known([level], complete=False)
    assert partly.sum() == 4
    assert partly[2:4, 2:4].all()
    assert not dense_known([level, level], complete=True).any()


def test_a_click_on_a_nested_object_knows_the_other_level():
    cells = np.zeros((64, 64), np.int32)
    cells[4:60, 4:60] = 1
    nuclei = np.zeros((64, 64), np.int32)
    nuclei[24:40, 24:40] = 1
    sample = Sample(np.repeat(cells[..., None] * 100, 3, -1).astype(np.uint8), (cells, nuclei))
    config = BatchConfig(crops=1, masks=6, sizes={64: 1.0}, empty_share=0, box_share=0)
    dataset = CropDataset({"one": [sample]}, {"one": 1.0}, config, 1)
    nested = inside = 0
    for index in range(10):
        item = dataset[index]
        for mask, other in zip(item["masks"], item["others"], strict=True):
            if other.any() and mask.any():
                nested += 1
                small, large = sorted((mask, other), key=lambda each: int(each.sum()))
                inside += bool((small & large).sum() > 0.9 * small.sum())
    assert nested > 10
    assert inside == nested


@pytest.mark.parametrize("count", [1, 3, 7, 100])
def test_only_so_many_pictures_are_learned_from(tmp_path, count):
    for kind in ("images", "labels"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
        for number in range(7):
            picture = np.full((8, 8), number + 1, np.uint8 if kind == "images" else np.uint16)
            io.imsave(tmp_path / "mine" / kind / f"{number}.png", picture, check_contrast=False)

    def drawn(count: int, seed: int = 0) -> set[int]:
        sources = load_sources(tmp_path, SourceConfig({"mine": 1.0}, at_most={"mine": count}), seed=seed)
        return {int(sample.levels[0].max()) for sample in sources["mine"]}

    assert len(drawn(count)) == min(count, 7)
    assert drawn(count) == drawn(count)
    assert drawn(count) <= drawn(count + 1)
    if count == 3:
        assert len({frozenset(drawn(3, seed)) for seed in range(6)}) > 1


def test_no_picture_at_all_is_refused(tmp_path):
    (tmp_path / "mine/images").mkdir(parents=True)
    (tmp_path / "mine/labels").mkdir()
    io.imsave(tmp_path / "mine/images/a.png", np.zeros((8, 8), np.uint8), check_contrast=False)
    io.imsave(tmp_path / "mine/labels/a.png", np.ones((8, 8), np.uint16), check_contrast=False)
    with pytest.raises(InputError, match="at least one picture"):
        load_sources(tmp_path, SourceConfig({"mine": 1.0}, at_most={"mine": 0}), seed=0)
