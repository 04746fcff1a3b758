import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.engine.embeddings import EmbeddingCache, EmbeddingStore, key_of, rounded


def embedding(kilobytes: int) -> ImageEmbedding:
    return ImageEmbedding({"x": np.zeros(kilobytes * 256, np.float32)}, (1, 1), "fake")


def test_the_least_recently_used_goes_first():
    cache = EmbeddingCache(limit=2500)
    first, second, third = (embedding(1) for _ in range(3))
    cache.put(1, first)
    cache.put(2, second)
    assert cache.get(1) is first
    cache.put(3, third)
    assert cache.get(2) is None
    assert cache.get(1) is first
    assert len(cache) == 2


def test_one_embedding_is_kept_however_large():
    cache = EmbeddingCache(limit=10)
    cache.put(1, embedding(1))
    assert len(cache) == 1
    cache.clear()
    assert cache.get(1) is None


def features(seed: int = 0) -> ImageEmbedding:
    rng = np.random.default_rng(seed)
    arrays = {
        "image_embed": rng.normal(size=(1, 4, 8, 8)).astype(np.float16),
        "plane": rng.integers(0, 255, (20, 30, 3)).astype(np.uint8),
    }
    return ImageEmbedding(arrays, (20, 30), "tiny")


def same(one: ImageEmbedding | None, other: ImageEmbedding) -> bool:
    return (
        one is not None
        and (one.shape, one.model, list(one.features)) == (other.shape, other.model, list(other.features))
        and all(
            one.features[name].dtype == array.dtype and np.array_equal(one.features[name], array)
            for name, array in other.features.items()
        )
    )


def test_what_is_kept_is_read_again_by_whoever_uses_the_folder(tmp_path: Path) -> None:
    kept, store = features(), EmbeddingStore(tmp_path / "new" / "folder")
    assert store.get("a" * 64) is None
    store.put("a" * 64, kept)
    assert same(EmbeddingStore(store.folder).get("a" * 64), kept)
    assert "a" * 64 in store
    assert "b" * 64 not in store
    assert [path.name for path in store.folder.iterdir()] == [f"{'a' * 64}.zip"]
    assert store.problems == []


def test_float32_is_rounded_unless_it_would_be_infinite() -> None:
    given = {"a": np.float32([1 / 3, 4e-9]), "b": np.float32([1e6, 1]), "c": np.uint8([7]), "d": np.float16([1 / 3])}
    found = rounded(ImageEmbedding(given, (1, 2), "m")).features
    assert {name: str(array.dtype) for name, array in found.items()} == {
        "a": "float16",
        "b": "float32",
        "c": "uint8",
        "d": "float16",
    }
    assert found["a"][0] == np.float16(1 / 3)
    assert np.array_equal(found["b"], given["b"])


def test_keys_hang_on_values_shape_and_maker() -> None:
    plane = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    keys = [key_of(plane, "x"), key_of(plane.reshape(4, 2, 3), "x"), key_of(plane + 1, "x"), key_of(plane, "y")]
    assert len(set(keys)) == 4
    assert key_of(np.asfortranarray(plane), "x") == keys[0]


@pytest.mark.parametrize("damage", ["torn", "bit", "empty", "foreign", "other name"])
def test_a_damaged_entry_is_told_of_and_not_used(tmp_path: Path, damage: str) -> None:
    store, key = EmbeddingStore(tmp_path), "c" * 64
    store.put(key, features())
    path = tmp_path / f"{key}.zip"
    data = bytearray(path.read_bytes())
    if damage == "other name":
        path, key = path.rename(tmp_path / f"{'d' * 64}.zip"), "d" * 64
    else:
        place = data.index(features().features["plane"].tobytes()[:40]) + 5
        data[place] ^= 1
        changed = {"torn": data[:-300], "bit": data, "empty": b"", "foreign": b"nothing of the kind" * 50}
        path.write_bytes(bytes(changed[damage]))
    assert store.get(key) is None
    (problem,) = store.problems
    assert key in problem
    assert "damaged" in problem
    assert not path.exists()
    store.put(key, features())
    assert same(store.get(key), features())


def test_values_that_were_changed_with_their_checksum_in_the_zip_are_not_used(tmp_path: Path) -> None:
    store, other = EmbeddingStore(tmp_path), EmbeddingStore(tmp_path / "other")
    store.put("e" * 64, features(0))
    other.put("e" * 64, features(1))
    with zipfile.ZipFile(tmp_path / f"{'e' * 64}.zip") as one, zipfile.ZipFile(other.folder / f"{'e' * 64}.zip") as two:
        parts = {name: (two if name.startswith("plane/c") else one).read(name) for name in one.namelist()}
    with zipfile.ZipFile(tmp_path / f"{'e' * 64}.zip", "w") as mixed:
        for name, part in parts.items():
            mixed.writestr(name, part)
    assert store.get("e" * 64) is None
    assert "plane" in store.problems[0]


def test_the_quota_drops_what_was_used_longest_ago(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path)
    for number, key in enumerate("abc"):
        store.put(key, features())
        os.utime(tmp_path / f"{key}.zip", (1000 + number, 1000 + number))
    assert same(store.get("a"), features())
    store.quota = sum(path.stat().st_size for path in tmp_path.iterdir())
    store.put("d", features())
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "c", "d"]
    # one is kept however large
    store.quota = 1
    store.put("e", features())
    assert [path.stem for path in tmp_path.iterdir()] == ["e"]


def test_what_a_killed_process_left_goes_in_time(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path)
    (tmp_path / "old.part").write_bytes(b"x" * 10)
    os.utime(tmp_path / "old.part", (1000, 1000))
    (tmp_path / "new.part").write_bytes(b"x")
    store.put("a", features())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "new.part"]


def test_a_folder_that_cannot_be_used_is_a_problem_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = EmbeddingStore(tmp_path / "file")
    store.put("a", features())
    assert store.get("a") is None
    assert "cannot be kept" in store.problems[0]


WORK = """
import sys
from pathlib import Path
import numpy as np
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.engine.embeddings import EmbeddingStore

store, right = EmbeddingStore(Path(sys.argv[1]), 60_000), 0
for turn in range(120):
    number = (turn * int(sys.argv[2])) % 11
    found = store.get(f"k{number}")
    if found is None:
        store.put(f"k{number}", ImageEmbedding({"x": np.full((64, 64), number, np.float16)}, (1, 1), "m"))
    elif not (found.features["x"] == number).all():
        raise SystemExit("wrong")
    else:
        right += 1
if store.problems:
    raise SystemExit("; ".join(store.problems))
sys.stdout.write(str(right))
"""


def test_two_processes_may_use_one_folder(tmp_path: Path) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(tmp_path), step], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for step in ("1", "3")
    ]
    said = [run.communicate(timeout=120) for run in runs]
    for run, (out, error) in zip(runs, said, strict=True):
        assert run.returncode == 0, error.decode()
        assert int(out) > 0
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 60_000
