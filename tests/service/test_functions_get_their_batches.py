from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from landfast import Outcome, RecordsFailed
from landfast.core.runner import Runner
from landfast.events import BatchLanded, LettersBuried, RetryScheduled, ServiceCalled
from landfast.model import TIMESTAMP_ABSENT
from landfast.sinks.service.records import Record, RecordRows
from landfast.testing.memory import MemoryLog
from tests.core.rig import Rig
from tests.service.service_world import Calls, Records, World


def world(count: int, handler: Callable[[Records], object], partitions: int = 1, **changes: Any) -> World:
    """A world with so many records in the first partition."""
    made = World(handler, Rig(partitions=partitions), **changes)
    made.rig.produce(count)
    return made


def raising(error: BaseException, when: Callable[[Records], bool]) -> Callable[[Records], None]:
    """Raises while `when` holds."""

    def act(records: Records) -> None:
        if when(records):
            raise error

    return act


def has(*offsets: int) -> Callable[[Records], bool]:
    """Whether one of these is in a batch."""
    return lambda records: any(record.offset in offsets for record in records)


def test_batches_are_full_and_the_remainder_comes_too() -> None:
    """130 records in batches of 100 are two calls, 100 and 30, and the group stands behind the last."""
    calls = Calls()
    one = world(130, calls, batch=100)
    report = one.run()
    assert (calls.sizes, one.offset(), report.outcome, report.exit_code) == ([100, 30], 130, Outcome.FINISHED, 0)
    assert (report.totals.written, report.totals.dead) == (130, 0)
    assert one.run().totals.read == 0
    assert len(calls.finished) == 130


def test_a_record_is_whole() -> None:
    """The handler gets coordinates, key, value bytes, headers and time as they are in the log, tombstones too."""
    seen: list[Record[bytes]] = []
    one = World(seen.extend, Rig(partitions=1))
    log: MemoryLog = one.rig.log
    log.append("t", 0, b"value", key=b"key", headers=(("h", b"1"), ("h", None)), timestamp=1_000)
    log.append("t", 0, None)
    one.run()
    first, second = seen
    assert (first.topic, first.partition, first.offset, first.key, first.value) == ("t", 0, 0, b"key", b"value")
    assert (tuple(first.headers), str(first.time), str(first)) == ((("h", b"1"), ("h", None)), "1970-01-01 00:00:01+00:00", "t[0]@0")
    assert second.value is None


def test_a_time_that_no_date_can_hold_is_none() -> None:
    """A timestamp of a broken producer stays readable as a number."""
    far = Record("t", 0, 0, 2**62, None, b"")
    assert (far.time, Record("t", 0, 0, None, None, b"").time, TIMESTAMP_ABSENT) == (None, None, -1)


def test_what_may_pass_is_tried_again_with_the_same_records() -> None:
    """A transient failure three times, then success: the same batch each time, handled once, no letter, attempts counted."""
    left = iter([True] * 3)
    calls = Calls(raising(ConnectionError("broker-password"), lambda _: next(left, False)))
    one = world(10, calls)
    report = one.run()
    assert calls.batches == [list(range(10))] * 4
    assert (len(calls.finished), one.offset(), report.totals.dead) == (10, 10, 0)
    retries = one.heard(RetryScheduled)
    assert [(event.code, event.kind) for event in retries] == [("HANDLER_FAILED", "transient")] * 3
    assert "ConnectionError in __call__ (service_world.py, line " in retries[0].message
    assert "broker-password" not in "".join(event.message for event in retries)
    assert [event.outcome for event in one.heard(ServiceCalled)] == ["failed"] * 3 + ["finished"]


def test_what_nobody_knows_halts_in_the_end_and_nothing_is_dropped() -> None:
    """An unknown exception is tried as the policy says; then the partition halts before the batch, and a mended handler goes on there."""
    calls = Calls(raising(KeyError("secret value"), has(15)))
    one = world(20, calls)
    report = one.run()
    assert (report.outcome, report.exit_code, one.offset(), report.totals.written) == (Outcome.HALTED, 3, 10, 10)
    (halt,) = report.halts.values()
    assert (halt.code, "KeyError" in halt.message, "secret" in halt.message) == ("HANDLER_FAILED", True, False)
    assert not one.rig.store.letters
    one.handler = Calls()
    assert one.run().totals.written == 10


@pytest.mark.parametrize("error", [FileExistsError(), SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=str)
def test_an_exit_or_a_permanent_error_halts_at_once(error: BaseException) -> None:
    """What trying again would not help halts without a second call, and passes nothing."""
    calls = Calls(raising(error, has(3)))
    one = world(10, calls)
    report = one.run()
    assert (calls.sizes, one.offset(), report.exit_code) == ([10], None, 3)
    assert report.error is not None
    assert report.error.code == "HANDLER_REFUSED"


def test_records_that_a_handler_names_become_letters_and_the_rest_is_given_once() -> None:
    """75 records and an exception of theirs in processing: two dead letters, 73 handled, each once."""
    calls = Calls()

    def act(records: Records) -> None:
        bad = [record for record in records if record.offset in (7, 40)]
        calls.batches.append([record.offset for record in records])
        calls.finished += [(record.partition, record.offset) for record in records if record not in bad]
        if bad:
            raise RecordsFailed(bad, reason="no_such_customer")

    one = world(75, act, batch=100)
    report = one.run()
    assert (calls.sizes, sorted(offset for _, offset in calls.finished)) == ([75], [n for n in range(75) if n not in (7, 40)])
    assert (report.totals.read, report.totals.written, report.totals.dead, one.offset()) == (75, 73, 2, 75)
    letters = one.rig.store.letters
    assert [(letter.offset, letter.reason, letter.phase, letter.attempts) for letter in letters] == [
        (7, "no_such_customer", "handle", 1),
        (40, "no_such_customer", "handle", 1),
    ]
    assert letters[0].value == b"line 7"
    assert one.heard(LettersBuried)[0].reasons == (("no_such_customer", 2),)


def test_a_batch_that_is_refused_as_data_is_halved() -> None:
    """Records that a handler cannot take are found by halving, become letters with their attempts, and the rest passes once."""
    calls = Calls(raising(pa.ArrowInvalid("secret"), has(3, 64)))
    one = world(100, calls, batch=100)
    report = one.run()
    assert sorted(offset for _, offset in calls.finished) == [n for n in range(100) if n not in (3, 64)]
    assert (report.totals.dead, one.offset(), report.exit_code) == (2, 100, 0)
    assert len(calls.batches) <= 1 + 2 * 2 * 7
    letters = one.rig.store.letters
    assert [letter.offset for letter in letters] == [3, 64]
    assert min(letter.attempts for letter in letters) >= 6
    assert "secret" not in letters[0].message
    assert {event.outcome for event in one.heard(ServiceCalled)} == {"finished", "refused"}


def test_halving_keeps_the_order_of_a_partition() -> None:
    """Of what passes, an earlier record is given before a later one, also while a batch is halved and across batches."""
    calls = Calls(raising(pa.ArrowInvalid("x"), has(5, 11, 12)))
    one = world(40, calls)
    one.run()
    offsets = [offset for _, offset in calls.finished]
    assert offsets == sorted(set(range(40)) - {5, 11, 12})


def test_halving_goes_on_where_a_failure_interrupted_it() -> None:
    """A transient failure in the middle of halving: what had passed is not given again."""
    left = iter([False] * 4 + [True])

    def act(records: Records) -> None:
        if next(left, False):
            raise ConnectionError
        if has(9)(records):
            raise pa.ArrowInvalid("x")

    calls = Calls(act)
    one = world(16, calls, batch=16)
    report = one.run()
    assert sorted(calls.finished) == [(0, n) for n in range(16) if n != 9]
    assert (report.totals.dead, one.offset()) == (1, 16)


def test_calls_of_halving_are_bounded() -> None:
    """A handler that refuses everything is called as often as is allowed, then the partition halts and says what is open; no letters."""
    calls = Calls(raising(pa.ArrowInvalid("x"), lambda _: True))
    one = world(64, calls, batch=64, calls_max=20)
    report = one.run()
    assert len(calls.batches) <= 20
    assert (report.exit_code, one.offset(), len(one.rig.store.letters)) == (3, None, 0)
    assert report.error is not None
    assert "after" in report.error.message
    assert "calls it is still open" in report.error.message


@pytest.mark.parametrize("error", [pa.ArrowInvalid("x"), None], ids=["a batch", "named records"])
def test_without_a_place_for_letters_nothing_passes_a_bad_record(error: Exception | None) -> None:
    """No dead-letter topic: no halving, one call, the partition halts in front of the batch and says what to do."""

    def act(records: Records) -> None:
        raise error or RecordsFailed(records[3:4])

    calls = Calls(act)
    one = world(10, calls, letters_to="")
    report = one.run()
    assert (calls.sizes, one.offset(), report.exit_code) == ([10], None, 3)
    assert report.error is not None
    assert "dead_letters" in report.error.next_step


def test_one_record_that_is_refused_without_a_place_for_letters_is_named() -> None:
    """A batch of one needs no halving: its place is said."""
    one = world(1, Calls(raising(pa.ArrowInvalid("x"), lambda _: True)), letters_to="")
    report = one.run()
    assert report.error is not None
    assert (report.error.code, report.error.position) == ("RECORDS_REFUSED", 0)


def test_a_decoder_of_ones_own_makes_values_and_letters() -> None:
    """A value that the decoder refuses is a dead letter; the others arrive decoded; a tombstone is not decoded."""
    seen: list[object] = []

    def decode(value: bytes) -> int:
        return int(value.split()[1]) if not value.endswith(b"4") else int("x" + value.decode())

    one = world(10, lambda records: seen.extend(record.value for record in records), decode=decode)
    one.rig.log.append("t", 0, None)
    report = one.run()
    assert (seen, report.totals.dead) == ([0, 1, 2, 3, 5, 6, 7, 8, 9, None], 1)
    (letter,) = one.rig.store.letters
    assert (letter.reason, letter.phase, letter.value, letter.message) == (
        "decode_failed",
        "decode",
        b"line 4",
        "the decoder raised ValueError",
    )


def test_a_value_that_the_decoder_refuses_halts_without_a_place_for_letters() -> None:
    """The partition stands before the batch, nothing was handled, and the message names the record."""
    calls = Calls()
    one = world(3, calls, letters_to="", decode=int)
    report = one.run()
    assert report.error is not None
    assert (report.error.code, report.error.position, calls.sizes, one.offset()) == ("RECORDS_REFUSED", 0, [], None)


def test_offsets_that_could_not_be_kept_are_kept_later_without_another_call() -> None:
    """The broker is gone for three tries: the handler's work is done once, and its offsets follow."""
    calls = Calls()
    one = world(10, calls)
    one.group.refuse = 3
    report = one.run()
    assert (calls.sizes, one.offset(), report.exit_code) == ([10], 10, 0)
    assert {event.code for event in one.heard(RetryScheduled)} == {"OFFSETS_NOT_KEPT"}


def test_the_offsets_pass_nothing_that_was_not_handled() -> None:
    """At every moment in which the handler runs, the group stands before what it is given."""
    one = world(50, len)
    seen: list[tuple[int, int]] = []
    one.handler = lambda records: seen.append((one.offset() or 0, records[0].offset))
    one.run()
    assert seen == [(start, start) for start in range(0, 50, 10)]
    assert [event.receipt.spans[0].end for event in one.heard(BatchLanded)][-1] == 50


def test_a_partition_that_went_while_the_handler_ran_is_not_acknowledged() -> None:
    """Somebody else takes the partition over during a call: its offset is left alone, and the new owner begins where it stood."""
    one = world(20, len)
    thief = one.group.member()
    calls = Calls(lambda records: thief.take(one.rig.streams) if records[0].offset == 10 else None)
    one.handler = calls
    runner: Runner = one.runner()
    report = runner.run(until_end=True)
    # It takes the partition back, and its memory says that those ten were handled: they are not given again by this process.
    assert (report.totals.written, one.offset(), calls.sizes) == (20, 20, [10, 10])


def test_a_new_process_is_given_what_a_crash_left_unacknowledged() -> None:
    """The handler finished, the offsets were not kept, the process died: the next one is given that batch again, and nothing else."""
    calls = Calls()
    one = world(20, calls)
    one.group.refuse = 1_000
    assert one.run().exit_code == 3
    one.group.refuse = 0
    assert one.run().exit_code == 0
    assert calls.batches == [list(range(10)), list(range(10)), list(range(10, 20))]


def test_records_of_all_partitions_come_in_order_inside_each() -> None:
    """A batch is of many partitions; inside each the order is that of the log."""
    calls = Calls()
    one = world(25, calls, partitions=3)
    one.rig.produce(25, partition=1)
    one.rig.produce(25, partition=2)
    one.run()
    for partition in range(3):
        assert [offset for number, offset in calls.finished if number == partition] == list(range(25))
    assert max(calls.sizes) <= 10


def coroutine(_records: Records) -> object:
    """A plain function that returns something to wait for."""
    return asyncio.sleep(0)


def generator(records: Records) -> object:
    """A plain function that returns something to go through."""
    return (record for record in records)


@pytest.mark.parametrize("handler", [coroutine, generator])
def test_what_returns_before_it_handled_anything_is_refused(handler: Callable[[Records], object]) -> None:
    """A handler that hands back a coroutine or a generator has done nothing yet: the run ends, and nothing is acknowledged."""
    one = world(5, handler)
    report = one.run()
    assert report.error is not None
    assert (report.error.code, one.offset()) == ("HANDLER_REFUSED", None)


@pytest.mark.parametrize("named", [[], [Record("t", 0, 99, None, None, b"")], ["line 3"]], ids=["none", "a stranger", "a value"])
def test_a_handler_that_names_records_which_it_was_not_given_halts(named: list[Any]) -> None:
    """Nobody knows what such a handler has finished: nothing passes."""

    def act(records: Records) -> None:
        raise RecordsFailed(named)

    one = world(5, act)
    report = one.run()
    assert report.error is not None
    assert (report.error.code, one.offset()) == ("HANDLER_REFUSED", None)


def test_a_batch_with_refused_records_at_the_stop_is_acknowledged_before_the_end() -> None:
    """Records are refused while the service stops: they become letters, and what was handled beside them is not given again."""
    one = world(30, len)
    runners: list[Runner] = []

    def act(records: Records) -> None:
        runners[0].stop()
        raise RecordsFailed(records[:1])

    one.handler = act
    runners.append(one.runner())
    report = runners[0].run()
    assert one.sink is not None
    assert (report.outcome, report.abandoned, one.sink.unkept) == (Outcome.STOPPED, 0, 0)
    assert one.offset() == report.totals.read == report.totals.written + report.totals.dead
    assert report.totals.dead
    one.handler = Calls()
    assert one.run().totals.written == 30 - report.totals.read


def test_rows_can_be_cut() -> None:
    """What holds records for the engine gives a part of them like any other rows."""
    rows = RecordRows(tuple(Record("t", 0, offset, None, None, b"") for offset in range(10)), 1000)
    part = rows.slice(8, 5)
    assert ([record.offset for record in part.records], part.num_rows, part.nbytes) == ([8, 9], 2, 200)
