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
from tests.redrive.entity_letters_world import entity_scene, replay_entities, value_of
from tests.redrive.letters_world import GOOD, replay_on, scene_at
from tests.redrive.retrying_world import DELAYS, GOOD_VALUE, Ahead, behind, failed, worker
from tests.sinks.delta_world import DeltaWorld
from tests.sinks.entity_world import BY_POSITION, ENTITIES, Event
from tests.writing.test_in_a_store import Deaf

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def store() -> Iterator[FakeS3]:
    with FakeS3() as one:
        yield one


@pytest.mark.parametrize("lost", [0, 1, 2, 4])
def test_a_replay_into_entities_whose_answers_are_lost_lands_once(store: FakeS3, tmp_path: Path, lost: int) -> None:
    """The next replay finds by the entry of the first what that has decided, also of letters that were mended since."""
    settings = DeltaSettings("", storage_options=store.storage_options, upsert=BY_POSITION)
    scene = entity_scene(tmp_path, world=DeltaWorld(f"s3://{BUCKET}/entities-{lost}", ENTITIES, settings))
    scene.land([Event(0, offset, name, gone=offset == 3) for offset, name in enumerate("aaacbd")], {1, 3, 5})
    version = scene.table().version()
    disk = Disk()
    disk.objects = Deaf(lost)
    with contextlib.suppress(LandfastError):
        replay_entities(scene, disk)
    if scene.table().version() > version:
        scene.decided(list(scene.dead))
        with contextlib.suppress(LandfastError):
            scene.redrive().edit("events-0-5", value_of(Event(0, 5, "elsewhere")))
    scene.replay()
    scene.decided(list(scene.dead))
    scene.demand()
    assert [act for act in scene.acted() if act[2] == "replayed"] == [(0, offset, "replayed") for offset in (1, 3, 5)]


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


@pytest.mark.parametrize("lost", [1, 2])
def test_attempts_of_the_pipeline_whose_answers_are_lost_land_each_letter_once(store: FakeS3, tmp_path: Path, lost: int) -> None:
    """Of the entry that lands them, and of that of the trail: the next round finds what is there, in order, and goes on."""
    objects, disk = Deaf(0), Disk()
    disk.objects = objects
    settings = DeltaSettings("", storage_options=store.storage_options)
    world = DeltaWorld(f"s3://{BUCKET}/later-{lost}", settings=settings, clock=Ahead(), disk=disk)
    scene = scene_at(tmp_path, {}, world=world)
    one = worker(scene).buried(failed(2, GOOD_VALUE), behind(3), failed(5, key=b"two"))
    objects.lost = lost
    while objects.lost:
        with contextlib.suppress(LandfastError):
            one.round(ahead=DELAYS[0])
    one.round()
    assert sorted(scene.rows().items()) == [((0, offset), 1) for offset in (0, 1, 2, 3, 4)]
    assert one.round(ahead=DELAYS[1]) == (0, 0, 1)
    proof = scene.proof()
    assert (proof.findings, proof.replayed, proof.unresolved, proof.open_letters, proof.retrying) == ((), 2, 0, 1, 0)
    assert [act[2] for act in scene.acted()] == ["replayed", "replayed", "retried", "given_up"]
