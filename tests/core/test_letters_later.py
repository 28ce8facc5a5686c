"""Letters are tried again by themselves while their stream goes on, and the records of a key land in order all the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from landfast import events
from landfast.core.breaker import BreakerLimits
from landfast.core.later import LOOK_SECONDS_MAX
from landfast.core.report import Outcome
from landfast.core.route import FlowLimits, Later
from landfast.core.runner import RunnerLimits
from landfast.errors import Broken
from landfast.model import Chunk, Decoded
from landfast.testing.memory import (
    LandedRow,
    LineDecoder,
    MemoryRetries,
    MemoryRetriesSettings,
    MemorySink,
    MemorySinkSettings,
    resolve,
)
from tests.core.shop import DELAYS, Shop, self_ended


def test_a_record_that_fails_lands_when_it_does_not_fail_any_more() -> None:
    """Its stream goes on meanwhile, and its row joins the others."""
    shop = Shop()
    shop.write((b"a", b"line 0"), (b"b", b"bad 1"), (b"c", b"line 2"))
    report = shop.run(15.0, (5.0, shop.decoder.mend), (6.0, lambda: shop.write((b"c", b"line 3"))))
    assert report.outcome is Outcome.STOPPED
    assert shop.landed == [0, 2, 3, 1]
    assert shop.open == []
    assert shop.observer.of(events.LettersRetried) == (events.LettersRetried("route", 1, 0, 0),)
    assert report.totals.holds


def test_later_records_of_a_key_wait_behind_one_that_failed() -> None:
    """They become letters that wait, whenever they are read, and land behind it; those of other keys and of none do not wait."""
    shop = Shop()
    shop.write((b"a", b"bad 0"), (b"a", b"line 1"), (b"b", b"line 2"), (None, b"line 3"), (b"a", b"line 4"))
    shop.run(15.0, (2.0, lambda: shop.write((b"a", b"line 5"), (b"b", b"line 6"))), (5.0, shop.decoder.mend))
    assert shop.landed == [2, 3, 6, 0, 1, 4, 5]
    waited = [shop.letters[offset] for offset in (1, 4, 5)]
    assert {(letter.phase, letter.reason, letter.attempts, letter.later) for letter in waited} == {("wait", "behind_retry", 0, True)}
    assert "offset 0" in waited[0].message
    assert (shop.letters[0].phase, shop.letters[0].attempts, shop.letters[0].later) == ("decode", 1, True)
    assert shop.open == []


def test_a_key_is_free_again_when_its_letters_have_landed() -> None:
    """What comes after lands at once."""
    shop = Shop()
    shop.write((b"a", b"bad 0"))
    shop.run(30.0, (5.0, shop.decoder.mend), (20.0, lambda: shop.write((b"a", b"line 1"))))
    assert shop.landed == [0, 1]
    assert list(shop.letters) == [0]


def test_after_the_last_attempt_a_letter_stays_and_holds_nobody_up() -> None:
    """It is a plain dead letter, and those that waited behind it land."""
    shop = Shop()
    shop.write((b"a", b"bad 0"), (b"a", b"line 1"))
    report = shop.run(60.0, (50.0, lambda: shop.write((b"a", b"line 2"))))
    assert shop.landed == [1, 2]
    assert shop.open == [0]
    came = shop.observer.of(events.LettersRetried)
    assert (sum(each.landed for each in came), sum(each.refused for each in came), sum(each.given_up for each in came)) == (1, 1, 1)
    assert report.waiting == 0


def test_only_letters_of_the_chosen_reasons_are_tried_again() -> None:
    """Others are plain letters, and hold nobody up; what waits behind a chosen one is tried again whatever its reason is called."""
    shop = Shop(Later(reasons=frozenset({"poison"})))
    shop.write((b"a", b"bad 0"), (b"a", b"line 1"), (b"b", b"poison"), (b"b", b"line 3"))
    settings = MemorySinkSettings(refuse_at_commit=lambda row: "poison" if row.row == b"poison" else None)
    more = (2.0, lambda: shop.write((b"c", b"bad 4"), (b"c", b"line 5")))
    shop.run(15.0, more, (5.0, shop.decoder.mend), sink=MemorySink(shop.rig.table, "run", settings))
    assert shop.landed == [1, 5, 2, 3]
    assert {offset: letter.later for offset, letter in shop.letters.items()} == {0: False, 2: True, 3: True, 4: False}
    assert shop.open == [0, 4]


def test_a_route_without_retries_buries_plain_letters() -> None:
    """No letter is marked, none waits, and no round is ever begun."""
    shop = Shop()
    shop.write((b"a", b"bad 0"), (b"a", b"line 1"))
    shop.rig.land(shop.rig.route(decoder=shop.decoder))
    assert shop.landed == [1]
    assert not shop.letters[0].later
    assert not shop.observer.of(events.LettersWaiting)


def test_what_was_in_flight_when_a_key_was_found_to_wait_is_read_again() -> None:
    """Batches cut behind the one in which a record fails hold later records of its key: none of them lands before it."""
    shop = Shop(batch_records=1)
    shop.write(*[(b"a", b"line" if number else b"bad") for number in range(6)])
    shop.run(15.0, (5.0, shop.decoder.mend))
    assert shop.landed == list(range(6))


def test_a_crash_forgets_nothing_that_waits() -> None:
    """Another process reads from the store which keys wait, and goes on trying where the first one was."""
    shop = Shop()
    shop.write((b"a", b"bad 0"), (b"a", b"line 1"))
    shop.run(5.0)
    shop.write((b"a", b"line 2"))
    shop.decoder.mend()
    shop.run(15.0)
    assert shop.landed == [0, 1, 2]
    assert shop.letters[2].phase == "wait"


class Flickering(LineDecoder):
    """Refuses a value as often as it is told to, then takes it."""

    def __init__(self, value: bytes, times: int) -> None:
        self._value = value
        self._times = times

    def decode(self, chunk: Chunk) -> Decoded:
        """As told."""
        self.rejected = (b"bad", self._value) if self._times > 0 and self._value in chunk.values else (b"bad",)
        self._times -= self._value in chunk.values
        return super().decode(chunk)


def test_a_record_that_does_not_fail_when_it_is_read_again_frees_its_key() -> None:
    """It lands as a row; those behind it were taken for waiting, and land soon after it."""
    shop = Shop()
    shop.decoder = Flickering(b"once", 1)  # type: ignore[assignment]
    shop.write((b"a", b"once"), (b"a", b"line 1"))
    shop.run(3.0, (2.0, lambda: shop.write((b"a", b"line 2"))))
    assert shop.landed == [0, 1, 2]
    assert 2 not in shop.letters


def test_a_key_of_which_nothing_waits_after_all_is_found_out_at_once() -> None:
    """Where the only record of the key landed as a row nothing is in the store, and the next record lands at once."""
    shop = Shop()
    shop.decoder = Flickering(b"once", 1)  # type: ignore[assignment]
    shop.write((b"a", b"once"))
    shop.run(3.0, (2.0, lambda: shop.write((b"a", b"line 1"))))
    assert shop.landed == [0, 1]
    assert not shop.letters


def test_an_earlier_failure_of_a_key_moves_its_hold() -> None:
    """A batch that is prepared late may fail at an offset before the one from which the key is held already."""
    shop = Shop()
    shop.decoder = Flickering(b"then", 2)  # type: ignore[assignment]
    shop.write((b"a", b"line 0"), (b"b", b"line 1"), (b"a", b"then"), (b"a", b"line 3"))
    shop.run(15.0)
    assert shop.landed == [0, 1, 2, 3]


def test_what_people_resolve_by_hand_frees_its_key() -> None:
    """A discarded letter, and one that was replayed, are found out in time, and what waited behind them lands."""
    shop = Shop()
    shop.write((b"a", b"bad 0"), (b"a", b"line 1"), (b"b", b"bad 2"), (b"b", b"line 3"))

    def resolve_by_hand() -> None:
        resolve(shop.rig.table, {(shop.stream, 0): "discarded"}, [])
        resolve(shop.rig.table, {(shop.stream, 2): "landed"}, [LandedRow(shop.stream, 2, b"mended")])

    shop.run(15.0, (2.0, resolve_by_hand))
    assert shop.landed == [2, 1, 3]
    assert shop.open == []


def test_the_store_is_looked_at_now_and_then_while_something_waits() -> None:
    """What people did is found out long before the next attempt is due."""
    shop = Shop()
    shop.write((b"a", b"bad 0"))
    settings = MemoryRetriesSettings((10_000.0,))
    letters = MemoryRetries(shop.rig.store, shop.rig.table, shop.decoder, shop.rig.clock, settings)
    deeds = ((2.0, lambda: resolve(shop.rig.table, {(shop.stream, 0): "discarded"}, [])),)
    shop.run(LOOK_SECONDS_MAX + 10, *deeds, (LOOK_SECONDS_MAX + 5, lambda: shop.write((b"a", b"line 1"))), letters=letters)
    assert shop.landed == [1]


def test_while_too_many_wait_nothing_is_read() -> None:
    """It is told when it begins and when it ends, and nothing is evicted."""
    shop = Shop(Later(waiting_records_max=2), batch_records=2)
    shop.write((b"a", b"bad 0"), (b"b", b"bad 1"), (b"c", b"line 2"), (b"d", b"line 3"))
    shop.run(9.0, (5.0, lambda: shop.write((b"e", b"line 4"))))
    notices = [each for each in shop.observer.of(events.Notice) if each.code == "RETRY_BACKLOG"]
    assert [each.severity for each in notices] == ["warning"]
    assert "2 dead letters wait" in notices[0].message
    assert 4 not in shop.landed
    shop.decoder.mend()
    shop.run(30.0)
    assert sorted(shop.landed) == [0, 1, 2, 3, 4]
    notices = [each for each in shop.observer.of(events.Notice) if each.code == "RETRY_BACKLOG"]
    assert [each.severity for each in notices] == ["warning", "warning", "cleared"]
    assert shop.observer.of(events.LettersWaiting)[-1] == events.LettersWaiting("route", 0, 0, 2)


def test_reading_goes_on_when_a_tenth_fewer_wait() -> None:
    """Not as soon as one has gone: an alarm that begins and ends all the time is heard by nobody."""
    shop = Shop(Later(waiting_records_max=10))
    shop.write(*[(b"%d" % number, b"bad") for number in range(10)])
    letters = MemoryRetries(shop.rig.store, shop.rig.table, shop.decoder, shop.rig.clock, MemoryRetriesSettings((10.0,) * 9))
    seen: list[list[int]] = []

    def discard(offset: int) -> Callable[[], object]:
        return lambda: resolve(shop.rig.table, {(shop.stream, offset): "discarded"}, [])

    def look() -> None:
        seen.append(shop.landed)

    shop.run(
        26.0,
        (3.0, lambda: shop.write((b"other", b"line 10"))),
        (4.0, discard(0)),
        (13.0, look),
        (14.0, discard(1)),
        (24.0, look),
        letters=letters,
    )
    assert seen == [[], [10]]
    assert [each.severity for each in shop.observer.of(events.Notice)] == ["warning", "cleared"]


def test_letters_that_a_crash_left_ahead_are_read_past_however_many_wait() -> None:
    """Their batch never landed: only reading gets past them, and until then no attempt on them may be made."""
    shop = Shop(Later(waiting_records_max=1))
    shop.write((b"a", b"bad 0"), (b"b", b"bad 1"), (b"c", b"line 2"))

    class Dying(MemorySink):
        """Does not commit."""

        def commit(self, staged: Sequence[object]) -> object:  # type: ignore[override]
            raise Broken("INVARIANT_BROKEN", "the process ends here")

    assert shop.run(5.0, sink=Dying(shop.rig.table)).outcome is Outcome.BROKEN
    assert sorted(shop.letters) == [0, 1]
    shop.decoder.mend()
    shop.run(30.0)
    assert sorted(shop.landed) == [0, 1, 2]
    assert shop.open == []


def test_a_bounded_run_tries_what_is_due_and_waits_for_nothing_else() -> None:
    """Letters that are not due are left, and the report says how many."""
    shop = Shop()
    shop.write((b"a", b"bad 0"), (b"b", b"line 1"))
    first = self_ended(shop)
    assert (first.outcome, first.waiting) == (Outcome.FINISHED, 1)
    shop.decoder.mend()
    shop.rig.clock.advance(DELAYS[0])
    shop.write((b"b", b"line 2"))
    second = self_ended(shop)
    assert (second.outcome, second.waiting) == (Outcome.FINISHED, 0)
    assert sorted(shop.landed) == [0, 1, 2]


@pytest.mark.parametrize("waiting_max", [1, 1_000])
def test_a_stop_lands_what_it_finds_out_to_wait(waiting_max: int) -> None:
    """What a stop has to read again, since a key was found to wait, it reads and lands, also where no more letters may wait."""
    shop = Shop(Later(waiting_records_max=waiting_max))
    shop.write((b"b", b"bad 0"))
    shop.run(5.0)
    shop.write((b"a", b"bad 1"), (b"a", b"line 2"), (b"c", b"line 3"))
    if waiting_max == 1:
        resolve(shop.rig.table, {(shop.stream, 0): "discarded"}, [])
    report = shop.run(0.3)
    assert (report.outcome, report.abandoned) == (Outcome.STOPPED, 0)
    assert (shop.landed, sorted(shop.letters)) == ([3], [0, 1, 2])
    assert report.waiting == len(shop.open)


def test_those_that_wait_do_not_trip_the_breaker() -> None:
    """A thousand records that wait behind one say nothing of the producer; those that fail still count."""
    shop = Shop()
    shop.rig.limits = FlowLimits(breaker=BreakerLimits(share_max=0.0002))
    shop.write((b"a", b"bad 0"), *[(b"a", b"line")] * 50)
    assert self_ended(shop).outcome is Outcome.FINISHED
    shop.write((b"b", b"bad"), (b"c", b"bad"), (b"d", b"bad"))
    assert self_ended(shop).outcome is Outcome.HALTED


def test_a_bounded_run_that_may_not_read_on_for_letters_halts_there() -> None:
    """It neither waits hours for their attempts nor calls itself finished; the next run goes on where it stands."""
    shop = Shop(Later(waiting_records_max=2), batch_records=2)
    shop.rig.runner_limits = RunnerLimits(poll_records=2)
    shop.write((b"a", b"bad 0"), (b"b", b"bad 1"), *((b"c%d" % number, b"line %d" % number) for number in range(2, 12)))
    letters, began = shop.retries(), shop.rig.clock.monotonic()
    report = shop.rig.land(shop.rig.route(letters=letters, decoder=shop.decoder, retries=letters))
    assert (report.outcome, report.waiting) == (Outcome.HALTED, 2)
    assert [halt.code for halt in report.halts.values()] == ["RETRY_BACKLOG"]
    assert shop.rig.clock.monotonic() - began < min(DELAYS)
    shop.decoder.mend()
    shop.rig.clock.advance(max(DELAYS))
    letters = shop.retries()
    assert shop.rig.land(shop.rig.route(letters=letters, decoder=shop.decoder, retries=letters)).outcome is Outcome.FINISHED
    assert sorted(shop.landed) == list(range(12))
