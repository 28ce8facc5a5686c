"""With several routes an error is of use only where it names its own: the route, the table, the column."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from landfast.config import EngineSettings
from landfast.errors import Misconfigured, Unavailable, together
from landfast.events import RetryScheduled
from landfast.model import Stream
from landfast.testing.clock import ManualClock
from landfast.testing.memory import RecordingObserver
from landfast.wiring import Site, patiently
from tests.cli.table import ask

_TWO_ROUTES = """
name = "numbers"
[source]
servers = "127.0.0.1:1"
request_seconds_max = 0.2
[decode.columns]
id = "int64"
[[routes]]
name = "sound"
topics = ["a"]
sink = { path = "sound" }
[[routes]]
name = "odd"
topics = ["b"]
sink = { path = "odd" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two routes; the table of the second is another's and demands columns that the settings do not have."""
    demanded = [pa.field(name, pa.string(), nullable=False) for name in ("x", "y", "z")]
    write_deltalake(str(tmp_path / "odd"), pa.table([["t"]] * 3, schema=pa.schema(demanded)))
    path = tmp_path / "p.toml"
    path.write_text(_TWO_ROUTES, encoding="utf-8")
    return path


def test_a_finding_of_check_names_route_and_table(file: Path) -> None:
    """Every finding of the second route says whose it is, on the screen and as JSON."""
    said = ask("check", file)
    where = f"route odd → {file.parent / 'odd'}"
    assert said.code == 1
    assert f"well   route sound → {file.parent / 'sound'}: will be created" in said.out
    assert f"  where: {where}\n" in said.err
    found = [one for one in json.loads(ask("check", file, "--json").out)["findings"] if one["code"] == "SCHEMA_CONFLICT"]
    assert len(found) > 1
    assert {one["where"] for one in found} == {where}


def test_findings_of_one_kind_are_one_block(file: Path) -> None:
    """What is wrong in the same way at the same place shares its advice instead of repeating it."""
    said = ask("check", file)
    assert said.err.count("SCHEMA_CONFLICT: ") == 1
    assert all(f"the table demands the column {name}" in said.err for name in "xyz")


def test_a_wrong_column_names_its_place_and_route(file: Path) -> None:
    """A type that does not exist is found by the key that holds it."""
    file.write_text(file.read_text().replace('id = "int64"', 'id = "int46"'), encoding="utf-8")
    said = ask("check", file)
    assert "SCHEMA_INVALID: decode.columns.id: there is no type 'int46'; did you mean int64?\n" in said.err
    assert all(f"  where: route {name} → " in said.err for name in ("sound", "odd"))


def test_waiting_for_a_store_says_for_whose() -> None:
    """A line about a store that does not answer names the route that waits for it."""
    clock = ManualClock()
    observer = RecordingObserver()
    failures = [Unavailable("SINK_DOWN", "the store does not answer").at("route odd → s3://b/t")]

    def opening() -> str:
        if failures:
            raise failures.pop()
        return "open"

    assert patiently(opening, EngineSettings(), Site(clock, observer)) == "open"
    (scheduled,) = observer.of(RetryScheduled)
    assert scheduled.message == "route odd → s3://b/t: the store does not answer"


def test_whoever_is_nearer_says_where() -> None:
    """A place once given is not overwritten by those who know less, and the stream comes with it."""
    error = Misconfigured("FOREIGN_PIPELINE", "m", stream=Stream("t", "id", 1), position=7).at("route a").at("the run")
    assert error.place == "route a, t[1] offset 7"
    assert str(error) == "FOREIGN_PIPELINE at route a, t[1] offset 7: m"


def test_errors_are_put_together_only_where_all_but_the_message_is_the_same() -> None:
    """Another code, place or next step is another error; the errors themselves stay as they are."""
    one, two = Misconfigured("A", "m1", next_step="n"), Misconfigured("A", "m2", next_step="n")
    elsewhere = Misconfigured("A", "m5", next_step="n").at("p")
    rest = [Misconfigured("B", "m3", next_step="n"), Misconfigured("A", "m4", next_step="o"), elsewhere]
    joined = together([one, *rest, two])
    assert [error.message for error in joined] == ["2 findings\n  m1\n  m2", "m3", "m4", "m5"]
    assert one.message == "m1"
