"""An upsert into a large table takes the memory of an upsert into a small one: of the table only parts of a file are held."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa
import pytest

from landfast.sinks.delta import DeltaSettings, DeltaSink, UpsertSettings
from tests.sinks.delta_world import DeltaWorld, batch_of, decoded_of, stream

SPAWN = multiprocessing.get_context("spawn")
_KINDS: dict[str, pa.DataType] = {"id": pa.int64(), "payload": pa.binary()}
COLUMNS = pa.schema(list(_KINDS.items()))
STEP = 50_000
PAYLOAD_BYTES = 200
MIB = 1024 * 1024


def entities(path: str) -> DeltaSink:
    settings = DeltaSettings(path="", upsert=UpsertSettings(("id",)), row_group_rows_max=20_000)
    return replace(DeltaWorld(path, COLUMNS), settings=settings).sink()


def land(sink: DeltaSink, start: int, ids: range) -> None:
    rows = {"id": list(ids), "payload": [os.urandom(PAYLOAD_BYTES) for _ in ids]}
    sink.commit([sink.stage(batch_of(decoded_of(stream(0), start, start + len(ids), COLUMNS, rows), first=start == 0))])


def peak_bytes() -> int:
    """The most that this process has held."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def fill(path: str, rows: int) -> None:
    """A table of so many rows, in files of the same size, whatever their number."""
    sink = entities(path)
    for start in range(0, rows, STEP):
        land(sink, start, range(start, start + STEP))


def scatter(path: str, rows: int, keys: int, told: Connection) -> None:
    """Upsert as many keys, from all over the table, in a process of its own; tell by how much its peak grew."""
    sink = entities(path)
    before = peak_bytes()
    land(sink, rows, range(0, rows, rows // keys))
    told.send(peak_bytes() - before)


def in_process(target: object, *arguments: object) -> None:
    worker = SPAWN.Process(target=target, args=arguments)  # type: ignore[arg-type]  # a function
    worker.start()
    worker.join(240)
    assert worker.exitcode == 0


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell what a process holds")
def test_the_memory_of_an_upsert_does_not_grow_with_its_table(tmp_path: Path) -> None:
    """A thousand keys from all over a table of 40 MB, and of one of 340 MB: every file is read and written again, one after the other.

    An allocator keeps up to 50 MB more or less from one run to the next; the tables differ by six times that.
    """
    grew: list[int] = []
    for steps in (4, 34):
        path, rows = str(tmp_path / str(steps)), steps * STEP
        in_process(fill, path, rows)
        hears, tells = SPAWN.Pipe(duplex=False)
        in_process(scatter, path, rows, 1000, tells)
        grew.append(hears.recv())
    larger = 30 * STEP * PAYLOAD_BYTES
    assert grew[1] - grew[0] < larger // 3, [size / MIB for size in grew]
