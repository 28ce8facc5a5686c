"""A line between two programs that can be cut, delayed, throttled, reset, or left half open. It passes bytes and understands none of them.

The HTTP proxy of this package (`fault_proxy`) knows what a request is for; this one serves any protocol, a broker's or a store's. Nothing
that it took is ever thrown away while a connection lasts: what a line holds back arrives later, as TCP would have it.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from landfast.testing.inflicted import INFLICTED
from landfast.testing.local_ports import HOST

T = TypeVar("T")
_PIECE_BYTES = 65_536
_PIECES_PER_SECOND = 20
_ANSWER_SECONDS_MAX = 30.0
_NO_LINGERING = struct.pack("ii", 1, 0)


class Holds(enum.Enum):
    """Which direction of a line delivers nothing for now."""

    NOTHING = "nothing"
    REQUESTS = "requests"
    REPLIES = "replies"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Line:
    """How a line is.

    holds             what waits in it until it is another
    delay_seconds     how much later each piece of bytes arrives
    bytes_per_second  how much it lets through, in each direction of each connection
    """

    holds: Holds = Holds.NOTHING
    delay_seconds: float = 0.0
    bytes_per_second: float = math.inf

    def holding(self, direction: Holds) -> bool:
        """Whether nothing of this direction is delivered."""
        return self.holds in {direction, Holds.BOTH}


class _Connection:
    """One connection through the line: both of its ends, and whether everybody has forgotten it."""

    def __init__(self, front: asyncio.StreamWriter) -> None:
        self.front = front
        self.back: asyncio.StreamWriter | None = None
        self.forgotten = False

    def abort(self) -> None:
        """End it with a reset, at both ends."""
        for end in (self.front, self.back):
            if end is not None:
                # Without this the other side sees an orderly end.
                with contextlib.suppress(OSError):
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
                end.transport.abort()

    async def close(self) -> None:
        """End it when all that it took has been passed on; returns when both ends are gone."""
        for end in (self.front, self.back):
            if end is not None:
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()


class TcpProxy:
    """A line from `port` to `target_port`, which may be set later. Use as a context; every method returns when it has effect."""

    def __init__(self, target_port: int = 0) -> None:
        self.port = 0
        self.target_port = target_port
        self._line = Line()
        self._cut = False
        self._connections: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="landfast-line", daemon=True)
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._open())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_SECONDS_MAX)
        self._loop.close()

    def be(self, line: Line) -> None:
        """From now on the line is like this, for the connections there are and for those to come."""
        self._do(self._become(line))

    def cut(self) -> None:
        """Reset every connection, and every new one as soon as it is made."""
        self._do(self._cut_off())

    def reset(self) -> None:
        """Reset every connection there is; new ones are welcome."""
        self._do(self._abort())

    def forget(self) -> None:
        """Leave every connection half open: no end ever hears of the other again, nor of this. New ones are as the line is."""
        self._do(self._forget())

    def heal(self) -> None:
        """The line is as new. Connections that were forgotten stay so."""
        self._do(self._become(Line()))

    def _do(self, act: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(_ANSWER_SECONDS_MAX)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _become(self, line: Line) -> None:
        self._line, self._cut = line, False
        self._tell()

    async def _cut_off(self) -> None:
        self._cut = True
        await self._abort()

    async def _abort(self) -> None:
        for connection in tuple(self._connections):
            connection.abort()
            INFLICTED.add("connections reset")
        self._tell()

    async def _forget(self) -> None:
        for connection in self._connections:
            connection.forgotten = True
            INFLICTED.add("connections left half open")

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer)
        self._connections.add(connection)
        try:
            if self._cut:
                connection.abort()
                INFLICTED.add("connections refused by a cut line")
                return
            back_reader, connection.back = await asyncio.open_connection(HOST, self.target_port)
            there = self._pass(connection, reader, connection.back, Holds.REQUESTS)
            back = self._pass(connection, back_reader, writer, Holds.REPLIES)
            await asyncio.gather(there, back)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            connection.abort()
        finally:
            self._connections.discard(connection)
            await connection.close()

    async def _pass(self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Holds) -> None:
        """Pass on what comes from one end, until it ends."""
        while True:
            limit = min(_PIECE_BYTES, max(1, self._line.bytes_per_second / _PIECES_PER_SECOND))
            piece = await reader.read(int(limit))
            if self._line.holding(direction):
                INFLICTED.add("pieces held back")
            while connection.forgotten or self._line.holding(direction):
                await self._changed.wait()
            if self._line.delay_seconds:
                INFLICTED.add("pieces delayed")
                await asyncio.sleep(self._line.delay_seconds)
            if not piece:
                with contextlib.suppress(OSError):
                    writer.write_eof()
                return
            await asyncio.sleep(len(piece) / self._line.bytes_per_second)
            writer.write(piece)
            await writer.drain()
