"""`make fuzz`: every target for its share of the time, in a process of its own, so that a crash of a native library is a finding too.

Prints how often each was run, and stores what it finds in the corpus, where the tests run it from then on. Exits 1 when it found anything.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import mmap
import multiprocessing
import os
import shutil
import signal
import sys
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.place import scratch
from tests.fuzz.search import BYTES_MAX, Search, corpus_of
from tests.fuzz.targets import CORPUS, TARGETS

_HANG_SECONDS = 20
_LENGTH_BYTES = 4


class Hang(BaseException):
    """One input took longer than any should. No `except Exception` may swallow it."""


def main() -> int:
    """Fuzz, print, store."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="for all targets together")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same seed draws the same inputs")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one; repeatable")
    given = parser.parse_args()
    names = given.target or list(TARGETS)
    executions = found = 0
    print(f"seed {given.seed}, {len(names)} targets, {given.minutes:g} min")
    for name in names:
        began = time.monotonic()
        runs, words, findings = _fuzzed(name, given.seed, given.minutes * 60 / len(names))
        seconds = time.monotonic() - began
        executions += runs
        found += findings
        print(f"{name:<16}{runs:>12,} executions {runs / seconds:>9,.0f}/s {words:>6,} outcomes {findings:>3} found", flush=True)
    print(f"{executions:,} executions, {found} found")
    return 1 if found else 0


def _fuzzed(name: str, seed: int, seconds: float) -> tuple[int, int, int]:
    """How often the target was run, to how many ends, and how many defects it has."""
    runs = words = findings = 0
    deadline = time.monotonic() + seconds
    shared = mmap.mmap(-1, _LENGTH_BYTES + BYTES_MAX)
    seen: set[str] = set()
    context = multiprocessing.get_context("fork")
    while time.monotonic() < deadline:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(name, seed + findings, deadline, shared, theirs))
        child.start()
        theirs.close()
        result = _received(ours)
        child.join()
        if result is None:
            # The process is gone without a word: the input at hand killed it.
            _stored(name, _current(shared), f"the process ended with {child.exitcode}", seen)
            findings += 1
            continue
        runs, words, failure = runs + result[0], max(words, result[1]), result[2]
        if failure:
            findings += _stored(name, _current(shared), failure, seen)
    return runs, words, findings


def _received(ours: Connection) -> tuple[int, int, str] | None:
    try:
        return ours.recv()  # type: ignore[no-any-return]
    except EOFError:
        return None


def _current(shared: mmap.mmap) -> bytes:
    length = int.from_bytes(shared[:_LENGTH_BYTES], "little")
    return shared[_LENGTH_BYTES : _LENGTH_BYTES + length]


def _child(name: str, seed: int, deadline: float, shared: mmap.mmap, told: Connection) -> None:
    target = TARGETS[name]
    search = Search(target, seed, [path.read_bytes() for path in corpus_of(name)])
    signal.signal(signal.SIGALRM, _hang)
    faulthandler.enable()
    runs = 0
    failure = ""
    while time.monotonic() < deadline and not failure:
        data = search.next()
        shared[: _LENGTH_BYTES + len(data)] = len(data).to_bytes(_LENGTH_BYTES, "little") + data
        signal.alarm(_HANG_SECONDS)
        try:
            search.told(data, target.run(data))
        except BaseException:  # noqa: BLE001 — whatever comes out of a target is what is looked for
            failure = traceback.format_exc()
        signal.alarm(0)
        runs += 1
    told.send((runs, search.words, failure))
    # Without the exit handlers, which are the parent's too: what this process made goes here.
    shutil.rmtree(scratch(), ignore_errors=True)
    sys.stdout.flush()
    os._exit(0)


def _hang(_number: int, _frame: object) -> None:
    raise Hang


def _stored(name: str, data: bytes, failure: str, seen: set[str]) -> int:
    """Store and print what was found, once for each line of code that it ends in; 1 where it is new."""
    where = failure.strip().splitlines()[-1][:60] + "".join(line for line in failure.splitlines() if line.startswith("  File"))[-200:]
    if where in seen:
        return 0
    seen.add(where)
    path = CORPUS / name / f"found-{hashlib.sha256(data).hexdigest()[:12]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    print(f"{name}: found, stored as {path.relative_to(Path.cwd())}\n{failure}", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
