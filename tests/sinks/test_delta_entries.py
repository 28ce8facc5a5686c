"""The log entries that Landfast writes are those that deltalake would have written, and land at one version or not at all."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable
from deltalake.transaction import AddAction

from landfast.sinks.delta.files.names import log_name
from landfast.sinks.delta.files.parquet import DataFile
from landfast.sinks.delta.log.entry_text import append_text
from tests.sinks.delta_world import DeltaWorld, stream

ODD = "".join(chr(code) for code in range(1, 128) if chr(code) != "/") + "é€😀\u00a0\u2028"


def actions(text: bytes, kind: str) -> list[dict[str, object]]:
    """The actions of a kind in an entry."""
    lines = [json.loads(line) for line in text.decode().split("\n") if line]
    return [line[kind] for line in lines if kind in line]


def test_files_are_named_as_deltalake_names_them(tmp_path: Path) -> None:
    """A file is removed by the text that added it: written otherwise, a compacted file would stay, and its rows would be there twice."""
    table = DeltaTable.create(tmp_path, pa.schema([("a", pa.int64()), ("p", pa.string())]), partition_by=["p"])
    stats = '{"numRecords":1}'
    files = [DataFile(f"p=x{odd}y/{ord(odd)}.parquet", 7, 1, {"p": odd}, 5, stats, "ab") for odd in ODD]
    files.append(DataFile("p=none/none.parquet", 7, 1, {"p": None}, 5, stats, "ab"))
    adds = [AddAction(file.path, file.nbytes, file.partition_values, file.modified_at, data_change=True, stats=stats) for file in files]
    table.create_write_transaction(
        adds, "append", table.schema(), partition_by=["p"], commit_properties=CommitProperties(custom_metadata={"isBlindAppend": True})
    )
    theirs = (tmp_path / log_name(1)).read_bytes()
    ours = append_text({"x": "y"}, {"app": 3}, files, partition_by=["p"], at_milliseconds=5)
    told = {add["path"]: {key: value for key, value in add.items() if value is not None} for add in actions(theirs, "add")}
    mine = {add["path"]: add for add in actions(ours, "add")}
    assert {str(add.pop("tags")) for add in mine.values()} == {"{'landfast.sha256': 'ab'}"}
    assert mine == told
    assert actions(ours, "txn") == [{"appId": "app", "version": 3}]
    (said,), (their,) = actions(ours, "commitInfo"), actions(theirs, "commitInfo")
    assert {key: said[key] for key in ("operation", "operationParameters", "isBlindAppend")} == {
        key: their[key] for key in ("operation", "operationParameters", "isBlindAppend")
    }
    assert said["x"] == "y"


def test_one_of_many_makes_a_version(world: DeltaWorld) -> None:
    """Threads that try at once: one makes the entry, whole, the others are told that it is there, and no draft stays behind."""
    files = world.home().files
    version = DeltaTable(world.path).version() + 1
    texts = [append_text({"who": number}, {}, [], partition_by=[], at_milliseconds=1) for number in range(16)]
    made: list[int] = []
    start = threading.Barrier(len(texts))

    def attempt(number: int) -> None:
        start.wait()
        if files.put_entry(version, texts[number]):
            made.append(number)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert files.read(log_name(version)) == texts[made[0]]
    assert not list((Path(world.path) / "_delta_log").glob(".*"))


@pytest.mark.parametrize("partition_by", [(), ("_partition",)])
def test_other_tools_go_on_where_landfast_has_landed(world: DeltaWorld, partition_by: tuple[str, ...]) -> None:
    """Another tool deletes, optimizes and checkpoints between our commits, and every row is there once."""
    sink = world.sink(partition_by=partition_by)
    lane = stream(0)
    for number in range(3):
        sink.commit([sink.stage(world.batch(lane, 10 * number, 10 * number + 10, first=number == 0))])
        DeltaTable(world.path).optimize.compact()
        DeltaTable(world.path).delete(f"number = {10 * number}")
        DeltaTable(world.path).create_checkpoint()
    assert world.landed() == [("events", 0, offset) for offset in range(30) if offset % 10]
    assert sink.positions([lane]) == {lane: 30}
