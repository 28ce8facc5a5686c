"""Health and readiness as pure functions of the state. They show codes and places, never a message, a value or a setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from landfast.codes import CODES
from landfast.observe.state import State


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing an operator should look at: the code, where, and the next step from the table of codes."""

    code: str
    flow: str
    place: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Health:
    """How the run is.

    status     starting, ok, degraded (something is wrong and being retried), halted (a lane stands still), or ended
    alive      false only where a restart could help: the run is over
    ready      streams are assigned, and no lane is halted
    concerns   in the order of code and place
    """

    status: str
    alive: bool
    ready: bool
    concerns: tuple[Concern, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What `/health` and `/ready` answer."""
        concerns = [{"code": one.code, "flow": one.flow, "place": one.place, "next_step": one.next_step} for one in self.concerns]
        return {"status": self.status, "alive": self.alive, "ready": self.ready, "concerns": concerns}


def health(state: State) -> Health:
    """The health of a run in this state."""
    halted = [
        _concern(lane.halt.code, flow, f"{stream}" if lane.landed is None else f"{stream} offset {lane.landed}")
        for flow, stream, lane in state.lanes
        if lane.halt is not None
    ]
    concerns = halted + [_concern(problem.code, problem.flow, "") for problem in state.problems.values()]
    assigned = any(lane.assigned for _, _, lane in state.lanes)
    ended = state.outcome is not None
    return Health(
        status=_status(state, halted=bool(halted)),
        alive=not ended,
        ready=assigned and not halted and not ended,
        concerns=tuple(sorted(concerns, key=lambda one: (one.code, one.flow, one.place))),
    )


def _status(state: State, *, halted: bool) -> str:
    if state.outcome is not None:
        return "ended"
    if halted:
        return "halted"
    if state.problems:
        return "degraded"
    return "ok" if any(lane.assigned for _, _, lane in state.lanes) else "starting"


def _concern(code: str, flow: str, place: str) -> Concern:
    known = CODES.get(code)
    return Concern(code, flow, place, "" if known is None else known.next_step)
