"""Files from their publisher: whole and verified, or not there at all."""

from __future__ import annotations

import contextlib
import hashlib
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from data.recipe import Checksum
from hyperrank.durable import new_file

SECONDS = 60.0  # without a byte: longer than any pause of a server that still works
BLOCK = 1 << 20  # bytes
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class DownloadError(OSError):
    """A file could not be had from its publisher, or is not the file that was published."""


def fetch(url: str, target: Path, *, checksum: Checksum | None = None) -> str:
    """SHA-256 of the file at ``url``, which then stands at ``target``.

    It comes under another name and takes its own once it is complete and verified, so that a
    download that broke off, was stopped or is wrong leaves nothing.

    Raises:
        DownloadError: If the server cannot be reached, refuses, sends less than it announced, or
            sends something of another checksum.
        ValueError: If the address is neither https nor a server on this machine.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise ValueError(f"{url} is no https address; data is fetched over https only")
    target.parent.mkdir(parents=True, exist_ok=True)
    with new_file(target) as fresh:
        sha256, named = hashlib.sha256(), _digest(checksum)
        size, announced = _stream(url, fresh, [sha256, named])
        if announced is not None and size != announced:
            raise DownloadError(
                f"{url} broke off after {size} of {announced} bytes; nothing was kept, try again"
            )
        if checksum is not None and named.hexdigest() != checksum.hexdigest:
            raise DownloadError(
                f"{url} has {checksum.kind} {named.hexdigest()}, but the publisher states "
                f"{checksum.hexdigest}; nothing was kept. Try again; if it stays so, the file was "
                "replaced or changed on its way"
            )
    return sha256.hexdigest()


def _digest(checksum: Checksum | None) -> hashlib._Hash:
    if checksum is not None and checksum.kind == "md5":
        return hashlib.md5(usedforsecurity=False)
    return hashlib.sha256()


def _stream(url: str, target: Path, digests: list[hashlib._Hash]) -> tuple[int, int | None]:
    """Bytes that came, and bytes that the server announced."""
    # the scheme was checked by fetch
    request = urllib.request.Request(url, headers={"User-Agent": "hyperrank-data"})  # noqa: S310
    size = 0
    try:
        with contextlib.ExitStack() as stack:
            answer = stack.enter_context(
                urllib.request.urlopen(request, timeout=SECONDS)  # noqa: S310
            )
            file = stack.enter_context(target.open("wb"))
            length = answer.headers.get("Content-Length")
            announced = int(length) if length is not None else None
            name = Path(urlsplit(url).path).name
            bar = stack.enter_context(
                tqdm(total=announced, unit="B", unit_scale=True, desc=name, disable=None)
            )
            while block := answer.read(BLOCK):
                file.write(block)
                for digest in digests:
                    digest.update(block)
                size += len(block)
                bar.update(len(block))
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadError(f"{url} answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise DownloadError(f"{url} cannot be reached: {reason}") from error
    return size, announced
