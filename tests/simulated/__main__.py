"""`python -m tests.simulated`: plant each bug and look for the first seed that finds it; `make docs` then tells of them."""

from __future__ import annotations

import json
import sys

import pytest

from landfast.testing.world import problem_of
from tests.simulated.plants import PLANTS, SEEDS_FILE, SEEDS_MAX, Plant


def first_seed(plant: Plant) -> int | None:
    """The first seed whose schedule finds the bug."""
    with pytest.MonkeyPatch.context() as patch:
        plant.sow(patch)
        return next((seed for seed in range(SEEDS_MAX) if problem_of(plant.draw(seed))), None)


def main() -> int:
    """Look for all of them, or for those that are named."""
    wanted = set(sys.argv[1:])
    seeds: dict[str, int] = json.loads(SEEDS_FILE.read_text(encoding="utf-8")) if wanted else {}
    missed = 0
    for plant in PLANTS:
        if wanted and plant.name not in wanted:
            continue
        seed = first_seed(plant)
        sys.stdout.write(f"{seed if seed is not None else 'none':>6}  {plant.name}\n")
        sys.stdout.flush()
        if seed is None:
            missed += 1
        else:
            seeds[plant.name] = seed
        SEEDS_FILE.write_text(json.dumps(seeds, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
