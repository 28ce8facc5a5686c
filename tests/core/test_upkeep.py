"""A sink is tidied up now and then, however busy it is."""

from __future__ import annotations

from landfast import events
from landfast.core.upkeep import Upkeep, UpkeepLimits
from landfast.errors import Unavailable
from landfast.testing.executor import SteppedExecutor
from landfast.testing.memory import MemorySink, MemoryTable, RecordingObserver


class Tidied(MemorySink):
    """A sink that counts how often it was tidied up, and may be away."""

    times = 0
    away = False

    def maintain(self, budget_seconds: float) -> None:
        """Count, or be away."""
        if self.away:
            raise Unavailable("SINK_DOWN", "nobody answers")
        super().maintain(budget_seconds)
        self.times += 1


class Scene:
    """An upkeep over one committer."""

    def __init__(self, landings_between: int) -> None:
        self.sink = Tidied(MemoryTable())
        self.committer = SteppedExecutor(ahead=1)
        self.observer = RecordingObserver()
        self.upkeep = Upkeep("flow", self.sink, self.committer, self.observer, UpkeepLimits(landings_between))

    def land(self, times: int, *, busy: bool) -> int:
        """So many landings, each followed by a look; how often the sink was tidied up by then, in all."""
        for _ in range(times):
            self.upkeep.landed()
            self.upkeep.turn(landing=busy)
            self.committer.run_all()
        return self.sink.times


def test_upkeep_waits_for_a_gap_between_landings() -> None:
    """The first landing is followed by upkeep, and then every third."""
    scene = Scene(landings_between=3)
    assert [scene.land(1, busy=False) for _ in range(7)] == [1, 1, 1, 2, 2, 2, 3]


def test_landings_without_a_gap_do_not_put_upkeep_off_for_ever() -> None:
    """Where the next landing has always begun already, upkeep stands in line behind it once it is overdue."""
    scene = Scene(landings_between=3)
    assert [scene.land(1, busy=True) for _ in range(10)] == [0, 0, 0, 1, 1, 1, 1, 1, 1, 2]


def test_upkeep_that_fails_is_said_and_done_another_day() -> None:
    """No promise rests on it."""
    scene = Scene(landings_between=3)
    scene.sink.away = True
    assert scene.land(2, busy=False) == 0
    assert [notice.code for notice in scene.observer.of(events.Notice)] == ["SINK_DOWN"]
    scene.sink.away = False
    assert scene.land(2, busy=False) == 1
