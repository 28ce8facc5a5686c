"""What a test run says of the faults that it made is what the proxies did."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest

from landfast.testing.fault_proxy import Action, FaultProxy, Rule
from landfast.testing.inflicted import INFLICTED
from landfast.testing.local_ports import HOST
from landfast.testing.tcp_proxy import Holds, Line, TcpProxy
from landfast.testing.wait import wait_until

SECONDS_MAX = 60.0


class Echo(StreamRequestHandler):
    """Gives back each byte."""

    def handle(self) -> None:
        """See the base."""
        with suppress(ConnectionResetError):
            while piece := self.request.recv(1):
                self.request.sendall(piece)


class Hello(BaseHTTPRequestHandler):
    """Answers whatever it is asked."""

    def do_GET(self) -> None:
        """See the base."""
        self.send_response(204)
        self.end_headers()

    def log_message(self, *given: object) -> None:
        """Says nothing."""


@contextmanager
def serving(server: ThreadingTCPServer) -> Iterator[int]:
    """A server at work; gives its port."""
    server.daemon_threads = True
    with server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def since(before: Counter[str]) -> dict[str, int]:
    """What was done since then."""
    return dict(Counter(INFLICTED.counts()) - before)


def connected(line: TcpProxy) -> socket.socket:
    """A connection through the line that has carried a byte both ways."""
    made = socket.create_connection((HOST, line.port), SECONDS_MAX)
    try:
        made.sendall(b"1")
        assert made.recv(1) == b"1"
    except OSError:
        made.close()
        raise
    return made


def test_a_line_counts_what_it_does_to_connections_and_bytes() -> None:
    """Resets, refusals, half-open connections, and each piece of bytes that came late or waited; a healthy line counts nothing."""
    before = Counter(INFLICTED.counts())
    with serving(ThreadingTCPServer((HOST, 0), Echo)) as port, TcpProxy(port) as line:
        with connected(line) as forgotten, connected(line) as slow:
            assert since(before) == {}
            slow.sendall(b"2")
            assert slow.recv(1) == b"2"
            line.be(Line(delay_seconds=0.01))
            slow.sendall(b"3")
            assert slow.recv(1) == b"3"
            assert since(before) == {"pieces delayed": 2}
            line.heal()
            line.forget()
            forgotten.sendall(b"4")
        with connected(line) as reset:
            line.reset()
            with pytest.raises(ConnectionResetError):
                reset.recv(1)
        line.cut()
        with pytest.raises(ConnectionError):
            connected(line)
        counts = since(before)
        line.be(Line(holds=Holds.REPLIES))
        with socket.create_connection((HOST, line.port), SECONDS_MAX) as held:
            held.sendall(b"5")
            wait_until(lambda: since(before).get("pieces held back") == 1, SECONDS_MAX)
    assert counts["connections left half open"] == 2
    assert counts["connections reset"] >= 1
    assert counts["connections refused by a cut line"] == 1


def test_a_store_s_proxy_counts_its_faults_by_what_they_were() -> None:
    """They are added up when the proxy ends, and requests that it let pass are none."""
    before = Counter(INFLICTED.counts())
    with serving(ThreadingHTTPServer((HOST, 0), Hello)) as port, FaultProxy(port) as proxy:
        proxy.add(Rule(Action.ANSWER_BEFORE, times=2, status=503))
        for expected in (503, 503, 204):
            try:
                with urllib.request.urlopen(f"http://{HOST}:{proxy.port}/", timeout=SECONDS_MAX) as answer:
                    status = answer.status
            except urllib.error.HTTPError as error:
                status = error.code
                error.close()
            assert status == expected
        assert proxy.faults() == 2
    assert since(before) == {f"requests to a store {Action.ANSWER_BEFORE}": 2}
