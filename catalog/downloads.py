"""Pictures fetched from addresses, once: kept by the hash of their address, so that a repeated call goes on.

Only http and https are followed, also after redirects, and never to link-local addresses, where clouds keep secrets.
What is no picture within the limits is not kept.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from threading import Lock
from typing import IO, Any
from urllib.parse import quote, urlsplit

from ..files import atomic_write, file_faults
from ..progress import StepProgress
from ..version import __version__
from .images import ImageLimits, check_picture, decoding

AGAIN = (408, 425, 429, 500, 502, 503, 504)  # answers that may be better later
CHUNK = 1 << 16
ALLOWED = "!#$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True)
class Downloads:
    """Where pictures are fetched to, and how much may be fetched."""

    folder: Path
    seconds: float = 30.0  # for one picture
    attempts: int = 3
    pause: float = 0.5  # before the second attempt; doubled before the third
    most: int = 100_000  # pictures
    threads: int = 8
    patience: int = 10  # pictures in a row that a host may not answer
    progress: StepProgress = field(default=lambda done, total: None)


class _Failed(Exception):  # noqa: N818
    """Ends the fetching of one picture; `again` where another attempt may go well."""

    def __init__(self, reason: str, again: bool = False, silent: bool = False) -> None:
        super().__init__(reason)
        self.again, self.silent = again, silent  # silent: the host gave no answer at all


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: urllib.request.Request, *rest: Any) -> urllib.request.Request | None:
        _check_address(rest[-1])
        return super().redirect_request(req, *rest)


def file_of(address: str) -> str:
    """The name under which the picture of an address is kept."""
    return hashlib.sha256(address.encode()).hexdigest()


def download(addresses: Sequence[str], downloads: Downloads, limits: ImageLimits) -> dict[str, str]:
    """Fetch each different address into the folder; returns why for those that failed."""
    with file_faults(downloads.folder):
        downloads.folder.mkdir(parents=True, exist_ok=True)
    distinct = list(dict.fromkeys(addresses))
    wanted = [address for address in distinct if not (downloads.folder / file_of(address)).is_file()]
    failed = dict.fromkeys(wanted[downloads.most :], f"more than {downloads.most} are not fetched at once")
    wanted = wanted[: downloads.most]
    silent: dict[str, int] = {}
    done, lock = 0, Lock()

    def fetch(address: str) -> None:
        nonlocal done
        host = address.partition("//")[2].partition("/")[0]
        reason, unanswered = None, silent.get(host, 0) >= downloads.patience
        if unanswered:
            reason = f"{host} does not answer"
        else:
            try:
                content = _fetched(address, downloads, limits)
                with atomic_write(downloads.folder / file_of(address), "wb") as stream:
                    stream.write(content)
            except _Failed as failure:
                reason, unanswered = str(failure), failure.silent
        with lock:
            silent[host] = silent.get(host, 0) + 1 if unanswered else 0
            if reason:
                failed[address] = reason
            done += 1
            downloads.progress(done, len(wanted))

    with file_faults(downloads.folder), decoding(), ThreadPoolExecutor(max_workers=downloads.threads) as pool:
        try:
            for _ in pool.map(fetch, wanted):
                pass
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


def _fetched(address: str, downloads: Downloads, limits: ImageLimits) -> bytes:
    for attempt in range(1, downloads.attempts + 1):
        try:
            content = _read(address, downloads.seconds, limits)
            break
        except _Failed as failure:
            if not failure.again or attempt == downloads.attempts:
                raise
            time.sleep(downloads.pause * 2 ** (attempt - 1))
    problem = check_picture(content, limits)
    if problem:
        raise _Failed(problem)
    return content


def _read(address: str, seconds: float, limits: ImageLimits) -> bytes:
    whole = quote(f"https:{address}" if address.startswith("//") else address, safe=ALLOWED)
    _check_address(whole)
    request = urllib.request.Request(whole, headers={"User-Agent": f"hubspoke/{__version__}", "Accept": "image/*"})
    try:
        with _opener().open(request, timeout=seconds) as answer:
            return _body(answer, seconds, limits)
    except urllib.error.HTTPError as error:
        raise _Failed(f"the answer is {error.code} {error.reason}", again=error.code in AGAIN) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise _Failed(f"no answer ({reason or type(error).__name__})", again=True, silent=True) from error


def _opener() -> urllib.request.OpenerDirector:
    """One that knows http and https alone."""
    opener = urllib.request.OpenerDirector()
    handlers = (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        _Redirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    )
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _body(answer: IO[bytes], seconds: float, limits: ImageLimits) -> bytes:
    """All bytes, unless they are too many or too slow."""
    until, content = time.monotonic() + seconds, bytearray()
    while chunk := answer.read(CHUNK):
        content += chunk
        if len(content) > limits.max_megabytes * 1e6:
            raise _Failed(f"it has more than {limits.max_megabytes:g} MB")
        if time.monotonic() > until:
            raise _Failed(f"it takes more than {seconds:g} seconds")
    return bytes(content)


def _check_address(address: str) -> None:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _Failed("it is no address") from error
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise _Failed("it is no address of http or https")
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        # A proxy may know the name; without one the connection says what is wrong.
        return
    if any(ipaddress.ip_address(own.split("%")[0]).is_link_local for own in found):
        raise _Failed(f"{host} is an address of this network alone")
