"""What is proven on the simulated table and log is true of real ones: the same generated scripts get the same answers, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from landfast.model import Stream
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, produce_transactions
from landfast.testing.memory import MemorySinkSettings, MemorySourceSettings
from landfast.testing.suites import Draft
from landfast.testing.suites.scripts import log_answers, sink_answers
from tests.contracts.test_delta_contract import DeltaSinkHarness
from tests.contracts.test_kafka_contract import KafkaHarness
from tests.contracts.test_memory_ports import MemorySinkHarness, MemorySourceHarness


class MemoryLogHarness(MemorySourceHarness):
    """The log in memory, written in transactions too."""

    def transact(self, stream: Stream, records: Sequence[Draft], *, committed: bool) -> None:
        """A marker ends a transaction; what was aborted is a gap."""
        if committed:
            self.produce(stream, records)
        self._log.append_marker(stream.topic, stream.partition, 1 if committed else len(records) + 1)


class KafkaLogHarness(KafkaHarness):
    """A topic, written in transactions too."""

    def transact(self, stream: Stream, records: Sequence[Draft], *, committed: bool) -> None:
        """By a transactional producer."""
        batch = [Record(self._topic, draft.value, stream.partition, draft.key, draft.headers, draft.timestamp) for draft in records]
        produce_transactions(self._servers, [(committed, batch)], identity=self._topic)


@pytest.mark.parametrize("seed", range(6))
def test_the_simulated_table_answers_like_a_real_one(seed: int, tmp_path: Path) -> None:
    """Take-overs, commits, stale commits, commits by another owner, positions, upkeep: a fake and a Delta table agree on all of it."""
    answers = sink_answers(MemorySinkHarness(MemorySinkSettings()), seed)
    assert sink_answers(DeltaSinkHarness(tmp_path), seed) == answers
    assert any("Conflict" in answer for answer in answers)


@pytest.mark.system
@pytest.mark.parametrize("seed", range(3))
def test_the_simulated_log_answers_like_a_real_one(seed: int, kafka: RealKafka) -> None:
    """Records, transactions that stand and that are called off, deleted records, seeks and ends: a fake and a broker agree on all of it."""
    answers = log_answers(MemoryLogHarness(MemorySourceSettings()), seed)
    assert log_answers(KafkaLogHarness(kafka.servers, "classic"), seed) == answers
