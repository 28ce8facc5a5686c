"""Letters of a table in an object store: the same promises, where an answer may be lost after the object is there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from landfast.errors import LandfastError
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.settings import DeltaSettings
from landfast.testing.stores import BUCKET, FakeS3
from tests.redrive.letters_world import GOOD, replay_on, scene_at
from tests.sinks.delta_world import DeltaWorld
from tests.writing.test_in_a_store import Deaf

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def store() -> Iterator[FakeS3]:
    with FakeS3() as one:
        yield one


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_a_replay_whose_answers_are_lost_lands_once(store: FakeS3, tmp_path: Path, lost: int) -> None:
    """Whatever the call says, the next replay finds what has landed, and only writes down the rest."""
    world = DeltaWorld(f"s3://{BUCKET}/lost-{lost}", settings=DeltaSettings("", storage_options=store.storage_options))
    scene = scene_at(tmp_path, world=world)
    disk = Disk()
    disk.objects = Deaf(lost)
    with contextlib.suppress(LandfastError):
        replay_on(scene, disk, letters_max=10)
    scene.replay()
    assert [scene.rows()[0, offset] for offset in GOOD] == [1, 1, 1]
    proof = scene.proof()
    assert (proof.findings, proof.replayed, proof.unresolved) == ((), 3, 0)
    assert [act for act in scene.acted() if act[2] == "replayed"] == [(0, offset, "replayed") for offset in GOOD]
