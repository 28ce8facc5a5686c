"""Topics as they are found in the field: mostly empty, quiet at the latest record, or with headers that no client can read."""

from __future__ import annotations

import ctypes
import signal
from pathlib import Path

import confluent_kafka
import pytest

from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, create_topic, produce
from tests.system import accountant
from tests.system.field import Load, line, pipeline, rows, until

pytestmark = pytest.mark.system

BATCH = "[batch]\nrows = 5000\nseconds = 0.5\n"


def test_empty_partitions_hold_nothing_up(kafka: RealKafka, tmp_path: Path) -> None:
    """One partition with records beside nine empty ones lands in a run without an end, and a stop is quick."""
    create_topic(kafka.servers, "lonely", 10)
    load, made = Load(kafka.servers, "lonely", 10, tmp_path / "truth.jsonl"), pipeline(tmp_path, kafka.servers, "lonely", BATCH)
    load.produce(2000, partition=3)
    with made.worker() as worker:
        until(lambda: rows(made.table) == 1980, [worker])
        worker.signal(signal.SIGTERM)
        assert worker.end(20) == 0, worker.output[-3000:]
    accountant.settle(load.truth, made.table)


def test_a_quiet_stream_keeps_the_place_where_it_began(kafka: RealKafka, tmp_path: Path) -> None:
    """A run that starts at the latest record and meets none has fixed its beginning: nothing written after it is skipped."""
    create_topic(kafka.servers, "quiet", 1)
    produce(kafka.servers, [Record("quiet", line("quiet", 0, number), 0) for number in range(10)])
    made = pipeline(tmp_path, kafka.servers, "quiet", BATCH, source='start = "latest"')
    with made.worker() as worker:
        until(lambda: "batch_landed" in worker.output, [worker])
        worker.signal(signal.SIGTERM)
        assert worker.end(20) == 0, worker.output[-3000:]
    produce(kafka.servers, [Record("quiet", line("quiet", 0, number), 0) for number in range(10, 60)])
    made.land()
    assert rows(made.table) == 50


def test_a_bounded_run_with_nothing_to_read_joins_no_group(kafka: RealKafka, tmp_path: Path) -> None:
    """Run again and again by a clock, it leaves no member behind that the next run would have to wait for."""
    create_topic(kafka.servers, "ticking", 2)
    load, made = Load(kafka.servers, "ticking", 2, tmp_path / "truth.jsonl"), pipeline(tmp_path, kafka.servers, "ticking", BATCH)
    for _ in range(3):
        load.produce(10)
        for _ in range(3):
            done = made.landfast("run", "--until-end")
            assert done.returncode == 0, done.stdout + done.stderr
        assert "stream_gained" not in done.stdout + done.stderr
    accountant.settle(load.truth, made.table)


def test_headers_that_cannot_be_read_stop_nothing(kafka: RealKafka, tmp_path: Path) -> None:
    """A record with a header name that is not UTF-8 lands like its neighbours."""
    create_topic(kafka.servers, "headed", 1)
    for number, name in enumerate((None, b"caf\xe9", None)):
        produce_with_header(kafka.servers, "headed", line("headed", 0, number), name)
    made = pipeline(tmp_path, kafka.servers, "headed", BATCH)
    made.land()
    assert rows(made.table) == 3


def produce_with_header(servers: str, topic: str, value: bytes, name: bytes | None) -> None:
    """Produce with librdkafka itself, since the Python client takes only names that are text."""
    library = next((Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka*"))
    rdkafka = ctypes.CDLL(str(library))
    for function in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_headers_new"):
        getattr(rdkafka, function).restype = ctypes.c_void_p
    said = ctypes.create_string_buffer(512)
    settings = ctypes.c_void_p(rdkafka.rd_kafka_conf_new())
    rdkafka.rd_kafka_conf_set(settings, b"bootstrap.servers", servers.encode(), said, len(said))
    client = ctypes.c_void_p(rdkafka.rd_kafka_new(0, settings, said, len(said)))
    topic_type, value_type, flags_type, headers_type, end = 1, 4, 7, 10, 0  # rd_kafka_vtype_t
    words = [ctypes.c_int(topic_type), ctypes.c_char_p(topic.encode()), ctypes.c_int(value_type), ctypes.c_char_p(value)]
    words += [ctypes.c_size_t(len(value)), ctypes.c_int(flags_type), ctypes.c_int(2)]
    if name is not None:
        headers = ctypes.c_void_p(rdkafka.rd_kafka_headers_new(1))
        rdkafka.rd_kafka_header_add(headers, name, ctypes.c_ssize_t(len(name)), b"x", ctypes.c_ssize_t(1))
        words += [ctypes.c_int(headers_type), headers]
    assert rdkafka.rd_kafka_producev(client, *words, ctypes.c_int(end)) == 0
    assert rdkafka.rd_kafka_flush(client, 10_000) == 0
    rdkafka.rd_kafka_destroy(client)
