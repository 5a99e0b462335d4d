"""A client that asks a service as fast as it answers: `clients` connections, each with one request at a time.

It reads what to do as JSON from stdin and writes what it found as JSON to stdout; the standard library alone, so that
it takes as little as possible from the machine that it shares with the service.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_SECONDS = 60


@dataclass
class Tally:
    """What one connection found."""

    latencies: list[float] = field(default_factory=list)  # seconds
    statuses: dict[str, int] = field(default_factory=dict)
    made_of: dict[str, int] = field(default_factory=dict)  # `release index served_by` of the answers
    killed: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, status: str, seconds: float, body: bytes, look: bool) -> None:
        """One answer."""
        self.latencies.append(seconds)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status not in ("200", "202"):
            self.errors.append(body[:300].decode("utf-8", "replace"))
        elif look:
            found = json.loads(body)
            for own in found.get("results", [found]):
                made_of = f"{own['release']} {own['index']} {own['served_by']}"
                self.made_of[made_of] = self.made_of.get(made_of, 0) + 1


class Connection:
    """One connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def ask(self, request: bytes) -> tuple[str, bytes]:
        """The status and the body of an answer."""
        self._socket.sendall(request)
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._read()
        head = self._buffer[:end].lower()
        size = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(self._buffer) < end + 4 + size:
            self._read()
        body, self._buffer = self._buffer[end + 4 : end + 4 + size], self._buffer[end + 4 + size :]
        return head.split(b" ", 2)[1].decode(), body

    def _read(self) -> None:
        read = self._socket.recv(65536)
        if not read:
            raise ConnectionError("the service closed the connection")
        self._buffer += read

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def kill(self, request: bytes) -> None:
        """Go away in the midst of a request, or before its answer."""
        self._socket.sendall(request[: random.choice((len(request) // 2, len(request)))])
        self._socket.close()


def encoded(path: str, body: Any) -> bytes:
    """A request as it goes over the wire."""
    content = json.dumps(body).encode()
    head = ("Host: bench", "Content-Type: application/json", f"Content-Length: {len(content)}")
    return "\r\n".join([f"POST {path} HTTP/1.1", *head, "", ""]).encode() + content


def ask_until(end: float, port: int, requests: list[bytes], seed: int, look: bool, kill: float, tally: Tally) -> None:
    """Ask one request after the other; a share `kill` of them is broken off."""
    rng, connection = random.Random(seed), Connection(port)
    while time.perf_counter() < end:
        request = rng.choice(requests)
        if kill and rng.random() < kill:
            connection.kill(request)
            connection, tally.killed = Connection(port), tally.killed + 1
            continue
        began = time.perf_counter()
        try:
            status, body = connection.ask(request)
        except OSError as error:
            tally.errors.append(f"{type(error).__name__}: {error}")
            tally.statuses["lost"] = tally.statuses.get("lost", 0) + 1
            connection = Connection(port)
            continue
        tally.add(status, time.perf_counter() - began, body, look)


def run(port: int, requests: list[Any], clients: int, seconds: float, look: bool, kill: float) -> dict[str, Any]:
    """Every connection's findings together."""
    wire, tallies = [encoded(path, body) for path, body in requests], [Tally() for _ in range(clients)]
    began = time.perf_counter()
    threads = [
        threading.Thread(target=ask_until, args=(began + seconds, port, wire, seed, look, kill, tally))
        for seed, tally in enumerate(tallies)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    latencies = sorted(own for tally in tallies for own in tally.latencies)
    return {
        "requests": len(latencies),
        "per_second": round(len(latencies) / took, 1),
        **{f"p{share}": round(1000 * at(latencies, share / 100), 2) for share in (50, 95, 99)},
        "max": round(1000 * latencies[-1], 2) if latencies else 0.0,
        "statuses": summed(tally.statuses for tally in tallies),
        "made_of": summed(tally.made_of for tally in tallies),
        "killed": sum(tally.killed for tally in tallies),
        "errors": [error for tally in tallies for error in tally.errors][:5],
    }


def at(ordered: list[float], share: float) -> float:
    """The value that a share of the ordered values does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def summed(counts: Any) -> dict[str, int]:
    """Counts of several added up by their names."""
    found: dict[str, int] = {}
    for own in counts:
        for name, count in own.items():
            found[name] = found.get(name, 0) + count
    return found


if __name__ == "__main__":
    json.dump(run(**json.load(sys.stdin)), sys.stdout)
