"""Downloads from a server on this machine: whole and verified, or nothing."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data.download import DownloadError, fetch
from data.recipe import Checksum

BODY = b"ann bread\nbob milk\n" * 5000


class Publisher(BaseHTTPRequestHandler):
    """Serves ``/whole``, ``/unannounced``, ``/broken`` (half of what it announces), no more."""

    def do_GET(self) -> None:
        if self.path not in ("/whole", "/broken", "/unannounced"):
            self.send_error(404, "Not Found")
            return
        self.send_response(200)
        if self.path != "/unannounced":
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY if self.path != "/broken" else BODY[: len(BODY) // 2])

    def log_message(self, *args: object) -> None:
        """Nothing: pytest shows what matters."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_whole_file_comes_with_its_digest(address: str, tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    digest = fetch(f"{address}/whole", target)
    assert target.read_bytes() == BODY
    assert digest == hashlib.sha256(BODY).hexdigest()
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_a_file_of_unannounced_length_comes(address: str, tmp_path: Path) -> None:
    fetch(f"{address}/unannounced", tmp_path / "file.txt")
    assert (tmp_path / "file.txt").read_bytes() == BODY


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_stated_checksum_is_verified(address: str, tmp_path: Path, kind: str) -> None:
    right = hashlib.new(kind, BODY).hexdigest()
    fetch(f"{address}/whole", tmp_path / "file", checksum=Checksum(kind, right))  # type: ignore[arg-type]
    assert (tmp_path / "file").exists()


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_wrong_checksum_is_refused(address: str, tmp_path: Path, kind: str) -> None:
    wrong = Checksum(kind, "0" * 32)  # type: ignore[arg-type]
    with pytest.raises(
        DownloadError, match=rf"has {kind} .* the publisher states 0{{32}}.*nothing"
    ):
        fetch(f"{address}/whole", tmp_path / "file", checksum=wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file_does_not_replace_a_right_one(address: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(DownloadError):
        fetch(f"{address}/whole", tmp_path / "file", checksum=Checksum("md5", "0" * 32))
    assert (tmp_path / "file").read_text() == "kept"


def test_an_interrupted_download_leaves_nothing(address: str, tmp_path: Path) -> None:
    with pytest.raises(
        DownloadError, match=r"broke off after \d+ of 95000 bytes; nothing was kept"
    ):
        fetch(f"{address}/broken", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_download_leaves_nothing(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("data.download.tqdm", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch(f"{address}/whole", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_an_absent_file_says_so(address: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"/absent answered 404 Not Found"):
        fetch(f"{address}/absent", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_an_absent_server_says_so(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="cannot be reached"):
        fetch("http://127.0.0.1:9/whole", tmp_path / "file")  # the discard port: nobody listens


@pytest.mark.parametrize("url", ["http://example.org/x", "ftp://example.org/x", "file:///etc/x"])
def test_only_https_is_fetched(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no https address; data is fetched over https only"):
        fetch(url, tmp_path / "file")
