"""`status` asks a worker on this machine; whoever else serves on that port is taken for nobody."""

from __future__ import annotations

import json
import socketserver
import threading
from pathlib import Path

import pytest

from tests.cli.table import ask, settings_file

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
ANSWERS: dict[str, bytes] = {
    "another-protocol": b"-ERR unknown command\r\n",
    "nothing": b"",
    "a-header-without-end": b"HTTP/1.1 200 OK\r\n" + b"x" * 100_000,
    "not-json": HEAD + b"<html>",
    "a-list": HEAD + b"[]",
    "deep": HEAD + b"[" * 100_000,
    "other-types": HEAD + b'{"status": 1, "concerns": 5}',
    "other-concerns": HEAD + b'{"status": "ok", "concerns": [1]}',
    "escapes": HEAD + json.dumps({"status": "\x1b[2Jok\nforged", "concerns": []}).encode(),
    "a-forged-code": HEAD + json.dumps({"status": "ok", "concerns": [{"code": "X\nforged"}]}).encode(),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_x3_what_answers_on_the_metrics_port_may_be_anything(answer: str, tmp_path: Path) -> None:
    """Another program, an older one, a hostile one: `status` says what it knows of the table, and shows nothing of the answer."""

    class Stranger(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)
            self.request.sendall(ANSWERS[answer])

    with socketserver.TCPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        file = settings_file(tmp_path)
        file.write_text(file.read_text().replace("[sink]", f"[metrics]\nport = {server.server_address[1]}\n[sink]"), encoding="utf-8")
        said = ask("status", file)
        server.shutdown()
        thread.join()
    assert said.code == 0
    assert "worker:" not in said.out
    assert "forged" not in said.out + said.err
