"""What a command does for every route of a pipeline, whatever becomes of one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from landfast.cli import exits
from landfast.cli.screen import Screen
from landfast.errors import LandfastError

if TYPE_CHECKING:
    from landfast.config import RouteSettings, Settings


def for_each(settings: Settings, screen: Screen, look: Callable[[RouteSettings], int]) -> int:
    """Look at every route, in order; what keeps one from being looked at is shown, and the others follow. The worst exit code."""
    from landfast import wiring

    worst = exits.WELL
    for route in settings.routes:
        try:
            code = wiring.concerning(route)(look)(route)
        except LandfastError as error:
            screen.show_error(error)
            code = exits.of_error(error)
        worst = max(worst, code)
    return worst
