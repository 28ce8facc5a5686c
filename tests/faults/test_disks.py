"""A disk that is full, read-only, out of inodes or descriptors, or that stands still: the run waits, says why, and goes on by itself."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from landfast.events import Event, Notice, RecordsRead, RetryScheduled
from landfast.testing.memory import RecordingObserver
from tests.faults.power_world import IN_ONE_GO, PowerWorld

PAGE = 4096
DISK_BYTES = 64 * PAGE


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room and few inodes. Mounting one takes root."""
    if os.geteuid() != 0:
        pytest.skip("a small file system is mounted for this test, which takes root")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},nr_inodes=200", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


class Trouble(RecordingObserver):
    """An observer that lets trouble begin as soon as something was read, and end when the work was tried again so often."""

    def __init__(self, begin: Callable[[], object], end: Callable[[], object], retries: int = 2) -> None:
        super().__init__()
        self._begin, self._end, self._retries = begin, end, retries
        self._began = False

    def notice(self, event: Event) -> None:
        """See `RecordingObserver`."""
        super().notice(event)
        if isinstance(event, RecordsRead) and not self._began:
            self._began = True
            self._begin()
        if isinstance(event, RetryScheduled) and len(self.of(RetryScheduled)) == self._retries:
            self._end()

    def told(self) -> set[str]:
        """What the operator was told while it lasted, by the code, and what it was that failed."""
        said = [event.message for event in self.of(RetryScheduled)] + [event.message for event in self.of(Notice)]
        codes = [event.code for event in self.of(RetryScheduled)] + [event.code for event in self.of(Notice)]
        return {f"{code}: {message}" for code, message in zip(codes, said, strict=True)}


def leave(place: Path, free: int) -> Path:
    """Fill the disk but for so many bytes."""
    ballast = place / "ballast"
    stand = os.statvfs(place)
    with ballast.open("wb", buffering=0) as out, suppress(OSError):
        out.write(bytes(max(0, stand.f_bavail * stand.f_frsize - free)))
    return ballast


def test_f1_no_space_at_any_write_loses_and_doubles_nothing(tiny_disk: Path) -> None:
    """The disk is full after one page more each time: at every write of letters, rows, log entries and checkpoints."""
    told: set[str] = set()
    ballast = tiny_disk / "ballast"
    for pages in range(DISK_BYTES // PAGE):
        folder = tiny_disk / f"run-{pages}"
        folder.mkdir()
        world = PowerWorld(records=12)
        world.observer = trouble = Trouble(lambda pages=pages: leave(tiny_disk, pages * PAGE), lambda: ballast.unlink(missing_ok=True))
        report = world.run(folder, limits=IN_ONE_GO)
        ballast.unlink(missing_ok=True)
        assert world.wrong(folder, report) == [], (pages, trouble.told())
        subprocess.run(["rm", "-r", str(folder)], check=True)
        told |= trouble.told()
        if not trouble.told():
            break
    assert all("DISK_FULL" in one for one in told)
    for act in ("writing a data file", "burying dead letters", "committing to the table", "writing a checkpoint"):
        assert any(act in one for one in told), act


def test_f2_no_inode_left_is_waited_for(tiny_disk: Path) -> None:
    """A disk with room and without a name for another file is full too."""
    world = PowerWorld(records=12)
    junk = tiny_disk / "junk"
    junk.mkdir()

    def begin() -> None:
        with suppress(OSError):
            for number in range(1000):
                (junk / str(number)).touch()

    def end() -> None:
        for one in junk.iterdir():
            one.unlink()

    world.observer = trouble = Trouble(begin, end)
    report = world.run(tiny_disk, limits=IN_ONE_GO)
    assert world.wrong(tiny_disk, report) == []
    assert trouble.told()
    assert all("DISK_FULL" in one for one in trouble.told())


def test_f2_a_disk_that_turns_read_only_is_waited_for(tiny_disk: Path) -> None:
    """As a kernel does to a file system with errors: the run says that it may not write, and goes on when it may."""
    world = PowerWorld(records=12)

    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(tiny_disk)], check=True)

    world.observer = trouble = Trouble(lambda: remount("ro"), lambda: remount("rw"))
    report = world.run(tiny_disk, limits=IN_ONE_GO)
    assert world.wrong(tiny_disk, report) == []
    assert trouble.told()
    assert all("SINK_AUTH" in one for one in trouble.told())


def test_f3_no_file_descriptor_left_is_waited_for(tmp_path: Path) -> None:
    """The process may open no further file for a while: nothing is lost, the code says what to raise."""
    world = PowerWorld(records=12)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []

    def begin() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(int(one.name) for one in Path("/proc/self/fd").iterdir()) + 1, hard))
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))

    def end() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        while taken:
            os.close(taken.pop())

    world.observer = trouble = Trouble(begin, end)
    try:
        report = world.run(tmp_path, limits=IN_ONE_GO)
    finally:
        end()
    assert world.wrong(tmp_path, report) == []
    assert trouble.told()
    assert all("FD_LIMIT" in one for one in trouble.told())
