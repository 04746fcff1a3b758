"""Repositories of the hub: taken from the cache, downloaded with progress, and refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from napari_segany.core.errors import Cancelled, ModelError
from napari_segany.models.adapters.hub_download import download
from napari_segany.models.loading import load_segmenter

from tests.models.adapters.small_models import small_folder  # isort: skip

hub = pytest.importorskip("huggingface_hub")
errors = pytest.importorskip("huggingface_hub.errors")


class Response:
    """Of a server, as far as the hub's errors look at it."""

    headers: dict[str, str] = {}  # noqa: RUF012
    status_code = 403
    text = ""
    request = None


def refusing(error: Exception) -> Any:
    def snapshot_download(repository: str, **options: Any) -> str:
        if options.get("local_files_only"):
            raise errors.LocalEntryNotFoundError("not there")
        raise error

    return snapshot_download


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (errors.GatedRepoError("a\nb", response=Response()), "gated: accept its licence at https://huggingface.co/a/b"),
        (errors.RepositoryNotFoundError("a\nb", response=Response()), "has no repository a/b"),
        (errors.HfHubHTTPError("500\nserver", response=Response()), "could not be downloaded"),
        (errors.LocalEntryNotFoundError("offline\nmode"), "could not be downloaded"),
        (ConnectionError("no\nnetwork"), r"could not be downloaded \(no network\); download .* by hand"),
    ],
)
def test_what_cannot_be_downloaded_is_one_line(monkeypatch, error, line) -> None:
    monkeypatch.setattr(hub, "snapshot_download", refusing(error))
    with pytest.raises(ModelError, match=line) as caught:
        load_segmenter("hf:a/b", "cpu")
    assert "\n" not in str(caught.value)


def test_what_is_in_the_cache_needs_no_network(monkeypatch, tmp_path) -> None:
    folder = small_folder("sam2", tmp_path / "models--owner--sam2-small" / "snapshots" / "0123")

    def snapshot_download(repository: str, **options: Any) -> str:
        assert options["local_files_only"]
        assert repository == "owner/sam2-small"
        return str(folder)

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    assert load_segmenter("hf:owner/sam2-small", "cpu").name.startswith("sam2-small-")


def test_a_download_reports_bytes_and_can_be_stopped(monkeypatch, tmp_path) -> None:
    def snapshot_download(repository: str, **options: Any) -> str:
        bar = options["tqdm_class"](total=30, unit="B", desc="file")
        files = options["tqdm_class"](total=1, desc="files")
        for _ in range(3):
            bar.update(10)
        files.update(1)
        assert options["local_dir"] == tmp_path
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    seen: list[tuple[int, int | None]] = []
    assert download("a/b", tmp_path, lambda *given: seen.append(given)) == tmp_path
    assert seen[-1] == (30, 30)

    def stop(done: int, total: int | None) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        download("a/b", tmp_path, stop)


def test_a_folder_that_is_complete_is_not_downloaded_again(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(hub, "snapshot_download", refusing(AssertionError("not needed")))
    folder = small_folder("sam2", tmp_path / "there")
    assert download("a/b", Path(folder)) == folder
