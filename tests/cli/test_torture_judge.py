"""The judge of a torture sees everything that can be wrong, and nothing that is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from landfast.cli.torture.buckets import WINDOW
from landfast.cli.torture.judge import WRONGS, judge
from landfast.cli.torture.records import Fate, fate_of
from landfast.errors import Broken
from tests.cli.torture_world import Sent, World, letter, row, world


def _sent(made: World, fate: Fate) -> Sent:
    """A record of this fate, not one of the first."""
    return [one for one in made.sent if fate_of(one.number) is fate and not one.aborted][3]


def _lose_a_row(made: World) -> None:
    del made.commits[1][10]


def _lose_a_letter(made: World) -> None:
    del made.letters[2]


def _land_a_row_twice(made: World) -> None:
    made.commits[3].append(made.commits[3][-1])


def _bury_a_row_too(made: World) -> None:
    made.letters.append(letter(_sent(made, Fate.ROW)))


def _change_a_value(made: World) -> None:
    made.commits[2][5]["ratio"] += 1e-9


def _null_a_value(made: World) -> None:
    made.commits[2][5]["site"] = None


def _exchange_two_rows(made: World) -> None:
    one, other = made.commits[0][4], made.commits[0][6]
    for name in ("event_id", "n", "ts", "site", "ratio", "ok", "note"):
        one[name], other[name] = other[name], one[name]


def _change_a_letter(made: World) -> None:
    made.letters[1]["value"] += b"!"


def _land_a_bad_record(made: World) -> None:
    bad = _sent(made, Fate.DEAD)
    made.letters = [one for one in made.letters if one["offset"] != bad.offset or one["partition"] != bad.lane]
    made.commits[0].append({**made.commits[0][0], "_partition": bad.lane, "_offset": bad.offset})


def _bury_a_tombstone(made: World) -> None:
    made.letters.append(letter(_sent(made, Fate.SKIP)))


def _land_of_an_aborted_transaction(made: World) -> None:
    made.commits[3].append(row(next(one for one in reversed(made.sent) if one.aborted and fate_of(one.number) is Fate.ROW)))


def _land_what_nobody_sent(made: World) -> None:
    made.commits[3].append({**made.commits[3][-1], "_offset": 1_000_000})


def _land_from_another_topic(made: World) -> None:
    made.commits[3].append({**made.commits[3][-1], "_topic": "strange"})


def _exchange_two_commits(made: World) -> None:
    made.commits[1], made.commits[2] = made.commits[2], made.commits[1]


DAMAGES: list[tuple[Callable[[World], None], dict[str, int]]] = [
    (_lose_a_row, {"lost": 1}),
    (_lose_a_letter, {"lost": 1}),
    (_land_a_row_twice, {"doubled": 1, "out_of_order": 1}),
    (_bury_a_row_too, {"doubled": 1, "misplaced": 1}),
    (_change_a_value, {"changed": 1}),
    (_null_a_value, {"changed": 1}),
    (_exchange_two_rows, {"changed": 2}),
    (_change_a_letter, {"changed": 1}),
    (_land_a_bad_record, {"misplaced": 1, "out_of_order": 1}),
    (_bury_a_tombstone, {"misplaced": 1}),
    (_land_of_an_aborted_transaction, {"aborted": 1, "out_of_order": 1}),
    (_land_what_nobody_sent, {"phantom": 1}),
    (_land_from_another_topic, {"phantom": 1}),
]


@pytest.mark.parametrize(("damage", "expected"), DAMAGES, ids=[damage.__name__.strip("_") for damage, _ in DAMAGES])
def test_what_is_wrong_is_counted_and_named(tmp_path: Path, damage: Callable[[World], None], expected: dict[str, int]) -> None:
    """Each damage is seen as what it is, exactly as often as it was done, with its place; nothing else is claimed."""
    made = world(tmp_path)
    damage(made)
    count = made.judged()
    assert {wrong: number for wrong, number in count.wrong.items() if number} == expected
    assert {wrong: len(places) for wrong, places in count.places.items()} == expected
    assert not count.well


def test_commits_in_the_wrong_order_are_seen(tmp_path: Path) -> None:
    """Every row that came after a later one of its partition is out of order, and nothing is lost or doubled by that."""
    made = world(tmp_path)
    late = len(made.commits[1])
    _exchange_two_commits(made)
    count = made.judged()
    assert {wrong: number for wrong, number in count.wrong.items() if number} == {"out_of_order": late}
    assert len(count.places["out_of_order"]) == 100


@pytest.mark.parametrize("compacted", [False, True])
def test_what_is_right_is_well(tmp_path: Path, compacted: bool) -> None:
    """A sound table is found sound, also after its files were joined; the counts add up."""
    made = world(tmp_path)
    made.compacted = compacted
    count = made.judged()
    assert count.well
    assert count.wrong == dict.fromkeys(WRONGS, 0)
    assert count.acknowledged == count.rows + count.letters + count.skipped == sum(not one.aborted for one in made.sent)
    assert count.aborted == sum(one.aborted for one in made.sent)
    assert min(count.rows, count.letters, count.skipped, count.aborted) > 0


def test_a_record_of_which_no_producer_knows_may_be_there_or_not(tmp_path: Path) -> None:
    """Where the answer to a producer was lost, its record is neither lost nor out of nowhere."""
    made = world(tmp_path)
    unknown = next(one for one in reversed(made.sent) if fate_of(one.number) is Fate.ROW and not one.aborted)
    made.sent.remove(unknown)
    made.doubtful = {unknown.number}
    assert made.judged().well


def test_windows_are_judged_one_by_one(tmp_path: Path) -> None:
    """Offsets far apart are compared in windows of their own, and a loss in any of them is seen."""
    made = world(tmp_path, records=200)
    last = made.sent[-1]
    far = [Sent(last.lane, window * WINDOW + 5, last.number + 10 * window) for window in (1, 2, 3)]
    far = [one for one in far if fate_of(one.number) is Fate.ROW]
    made.sent += far
    made.commits[-1] += [row(one) for one in far[1:]]
    count = made.judged()
    assert count.places == {"lost": [("t", far[0].lane, far[0].offset)]}


def test_a_log_with_a_hole_is_not_judged(tmp_path: Path) -> None:
    """Where entries of the log are gone nobody can tell the order of commits: the judge says so instead of guessing."""
    made = world(tmp_path)
    made.judged()
    (tmp_path / "table" / "_delta_log" / f"{2:020d}.json").unlink()
    with pytest.raises(Broken, match="cannot be judged"):
        judge(made.case, tmp_path / "again")
