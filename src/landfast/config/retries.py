"""How long to try again: for the whole pipeline, for a route, for a class of errors."""

from __future__ import annotations

import warnings
from typing import Annotated

from pydantic import Field

from landfast.config.section import Section
from landfast.errors import ErrorClass


class RetrySettings(Section):
    """How long to try again what fails for now, such as a store that does not answer; after that the lane halts."""

    attempts: int = Field(
        default=100, ge=1, le=1000, description="Attempts in all; by default the total time ends the retries, not this number."
    )
    first_wait_seconds: float = Field(
        default=0.1, ge=0.001, le=60, description="The wait before the second attempt; it doubles from there, with jitter."
    )
    wait_seconds_max: float = Field(default=15.0, ge=0.001, le=600, description="The longest wait between two attempts.")
    total_seconds: float = Field(default=300.0, ge=0.1, le=86_400, description="Time for all attempts together.")


class OwnRetrySettings(Section):
    """How long to try again what fails with an error of this class. What is left out comes from `[retry]`."""

    attempts: int | None = Field(
        default=None, ge=1, le=1000, description="Attempts in all. 1: halt at the first failure, with everything intact."
    )
    first_wait_seconds: float | None = Field(
        default=None, ge=0.001, le=60, description="The wait before the second attempt; it doubles from there, with jitter."
    )
    wait_seconds_max: float | None = Field(default=None, ge=0.001, le=600, description="The longest wait between two attempts.")
    total_seconds: float | None = Field(default=None, ge=0.1, le=86_400, description="Time for all attempts together.")

    def over(self, base: RetrySettings) -> RetrySettings:
        """All four: those that are given here, the others of `base`, where a wait is cut to what the total time leaves room for."""
        total = self.total_seconds or base.total_seconds
        longest = self.wait_seconds_max or min(base.wait_seconds_max, total)
        first = self.first_wait_seconds or min(base.first_wait_seconds, longest)
        return RetrySettings(
            attempts=self.attempts or base.attempts, first_wait_seconds=first, wait_seconds_max=longest, total_seconds=total
        )


class LaterSettings(Section):
    """Which dead letters are tried again by themselves, later, while their streams go on; those of a key in order."""

    delays_seconds: tuple[Annotated[float, Field(ge=0.1, le=604_800)], ...] = Field(
        default=(),
        max_length=10,
        strict=False,
        description="How long a letter waits after each failure: `[60, 600, 3600]` tries it three times more, and then it waits for "
        "people. Empty: nothing is tried again by itself.",
    )
    reasons: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        default=(),
        max_length=100,
        strict=False,
        description="Only letters with one of these reasons are; those with another one wait for people from the start. Empty: all are.",
    )
    waiting_records_max: int = Field(
        default=10_000,
        ge=1,
        le=100_000,
        description="While so many letters of the route wait to be tried again, it reads no more; nothing is given up for that.",
    )


with warnings.catch_warnings():
    # The name of a class of errors hides an old name of pydantic's own, which warns; nobody here calls that.
    warnings.simplefilter("ignore", UserWarning)

    class RouteRetrySettings(OwnRetrySettings):
        """How long a route tries again what fails for now. What is left out comes from `[engine.retry]`."""

        transient: OwnRetrySettings = Field(default=OwnRetrySettings(), description="What may pass by itself.")
        throttled: OwnRetrySettings = Field(default=OwnRetrySettings(), description="Too much was asked for.")
        auth: OwnRetrySettings = Field(default=OwnRetrySettings(), description="A credential or a right is missing.")
        conflict: OwnRetrySettings = Field(default=OwnRetrySettings(), description="Somebody else was there first.")
        data: OwnRetrySettings = Field(default=OwnRetrySettings(), description="Values that cannot be taken.")
        schema: OwnRetrySettings = Field(default=OwnRetrySettings(), description="Columns or types that do not fit.")  # type: ignore[assignment]
        permanent: OwnRetrySettings = Field(default=OwnRetrySettings(), description="What stays so until a person changes something.")
        unknown: OwnRetrySettings = Field(default=OwnRetrySettings(), description="Nobody knows.")
        later: LaterSettings = Field(default=LaterSettings(), description="Records that fail, tried again later on their own.")

        def of(self, error_class: ErrorClass) -> OwnRetrySettings:
            """The section of a class."""
            own: OwnRetrySettings = getattr(self, error_class.value)
            return own

        def by_class(self, base: RetrySettings) -> dict[ErrorClass, RetrySettings]:
            """How long to try what is of a class that has a section of its own."""
            return {one: self.of(one).over(self.over(base)) for one in ErrorClass if self.of(one) != OwnRetrySettings()}
