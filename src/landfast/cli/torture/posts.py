"""The crew's places, and what bounds a torture."""

from __future__ import annotations

import enum
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from landfast.cli.torture.crew import Worker
from landfast.cli.torture.torment import Plan
from landfast.ports import Clock

DEBRIS_AGE_SECONDS = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a torture. It ends after so many kills or so long, whichever comes first."""

    seconds: float
    kills: int | None
    workers: int
    records_per_second_max: int
    seed: int


def instance(number: int, protocol: str) -> str:
    """Every other place is known to the group by a name of its own, and its partitions wait for it.

    Not in the newer protocol: there the name of a worker that was killed is refused to its successor for as long as the session lasts.
    """
    return f"post-{number}" if number % 2 and protocol == "classic" else ""


class State(enum.Enum):
    """What is going on with a place in the crew."""

    FREE = "nothing is planned"
    WAITING = "a plan waits for its moment"
    STILL = "the worker stands still"
    GOING_ON = "it was told to go on"
    LEAVING = "it was asked to end"


@dataclass(slots=True)
class Post:
    """A place in the crew: the worker that has it now, and what is to be done to it at `due`. `joined`: it has partitions."""

    number: int
    worker: Worker
    joined: bool = False
    state: State = State.FREE
    plan: Plan | None = None
    due: float = 0.0


def leave_debris(table: str, clock: Clock) -> None:
    """Put a file into the table that looks like one of a commit that never came, of long ago, so that there is something to sweep.

    Only where it lies in a folder: in a store nothing can be made that is old.
    """
    if "://" in table or not Path(table).is_dir():
        return
    file = Path(table) / f"landfast-{uuid.uuid4().hex}.zstd.parquet"
    file.write_bytes(b"debris")
    then = clock.now() - DEBRIS_AGE_SECONDS
    os.utime(file, (then, then))
