"""The test of the test: an engine or a port with a known defect does not get through the simulated world."""

from __future__ import annotations

from itertools import chain

import pytest

from landfast.testing.world import problem_of
from tests.simulated.plants import FIRST_SEEDS, PLANTS, SEEDS_MAX, Plant

pytestmark = pytest.mark.usefixtures("unmeasured")


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed that caught it first catches it still; where the engine has changed since, one of the others does."""
    plant.sow(monkeypatch)
    assert any(problem_of(plant.draw(seed)) for seed in chain([FIRST_SEEDS[plant.name]], range(SEEDS_MAX)))


def test_the_engine_as_it_is_passes_where_planted_bugs_fail() -> None:
    """What catches the defects is the defects, and not the schedules."""
    seeds = {(plant.draw, FIRST_SEEDS[plant.name]) for plant in PLANTS}
    assert {seed: problem for draw, seed in seeds if (problem := problem_of(draw(seed)))} == {}


def test_each_planted_bug_has_a_name_and_a_sentence_of_its_own() -> None:
    """The table of them can be read by who has never seen the engine."""
    assert len({plant.name for plant in PLANTS}) == len({plant.sentence for plant in PLANTS}) == len(PLANTS) >= 100
    assert all(plant.sentence.endswith(".") for plant in PLANTS)
