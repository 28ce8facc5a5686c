"""All planted bugs, and the first seeds that found them."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

from tests.simulated import planted_in_flows, planted_in_lanes, planted_in_later, planted_in_letters, planted_in_races, planted_in_sinks
from tests.simulated.planting import Plant

_PARTS = (planted_in_sinks, planted_in_letters, planted_in_lanes, planted_in_flows, planted_in_races, planted_in_later)
PLANTS: tuple[Plant, ...] = tuple(chain.from_iterable(part.BED.plants for part in _PARTS))

SEEDS_MAX = 10_000
"""A defect that so many schedules do not find is a weakness of the world."""

SEEDS_FILE = Path(__file__).parent / "first_seeds.json"
FIRST_SEEDS: dict[str, int] = json.loads(SEEDS_FILE.read_text(encoding="utf-8"))
