"""Of several routes, one whose table cannot be used at the start does not stop the others."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from landfast import Pipeline
from landfast.core.report import Outcome
from landfast.errors import Broken, Misconfigured
from landfast.model import Guarantee, Level, Stream
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import create_topic
from landfast.wiring.unopened import Unopened
from tests.cli.command import fill, good, landfast, rows


def routes_file(folder: Path, servers: str, topics: tuple[str, str], start: str = "earliest", column: str = "int64") -> Path:
    """Two routes; the second lands in the table `odd`."""
    file = folder / "p.toml"
    file.write_text(
        f"""
        name = "{topics[0]}"
        source = {{ servers = "{servers}", start = "{start}" }}
        [[routes]]
        name = "well"
        topics = ["{topics[0]}"]
        sink = {{ path = "well" }}
        decode = {{ columns = {{ id = "int64 not null", name = "string" }} }}
        [[routes]]
        name = "odd"
        topics = ["{topics[1]}"]
        sink = {{ path = "odd" }}
        decode = {{ columns = {{ id = "{column}", name = "string" }} }}
        """,
        encoding="utf-8",
    )
    return file


@pytest.mark.system
def test_the_others_land_and_the_wrong_one_is_named(kafka: RealKafka, tmp_path: Path) -> None:
    """The rows of the sound route land, the other's table stays as it is, and the run ends with 2, route, table and code on the screen."""
    topics = ("wrong-well", "wrong-odd")
    for topic in topics:
        fill(kafka.servers, topic, good(30), partitions=2)
    write_deltalake(str(tmp_path / "odd"), pa.table({"id": ["text"]}))
    file = routes_file(tmp_path, kafka.servers, topics)
    ended = landfast("run", file, "--until-end")
    assert ended.code == 2
    assert "column id is string in the table and int64 here" in ended.err
    assert f"  where: route odd → {tmp_path / 'odd'}\n" in ended.err
    assert "this route is not read: " in ended.err
    assert "  lanes: wrong-odd[0-1]\n" in ended.err
    assert ended.err.count("SCHEMA_CONFLICT: ") == 1
    assert (rows(tmp_path / "well").num_rows, rows(tmp_path / "odd").num_rows) == (30, 1)
    again = json.loads(landfast("run", file, "--until-end", "--json").out)
    assert (again["outcome"], again["error"]["code"], again["totals"]["read"]) == ("refused", "SCHEMA_CONFLICT", 0)


@pytest.mark.system
@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_where_no_table_can_be_used_nothing_is_read(kafka: RealKafka, tmp_path: Path, start: str) -> None:
    """With every route broken from the start there is nothing to run: it is refused, with the first of them."""
    topics = (f"none-well-{start}", f"none-odd-{start}")
    for topic in topics:
        create_topic(kafka.servers, topic)
        write_deltalake(str(tmp_path / topic.split("-")[1]), pa.table({"id": ["text"]}))
    pipeline = Pipeline.from_file(routes_file(tmp_path, kafka.servers, topics, start))
    with pytest.raises(Misconfigured) as caught:
        pipeline.run(until_end=True)
    assert caught.value.place.startswith("route well → ")


@pytest.mark.system
def test_a_wrong_table_beside_one_that_starts_at_the_latest_record(kafka: RealKafka, tmp_path: Path) -> None:
    """The sound table is asked what it holds, the other is not."""
    topics = ("late-well", "late-odd")
    for topic in topics:
        fill(kafka.servers, topic, good(3))
    write_deltalake(str(tmp_path / "odd"), pa.table({"id": ["text"]}))
    report = Pipeline.from_file(routes_file(tmp_path, kafka.servers, topics, "latest")).run(until_end=True)
    assert (report.outcome, report.totals.read) == (Outcome.REFUSED, 0)


@pytest.mark.system
def test_what_is_wrong_in_the_file_refuses_every_route(kafka: RealKafka, tmp_path: Path) -> None:
    """A column of a type that does not exist is a slip in the settings: nothing runs, and no table is made."""
    topics = ("slip-well", "slip-odd")
    for topic in topics:
        create_topic(kafka.servers, topic)
    ended = landfast("run", routes_file(tmp_path, kafka.servers, topics, column="int46"), "--until-end")
    assert ended.code == 2
    assert "SCHEMA_INVALID: decode.columns.id: there is no type 'int46'" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["p.toml"]


def test_nothing_is_ever_done_by_what_stands_in_its_place() -> None:
    """Each call of its decoder, sink and dead letters raises what was wrong; closing it is no act."""
    error = Broken("LOG_CORRUPT", "m")
    absent = Unopened(error, Guarantee(Level.EXACTLY_ONCE, "r"))
    stream = Stream("t", "id", 0)
    calls = [
        lambda: absent.decode(None),  # type: ignore[arg-type] — it is not looked at
        lambda: absent.positions([stream]),
        lambda: absent.take_over([stream]),
        lambda: absent.stage(None),  # type: ignore[arg-type] — as above
        lambda: absent.commit([]),
        lambda: absent.maintain(1.0),
        lambda: absent.claim([stream]),
        lambda: absent.put([]),
        lambda: absent.buried(stream, 0),
    ]
    for call in calls:
        with pytest.raises(Broken) as caught:
            call()
        assert caught.value is error
    absent.close()
