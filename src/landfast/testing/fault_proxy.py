"""A reverse proxy before an S3-compatible store that makes the faults which stores and networks make.

It passes requests on as they are, so signatures hold. What it does with a request is said by rules: the first that matches and is not
used up decides. It is a process of its own: a driver that held the interpreter's lock while it waits for a store would otherwise wait
for a proxy that cannot answer it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from landfast.testing.inflicted import INFLICTED

HOST = "127.0.0.1"
_HEAD_BYTES_MAX = 1024 * 1024
_WAIT_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.02


class Action(enum.StrEnum):
    """What happens to a request."""

    RESET_BEFORE = "reset before the store hears of it"
    ANSWER_BEFORE = "answered with a status, and the store never hears of it"
    DROP_REPLY = "done by the store, and the connection is closed instead of a reply"
    ANSWER_AFTER = "done by the store, and answered with another status"
    DELAY_REPLY = "done by the store, and the reply comes late"
    HOLD_REPLY = "done by the store; the reply waits for `release` and is then dropped"
    DROP_REQUEST = "never passed on, and never answered"
    DELAY_REQUEST = "passed on late, whoever still waits for the reply"
    STRIP_HEADER = "passed on without one header"


class Kind(enum.StrEnum):
    """What a request is for."""

    COMMIT = "puts a table's next version"
    LISTING = "lists objects"
    DATA = "puts a data file, or begins to"
    OTHER = "anything else"


@dataclass(slots=True)
class Rule:
    """One fault: for requests of this kind, `times` times.

    after     only once a request of this kind was seen since the rule was added
    status    what ANSWER_BEFORE and ANSWER_AFTER answer
    seconds   how long DELAY_REPLY, DROP_REQUEST and DELAY_REQUEST wait
    header    what STRIP_HEADER removes; it takes any kind of request that has it
    """

    action: Action
    kind: Kind = Kind.OTHER
    times: int = 1
    after: Kind | None = None
    status: int = 503
    seconds: float = 0.0
    header: str = ""


def kind_of(method: str, target: str) -> Kind:
    """What a request is for, by its first line."""
    path = target.split("?", maxsplit=1)[0]
    if method == "PUT" and "_delta_log/" in path and path.endswith(".json"):
        return Kind.COMMIT
    if method == "GET" and "list-type=2" in target:
        return Kind.LISTING
    return Kind.DATA if method in {"PUT", "POST"} and path.endswith(".parquet") else Kind.OTHER


@dataclass(slots=True)
class _Message:
    """A message as it went over the wire."""

    head: bytes
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def first_line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")


class FaultProxy:
    """Starts a proxy before the store at `store_port`; `port` is where it listens. Use as a context; `add` rules at any time."""

    def __init__(self, store_port: int) -> None:
        self._store_port = store_port
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", __name__, str(self._store_port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self._ask({"do": "open"})["port"])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            for action, count in self._ask({"do": "count"})["by_action"].items():
                INFLICTED.add(f"requests to a store {action}", count)
            self._process.kill()
            self._process.communicate()

    def add(self, *rules: Rule) -> None:
        """Add faults; they apply from the next request on."""
        self._ask({"do": "add", "rules": [dataclasses.asdict(rule) for rule in rules]})

    def clear(self) -> None:
        """No more faults."""
        self._ask({"do": "clear"})

    def release(self) -> None:
        """Drop the replies that are held."""
        self._ask({"do": "release"})

    def faults(self) -> int:
        """How many requests have met a fault."""
        return int(self._ask({"do": "count"})["faults"])

    def wait_for_fault(self, seconds_max: float = _WAIT_SECONDS_MAX) -> bool:
        """Wait until a request has met a fault that lasts, such as a held reply; False where none has in time."""
        deadline = time.monotonic() + seconds_max
        while not self._ask({"do": "count"})["held"]:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _ask(self, question: Mapping[str, Any]) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class _Server:
    """The proxy inside its process."""

    def __init__(self, store_port: int) -> None:
        self._store_port = store_port
        self._rules: list[Rule] = []
        self._seen: list[set[Kind]] = []
        self._released = asyncio.Event()
        self._faults: Counter[Action] = Counter()
        self._held = 0

    async def run(self) -> None:
        """Serve until standard input ends, which it does when the owner is gone."""
        server = await asyncio.start_server(self._serve, HOST, 0, limit=_HEAD_BYTES_MAX)
        questions = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
        while line := await questions.readline():
            answer = self._do(json.loads(line), server.sockets[0].getsockname()[1])
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

    def _do(self, question: Mapping[str, Any], port: int) -> Mapping[str, Any]:
        match question["do"]:
            case "add":
                self._rules.extend(_rule(item) for item in question["rules"])
                self._seen.extend(set() for _ in question["rules"])
            case "clear":
                self._rules, self._seen = [], []
            case "release":
                self._released.set()
        return {"port": port, "faults": self._faults.total(), "held": self._held, "by_action": self._faults}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client connection: request after request, until it ends or a fault ends it."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while (message := await _read(reader, answers_to=None)) is not None:
                reply = await self._answer(message)
                if reply is None:
                    writer.transport.abort()
                    return
                writer.write(reply.head + reply.body)
                await writer.drain()
        writer.close()

    async def _answer(self, message: _Message) -> _Message | None:
        """The reply to a request; None where the connection is to be reset."""
        method, target, _ = message.first_line.split(" ", 2)
        rule = self._rule_for(kind_of(method, target), message.headers)
        if rule is None:
            return await self._pass_on(message, method)
        action = rule.action
        if action is Action.RESET_BEFORE:
            return None
        if action is Action.ANSWER_BEFORE:
            return _status(rule.status)
        if action in {Action.DROP_REQUEST, Action.DELAY_REQUEST}:
            await asyncio.sleep(rule.seconds)
            return None if action is Action.DROP_REQUEST else await self._pass_on(message, method)
        if action is Action.STRIP_HEADER:
            return await self._pass_on(_without(message, rule.header), method)
        reply = await self._pass_on(message, method)
        if action is Action.ANSWER_AFTER:
            return _status(rule.status)
        if action is Action.DELAY_REPLY:
            await asyncio.sleep(rule.seconds)
            return reply
        if action is Action.HOLD_REPLY:
            self._held += 1
            await self._released.wait()
        return None

    def _rule_for(self, kind: Kind, headers: Mapping[str, str]) -> Rule | None:
        found: Rule | None = None
        for rule, seen in zip(self._rules, self._seen, strict=True):
            wanted = rule.header in headers if rule.action is Action.STRIP_HEADER else rule.kind is kind
            if found is None and wanted and rule.times > 0 and (rule.after is None or rule.after in seen):
                found = rule
            seen.add(kind)
        if found is not None:
            found.times -= 1
            self._faults[found.action] += 1
        return found

    async def _pass_on(self, message: _Message, method: str) -> _Message | None:
        reader, writer = await asyncio.open_connection(HOST, self._store_port, limit=_HEAD_BYTES_MAX)
        try:
            writer.write(message.head + message.body)
            await writer.drain()
            return await _read(reader, answers_to=method)
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader, *, answers_to: str | None) -> _Message | None:
    """One message whole; None where the other side has closed. `answers_to` is the method where it is a reply."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    message = _Message(head, headers=headers)
    if answers_to == "HEAD" or (answers_to is not None and lines[0].split(" ")[1] in {"204", "304"}):
        return message
    if "chunked" in headers.get("transfer-encoding", ""):
        message.body = await _chunks(reader)
    elif "content-length" in headers:
        message.body = await reader.readexactly(int(headers["content-length"]))
    elif answers_to is not None:
        message.body = await reader.read()
    return message


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body, as it went over the wire."""
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        body += line + await reader.readexactly(size + 2)
        if size == 0:
            return body


def _without(message: _Message, header: str) -> _Message:
    lines = message.head.split(b"\r\n")
    kept: Sequence[bytes] = [line for line in lines if not line.lower().startswith(f"{header.lower()}:".encode())]
    return _Message(b"\r\n".join(kept), message.body, message.headers)


def _status(status: int) -> _Message:
    return _Message(f"HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\n\r\n".encode())


def _rule(item: Mapping[str, Any]) -> Rule:
    after = item["after"]
    return Rule(**{**item, "action": Action(item["action"]), "kind": Kind(item["kind"]), "after": after and Kind(after)})


if __name__ == "__main__":
    asyncio.run(_Server(int(sys.argv[1])).run())
