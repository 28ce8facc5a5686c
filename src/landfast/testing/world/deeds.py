"""What can happen around the workers of a world, deed by deed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from landfast.model import Letter, Stream
from landfast.testing.ledger import positions_of
from landfast.testing.memory import LandedRow, resolve
from landfast.testing.world.ailing import AILING, SORE, key_of, passing
from landfast.testing.world.schedule import Act, Deed
from landfast.testing.world.workers import DISPUTED, POISON, Worker

if TYPE_CHECKING:
    from landfast.testing.world.world import World


def do(world: World, act: Act) -> None:
    """Let an act happen, to whatever it picks among what there is now."""
    _DEEDS[act.deed](world, act)


def _stream(world: World, act: Act) -> Stream:
    streams = world.log.streams()
    return streams[act.pick % len(streams)]


def _victim(world: World, act: Act) -> Worker | None:
    living = world.living
    return living[act.pick % len(living)] if living else None


# ---- a log's daily life ----


def _writing(value: bytes | None) -> Callable[[World, Act], None]:
    """Append as many records of a kind; each differs from all others of its stream, but for what the table refuses."""

    def write(world: World, act: Act) -> None:
        stream = _stream(world, act)
        for _ in range(act.amount):
            end = world.log[stream].end
            line = value if value is None or value == POISON else b"%s %d" % (value, end)
            key = key_of(act.pick, end) if world.schedule.sizes.later_seconds else b"k"
            world.log.append(stream.topic, stream.partition, line, key=key)

    return write


def _ailing(kind: bytes) -> Callable[[World, Act], None]:
    """Append one record that fails for a while, and others behind it."""

    def write(world: World, act: Act) -> None:
        stream = _stream(world, act)
        for number in range(1 + act.amount // 2):
            end = world.log[stream].end
            until = 0.0 if number else world.scheduler.now + 4.0 * act.amount
            world.log.append(stream.topic, stream.partition, passing(kind, until, end), key=key_of(act.pick, end))

    return write


# ---- a person with dead letters ----


def _open_letter(world: World, act: Act) -> Letter | None:
    """One of those that the position is past, rather one that is to be tried again than one that was given up."""
    snapshot = world.table.snapshot()
    letters = [
        letter
        for letter in world.store.letters
        if letter.offset < snapshot.positions.get(letter.stream, 0) and (letter.stream, letter.offset) not in snapshot.resolved
    ]
    attempts = len(world.schedule.sizes.later_seconds)
    letters = [letter for letter in letters if world.store.failures(letter).count <= attempts] or letters
    return letters[act.pick % len(letters)] if letters else None


def _replay(world: World, act: Act) -> None:
    """A person lands a letter, whatever is wrong with it, and whatever waits before it."""
    letter = _open_letter(world, act)
    if letter is not None:
        place = (letter.stream, letter.offset)
        resolve(world.table, {place: "landed"}, [LandedRow(*place, letter.value)])
        world.by_hand.add(place)


def _discard(world: World, act: Act) -> None:
    letter = _open_letter(world, act)
    if letter is not None:
        place = (letter.stream, letter.offset)
        resolve(world.table, {place: "discarded"}, [])
        world.by_hand.add(place)


def _mark(world: World, act: Act) -> None:
    stream = _stream(world, act)
    world.log.append_marker(stream.topic, stream.partition, act.amount)


def _open_transaction(world: World, act: Act) -> None:
    world.log[_stream(world, act)].open_transaction()


def _close_transaction(world: World, act: Act) -> None:
    world.log[_stream(world, act)].close_transaction()


def _abort_transaction(world: World, act: Act) -> None:
    """A transaction writes, stays open for a while, and is called off."""
    stream = _stream(world, act)
    partition = world.log[stream]
    partition.open_transaction()
    _append(world, stream, act.amount)
    world.later(2.0 * act.amount, partition.abort_transaction)


def _compact(world: World, act: Act) -> None:
    stream = _stream(world, act)
    held = positions_of(world.table.commits).get(stream, 0)
    offsets = [offset for offset in world.log.truth()[stream] if offset >= held][: act.amount]
    world.compacted.update((stream, offset) for offset in offsets)
    world.log[stream].compact(offsets)


def _add_partition(world: World, act: Act) -> None:
    world.log.add_partitions(_stream(world, act).topic, 1)
    world.group.balance()


# ---- a log's disasters ----


def _append(world: World, stream: Stream, count: int) -> None:
    for _ in range(count):
        world.log.append(stream.topic, stream.partition, b"line %d" % world.log[stream].end, key=b"k")


def _expire(world: World, act: Act) -> None:
    """Retention takes the head of a stream, or more arrives than it lets stay."""
    stream = _stream(world, act)
    world.robbed.add(stream)
    partition = world.log[stream]
    if act.pick % 2:
        _append(world, stream, 2 * act.amount)
        partition.expire(partition.end - 1)
    else:
        partition.expire(partition.first + 2 * act.amount)


def _truncate(world: World, act: Act) -> None:
    stream = _stream(world, act)
    world.robbed.add(stream)
    partition = world.log[stream]
    partition.truncate(max(partition.first, partition.end - act.amount))


def _recreate(world: World, act: Act) -> None:
    """A topic is created again, and mostly filled again at once: who reads by name goes on as if nothing had happened."""
    old = _stream(world, act)
    ends = [world.log[stream].end for stream in world.log.streams()]
    world.replaced.update(world.log.streams())
    new = world.log.recreate(old.topic)
    world.replaced.update(new)
    for stream, end in zip(new, ends, strict=True):
        _append(world, stream, end + act.amount - 1 if act.pick else 0)


# ---- a group's life ----


def _some(world: World, act: Act) -> tuple[Stream, ...]:
    streams = world.log.streams()
    return streams[act.pick % len(streams) :][: act.amount]


def _lose(world: World, act: Act) -> None:
    world.group.lose(_some(world, act))
    world.later(act.amount * 0.7, world.group.balance)


def _move(world: World, act: Act) -> None:
    """Streams go to another member at once; the one that had them hears of it when it polls."""
    streams = _some(world, act)
    _hand_over(world, act)
    world.group.lose(streams)


def _hand_over(world: World, act: Act) -> None:
    """Streams shall go to another member, which gets them when the one that has them lets go."""
    members = world.group.members
    for stream in _some(world, act):
        others = [member for member in members if member != world.group.owner(stream)]
        if others:
            world.group.assign(others[act.pick % len(others)], [stream])


def _revoke(world: World, act: Act) -> None:
    world.group.revoke(_some(world, act))
    world.later(act.amount * 0.7, world.group.balance)


def _revoke_all(world: World, act: Act) -> None:
    world.group.revoke(world.log.streams())
    world.later(act.amount * 0.7, world.group.balance)


def _balance(world: World, _: Act) -> None:
    world.group.balance()


def _freeze(world: World, act: Act) -> None:
    """A worker stands still; if that is longer than its session, the group gives its streams away, and it wakes as a zombie."""
    worker = _victim(world, act)
    if worker is None:
        return
    world.stand_still(worker, act.amount * 4.0)


def _expel(world: World, act: Act) -> None:
    worker = _victim(world, act)
    if worker is not None:
        world.throw_out(worker)


# ---- a worker's life ----


def _stop(world: World, act: Act) -> None:
    worker = _victim(world, act)
    if worker is not None:
        worker.runner.stop()


def _kill(world: World, act: Act) -> None:
    worker = _victim(world, act)
    if worker is not None:
        worker.killed_in_commit = any(flow.landing for flow in worker.runner.flows)
        world.kill(worker)


def _skew(world: World, act: Act) -> None:
    worker = _victim(world, act)
    if worker is not None:
        worker.clock.skew_seconds += (act.amount - 2) * 86_400.0


def _commit_as_another_tool(world: World, _: Act) -> None:
    world.commit_as_another_tool()


_DEEDS: dict[Deed, Callable[[World, Act], None]] = {
    Deed.PRODUCE: _writing(b"line"),
    Deed.PRODUCE_BAD: _writing(b"bad"),
    Deed.PRODUCE_POISON: _writing(POISON),
    Deed.PRODUCE_DISPUTED: _writing(DISPUTED),
    Deed.PRODUCE_AILING: _ailing(AILING),
    Deed.PRODUCE_SORE: _ailing(SORE),
    Deed.REPLAY: _replay,
    Deed.DISCARD: _discard,
    Deed.TOMBSTONE: _writing(None),
    Deed.MARKER: _mark,
    Deed.OPEN_TRANSACTION: _open_transaction,
    Deed.CLOSE_TRANSACTION: _close_transaction,
    Deed.ABORT_TRANSACTION: _abort_transaction,
    Deed.COMPACT: _compact,
    Deed.ADD_PARTITION: _add_partition,
    Deed.EXPIRE: _expire,
    Deed.TRUNCATE: _truncate,
    Deed.RECREATE: _recreate,
    Deed.LOSE: _lose,
    Deed.MOVE: _move,
    Deed.HAND_OVER: _hand_over,
    Deed.REVOKE: _revoke,
    Deed.REVOKE_ALL: _revoke_all,
    Deed.BALANCE: _balance,
    Deed.FREEZE: _freeze,
    Deed.EXPEL: _expel,
    Deed.STOP: _stop,
    Deed.KILL: _kill,
    Deed.SKEW: _skew,
    Deed.FOREIGN_COMMIT: _commit_as_another_tool,
}
