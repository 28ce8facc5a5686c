"""status and verify beside a real broker: lag is exact, the log is read again, and a change in it is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, delete_records, produce
from tests.cli.command import fill, good, landfast, pipeline_file

pytestmark = pytest.mark.system


def test_status_shows_the_way_of_a_pipeline(kafka: RealKafka, tmp_path: Path) -> None:
    """Not started, at the end, behind by exactly what was produced, expired where retention was faster: each with its next step."""
    topic = "status-way"
    fill(kafka.servers, topic, good(30), partitions=2)
    file = pipeline_file(tmp_path, kafka.servers, topic)

    def look() -> tuple[list[tuple[int | None, int, str]], str]:
        data = landfast("status", file, "--json").report
        return [(one["position"], one["lag"], one["state"]) for one in data["routes"][0]["streams"]], data["next"][0]

    streams, step = look()
    assert streams == [(None, 15, "not started")] * 2
    assert "landfast run" in step
    assert landfast("run", file, "--until-end").code == 0
    streams, step = look()
    assert streams == [(15, 0, "at the end")] * 2
    assert step.startswith("Nothing")
    produce(kafka.servers, [Record(topic, value, 0) for value in good(5, first=30)])
    assert look()[0] == [(15, 5, "behind"), (15, 0, "at the end")]
    delete_records(kafka.servers, topic, 0, before=18)
    streams, step = look()
    assert streams == [(15, 2, "DATA_EXPIRED"), (15, 0, "at the end")]
    assert step.startswith("DATA_EXPIRED")


def test_verify_reads_the_log_again(kafka: RealKafka, tmp_path: Path) -> None:
    """With --source every span is compared with the log; what retention took is said to be unchecked: a proof in part, and no fault."""
    topic = "verify-again"
    fill(kafka.servers, topic, [*good(20), b"no json", None])
    file = pipeline_file(tmp_path, kafka.servers, topic)
    assert landfast("run", file, "--until-end").code == 0
    proved = landfast("verify", file, "--source", "--json")
    assert (proved.code, proved.report["outcome"], proved.report["unchecked"]) == (0, "proved", [])
    assert proved.report["totals"]["read"] == 22
    assert proved.report["compared"] == {"spans": proved.report["checked_spans"], "records": 22}
    delete_records(kafka.servers, topic, 0, before=10)
    partly = landfast("verify", file, "--source", "--json")
    assert (partly.code, partly.report["proved"], partly.report["outcome"]) == (0, True, "proved_in_part")
    assert [(one["topic"], one["partition"], one["start"]) for one in partly.report["unchecked"]] == [(topic, 0, 0)]
    assert partly.report["compared"]["records"] < 22
    assert "compared with the log, read again: " in landfast("verify", file, "--source").out
