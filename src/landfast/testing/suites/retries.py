"""What every `ports.Retries` must promise, as checks that any implementer can run: see `landfast.testing.suites` for how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from landfast.errors import Conflict
from landfast.model import Stream
from landfast.testing.suites.promises import demand, demand_equal, demand_raises
from landfast.testing.suites.retries_harness import KEY, LONG_SECONDS, OTHER_KEY, A, B, RetriesHarness, RetriesProcess, Store

_SLACK_SECONDS = 0.01
"""A store may keep times in milliseconds."""


def a_letter_lands_when_it_is_due(harness: RetriesHarness) -> None:
    """A letter whose record the decoder takes by now becomes a row after the first delay, once, and waits no more."""
    store = Store(harness)
    process = store.owner(A)
    store.buried(process, store.letter(A, 0, b"bad 0"))
    harness.mend()
    _demand_due(process, harness.delays_seconds[0])
    harness.pass_seconds(harness.delays_seconds[0])
    demand_equal(process.retries.due_seconds(), 0.0, "seconds until the letter is due")
    round_ = store.attempt(process, A)
    demand_equal((round_.landed, round_.refused, round_.given_up), (1, 0, 0), "what the round came to")
    demand_equal((dict(round_.waiting[A].keys), round_.waiting[A].records), ({}, 0), "what waits after it")
    demand_equal(process.retries.due_seconds(), None, "seconds until a letter is due")
    store.demand_landed((A, 0))
    store.demand_open()
    store.attempt(process, A)
    store.demand_landed((A, 0))


def nothing_is_tried_before_it_is_due(harness: RetriesHarness) -> None:
    """A round before its time tries nothing, and says what waits."""
    store = Store(harness)
    process = store.owner(A)
    store.buried(process, store.letter(A, 0, b"bad 0"))
    harness.mend()
    harness.pass_seconds(harness.delays_seconds[0] / 2)
    round_ = store.attempt(process, A)
    demand_equal((round_.landed, round_.refused, round_.given_up), (0, 0, 0), "what the round came to")
    demand_equal((dict(round_.waiting[A].keys), round_.waiting[A].records), ({KEY: 0}, 1), "what waits after it")
    store.demand_landed()


def a_letter_that_is_not_marked_is_left_to_people(harness: RetriesHarness) -> None:
    """A plain letter is never tried, does not wait, and holds no key."""
    store = Store(harness)
    process = store.owner(A)
    store.buried(process, store.letter(A, 0, b"bad 0", later=False))
    harness.mend()
    harness.pass_seconds(LONG_SECONDS)
    demand_equal(process.retries.due_seconds(), None, "seconds until a letter is due")
    store.attempt(process, A)
    store.demand_waiting(process, A, {}, 0)
    store.demand_landed()
    store.demand_open((A, 0))


def what_fails_again_waits_for_the_next_delay(harness: RetriesHarness) -> None:
    """A refused letter stays open and is due after the second delay."""
    store = Store(harness)
    process = store.owner(A)
    store.buried(process, store.letter(A, 0, b"bad 0"))
    harness.pass_seconds(harness.delays_seconds[0])
    round_ = store.attempt(process, A)
    demand_equal((round_.landed, round_.refused, round_.given_up), (0, 1, 0), "what the round came to")
    _demand_due(process, harness.delays_seconds[1])
    store.demand_waiting(process, A, {KEY: 0}, 1)
    harness.mend()
    harness.pass_seconds(harness.delays_seconds[1])
    demand_equal(store.attempt(process, A).landed, 1, "letters landed after the second delay")
    store.demand_landed((A, 0))


def after_the_last_delay_a_letter_is_given_up(harness: RetriesHarness) -> None:
    """It is tried as often as there are delays; then it is a plain letter: open, holding nobody up, never tried again."""
    store = Store(harness)
    process = store.owner(A)
    store.buried(process, store.letter(A, 0, b"bad 0"))
    came = store.all_due(process, A)
    demand_equal((came.landed, came.refused, came.given_up), (0, len(harness.delays_seconds) - 1, 1), "what all rounds came to")
    store.demand_waiting(process, A, {}, 0)
    store.demand_open((A, 0))
    harness.mend()
    harness.pass_seconds(LONG_SECONDS)
    demand_equal(store.attempt(process, A).landed, 0, "letters landed after they were given up")
    store.demand_landed()


def failures_outlive_the_process(harness: RetriesHarness) -> None:
    """A letter is given up after as many failures in all, however many processes they happened to."""
    store = Store(harness)
    store.buried(store.owner(A), store.letter(A, 0, b"bad 0"))
    for delay in harness.delays_seconds[:-1]:
        harness.pass_seconds(delay)
        demand_equal(store.attempt(store.owner(A), A).refused, 1, "letters refused")
    last = store.owner(A)
    _demand_due(last, harness.delays_seconds[-1])
    harness.pass_seconds(harness.delays_seconds[-1])
    demand_equal(store.attempt(last, A).given_up, 1, "letters given up")
    store.demand_waiting(store.owner(A), A, {}, 0)


def what_waits_is_read_from_the_store(harness: RetriesHarness) -> None:
    """Another process that claims the stream finds the same keys, the oldest letter of each, and how many wait."""
    store = Store(harness)
    letters = [
        store.letter(A, 0, b"bad 0"),
        store.letter(A, 1, b"line 1"),
        store.letter(A, 2, b"bad 2", OTHER_KEY),
        store.letter(A, 3, b"bad 3", None),
        store.letter(A, 4, b"bad 4", b"", later=False),
    ]
    store.buried(store.owner(A, B), *letters, store.letter(B, 0, b"bad 0"))
    other = store.owner(A)
    store.demand_waiting(other, A, {KEY: 0, OTHER_KEY: 2}, 4)
    _demand_due(other, harness.delays_seconds[0])


def an_empty_key_is_a_key(harness: RetriesHarness) -> None:
    """A key of no bytes holds its later records up; no key at all holds nobody up."""
    store = Store(harness)
    process = store.buried(store.owner(A), store.letter(A, 0, b"bad 0", b""), store.letter(A, 1, b"bad 1", None))
    store.demand_waiting(process, A, {b"": 0}, 2)


def what_waits_behind_another_is_not_tried(harness: RetriesHarness) -> None:
    """While the first letter of a key fails, those behind it stay, also where nothing is wrong with them; other keys go on."""
    store = Store(harness)
    letters = [
        store.letter(A, 0, b"bad 0"),
        store.letter(A, 1, b"line 1"),
        store.letter(A, 2, b"line 2", OTHER_KEY),
        store.letter(A, 3, b"line 3"),
    ]
    process = store.buried(store.owner(A), *letters)
    harness.pass_seconds(harness.delays_seconds[0])
    round_ = store.attempt(process, A)
    demand_equal((round_.landed, round_.refused), (1, 1), "what the round came to")
    store.demand_waiting(process, A, {KEY: 0}, 3)
    store.demand_landed((A, 2))


def a_key_lands_in_order(harness: RetriesHarness) -> None:
    """When the first letter of a key lands, those behind it are due at once."""
    store = Store(harness)
    letters = [store.letter(A, 0, b"bad 0"), store.letter(A, 1, b"line 1"), store.letter(A, 2, b"line 2")]
    process = store.buried(store.owner(A), *letters)
    harness.mend()
    harness.pass_seconds(harness.delays_seconds[0])
    landed = store.attempt(process, A).landed
    while landed < len(letters):
        demand_equal(process.retries.due_seconds(), 0.0, "seconds until the next letter of the key is due")
        more = store.attempt(process, A).landed
        demand(more, "a round that tries what is due lands nothing")
        landed += more
    store.demand_landed((A, 0), (A, 1), (A, 2))
    demand_equal(process.retries.due_seconds(), None, "seconds until a letter is due")


def what_was_given_up_holds_nobody_up(harness: RetriesHarness) -> None:
    """When the first letter of a key is given up, those behind it land."""
    store = Store(harness)
    process = store.buried(store.owner(A), store.letter(A, 0, b"bad 0"), store.letter(A, 1, b"line 1"))
    came = store.all_due(process, A)
    demand_equal((came.landed, came.given_up), (1, 1), "what all rounds came to")
    store.demand_landed((A, 1))
    store.demand_open((A, 0))


def who_waited_has_all_attempts_of_its_own(harness: RetriesHarness) -> None:
    """A letter that waited behind another and then fails itself is tried as often as one that had failed at once, and once more."""
    store = Store(harness)
    follower = replace(store.letter(A, 1, b"bad 1"), phase="wait", reason="behind_retry", attempts=0)
    process = store.buried(store.owner(A), store.letter(A, 0, b"bad 0"), follower)
    came = store.all_due(process, A)
    delays = len(harness.delays_seconds)
    demand_equal((came.landed, came.refused, came.given_up), (0, (delays - 1) + delays, 2), "what all rounds came to")


def what_was_discarded_holds_nobody_up(harness: RetriesHarness) -> None:
    """When a person discards the first letter of a key, those behind it land, and it never does."""
    store = Store(harness)
    process = store.buried(store.owner(A), store.letter(A, 0, b"bad 0"), store.letter(A, 1, b"line 1"))
    harness.discard(A, 0)
    harness.mend()
    came = store.all_due(process, A)
    demand_equal((came.landed, came.waiting[A].records), (1, 0), "what the rounds came to")
    store.demand_landed((A, 1))
    store.demand_open()


def what_a_person_replayed_lands_once(harness: RetriesHarness) -> None:
    """A letter that a person has replayed is not landed again, and those behind it land."""
    store = Store(harness)
    process = store.buried(store.owner(A), store.letter(A, 0, b"bad 0"), store.letter(A, 1, b"line 1"))
    harness.mend()
    harness.replay(A, 0)
    harness.pass_seconds(harness.delays_seconds[0])
    demand_equal(store.all_due(process, A).waiting[A].records, 0, "letters that wait")
    store.demand_landed((A, 0), (A, 1))
    store.demand_open()


def what_has_not_landed_is_left_alone(harness: RetriesHarness) -> None:
    """A letter that the position is not past is not tried, however long ago it failed; it waits, and is tried once it is passed."""
    store = Store(harness)
    store.owner(A).letters.put([store.letter(A, 0, b"bad 0")])
    harness.mend()
    harness.pass_seconds(LONG_SECONDS)
    owner = store.owner(A)
    for _ in range(2):
        round_ = store.attempt(owner, A)
        demand_equal((round_.landed, round_.refused, round_.given_up), (0, 0, 0), "what a round came to before the position was past")
        demand_equal((dict(round_.waiting[A].keys), round_.waiting[A].records), ({KEY: 0}, 1), "what waits")
        harness.pass_seconds(LONG_SECONDS)
    store.demand_landed()
    store.pass_by(owner, A, 1)
    store.all_due(owner, A)
    store.demand_landed((A, 0))


def a_record_without_a_key_holds_nobody_up(harness: RetriesHarness) -> None:
    """Letters without a key are tried each on its own."""
    store = Store(harness)
    process = store.buried(store.owner(A), store.letter(A, 0, b"bad 0", None), store.letter(A, 1, b"line 1", None))
    harness.pass_seconds(harness.delays_seconds[0])
    round_ = store.attempt(process, A)
    demand_equal((round_.landed, round_.refused, round_.waiting[A].records), (1, 1, 1), "what the round came to")
    demand_equal(dict(round_.waiting[A].keys), {}, "keys that wait")
    store.demand_landed((A, 1))


def what_the_decoder_skips_waits_no_more(harness: RetriesHarness) -> None:
    """A record that is to be skipped, such as a tombstone that waited behind another, is done with, without a row."""
    store = Store(harness)
    process = store.buried(store.owner(A), store.letter(A, 0, None), store.letter(A, 1, b"line 1"))
    came = store.all_due(process, A)
    demand_equal((came.landed, came.waiting[A].records), (2, 0), "what the rounds came to")
    store.demand_landed((A, 1))
    store.demand_open()


def only_what_is_asked_for_is_tried(harness: RetriesHarness) -> None:
    """A round is of the streams that it names, and no other is looked after from then on."""
    store = Store(harness)
    process = store.buried(store.owner(A, B), store.letter(A, 0, b"bad 0"), store.letter(B, 0, b"bad 0"))
    harness.mend()
    harness.pass_seconds(harness.delays_seconds[0])
    round_ = store.attempt(process, A)
    demand_equal((round_.landed, sorted(round_.waiting)), (1, [A]), "what the round came to")
    store.demand_landed((A, 0))
    demand_equal(process.retries.due_seconds(), None, "seconds until a letter of A is due")
    store.demand_waiting(process, B, {KEY: 0}, 1)
    demand_equal(process.retries.due_seconds(), 0.0, "seconds until the letter of B is due, when it is looked after again")


def a_former_owner_cannot_try(harness: RetriesHarness) -> None:
    """After another process has claimed the stream, a round of the former owner is a conflict, and lands nothing."""
    store = Store(harness)
    former = store.buried(store.owner(A), store.letter(A, 0, b"bad 0"))
    owner = store.owner(A)
    harness.mend()
    harness.pass_seconds(harness.delays_seconds[0])
    demand_raises(Conflict, lambda: store.attempt(former, A), "a round of a former owner")
    store.demand_landed()
    demand_equal(store.attempt(owner, A).landed, 1, "letters landed by the owner")
    store.demand_landed((A, 0))


def a_round_without_time_gets_somewhere(harness: RetriesHarness) -> None:
    """However small the budget, a round tries something of what is due."""
    store = Store(harness)
    process = store.buried(store.owner(A), store.letter(A, 0, b"bad 0"), store.letter(A, 1, b"bad 1", OTHER_KEY))
    harness.mend()
    harness.pass_seconds(harness.delays_seconds[0])
    for _ in range(2):
        if process.retries.due_seconds() == 0.0:
            demand(process.retries.retry([A], 0.0).landed, "a round with letters that are due lands one")
    store.demand_landed((A, 0), (A, 1))


def nothing_waits_at_first(harness: RetriesHarness) -> None:
    """Streams without letters have none that wait, and a round over them, or over none, is allowed."""
    store = Store(harness)
    process = store.owner(A)
    store.demand_waiting(process, A, {}, 0)
    demand_equal(process.retries.due_seconds(), None, "seconds until a letter is due")
    demand_equal(store.attempt(process, A).landed, 0, "letters landed")
    demand_equal(dict(process.retries.retry([], 1.0).waiting), {}, "what waits of no stream")


def a_kill_at_any_act_lands_each_once(harness: RetriesHarness) -> None:
    """A process that is killed at any act of a round leaves a key's rows in order behind, and the next one lands the rest, once."""
    store = Store(harness)
    streams = []
    for number, act in enumerate(harness.kills):
        stream = A._replace(partition=number)
        streams.append(stream)
        letters = [store.letter(stream, 0, b"bad 0"), store.letter(stream, 1, b"line 1"), store.letter(stream, 2, b"bad 2", OTHER_KEY)]
        store.buried(store.owner(stream), *letters)
        if number == 0:
            harness.mend()
        harness.pass_seconds(harness.delays_seconds[0])
        killed = _killed(store, act, stream)
        found = {offset for _, partition, offset, _ in harness.landed() if partition == stream.partition}
        demand(0 in found or 1 not in found, f"after a kill at act {act} a key's second row is there and its first is not")
        store.all_due(store.owner(stream), stream)
        if not killed:
            break
    store.demand_landed(*((stream, offset) for stream in streams for offset in range(3)))
    store.demand_open()


def _killed(store: Store, act: int, stream: Stream) -> bool:
    """Whether a process that takes the stream over and tries its letters was killed."""
    try:
        process = store.owner(stream, killed_at=act)
        store.attempt(process, stream)
    except store.harness.killed:
        return True
    return False


def _demand_due(process: RetriesProcess, seconds: float) -> None:
    due_seconds = process.retries.due_seconds()
    close = due_seconds is not None and abs(due_seconds - seconds) <= _SLACK_SECONDS
    demand(close, f"seconds until a letter is due: expected {seconds}, found {due_seconds}")


RETRIES_CHECKS: tuple[Callable[[RetriesHarness], None], ...] = (
    a_letter_lands_when_it_is_due,
    nothing_is_tried_before_it_is_due,
    a_letter_that_is_not_marked_is_left_to_people,
    what_fails_again_waits_for_the_next_delay,
    after_the_last_delay_a_letter_is_given_up,
    failures_outlive_the_process,
    what_waits_is_read_from_the_store,
    an_empty_key_is_a_key,
    what_waits_behind_another_is_not_tried,
    a_key_lands_in_order,
    what_was_given_up_holds_nobody_up,
    who_waited_has_all_attempts_of_its_own,
    what_was_discarded_holds_nobody_up,
    what_a_person_replayed_lands_once,
    what_has_not_landed_is_left_alone,
    a_record_without_a_key_holds_nobody_up,
    what_the_decoder_skips_waits_no_more,
    only_what_is_asked_for_is_tried,
    a_former_owner_cannot_try,
    a_round_without_time_gets_somewhere,
    nothing_waits_at_first,
    a_kill_at_any_act_lands_each_once,
)
"""Every promise of letters that are tried again."""
