"""`landfast run` on a real broker: it lands what the log holds, stops as asked, and says how it went."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, produce
from landfast.testing.local_ports import free_ports
from tests.cli.command import SECONDS_MAX, Running, coordinates, fill, good, landfast, pipeline_file, rows

pytestmark = pytest.mark.system


def test_a_bounded_run_lands_all_and_prints_its_equation(kafka: RealKafka, tmp_path: Path) -> None:
    """`run --until-end` lands every good record once, buries the bad one, prints the equation per stream and in all, and exits 0."""
    fill(kafka.servers, "bounded", [*good(29), b"no json", None], partitions=2)
    ended = landfast("run", pipeline_file(tmp_path, kafka.servers, "bounded"), "--until-end")
    assert ended.code == 0, ended.err
    assert "bounded[0]  read 16 = written 15 + dead 0 + skipped 1 (tombstone 1)" in ended.out
    assert "bounded[1]  read 15 = written 14 + dead 1 + skipped 0" in ended.out
    assert "in all      read 31 = written 29 + dead 1 + skipped 1 (tombstone 1)" in ended.out
    table = rows(tmp_path / "lake")
    assert sorted(table.column("id").to_pylist()) == list(range(29))
    assert len(set(coordinates(tmp_path / "lake"))) == 29
    assert rows(tmp_path / "lake__dead_letters").column("value").to_pylist() == [b"no json"]


def test_a_second_run_reads_nothing_again(kafka: RealKafka, tmp_path: Path) -> None:
    """The table remembers how far it got: the next run reads only what is new, and as JSON its report says so."""
    fill(kafka.servers, "again", good(20))
    file = pipeline_file(tmp_path, kafka.servers, "again")
    first = landfast("run", file, "--until-end", "--json").report
    produce(kafka.servers, [Record("again", value, 0) for value in good(5, first=20)])
    second = landfast("run", file, "--until-end", "--json").report
    third = landfast("run", file, "--until-end", "--json").report
    assert [report["totals"]["read"] for report in (first, second, third)] == [20, 5, 0]
    assert {first["outcome"], second["outcome"], third["outcome"]} == {"finished"}
    assert len(coordinates(tmp_path / "lake")) == 25


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.museum(14)
def test_p10_a_signal_lands_what_was_read_and_nothing_is_read_again(kafka: RealKafka, tmp_path: Path, number: signal.Signals) -> None:
    """50 events and Ctrl-C: 50 landed although the batch holds 500,000 and waits an hour, exit 0, zero read again at the next start."""
    topic, (port,) = f"stopped-{number.name}", free_ports(1)
    fill(kafka.servers, topic, good(50))
    file = pipeline_file(tmp_path, kafka.servers, topic, batch={"seconds": 3600.0})
    with Running("run", file, "--metrics", port, "--json") as running:
        running.wait_until_read(port, 50)
        running.signal(number)
        ended = running.ended()
    assert (ended.code, ended.report["outcome"], ended.report["totals"]["written"], ended.report["abandoned"]) == (0, "stopped", 50, 0)
    assert '"event":"stop_asked","seconds_max":30.0' in ended.err
    again = landfast("run", file, "--until-end", "--json")
    assert (again.code, again.report["totals"]["read"], len(coordinates(tmp_path / "lake"))) == (0, 0, 50)


def test_a_stop_in_the_middle_lands_full_batches_and_the_rest(kafka: RealKafka, tmp_path: Path) -> None:
    """130 events with batches of 100, then SIGTERM: 100 and 30."""
    (port,) = free_ports(1)
    fill(kafka.servers, "middle", good(130))
    file = pipeline_file(tmp_path, kafka.servers, "middle", batch={"rows": 100, "seconds": 3600.0})
    with Running("run", file, "--metrics", port, "--json") as running:
        running.wait_until_read(port, 130)
        running.signal(signal.SIGTERM)
        ended = running.ended()
    landed = [json.loads(line) for line in ended.err.splitlines() if '"batch_landed"' in line]
    assert (ended.code, sum(event["written"] for event in landed)) == (0, 130)
    assert len(coordinates(tmp_path / "lake")) == 130


def test_p12_a_second_signal_ends_at_once(kafka: RealKafka, tmp_path: Path) -> None:
    """While a store takes connections and never answers, the first signal asks and the second ends the process at once, with 130.

    Nothing is lost: a run into a table that answers lands the record once.
    """
    fill(kafka.servers, "hangs", good(1))
    with socket.socket() as store:
        store.settimeout(SECONDS_MAX)
        store.bind(("127.0.0.1", 0))
        store.listen()
        options = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.getsockname()[1]}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "x",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
        }
        file = pipeline_file(tmp_path, kafka.servers, "hangs", sink={"path": "s3://bucket/table", "storage_options": options})
        with Running("run", file) as running:
            connection, _ = store.accept()
            with connection:
                running.signal(signal.SIGINT)
                running.signal(signal.SIGTERM)
                ended = running.ended()
    assert ended.code == 130
    assert "SHUTDOWN_FORCED: stopped at once. Nothing is lost" in ended.err
    assert "Traceback" not in ended.err
    assert landfast("run", pipeline_file(tmp_path, kafka.servers, "hangs"), "--until-end").code == 0
    assert coordinates(tmp_path / "lake") == [("hangs", 0, 0)]


def test_a_broken_route_does_not_stop_the_others(kafka: RealKafka, tmp_path: Path) -> None:
    """One route's lane halts on too many dead letters; the other lands all it has; the run exits 3 and names lane, code and way out."""
    fill(kafka.servers, "route-bad", [b"garbage"] * 40)
    fill(kafka.servers, "route-good", good(40))
    file = tmp_path / "p.toml"
    file.write_text(
        f"""
        name = "routes"
        [source]
        servers = "{kafka.servers}"
        [decode.columns]
        id = "int64 not null"
        name = "string"
        [[routes]]
        name = "bad"
        topics = ["route-bad"]
        sink = {{ path = "bad" }}
        dead_letters = {{ max_in_a_row = 10 }}
        [[routes]]
        name = "good"
        topics = ["route-good"]
        sink = {{ path = "good" }}
        """,
        encoding="utf-8",
    )
    ended = landfast("run", file, "--until-end", "--json")
    assert ended.code == 3
    assert [error["code"] for error in ended.errors] == ["DLQ_RATE"]
    assert ended.errors[0]["where"].endswith("bad, route-bad[0]")
    assert all(error["safe"] and error["next"] for error in ended.errors)
    assert len(coordinates(tmp_path / "good")) == 40
    assert not coordinates(tmp_path / "bad")


def test_empty_partitions_and_an_empty_topic_end_a_bounded_run(kafka: RealKafka, tmp_path: Path) -> None:
    """A topic with all records in one of ten partitions, and a topic with none, come to their end."""
    fill(kafka.servers, "empty", [])
    fill(kafka.servers, "uneven", [], partitions=10)
    produce(kafka.servers, [Record("uneven", value, 3) for value in good(100)])
    file = pipeline_file(tmp_path, kafka.servers, "uneven", source={"topics": ["uneven", "empty"]})
    ended = landfast("run", file, "--until-end", "--json")
    assert (ended.code, ended.report["totals"]["written"]) == (0, 100)


def test_raw_and_the_columns_of_an_existing_table(kafka: RealKafka, tmp_path: Path) -> None:
    """`raw` lands bytes as they are; without columns in the file they come from the table."""
    fill(kafka.servers, "raw", [b"\x00\xff", b"{}"])
    file = pipeline_file(tmp_path, kafka.servers, "raw", decode={"format": "raw", "columns": None})
    assert landfast("run", file, "--until-end").code == 0
    assert rows(tmp_path / "lake").column("value").to_pylist() == [b"\x00\xff", b"{}"]
    other = tmp_path / "other"
    other.mkdir()
    fill(kafka.servers, "known", good(3))
    assert landfast("run", pipeline_file(other, kafka.servers, "known"), "--until-end").code == 0
    produce(kafka.servers, [Record("known", value, 0) for value in good(3, first=3)])
    assert landfast("run", pipeline_file(other, kafka.servers, "known", decode={"columns": None}), "--until-end").code == 0
    assert sorted(rows(other / "lake").column("id").to_pylist()) == list(range(6))


def test_variables_and_secrets_reach_the_run_and_no_output(kafka: RealKafka, tmp_path: Path) -> None:
    """A variable overrides the file, a secret by `env:` opens the broker's door, and its text is in no output."""
    fill(kafka.servers, "secret", good(3))
    file = pipeline_file(
        tmp_path,
        "unset:1",
        "secret",
        source={
            "options": {
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "PLAIN",
                "sasl.username": "reader",
                "sasl.password": "env:READER_PASSWORD",
            }
        },
    )
    environment = {"LANDFAST_SOURCE__SERVERS": kafka.sasl_servers, "READER_PASSWORD": "canary-9b1e"}
    ended = landfast("run", file, "--until-end", "--json", environment=environment)
    assert ended.code == 2
    assert [error["code"] for error in ended.errors] == ["SOURCE_AUTH"]
    assert "canary-9b1e" not in ended.out + ended.err
