"""Real tables under workers, replays and jobs that interleave at every act of the disk and are killed at any of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lake.lake import Lake, problems_of

pytestmark = pytest.mark.long


@pytest.mark.parametrize("seed", range(3))
def test_whatever_befalls_who_writes_to_a_lake_every_record_ends_in_one_place(tmp_path: Path, seed: int) -> None:
    """Upserts or rows, letters mended and replayed, commits to two tables: all of it once, proved, and sealed whole."""
    met = problems_of(seed, tmp_path)
    assert met.problems == []
    assert met.sealed


def test_a_lake_is_decided_by_its_seed(tmp_path: Path) -> None:
    """The same seed, the same order of everything: what was found can be looked at again."""
    traces = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        lake = Lake(7, tmp_path / name)
        lake.play()
        traces.append(lake.trace)
    assert traces[0] == traces[1]
