"""A real pipeline buries letters, and they are replayed while it goes on."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import pytest

from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, produce
from landfast.testing.local_ports import free_ports
from landfast.testing.wait import wait_until
from tests.cli.command import SECONDS_MAX, Running, coordinates, fill, good, landfast, pipeline_file

pytestmark = pytest.mark.system
MEND = """
def fix(letter):
    return letter.value.replace(b"'", b'"')
"""


def test_letters_are_replayed_beside_a_running_pipeline(kafka: RealKafka, tmp_path: Path) -> None:
    """Ten letters among sixty records become rows while more records land: each record is in one place, once, and the log agrees."""
    (port,) = free_ports(1)
    quoted = [value.replace(b'"', b"'") for value in good(10, first=50)]
    fill(kafka.servers, "redriven", [*good(50), *quoted], partitions=2)
    lenient = {"max_share": 1.0, "max_in_a_row": 1000}
    file = pipeline_file(tmp_path, kafka.servers, "redriven", batch={"seconds": 0.1}, dead_letters=lenient)
    mend = tmp_path / "mend.py"
    mend.write_text(MEND)
    with Running("run", file, "--metrics", port, "--json") as running:
        running.wait_until_read(port, 60)
        wait_until(lambda: len(coordinates(tmp_path / "lake")) == 50, SECONDS_MAX)
        produce(kafka.servers, (Record("redriven", value, index % 2) for index, value in enumerate(good(40, first=60))))
        replayed = landfast("dead-letters", "replay", file, "--where", "all", "--with", f"{mend}:fix", "--json")
        produce(kafka.servers, (Record("redriven", value, index % 2) for index, value in enumerate(good(40, first=100))))
        wait_until(lambda: len(coordinates(tmp_path / "lake")) == 140, SECONDS_MAX)
        running.signal(signal.SIGTERM)
        ended = running.ended()
    assert (replayed.code, json.loads(replayed.out)["outcomes"]) == (0, {"landed": 10}), replayed.err
    assert (ended.code, ended.report["totals"]["written"], ended.report["totals"]["dead"]) == (0, 130, 10), ended.err
    assert set(Counter(coordinates(tmp_path / "lake")).values()) == {1}
    proof = landfast("verify", file, "--source")
    assert proof.code == 0, proof.out
    assert "10 dead letters: 0 open, 10 replayed, 0 discarded" in proof.out
    assert "\nPROVED: " in proof.out
