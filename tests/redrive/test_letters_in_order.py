"""However letters lie in their table, they are gone through by offset, once, and only so many are held."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landfast.model import Letter
from landfast.sinks.delta.landing.dead_letters import DeltaDeadLetters
from landfast.sinks.delta.log.record import Effect
from landfast.sinks.delta.log.replays import Actions, Author, Told, actions_of_replay, ranges_among, replay_metadata, told_by_replay
from landfast.sinks.delta.proof.acts import UNTOUCHED, State
from landfast.sinks.delta.proof.coordinates import Coordinates, coordinates_of, parsed_id, short_id
from landfast.sinks.delta.proof.letters import LetterFilter, LetterLimits, Letters, size_of
from landfast.sinks.delta.settings import DeltaSettings
from tests.sinks.delta_proof import letter
from tests.sinks.delta_world import DeltaWorld, stream, world_at

TEXTS = st.text(max_size=40)
STREAMS = st.builds(stream, st.integers(0, 2), st.sampled_from(["a", "b-1", "c"]), st.sampled_from(["id-1", "id-2"]))
PLACES = st.lists(st.tuples(STREAMS, st.integers(0, 30)), min_size=1, max_size=40, unique=True)


def buried(folder: Path, groups: list[list[Letter]]) -> DeltaWorld:
    """Each group as a file of its own."""
    world = world_at(folder)
    store = DeltaDeadLetters(world.home())
    store.claim({one.stream for group in groups for one in group})
    for group in groups:
        store.put(group)
    store.close()
    return world


def letters_of(world: DeltaWorld, letters_max: int = 10_000, bytes_max: int = 1 << 20) -> Letters:
    return Letters(DeltaSettings(world.path), LetterLimits(letters_max, bytes_max))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=PLACES, cut=st.integers(1, 7), letters_max=st.integers(1, 9), bytes_max=st.integers(1, 40))
def test_every_letter_comes_once_in_the_order_of_offsets(
    tmp_path_factory: pytest.TempPathFactory, places: list[Any], cut: int, letters_max: int, bytes_max: int
) -> None:
    """In windows of any size, and whole in parts of any size, whatever order they were buried in."""
    one_each = [letter(lane, offset) for lane, offset in places]
    groups = [one_each[start : start + cut] for start in range(0, len(one_each), cut)]
    letters = letters_of(buried(tmp_path_factory.mktemp("letters"), groups), letters_max, bytes_max)
    wanted = sorted(Coordinates(offset, lane.topic, lane.partition, lane.incarnation) for lane, offset in places)
    windows = list(letters.windows())
    assert [coordinates_of(row) for rows in windows for row in rows] == wanted
    assert max(map(len, windows)) <= letters_max
    parts = list(letters.whole(wanted))
    assert [coordinates_of(row) for rows in parts for row in rows] == wanted
    assert all(sum(map(size_of, rows)) <= bytes_max or len(rows) == 1 for rows in parts)
    some = set(wanted[::3])
    assert [coordinates_of(row) for rows in letters.windows(only=some) for row in rows] == sorted(some)


def test_a_letter_that_was_buried_twice_comes_once(tmp_path: Path) -> None:
    """That is a finding of the proof; who replays or lists letters must not act on it twice."""
    world = buried(tmp_path, [[letter(stream(0), 1)], [letter(stream(0), 1), letter(stream(0), 2)]])
    assert [row["offset"] for rows in letters_of(world).windows() for row in rows] == [1, 2]
    assert [len(rows) for rows in letters_of(world, letters_max=1).windows()] == [1, 1]


def test_a_filter_means_the_letters_that_fit_all_of_it(tmp_path: Path) -> None:
    """In a column at a time as in a row at a time."""
    one, other = letter(stream(0), 1), replace(letter(stream(1, "orders"), 2), reason="late", phase="write", failed_at=1_800_000_000.0)
    letters = letters_of(buried(tmp_path, [[one, other]]))
    then = datetime.fromtimestamp(1_800_000_000, UTC)
    filters = {
        LetterFilter(): [1, 2],
        LetterFilter(reason="late"): [2],
        LetterFilter(phase="decode"): [1],
        LetterFilter(topic="orders", partition=1): [2],
        LetterFilter(topic="orders", partition=0): [],
        LetterFilter(since=then): [2],
        LetterFilter(until=then): [1],
    }
    for wanted, offsets in filters.items():
        assert [row["offset"] for rows in letters.windows(wanted) for row in rows] == offsets
        assert [row["offset"] for rows in letters.each() for row in rows if wanted.fits(row)] == offsets


@given(topic=st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True), partition=st.integers(0, 99), offset=st.integers(0, 2**63 - 1))
def test_the_short_id_of_a_letter_names_it(topic: str, partition: int, offset: int) -> None:
    """Also where the topic itself looks like an id, and where it would be that of another letter."""
    row = {"id": f"p/{topic}/x_-y/{partition}/{offset}", "topic": topic, "topic_id": "x_-y", "partition": partition, "offset": offset}
    for with_topic_id in (False, True):
        named = parsed_id(short_id(row, of_its_topic_id=with_topic_id))
        assert named is not None
        assert named.names(row)
        assert not named.names({**row, "id": "other", "offset": offset - 1})


@given(topic=TEXTS, topic_id=TEXTS)
def test_the_short_id_of_a_letter_with_any_names_names_it(topic: str, topic_id: str) -> None:
    """A name that no id can be made of leads to the whole id."""
    row = {"id": f"p/{topic}/{topic_id}/0/1", "topic": topic, "topic_id": topic_id, "partition": 0, "offset": 1}
    named = parsed_id(short_id(row, of_its_topic_id=True))
    assert named is not None
    assert named.names(row)


@given(text=st.text(st.characters(), max_size=60))
def test_any_text_is_taken_for_an_id_or_for_none(text: str) -> None:
    """What comes from a command line may be anything, half a character among it."""
    named = parsed_id(text)
    assert named is None or named.whole == text or text.startswith(f"{named.topic}-{named.partition}-{named.offset}")


@pytest.mark.parametrize("effect", [None, Effect(1, 2, 3, 4, 5)])
@given(places=st.lists(st.tuples(STREAMS, st.integers(0, 60))))
def test_what_a_replay_says_of_itself_is_read_as_it_was_written(effect: Effect | None, places: list[Any]) -> None:
    """Every offset once, by stream, in ranges; and what became of the rows, where there is one per key."""
    lanes = {lane for lane, _ in places}
    said = [Told(lane, ranges_among(offset for other, offset in places if other == lane), effect) for lane in lanes]
    told = told_by_replay(replay_metadata(Author("ann", "run"), said, Actions(1, 2, 3)))
    assert set(told) == set(said)
    assert actions_of_replay(replay_metadata(Author("ann", "run"), said, Actions(1, 2, 3))) == Actions(1, 2, 3)
    found = {(one.stream, offset) for one in told for start, end in one.ranges for offset in range(start, end)}
    assert found == set(places)
    assert sum(one.letters for one in told) == len(set(places))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "{",
        '{"letters":1}',
        '{"letters":[[1]]}',
        '{"letters":[["t","i",0,[["a",1]]]]}',
        '{"letters":[["t","i",0,[[0,1]]]],"effects":[[1]]}',
        '{"letters":[["t","i",0,[[0,1]]]],"effects":[[1,0,0,0,0],[1,0,0,0,0]]}',
        '{"letters":[["t","i",0,[[0,1]]]],"effects":7}',
        "[" * 9999,
    ],
)
def test_what_is_no_word_of_a_replay_says_nothing(text: str) -> None:
    """Others can write to the log."""
    assert told_by_replay({"landfast.replay": text}) == ()
    assert told_by_replay({}) == ()
    assert actions_of_replay({"landfast.replay": text}) is actions_of_replay({}) is None


def test_the_acts_of_a_letter_come_to_the_same_in_any_order() -> None:
    """The trail's files lie in the order of its commits, and are joined by compaction."""
    acts = [{"act": act, "number": number} for number, act in enumerate(("refused", "edited", "refused", "edited", "replayed"), 1)]
    forward, back = UNTOUCHED, UNTOUCHED
    for act, other in zip(acts, reversed(acts), strict=True):
        forward, back = forward.and_then(act), back.and_then(other)
    assert forward == back
    assert (forward.state, forward.acts, forward.refusals) == (State.REPLAYED, 5, 2)
    assert (forward.edit, forward.refused) == (acts[3], acts[2])
