"""Services on a real broker, ended by real signals: each record is handled, and none acknowledged that was not."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from confluent_kafka import Consumer as Reader
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import admin, create_topic, delete_records
from landfast.testing.tcp_proxy import TcpProxy
from landfast.testing.wait import wait_until
from tests.sources.kafka_world import unique
from tests.system.service_process import SECONDS_MAX, Ground, Process, seconds_pass

pytestmark = pytest.mark.system


def members(servers: str, group: str) -> int:
    """How many members the group has, by what the broker says."""
    client = admin(servers)
    return len(client.describe_consumer_groups([group])[group].result(30).members)


LATE = {"batch": {"seconds": 3600.0}}
"""A batch is given when it is full, or at the end."""


@pytest.mark.parametrize(("count", "sizes"), [(50, [50]), (130, [100, 30])])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_has_the_remainder_handled(kafka: RealKafka, tmp_path: Path, count: int, sizes: list[int], number: signal.Signals) -> None:
    """50 events and Ctrl-C: 50 handled; 130 with batches of 100, then SIGTERM: 100 and 30. Exit 0, and nothing is given again."""
    ground = Ground(kafka.servers, tmp_path)
    ground.produce(count)
    with Process(ground.plan(settings=LATE)) as process:
        wait_until(lambda: ground.read == count and len(ground.lines("done")) == len(sizes) - 1, SECONDS_MAX)
        process.signal(number)
        assert (process.ended(), ground.ends(process.pid)) == (0, ["stopped", str(count), "0", "0"])
    assert [len(places) for places in ground.lines("done")] == sizes
    assert ground.offsets == {0: count}
    assert ground.run() == (0, ["finished", "0", "0", "0"])
    assert set(ground.handled.values()) == {1}


def test_a_kill_in_the_handler_gives_that_batch_again(kafka: RealKafka, tmp_path: Path) -> None:
    """SIGKILL while a batch is handled: the group stands before it, and the next start is given it, and what follows."""
    ground = Ground(kafka.servers, tmp_path)
    ground.produce(30)
    with Process(ground.plan(batch=10, trait="gate")) as process:
        ground.until("begin")
        process.signal(signal.SIGKILL)
        process.ended()
    assert ground.offsets in ({}, {0: 0})
    assert ground.run(batch=10) == (0, ["finished", "30", "0", "0"])
    assert (len(ground.handled), set(ground.handled.values()), ground.offsets) == (30, {1}, {0: 30})
    assert ground.lines("begin")[0] == ground.lines("begin")[1]


def test_two_instances_share_the_partitions_and_a_stop_hands_them_over(kafka: RealKafka, tmp_path: Path) -> None:
    """A second instance comes while the first one's handler is at work, then the first one goes: each record once, all of them."""
    ground = Ground(kafka.servers, tmp_path, partitions=4)
    ground.produce(200)
    with Process(ground.plan(batch=10, trait="gate")) as first:
        ground.until("begin")
        with Process(ground.plan(batch=10)) as second:
            # It has asked to join; what the first one is to give up, that one finishes first.
            wait_until(lambda: members(kafka.servers, ground.group) == 2, SECONDS_MAX)
            assert not ground.lines("done")
            ground.plan().gate.touch()
            wait_until(lambda: len(ground.handled) == 200, SECONDS_MAX)
            ground.produce(200)
            wait_until(lambda: len(ground.handled) == 400 and ground.lines("done", second.pid), SECONDS_MAX)
            first.signal(signal.SIGTERM)
            assert first.ended() == 0
            ground.produce(40)
            wait_until(lambda: len(ground.handled) == 440, SECONDS_MAX)
            second.signal(signal.SIGTERM)
            assert second.ended() == 0
    ground.demand_none_unhandled()
    assert set(ground.handled.values()) == {1}
    assert ground.offsets == dict.fromkeys(range(4), 110)


def test_a_kill_of_one_of_two_instances_loses_nothing(kafka: RealKafka, tmp_path: Path) -> None:
    """The one that is left takes over, from where the group stands: each record at least once, the killed one's batch again."""
    ground = Ground(kafka.servers, tmp_path, partitions=2)
    ground.produce(100)
    with Process(ground.plan(batch=10, trait="gate")) as first:
        ground.until("begin")
        with Process(ground.plan(batch=10)) as second:
            first.signal(signal.SIGKILL)
            first.ended()
            wait_until(lambda: len(ground.handled) == 100, SECONDS_MAX)
            second.signal(signal.SIGTERM)
            assert second.ended() == 0
    ground.demand_none_unhandled()
    assert ground.offsets == {0: 50, 1: 50}


def test_a_transient_failure_is_tried_again(kafka: RealKafka, tmp_path: Path) -> None:
    """A handler that fails three times and then works: one batch, handled once, and the retries are told with their class."""
    ground = Ground(kafka.servers, tmp_path)
    ground.produce(20)
    assert ground.run(trait="transient") == (0, ["finished", "20", "0", "0"])
    assert [words[:2] for words in ground.lines("retry")] == [["HANDLER_FAILED", "transient"]] * 3
    assert (len(ground.lines("begin")), set(ground.handled.values()), ground.offsets) == (4, {1}, {0: 20})


def test_records_that_cannot_be_handled_become_letters_in_a_topic(kafka: RealKafka, tmp_path: Path) -> None:
    """75 events of which two cannot pass: 73 handled once, two in the dead-letter topic, whole, with where they lay and why."""
    ground = Ground(kafka.servers, tmp_path)
    ground.produce(75, bad=(7, 40))
    dead = unique("dead")
    create_topic(kafka.servers, dead)
    assert ground.run(trait="data", dead_letters=dead) == (0, ["finished", "73", "2", "0"])
    assert (len(ground.handled), set(ground.handled.values()), ground.offsets) == (73, {1}, {0: 75})
    reader = Reader({"bootstrap.servers": kafka.servers, "group.id": "letters", "auto.offset.reset": "earliest", "log_level": 0})
    reader.assign([TopicPartition(dead, 0, 0)])
    letters = reader.consume(2, 30)
    reader.close()
    assert [letter.value() for letter in letters] == [b"bad 7", b"bad 40"]
    told = dict(letters[0].headers() or [])
    assert (told["landfast-topic"], told["landfast-partition"], told["landfast-offset"]) == (ground.topic.encode(), b"0", b"7")
    assert (told["landfast-reason"], told["landfast-phase"]) == (b"handler_refused", b"handle")
    assert int(told["landfast-attempts"]) > 1


def test_a_dead_letter_topic_that_is_not_there_is_found_out_first(kafka: RealKafka, tmp_path: Path) -> None:
    """A service whose dead letters have no place is refused before it reads anything."""
    ground = Ground(kafka.servers, tmp_path)
    ground.produce(1)
    with Process(ground.plan(dead_letters=unique("missing"), until_end=True)) as process:
        assert process.ended() != 0
        assert "TOPIC_MISSING" in process.output
    assert not ground.lines("begin")


def test_a_handler_that_hangs_is_given_up_after_the_deadline(kafka: RealKafka, tmp_path: Path) -> None:
    """A stop while the handler does not come back: the exit code and the error say so, and nothing of the batch is acknowledged."""
    ground = Ground(kafka.servers, tmp_path)
    ground.produce(20)
    with Process(ground.plan(batch=10, trait="gate", settings={"engine": {"shutdown_seconds": 0.5}})) as process:
        ground.until("begin")
        process.signal(signal.SIGTERM)
        assert process.ended() == 3
        assert ground.ends(process.pid)[0] == "halted"
        assert ground.ends(process.pid)[-1] == "HANDLER_HUNG"
    assert ground.offsets in ({}, {0: 0})
    assert ground.run() == (0, ["finished", "20", "0", "0"])


def test_a_second_signal_ends_a_service_at_once(kafka: RealKafka, tmp_path: Path) -> None:
    """The handler hangs and the deadline is far: the second Ctrl-C ends the process with 130, and nothing is acknowledged."""
    ground = Ground(kafka.servers, tmp_path)
    ground.produce(10)
    with Process(ground.plan(trait="gate", settings={"engine": {"shutdown_seconds": 3600.0}})) as process:
        ground.until("begin")
        process.signal(signal.SIGINT)
        # The first one has been heard when the signal is not pending any more; both are heard by one thread, in order.
        process.signal(signal.SIGTERM)
        assert process.ended() == 130
        assert "SHUTDOWN_FORCED" in process.output
    assert ground.offsets in ({}, {0: 0})


def test_a_broker_that_is_gone_at_the_stop(kafka: RealKafka, line: TcpProxy, tmp_path: Path) -> None:
    """The handler finished and its offsets cannot be kept: the exit code says so, and the next start gives that batch again."""
    ground = Ground(kafka.servers, tmp_path)
    ground.produce(10)
    settings = {"engine": {"shutdown_seconds": 2.0}, "source": {"request_seconds_max": 1.0}}
    with Process(ground.plan(servers=kafka.line_servers, trait="gate", settings=settings)) as process:
        ground.until("begin")
        line.cut()
        ground.plan().gate.touch()
        ground.until("retry")
        process.signal(signal.SIGTERM)
        assert process.ended() == 3
        assert ground.ends(process.pid)[:4] == ["stopped", "0", "0", "10"]
    line.heal()
    assert ground.offsets in ({}, {0: 0})
    assert ground.lines("retry")[0][0] == "OFFSETS_NOT_KEPT"
    assert ground.run() == (0, ["finished", "10", "0", "0"])
    assert set(ground.handled.values()) == {2}


def test_records_that_expired_halt_the_partition(kafka: RealKafka, tmp_path: Path) -> None:
    """Retention went past the group's offset: the service halts with the exact range, and skips nothing in silence."""
    ground = Ground(kafka.servers, tmp_path)
    ground.produce(10)
    assert ground.run()[0] == 0
    ground.produce(10)
    delete_records(kafka.servers, ground.topic, 0, 15)
    assert ground.run() == (3, ["halted", "0", "0", "0", "DATA_EXPIRED"])
    assert ground.offsets == {0: 10}


def test_offsets_that_expired_begin_again_and_skip_nothing(kafka: RealKafka, tmp_path: Path) -> None:
    """The broker forgot the group's offsets: everything that the log still has is given again, never passed over."""
    ground = Ground(kafka.servers, tmp_path)
    ground.produce(10)
    assert ground.run()[0] == 0
    client = admin(kafka.servers)
    gone = client.delete_consumer_groups([ground.group])[ground.group]
    gone.result(30)
    ground.produce(10)
    assert ground.run() == (0, ["finished", "20", "0", "0"])
    assert ground.offsets == {0: 20}


def test_an_offset_of_a_topic_that_was_made_anew_is_not_taken_for_its_own(kafka: RealKafka, tmp_path: Path) -> None:
    """An offset that was written for another topic of the same name halts the partition instead of skipping what the new one holds."""
    ground = Ground(kafka.servers, tmp_path)
    ground.produce(10)
    foreign = TopicPartition(ground.topic, 0, 5, "landfast topic-id=AAAAAAAAAAAAAAAAAAAAAA")
    client = admin(kafka.servers)
    client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(ground.group, [foreign])])[ground.group].result(30)
    assert ground.run() == (3, ["halted", "0", "0", "0", "TOPIC_REPLACED"])
    assert ground.offsets == {0: 5}


@pytest.mark.long
def test_a_slow_handler_keeps_its_membership(kafka: RealKafka, tmp_path: Path) -> None:
    """A call that takes longer than a member may be without a poll: the group does not throw it out, and the batch is acknowledged."""
    ground = Ground(kafka.servers, tmp_path)
    ground.produce(10)
    settings = {"source": {"poll_interval_seconds_max": 10.0, "session_seconds": 3.0}}
    with Process(ground.plan(trait="gate", settings=settings)) as process:
        ground.until("begin")
        seconds_pass(12)
        ground.plan().gate.touch()
        wait_until(lambda: ground.offsets == {0: 10}, SECONDS_MAX)
        process.signal(signal.SIGTERM)
        assert process.ended() == 0
    assert (len(ground.lines("begin")), ground.lines("retry")) == (1, [])
