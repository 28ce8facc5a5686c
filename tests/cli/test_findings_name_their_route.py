"""With several routes an error is of use only where it names its own: the route, the table, the column."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from landfast.config import EngineSettings, RouteSettings, from_mapping, load
from landfast.errors import Misconfigured, Unavailable, together
from landfast.events import Notice, RetryScheduled
from landfast.model import Stream
from landfast.system import SystemClock
from landfast.testing.clock import ManualClock
from landfast.testing.memory import MemoryGroup, MemoryLog, MemorySource, RecordingObserver
from landfast.wiring import Silence, Site, new_run, patiently
from landfast.wiring.build import route_of
from landfast.wiring.look import bounds_of, idle_acceptances
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
    assert "  where: source 127.0.0.1:1\n" in said.err
    found = [one for one in json.loads(ask("check", file, "--json").out)["findings"] if one["code"] == "SCHEMA_CONFLICT"]
    assert len(found) > 1
    assert {one["where"] for one in found} == {where}


def test_findings_of_one_kind_are_one_block(file: Path) -> None:
    """What is wrong in the same way at the same place shares its advice instead of repeating it."""
    said = ask("check", file)
    assert said.err.count("SCHEMA_CONFLICT: ") == 1
    assert all(f"the table demands the column {name}" in said.err for name in "xyz")


def test_a_run_names_all_that_is_wrong_with_a_table_at_once(file: Path) -> None:
    """One round of corrections is enough for `run` as for `check`."""
    settings = load(file, {})
    with pytest.raises(Misconfigured) as caught:
        route_of(settings, settings.routes[1], new_run("numbers", "", ManualClock()), Site(SystemClock(), Silence()), None)
    assert caught.value.place == f"route odd → {file.parent / 'odd'}"
    assert all(f"the table demands the column {name}" in caught.value.message for name in "xyz")


def test_a_wrong_column_names_its_place_and_route(file: Path) -> None:
    """A type that does not exist is found by the key that holds it."""
    file.write_text(file.read_text().replace('id = "int64"', 'id = "int46"'), encoding="utf-8")
    said = ask("check", file)
    assert "SCHEMA_INVALID: decode.columns.id: there is no type 'int46'; did you mean int64?\n" in said.err
    assert all(f"  where: route {name} → " in said.err for name in ("sound", "odd"))


@pytest.mark.parametrize(
    ("decode", "words"),
    [
        ("", "voltage: they stay null, and fields of these names go to _rescued"),
        ('unknown_fields = "dead"', "voltage: they stay null, and a field of such a name makes a dead letter"),
        ('unknown_fields = "evolve"', None),
    ],
)
def test_a_column_that_only_the_table_has_is_mentioned(tmp_path: Path, decode: str, words: str | None) -> None:
    """A column taken out of the settings is no fault, and its values must not go elsewhere without a word."""
    (tmp_path / "p.toml").write_text(
        f"""
        name = "numbers"
        source = {{ servers = "127.0.0.1:1", topics = ["a"], request_seconds_max = 0.2 }}
        sink = {{ path = "lake" }}
        [decode]
        columns = {{ id = "int64" }}
        {decode}
        """,
        encoding="utf-8",
    )
    settings = load(tmp_path / "p.toml", {})
    (route,) = settings.routes
    wider = replace_columns(route, {"id": "int64", "voltage": "float64"})
    run = new_run("numbers", "", ManualClock())
    route_of(settings, wider, run, Site(SystemClock(), Silence()), None)
    observer = RecordingObserver()
    route_of(settings, route, run, Site(SystemClock(), observer), None)
    notes = [notice.message for notice in observer.of(Notice) if notice.code == "COLUMNS_LEFT_OUT"]
    well = {one["subject"]: one["words"] for one in json.loads(ask("check", tmp_path / "p.toml", "--json").out)["well"]}
    seen = well[f"route numbers → {tmp_path / 'lake'}"]
    if words is None:
        assert (notes, "they stay null" in seen) == ([], False)
    else:
        assert notes == [f"the settings do not name the table's columns {words}"]
        assert seen.endswith(notes[0])


def replace_columns(route: RouteSettings, columns: dict[str, str]) -> RouteSettings:
    """The same route with other columns."""
    return route.model_copy(update={"decode": route.decode.model_copy(update={"columns": columns})})


def test_topics_that_a_route_names_must_be_there(tmp_path: Path) -> None:
    """With a pattern at the source, a topic that a route names and nobody has is refused all the same."""
    route = {"name": "a", "topics": ["ta", "tb"], "sink": {"path": "a"}}
    settings = from_mapping({"name": "n", "source": {"servers": "h:1", "topic_pattern": "^t"}, "routes": [route]}, folder=tmp_path)
    log = MemoryLog()
    log.create("ta", partitions=1)
    with pytest.raises(Misconfigured, match="no such topic: tb"):
        bounds_of(settings, MemorySource(MemoryGroup(log, ["ta"]), "worker", ManualClock()))


@pytest.mark.parametrize(
    ("line", "below", "words"),
    [
        ("ta[0]", 3, ""),
        ("ta[0]", 4, '"ta[0]" = 4: the log ends at 3, before that offset'),
        ("ta[1]", 0, '"ta[1]" = 0: there is no such partition'),
        ("ta[0]@former", 3, '"ta[0]@former" = 3: the topic\'s id is '),
    ],
)
def test_a_line_that_accepts_nothing_is_named_and_refuses_nobody(tmp_path: Path, line: str, below: int, words: str) -> None:
    """A line that a former topic left behind, or a slip, must not stop the other lanes: it is told with what it says and why."""
    body = {"servers": "h:1", "topics": ["ta"], "accept_expired": {line: below}}
    settings = from_mapping({"name": "n", "source": body, "sink": {"path": "a"}}, folder=tmp_path)
    log = MemoryLog()
    (stream,) = log.create("ta", partitions=1)
    for number in range(3):
        log.append("ta", 0, b"%d" % number)
    bounds = bounds_of(settings, MemorySource(MemoryGroup(log, ["ta"]), "worker", ManualClock()))
    assert bounds[stream].end == 3
    told = idle_acceptances(settings, bounds)
    assert told.startswith(f"source.accept_expired has lines without effect: {words}") if words else not told


def test_of_many_lines_that_accept_nothing_some_are_named(tmp_path: Path) -> None:
    """A message stays readable: ten lines, and how many more there are."""
    body = {"servers": "h:1", "topics": ["ta"], "accept_expired": {f"ta[{partition}]": 1 for partition in range(12)}}
    settings = from_mapping({"name": "n", "source": body, "sink": {"path": "a"}}, folder=tmp_path)
    told = idle_acceptances(settings, {})
    assert told.count("there is no such partition") == 10
    assert told.endswith("; and 2 more")


def test_waiting_for_a_store_says_for_whose() -> None:
    """A line about a store that does not answer names the route that waits for it."""
    clock = ManualClock()
    observer = RecordingObserver()
    failures = [Unavailable("SINK_DOWN", "the store does not answer").at("route odd → s3://b/t")]

    def opening() -> str:
        if failures:
            raise failures.pop()
        return "open"

    assert patiently("a table", opening, EngineSettings(), Site(clock, observer)) == "open"
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
