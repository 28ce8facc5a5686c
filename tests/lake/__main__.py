"""`python -m tests.lake`: many lakes, one after the other; exits 1 where something is wrong."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from landfast.testing.faults import Stuck
from tests.lake.lake import problems_of


def main() -> int:
    """Play them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first")
    parser.add_argument("--lakes", type=int, default=100, help="how many")
    given = parser.parse_args()
    began, wrong, totals = time.monotonic(), 0, dict[str, int]()
    with tempfile.TemporaryDirectory(prefix="landfast-lakes-") as folder:
        for seed in range(given.first, given.first + given.lakes):
            try:
                met = problems_of(seed, Path(folder))
            except Stuck as error:
                _say(f"{seed}: stuck: {error}")
                wrong += 1
                continue
            for name, count in asdict(met).items():
                totals[name] = totals.get(name, 0) + (len(count) if isinstance(count, list) else count)
            if met.problems:
                wrong += 1
                _say(f"{seed}: {met.problems[:3]}")
    _say(f"{given.lakes} lakes in {time.monotonic() - began:.0f} s, {wrong} wrong; {totals}")
    return 1 if wrong else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
