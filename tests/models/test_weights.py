import contextlib
import dataclasses
import hashlib
import io
import os
import pickle
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from napari_segany.core.errors import Cancelled, ModelError
from napari_segany.models import registry
from napari_segany.models.registry import find
from napari_segany.models.weights import check_usable, fetch, load_state

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


@pytest.mark.parametrize(
    "extra",
    [
        {"best_metric": np.float64(0.3)},
        {"best_metric": np.float32(0.3), "epoch": np.int64(7), "done": np.bool_(True)},
        {"history": np.arange(5.0), "names": np.array(["a", "b"]), "note": np.str_("x")},
    ],
)
def test_numbers_of_numpy_beside_the_weights(tmp_path, extra):
    torch.save({"model_state": {"a": torch.ones(2)}, **extra}, tmp_path / "best.pt")
    assert set(load_state(tmp_path / "best.pt")) == {"a"}


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numbers_of_any_numpy(tmp_path, module):
    torch.save({"model_state": {"a": torch.ones(2)}, "best": np.float64(0.3)}, tmp_path / "new.pt")
    with zipfile.ZipFile(tmp_path / "new.pt") as old, zipfile.ZipFile(tmp_path / "old.pt", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            for known in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
                content = content.replace(b"c" + known + b"\n", b"c" + module.encode() + b"\n")
            new.writestr(name, content)
    assert set(load_state(tmp_path / "old.pt")) == {"a"}


class Harmful:
    """Would run something when it is loaded."""

    def __init__(self, what):
        self.what = what

    def __reduce__(self):
        return self.what


@pytest.mark.parametrize(
    "what", [(os.system, ("true",)), (eval, ("1",)), (Path, ("a",)), (np.frombuffer, (b"1234",)), (np.load, ("a.npy",))]
)
def test_code_stays_refused(tmp_path, what):
    torch.save({"model_state": {"a": torch.ones(2)}, "more": Harmful(what)}, tmp_path / "bad.pt")
    with pytest.raises(ModelError, match="would run code") as error:
        load_state(tmp_path / "bad.pt")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("deep.pt", b"\x80\x02" + b"(" * 100 + b"."),
        ("nested.pt", b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
        ("empty.pt", b""),
        ("one.pt", b"\x80"),
        ("text.pt", b"not weights at all"),
        ("zip.pt", b"PK\x03\x04" + b"\x00" * 60),
        ("empty.safetensors", b""),
        ("length.safetensors", b"\xff" * 8 + b"{}"),
        ("json.safetensors", (40).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[2],"data' + b" " * 9),
        ("list.safetensors", (2).to_bytes(8, "little") + b"[]"),
    ],
)
def test_files_that_are_no_checkpoints_are_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError) as error:
        load_state(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("number", range(60))
def test_checkpoints_whose_bytes_changed_are_one_line_or_read(tmp_path, number):
    rng = np.random.default_rng(number)
    torch.save({"model_state": {"a": torch.ones(9), "b": torch.zeros(3, 3)}}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(tmp_path / "b.pt", "w") as new:
        for name in old.namelist():
            content = bytearray(old.read(name))
            if name.endswith("data.pkl"):
                for place in rng.integers(0, len(content), 1 + number % 4):
                    content[place] = rng.integers(0, 256)
                content = content[: len(content) - number % 3 * 20]
            new.writestr(name, bytes(content))
    with contextlib.suppress(ModelError):
        load_state(tmp_path / "b.pt")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda value: torch.full_like(value, torch.nan), "no numbers"),
        (lambda value: torch.full_like(value, torch.inf), "no numbers"),
        (lambda value: value.half().index_fill(0, torch.tensor(1), -torch.inf), "no numbers"),
        (lambda value: value.to_sparse(), "sparse"),
        (lambda value: value.to("meta"), "shapes"),
        (lambda value: torch.complex(value, value), "no numbers"),
        (lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8), "quantized"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_weights_with_which_nothing_can_be_computed(change, line):
    with pytest.raises(ModelError, match=line):
        check_usable({"good": torch.ones(3), "bad": change(torch.ones(3))}, Path("a.pt"))
    check_usable({"good": torch.ones(3), "half": torch.ones(3).half(), "count": torch.tensor(3)}, Path("a.pt"))


def test_a_file_is_known_by_what_it_holds(tmp_path):
    for name in ("a.SAFETENSORS", "b.ckpt", "c"):
        safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / name)
        assert set(load_state(tmp_path / name)) == {"a"}
    torch.save({"a": torch.ones(2)}, tmp_path / "d.CKPT")
    assert set(load_state(tmp_path / "d.CKPT")) == {"a"}
    with pytest.raises(ModelError, match="no checkpoint"):
        load_state("x" * 300)
