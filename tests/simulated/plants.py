"""All planted bugs."""

from __future__ import annotations

from itertools import chain

from tests.simulated import planted_in_flows, planted_in_lanes, planted_in_letters, planted_in_sinks
from tests.simulated.planting import Plant

PLANTS: tuple[Plant, ...] = tuple(
    chain.from_iterable(part.BED.plants for part in (planted_in_sinks, planted_in_letters, planted_in_lanes, planted_in_flows))
)
