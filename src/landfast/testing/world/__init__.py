"""A simulated world for the whole engine: one seed decides everything, virtual time costs nothing, and a failure replays exactly.

    from landfast.testing.world import World, drawn
    assert World(drawn(seed)).play().problems == []

The engine in it is the one that ships: `core/runner.py` and all it calls, over simulated ports, several workers at once. `python -m
landfast.testing.world` plays many seeds. It needs the package `greenlet`.
"""

from landfast.testing.world.campaign import Upshot, campaign, problem_of, smallest
from landfast.testing.world.every_call import EveryCall, every_call
from landfast.testing.world.later import drawn_later
from landfast.testing.world.reached import expected, reached
from landfast.testing.world.reached_later import expected_later
from landfast.testing.world.schedule import Act, Deed, Schedule, Sizes, drawn, shrunk
from landfast.testing.world.world import Outcomes, World

__all__ = [
    "Act",
    "Deed",
    "EveryCall",
    "Outcomes",
    "Schedule",
    "Sizes",
    "Upshot",
    "World",
    "campaign",
    "drawn",
    "drawn_later",
    "every_call",
    "expected",
    "expected_later",
    "problem_of",
    "reached",
    "shrunk",
    "smallest",
]
