"""Names that want to be paths, statements, markup or log lines are text everywhere: a corpus of them goes to every place for a name."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from prometheus_client.parser import text_string_to_metric_families

from landfast import events
from landfast.config import from_mapping
from landfast.config.settings import NAME_PATTERN
from landfast.decode.schema import parse_columns
from landfast.errors import Misconfigured, Rejected
from landfast.model import Decoded, Halt, Letter
from landfast.observe.health import health
from landfast.observe.logs import LogObserver, Redactor, logger
from landfast.observe.prometheus import exposition
from landfast.observe.state import State, reduce
from landfast.sinks.delta.landing.dead_letters import DeltaDeadLetters
from landfast.testing.clock import ManualClock
from tests.cli.table import ask
from tests.sinks.delta_proof import land, made
from tests.sinks.delta_world import NUMBERS, DeltaWorld, batch_of, chunk_of, stream, world_at

_CORPUS: dict[str, list[str]] = json.loads((Path(__file__).parents[1] / "corpus" / "names" / "names.json").read_text(encoding="utf-8"))
NAMES, TOPICS = _CORPUS["names"], _CORPUS["topics"]
SETTINGS: dict[str, Any] = {"name": "p", "source": {"servers": "h:1", "topics": ["t"]}, "sink": {"path": "table"}}
LOCAL_PATHS = [
    name for name in NAMES if re.search(r"\W|_", name) and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|[/~ ]", name) and len(name) <= 200
]


@pytest.fixture
def world(tmp_path: Path) -> DeltaWorld:
    """An empty world in a folder of its own."""
    return world_at(tmp_path)


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_x3_partition_values_leave_no_table_and_every_reader_finds_them(world: DeltaWorld, tmp_path: Path) -> None:
    """Those that would read back as others are refused by name; the rest come back as they were, and no file is beside the table."""
    world.settings = replace(world.settings, partition_by=("text",))
    sink = world.sink()

    def staged(names: list[str]) -> Any:
        rows = pa.table({"number": list(range(len(names))), "text": names}, schema=NUMBERS)
        return sink.stage(batch_of(Decoded(chunk_of(stream(0), range(len(names)), len(names)), rows), first=True))

    with pytest.raises(Rejected) as caught:
        staged(NAMES)
    refused = {NAMES[one.offset] for one in caught.value.refusals}
    assert refused == {name for name in NAMES if name in ("", "__HIVE_DEFAULT_PARTITION__") or len(name) >= 250 or name == "é" * 150}
    kept = [name for name in NAMES if name not in refused]
    sink.commit([staged(kept)])
    assert DeltaTable(world.path).to_pyarrow_table().sort_by("_offset").column("text").to_pylist() == kept
    assert pl.read_delta(world.path).sort("_offset")["text"].to_list() == kept
    found = duckdb.from_arrow(DeltaTable(world.path).to_pyarrow_dataset()).order("_offset").project("text").fetchall()
    assert [text for (text,) in found] == kept
    assert all(path.is_relative_to(world.path) for path in _files(tmp_path))


def _takes(name: str) -> bool:
    try:
        parse_columns({name: "int64"})
    except Misconfigured:
        return False
    return True


def test_x3_column_names_are_refused_or_come_back_from_every_reader(world: DeltaWorld) -> None:
    """SQL words, quotes, markup and control characters are names like any other, or no names at all."""
    names = [name for name in NAMES if _takes(name) and name.isprintable() and not re.search(r"[ ,;{}()=]", name)]
    names = list({name.lower(): name for name in names}.values())
    assert {"select", "quote'", "back`tick", "-rf", "/absolute"} <= {name.lower() for name in names}
    world.schema = pa.schema([pa.field(name, pa.int64()) for name in names])
    sink = world.sink()
    row = {name: [index] for index, name in enumerate(names)}
    decoded = Decoded(chunk_of(stream(0), [0], 1), pa.table(row, schema=world.schema))
    sink.commit([sink.stage(batch_of(decoded, first=True))])
    expected = list(range(len(names)))
    (back,) = DeltaTable(world.path).to_pyarrow_table().select(names).to_pylist()
    assert list(back.values()) == expected
    assert list(pl.read_delta(world.path).select(names).row(0)) == expected
    relation = duckdb.from_arrow(DeltaTable(world.path).to_pyarrow_dataset())
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    (found,) = relation.project(quoted).fetchall()
    assert list(found) == expected


@pytest.mark.parametrize("name", LOCAL_PATHS, ids=range(len(LOCAL_PATHS)))
def test_x3_a_table_lies_where_its_path_says_and_nowhere_else(name: str, tmp_path: Path) -> None:
    """Dots are resolved as an operator means them; percent signs, quotes, line ends and dollars are letters of a folder's name."""
    folder = tmp_path / "some" / "where"
    folder.mkdir(parents=True)
    try:
        path = Path(from_mapping({**SETTINGS, "sink": {"path": name}}, folder=folder).routes[0].sink.path)
        if path in folder.parents or path == folder:
            return
        world = DeltaWorld(str(path))
        sink = world.sink()
    except Misconfigured:
        assert _files(tmp_path) == set()
        return
    land(sink, made(stream(0), range(3), 3, first=True))
    sink.close()
    assert world.landed() == [("events", 0, offset) for offset in range(3)]
    assert path == Path(str(folder / name.rstrip("/"))).resolve() or ".." in name or name.startswith("./") or "//" in name
    assert all(file.is_relative_to(path) or str(file).startswith(f"{path}__") for file in _files(tmp_path))


def test_x3_topics_that_kafka_permits_land_and_are_found_again(world: DeltaWorld, tmp_path: Path) -> None:
    """Each is a stream of its own, with its own position and letters, whatever it looks like."""
    from_mapping({**SETTINGS, "source": {"servers": "h:1", "topics": TOPICS}})
    streams = [stream(0, topic) for topic in TOPICS]
    sink = world.sink()
    land(sink, *(made(lane, range(2), 2, first=True) for lane in streams))
    letters = DeltaDeadLetters(world.home())
    letters.claim(set(streams))
    headers = tuple((name, name.encode()) for name in NAMES)
    letters.put([Letter(lane, 7, 0, b"k", b"v", headers, "decode", "bad", "bad", 1, 1_700_000_000.0) for lane in streams])
    letters.close()
    again = world.sink()
    assert again.positions(tuple(streams)) == dict.fromkeys(streams, 2)
    assert {topic for topic, _, _ in world.landed()} == set(TOPICS)
    file = tmp_path / "pipeline.toml"
    source = f'[source]\nservers = "127.0.0.1:1"\ntopics = {json.dumps(TOPICS)}\n'
    file.write_text(f'name = "numbers"\n{source}[decode.columns]\nnumber = "int64 not null"\ntext = "string"\n[sink]\npath = "table"\n')
    listed = ask("dead-letters", "list", file, "--json").data["letters"]
    assert sorted(one["topic"] for one in listed) == sorted(TOPICS)
    shown = ask("dead-letters", "show", file, listed[0]["id"]).out
    assert all(line.isprintable() for line in shown.splitlines())
    assert shown.count("\nheader ") == len(NAMES)


def test_x3_a_pipeline_and_a_topic_are_called_by_harmless_names_only() -> None:
    """What becomes part of a group's name, a label and a table's application id has no room for anything else."""
    for name in NAMES:
        assert _accepted({"name": name}) == (re.fullmatch(NAME_PATTERN, name) is not None and len(name) <= 100), name
        topic = {"source": {"servers": "h:1", "topics": [name]}}
        assert _accepted(topic) == (re.fullmatch(r"[A-Za-z0-9._-]{1,249}", name) is not None), name


def _accepted(changes: dict[str, Any]) -> bool:
    try:
        from_mapping({**SETTINGS, **changes})
    except Misconfigured:
        return False
    return True


def _happened(name: str) -> Iterator[events.Event]:
    lane = stream(0, name)
    yield events.Notice(name, "KAFKA_CLIENT", name)
    yield events.LaneHalted(name, lane, 5, Halt("DATA_EXPIRED", name, name))
    yield events.RetryScheduled(name, "SINK_DOWN", "transient", 1, 1.0, name)


def test_x3_no_name_forges_a_line_a_metric_or_a_state_of_health() -> None:
    """As topic, route and message: one printable line each, metrics that a parser reads back, and health that is one JSON object."""
    for name in NAMES:
        state = State()
        for as_json in (False, True):
            out = io.StringIO()
            log = LogObserver(logger(out, as_json=as_json, redact=Redactor(), clock=ManualClock()))
            for event in _happened(name):
                log.notice(event)
            lines = out.getvalue().split("\n")
            assert [line.isprintable() for line in lines] == [True] * 4
            assert [json.loads(line)["event"] for line in lines[:-1] if as_json] == (
                ["notice", "lane_halted", "retry_scheduled"] if as_json else []
            )
        for event in _happened(name):
            state = reduce(state, event, 1.0)
        families = list(text_string_to_metric_families(exposition(lambda state=state: state).decode()))
        assert "forged" not in {family.name for family in families}
        values = {value for family in families for sample in family.samples for value in sample.labels.values()}
        assert name in values
        assert len(json.loads(json.dumps(health(state).to_json()))["concerns"]) >= 1
