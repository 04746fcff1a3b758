import contextlib
import dataclasses
import hashlib
import io
import os
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import safetensors.torch
import torch

from napari_segany.core.errors import Cancelled, ModelError
from napari_segany.models import registry
from napari_segany.models.registry import find
from napari_segany.models.weights import fetch, load_state

GOOD = bytes(range(256)) * 4000
STATE = {"image_encoder.a": torch.arange(6.0).reshape(2, 3), "mask_decoder.b": torch.ones(1)}


class Server(ThreadingHTTPServer):
    """Serves `content`, of which it sends `sent` bytes, and counts the requests."""

    content = GOOD
    sent: int | None = None
    asked = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        self.server.asked += 1
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a client that cancelled
            self.wfile.write(self.server.content[: self.server.sent])

    def log_message(self, *args):
        """Stay silent."""


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    monkeypatch.setattr(registry, "weights_folder", lambda: folder)
    return folder


@pytest.fixture
def spec(server, folder):
    url = f"http://127.0.0.1:{server.server_address[1]}/model"
    return dataclasses.replace(find("vit_b_lm"), url=url, hash=f"sha256:{hashlib.sha256(GOOD).hexdigest()}")


def test_weights_stay_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "napari-segany" in registry.weights_folder().parts
    assert not registry.weights_folder().exists()


def test_a_good_file_is_fetched_once(spec, server, folder):
    seen = []
    path = fetch(spec, lambda done, total: seen.append((done, total)))
    assert path == folder / "vit_b_lm.pt"
    assert path.read_bytes() == GOOD
    assert seen[-1] == (len(GOOD), len(GOOD))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert fetch(spec) == path
    assert server.asked == 1
    assert list(folder.iterdir()) == [path]


def test_the_hashes_of_the_registry_are_understood(spec):
    import xxhash

    fetch(dataclasses.replace(spec, hash=f"xxh128:{xxhash.xxh128(GOOD).hexdigest()}"))


def test_a_wrong_hash_leaves_nothing(spec, server, folder):
    server.content = GOOD[::-1]
    with pytest.raises(ModelError, match="hash differs"):
        fetch(spec)
    assert list(folder.iterdir()) == []


def test_a_truncated_download_leaves_nothing(spec, server, folder):
    server.sent = 1000
    with pytest.raises(ModelError, match="could not be downloaded"):
        fetch(spec)
    assert list(folder.iterdir()) == []


def test_a_missing_page_is_said(spec, folder):
    with pytest.raises(ModelError, match="404"):
        fetch(dataclasses.replace(spec, url=spec.url.replace("/model", "/missing")))
    assert list(folder.iterdir()) == []


def test_a_cancelled_download_leaves_nothing(spec, folder):
    def stop(done, total):
        raise Cancelled

    with pytest.raises(Cancelled):
        fetch(spec, stop)
    assert list(folder.iterdir()) == []


def without_network(spec):
    """The same model at a port where nothing listens."""
    return dataclasses.replace(spec, url="http://127.0.0.1:9/model")


def test_without_network_one_line_says_what_to_do(spec, folder):
    spec = without_network(spec)
    with pytest.raises(ModelError) as caught:
        fetch(spec)
    message = str(caught.value)
    assert spec.url in message
    assert str(folder / "vit_b_lm.pt") in message
    assert "\n" not in message


def test_a_file_put_there_by_hand_needs_no_network(spec, folder):
    folder.mkdir()
    path = spec.path
    path.write_bytes(GOOD)
    assert fetch(without_network(spec)) == path
    path.write_bytes(GOOD[:-1])
    with pytest.raises(ModelError, match="is not the published file"):
        fetch(without_network(spec))
    assert path.read_bytes() == GOOD[:-1]


def test_a_bad_file_is_replaced_by_a_good_one(spec, folder):
    folder.mkdir()
    spec.path.write_bytes(b"half a f")
    assert fetch(spec).read_bytes() == GOOD


def test_a_lost_embedded_file_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(registry.resources, "files", lambda package: tmp_path)
    with pytest.raises(ModelError, match="missing from this installation"):
        fetch(find("tiny"))


@pytest.mark.parametrize("prefix", ["", "sam.", "module.", "module.sam."])
@pytest.mark.parametrize("wrapper", [None, "model_state", "model", "state_dict"])
def test_every_known_layout_is_read(tmp_path, wrapper, prefix):
    state = {prefix + name: value for name, value in STATE.items()}
    path = tmp_path / "a.pt"
    torch.save({wrapper: state, "epoch": 3, "decoder_state": {"x": torch.ones(1)}} if wrapper else state, path)
    loaded = load_state(path)
    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[name], value) for name, value in STATE.items())


def test_safetensors_are_read(tmp_path):
    safetensors.torch.save_file(STATE, tmp_path / "a.safetensors")
    assert load_state(tmp_path / "a.safetensors").keys() == STATE.keys()


class Evil:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, 2))])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, save, suffix):
    mark, path = tmp_path / "mark", tmp_path / f"evil{suffix}"
    save({**STATE, "extra": Evil(mark)}, path)
    with pytest.raises(ModelError, match="refused") as caught:
        load_state(path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", GOOD, b"PK\x03\x04 half a zip"])
def test_a_damaged_file_is_said(tmp_path, content, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a complete"):
        load_state(path)


def test_a_truncated_checkpoint_is_said(tmp_path):
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(1000)}, buffer)
    path = tmp_path / "a.pt"
    path.write_bytes(buffer.getvalue()[:2000])
    with pytest.raises(ModelError, match="not a complete"):
        load_state(path)


@pytest.mark.parametrize("value", [{}, [1, 2], {"a": 1}, torch.ones(1)])
def test_a_file_without_weights_is_said(tmp_path, value):
    torch.save(value, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="holds no weights"):
        load_state(tmp_path / "a.pt")


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(ModelError, match="there is no checkpoint"):
        load_state(tmp_path / "a.pt")
