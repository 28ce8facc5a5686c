"""Dead letters under trouble: a put whose answer was lost is found, never repeated, and a former owner stays out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from landfast.errors import Conflict, Unavailable
from landfast.events import Maintained
from landfast.model import Letter
from landfast.sinks.delta import DeltaDeadLetters, letters_path
from landfast.sinks.delta.log.active import active_files
from tests.sinks.delta_trouble import PanicException, Trouble, nothing, raising, troubled
from tests.sinks.delta_world import DeltaWorld, QuickClock, stream

LANE = stream(0)


@pytest.fixture
def trouble(world: DeltaWorld) -> Trouble:
    """The trouble that this world's commits meet."""
    return troubled(world)


def letter(offset: int) -> Letter:
    return Letter(
        LANE, offset, 1_700_000_000_000, b"key", b"value", (("name", b"header"),), "decode", "bad_json", "no JSON", 1, 1_700_000_001.0
    )


def buried(world: DeltaWorld) -> list[int]:
    return sorted(DeltaTable(letters_path(world.path)).to_pyarrow_table().column("offset").to_pylist())


def opened(world: DeltaWorld, run_id: str = "run-1") -> DeltaDeadLetters:
    letters = DeltaDeadLetters(world.home(run_id))
    letters.claim([LANE])
    return letters


@pytest.mark.parametrize(
    "error",
    [
        OSError("error sending request: operation timed out"),
        CommitFailedError("Failed to commit transaction: Concurrent transaction failed."),
        CommitFailedError("Failed to commit transaction: 0"),
        PanicException("index out of bounds"),
    ],
    ids=str,
)
def test_a_put_whose_answer_was_lost_buries_once(world: DeltaWorld, trouble: Trouble, error: BaseException) -> None:
    """The letters are in, the call fails: the put is found to have landed, and the next one goes on."""
    letters = opened(world)
    trouble.after.append(raising(error))
    letters.put([letter(1)])
    letters.put([letter(2)])
    assert buried(world) == [1, 2]


def test_a_put_that_failed_before_its_effect_is_unavailable_and_may_be_repeated(world: DeltaWorld, trouble: Trouble) -> None:
    """Nothing is in, and the same letters are buried at the next attempt."""
    letters = opened(world)
    trouble.before.append(raising(OSError("connection reset by peer")))
    with pytest.raises(Unavailable):
        letters.put([letter(1)])
    assert buried(world) == []
    letters.put([letter(1)])
    assert buried(world) == [1]


@pytest.mark.parametrize("again", [[1], [1, 2], [2]])
def test_a_put_that_could_not_be_read_back_is_not_repeated(world: DeltaWorld, trouble: Trouble, again: list[int]) -> None:
    """The letters are in and the store was gone: whatever is put next, none of them is buried twice."""
    letters = opened(world)

    def store_goes_down() -> None:
        trouble.opening.extend([raising(OSError("tcp connect error: Connection refused"))] * world.settings.resolve_attempts_max)
        raise OSError("error sending request: operation timed out")

    trouble.after.append(store_goes_down)
    with pytest.raises(Unavailable) as caught:
        letters.put([letter(1)])
    assert caught.value.code == "OUTCOME_UNKNOWN"
    letters.put([letter(offset) for offset in again])
    assert buried(world) == sorted({1, *again})


def test_a_claim_that_comes_between_compare_and_set_wins(world: DeltaWorld, trouble: Trouble) -> None:
    """The former owner compared in time and set too late: nothing is buried."""
    former, owner = opened(world, "former"), DeltaDeadLetters(world.home("owner"))

    def owner_claims() -> None:
        owner.claim([LANE])

    trouble.before.extend([owner_claims, nothing])
    with pytest.raises(Conflict):
        former.put([letter(1)])
    owner.put([letter(2)])
    assert buried(world) == [2]


def test_a_claim_whose_answer_was_lost_is_made_again(world: DeltaWorld, trouble: Trouble) -> None:
    """Claims only have to grow: the second one counts."""
    letters = DeltaDeadLetters(world.home())
    trouble.after.append(raising(OSError("operation timed out")))
    with pytest.raises(Unavailable):
        letters.claim([LANE])
    letters.claim([LANE])
    letters.put([letter(1)])
    assert buried(world) == [1]


def test_letters_are_found_across_checkpoints_and_many_files(world: DeltaWorld) -> None:
    """Upkeep of the letters' own table loses none of them."""
    world.settings = type(world.settings)(path="", checkpoint_commits=3)
    letters = opened(world)
    for offset in range(10):
        letters.put([letter(offset)])
    later = DeltaDeadLetters(world.home("later"))
    assert later.buried(LANE, 4) == set(range(4, 10))
    assert later.buried(stream(1), 0) == set()


def test_the_letters_of_a_partition_are_not_those_of_one_whose_number_begins_alike(world: DeltaWorld) -> None:
    """What is buried of partition 10 is not dead in partition 1: its records would be left out of the table, and be no letters either."""
    letters = DeltaDeadLetters(world.home())
    letters.claim([stream(1), stream(10)])
    letters.put([replace(letter(5), stream=stream(10)), replace(letter(9), stream=stream(1))])
    assert (letters.buried(stream(1), 0), letters.buried(stream(10), 0)) == ({9}, {5})


def test_the_table_of_letters_stays_small(world: DeltaWorld) -> None:
    """Many small puts become one file, letters and fences are what they were, and a put that is read back finds them there."""

    class SteppingClock(QuickClock):
        seconds = 0.0

        def monotonic(self) -> float:
            return self.seconds

    home = world.home()
    home.clock = clock = SteppingClock()
    letters = DeltaDeadLetters(home)
    letters.claim([LANE])
    for offset in range(9):
        letters.put([letter(offset)])
    before = DeltaTable(letters_path(world.path)).to_pyarrow_table().sort_by("offset")
    clock.seconds = 3600.0
    letters.put([letter(9)])
    files = active_files(DeltaTable(letters_path(world.path)))
    assert len(files) == 1
    letters.put([letter(10)])
    assert buried(world) == list(range(11))
    assert letters.buried(LANE, 4) == set(range(4, 11))
    after = DeltaTable(letters_path(world.path)).to_pyarrow_table().sort_by("offset")
    assert after.slice(0, 9).equals(before)
    assert [event.act for event in world.ears.heard if isinstance(event, Maintained)] == ["compaction"]
    opened(world, "run-2")
    with pytest.raises(Conflict):
        letters.put([letter(11)])
