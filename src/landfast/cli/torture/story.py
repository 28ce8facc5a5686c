"""A torture from beginning to end: make the place, torture, judge, prove, report, and leave nothing behind."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from landfast.cli.demo.picture import Ink
from landfast.cli.options import options_of
from landfast.cli.torture.ground import Ground, Wanted, ground
from landfast.cli.torture.harness import Harness
from landfast.cli.torture.judge import Case, judge
from landfast.cli.torture.landed import root
from landfast.cli.torture.picture import Screen, lines
from landfast.cli.torture.posts import Limits
from landfast.cli.torture.report import Outcome, Times, commit
from landfast.errors import Misconfigured
from landfast.system import SystemClock

PROOF_SECONDS_MAX = 4 * 3600.0
LONG_SESSION_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for."""

    minutes: float = 5.0
    kills: int | None = None
    servers: str | None = None
    path: str | None = None
    workers: int = 3
    seed: int | None = None
    report: Path | None = None
    keep: bool = False
    rate: int = 4000
    options: tuple[str, ...] = ()
    storage_options: tuple[str, ...] = ()

    @property
    def limits(self) -> Limits:
        """What bounds the torture; a seed is drawn where none is given."""
        seed = random.SystemRandom().randrange(2**31) if self.seed is None else self.seed
        return Limits(self.minutes * 60, self.kills, self.workers, self.rate, seed)


def tell(wish: Wish) -> bool:
    """Torture as it is wished, say what comes of it, and whether all is well.

    Raises:
        Misconfigured: the wish cannot be granted; nothing was made.
        Unavailable: the brokers do not answer; nothing was made.
        Broken: the torture could not go on.
    """
    name = f"landfast-torture-{uuid.uuid4().hex[:8]}"
    options, storage_options = options_of("--option", wish.options), options_of("--storage-option", wish.storage_options)
    wanted = Wanted(name, wish.servers, wish.path, options, storage_options, wish.keep)
    if wish.report is not None:
        check_writable(wish.report)
    limits = wish.limits
    screen = Screen(limits)
    try:
        with ending_on_signals(), ground(wanted, screen.say) as place:
            outcome = _tortured(place, limits, screen)
            screen.close()
            for line in lines(outcome, Ink.for_encoding(sys.stdout.encoding)):
                print(line)
            if wish.report is not None:
                wish.report.write_text(json.dumps(outcome.as_object(), indent=2) + "\n", encoding="utf-8")
            if wish.keep:
                screen.say(f"Everything was left where it is: {place.whereabouts}.")
    finally:
        screen.close()
    return outcome.well


def _tortured(place: Ground, limits: Limits, screen: Screen) -> Outcome:
    clock = SystemClock()
    began = f"{datetime.fromtimestamp(clock.now(), UTC):%Y-%m-%dT%H:%M:%SZ}"
    code = commit()
    broker = "an embedded broker, which has no transactions" if place.embedded else "the cluster"
    screen.say(
        f"Torturing {limits.workers} workers on {broker}, for {limits.seconds / 60:g} minutes"
        + ("" if limits.kills is None else f" or {limits.kills:,} kills")
        + f", seed {limits.seed}. Everything is called {place.name}."
    )
    if place.session_seconds > LONG_SESSION_SECONDS:
        screen.say(
            f"The group waits {place.session_seconds:g} s for a worker that is gone, so that few kills fit into an hour. How to shorten it"
            " stands in the guide."
        )
    harness = Harness(place, limits, clock, screen.show)
    harness.run()
    screen.close()
    moments = [clock.monotonic()]
    screen.say(f"Nobody is hurt any more, and everybody has ended. Counting {harness.score.load.get('acknowledged', 0):,} records.")
    count = judge(case_of(place, limits, harness.doubtful), place.folder / "scratch")
    moments.append(clock.monotonic())
    screen.say("Counted. Proving the table.")
    proof = proof_of(place.file)
    moments.append(clock.monotonic())
    times = Times(harness.torture_seconds, harness.settle_seconds, moments[1] - moments[0], moments[2] - moments[1])
    return Outcome(limits, described(place), code, began, times, harness, count, proof)


def case_of(place: Ground, limits: Limits, doubtful: frozenset[int]) -> Case:
    """What there is to judge in this place."""
    table, letters = root(place.table, place.storage_options), root(place.letters, place.storage_options)
    return Case(place.folder / "ledger", table, letters, place.lanes, limits.seed, doubtful)


def described(place: Ground) -> dict[str, Any]:
    """The place in the words of the report: nothing that is secret, and nothing that tells one cluster or bucket from another."""
    source = place.settings.source
    return {
        "broker": "embedded" if place.embedded else "cluster",
        "table": place.table.partition("://")[0] if place.in_store else "folder",
        "protocol": source.protocol,
        "session_seconds": place.session_seconds,
        "options": sorted(source.options),
    }


def proof_of(file: Path) -> Mapping[str, Any]:
    """What `landfast verify --source` says, as a process of its own."""
    command = [sys.executable, "-m", "landfast", "verify", str(file), "--source", "--json"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PROOF_SECONDS_MAX)  # noqa: S603 — our own command
    try:
        found = json.loads(ended.stdout)
    except ValueError:
        return {"proved": False, "findings": [{"sentence": ended.stderr.strip()[-2000:]}]}
    return found if isinstance(found, dict) else {"proved": False}


def check_writable(report: Path) -> None:
    """See that the report can be written, before hours of work.

    Raises:
        Misconfigured: it cannot.
    """
    is_new = not report.exists()
    try:
        with report.open("a", encoding="utf-8"):
            pass
        if is_new:
            report.unlink()
    except OSError as error:
        raise Misconfigured(
            "CONFIG_INVALID", f"--json: {report} cannot be written ({error.strerror})", next_step="Name another file."
        ) from error


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the block, so that whatever has to be taken away is; further ones change nothing about that."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def end(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    former = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
