"""A log that changes under the reader halts the lanes concerned, loses nothing that can be read, and lands nothing that is not theirs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from landfast.core.report import Outcome
from landfast.model import Stream
from landfast.testing.faults import Call
from landfast.testing.ledger import positions_of
from tests.core.test_simulated_owners import CALLS_MAX, at_every_call, interrupted
from tests.core.world import Process, Sizes, World

BOUNDS_ASKED = 2
"""The number of the call that asks for the ends, at the start of a bounded run."""


def replace_topic(world: World, _: Process) -> None:
    """The topic is deleted and created again, with other records at the same offsets."""
    world.log.recreate("t", 3)
    for partition in range(3):
        for number in range(12):
            world.log.append("t", partition, b"new %d" % number)


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("sizes", [Sizes(), Sizes(checks="after"), Sizes(1, 2, 2, 1, checks_apart=3)])
def test_nothing_of_a_topic_created_again_lands_as_the_old_one(sizes: Sizes) -> None:
    """Deleted and created again, with other records at the same offsets, at any call: what lands of the old stream is only its own."""

    def check(number: int) -> Process:
        world = World(sizes)
        old = set(world.streams)
        process = interrupted(world, {number: replace_topic})
        report = process.run()
        world.check_safe()
        assert {row.stream for row in world.table.rows} <= old or report.outcome is Outcome.FINISHED
        if report.outcome is Outcome.HALTED:
            assert {halt.code for halt in report.halts.values()} <= {"TOPIC_REPLACED", "TOPIC_GONE"}
        return process

    at_every_call(check, range(BOUNDS_ASKED + 2, CALLS_MAX))


def test_a_topic_created_again_right_at_the_start_ends_the_run() -> None:
    """Between the question for the ends and the assignment, the streams that the run was to read vanish: it says so and ends."""
    world = World()
    process = interrupted(world, {BOUNDS_ASKED + 1: replace_topic})
    report = process.run()
    assert report.outcome is Outcome.HALTED
    assert {halt.code for halt in report.halts.values()} == {"TOPIC_GONE"}
    assert process.plan.calls[BOUNDS_ASKED - 1] == Call("extent", "bounds")


def first_start(world: World, stream: Stream) -> int:
    """Where the first span of a stream starts: a stream that was never read starts at what retention has left of it."""
    return min((span.start for commit in world.table.commits for span in commit.spans if span.stream == stream), default=0)


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("sizes", [Sizes(), Sizes(2, 2, 100, 100, checks="after")])
@pytest.mark.museum(22)
def test_what_retention_removed_halts_its_lane_and_no_other(sizes: Sizes) -> None:
    """Retention that passes the reader at any call: the lane halts as DATA_EXPIRED or had read it already; the others land whole."""

    def expire(world: World, _: Process) -> None:
        world.log.expire(world.streams[0], 7)

    def check(number: int) -> Process:
        world = World(sizes)
        process = interrupted(world, {number: expire})
        report = process.run()
        expired, other, _ = world.streams
        if first_start(world, expired) < 7:
            world.check_safe()
        assert {place[0] for place in world.verdict().pending} <= {expired}
        if report.outcome is Outcome.HALTED:
            assert {stream: halt.code for stream, halt in report.halts.items()} == {expired: "DATA_EXPIRED"}
            assert positions_of(world.table.commits).get(expired, 0) < 7
            assert positions_of(world.table.commits)[other] == 6
        else:
            assert report.outcome is Outcome.FINISHED
        return process

    at_every_call(check)


def test_b6_a_truncated_log_halts_its_lane() -> None:
    """The tail is cut off at any call: the lane had read it before, or it halts, also where the new end lies above its position."""

    def truncate(world: World, _: Process) -> None:
        world.log[world.streams[1]].truncate(1)

    def check(number: int) -> Process:
        world = World()
        process = interrupted(world, {number: truncate})
        report = process.run()
        assert report.outcome in {Outcome.FINISHED, Outcome.HALTED}
        if report.outcome is Outcome.HALTED:
            assert {halt.code for halt in report.halts.values()} == {"LOG_TRUNCATED"}
        assert world.violations == []
        return process

    at_every_call(check, range(1, CALLS_MAX, 2))


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("change", ["compact", "transaction", "partitions"])
def test_legal_changes_of_a_log_change_nothing(change: str) -> None:
    """Records compacted away, a transaction open for a while, partitions added: at any call, what is owed lands once."""

    def add_partitions(world: World, _: Process) -> None:
        world.log.add_partitions("t", 2)
        world.log.append("t", 4, b"new")
        world.group.balance()

    acts: dict[str, Callable[[World, Process], object]] = {
        "compact": lambda world, _: world.log[world.streams[0]].compact([3, 7]),
        "transaction": lambda world, _: world.log[world.streams[1]].open_transaction(),
        "partitions": add_partitions,
    }

    def end(world: World, _: Process) -> None:
        world.log[world.streams[1]].close_transaction()

    def check(number: int) -> Process:
        world = World()
        process = interrupted(world, {number: acts[change], number + 10: end})
        report = process.run()
        assert report.outcome is Outcome.FINISHED, report
        world.run_to_the_end()
        verdict = world.verdict()
        # A record that was read before it was compacted away has landed, and that is as good as not at all.
        assert change == "compact" or verdict.clean, str(verdict)
        assert (verdict.lost, verdict.twice, verdict.pending, verdict.out_of_order) == ((), (), (), ())
        return process

    at_every_call(check, range(1, CALLS_MAX, 2))
