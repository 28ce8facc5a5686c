"""What the ports promise, as checks that any implementer can run, with any test framework or none.

Write a harness for your sink, source or dead letters, then give each check one of its own, over a store that is fresh:

    @pytest.mark.parametrize("promise", SINK_CHECKS, ids=lambda promise: promise.__name__)
    def test_my_sink_keeps_its_promise(promise, tmp_path):
        promise(MySinkHarness(tmp_path))

A check returns, or raises `PromiseBroken`, or whatever the port raised. Its docstring is the promise.
"""

from landfast.testing.suites.letters import DEAD_LETTERS_CHECKS, LettersHarness
from landfast.testing.suites.promises import Material, Part, PromiseBroken
from landfast.testing.suites.retries import RETRIES_CHECKS
from landfast.testing.suites.retries_harness import RetriesHarness, RetriesProcess
from landfast.testing.suites.sink_fence import FENCE_CHECKS
from landfast.testing.suites.sink_harness import Landed, SinkHarness
from landfast.testing.suites.sink_landing import LANDING_CHECKS
from landfast.testing.suites.source import LOG_CHANGE_CHECKS, SOURCE_CHECKS
from landfast.testing.suites.source_harness import Draft, SourceHarness, SourceUnderTest

SINK_CHECKS = LANDING_CHECKS + FENCE_CHECKS

__all__ = [
    "DEAD_LETTERS_CHECKS",
    "LOG_CHANGE_CHECKS",
    "RETRIES_CHECKS",
    "SINK_CHECKS",
    "SOURCE_CHECKS",
    "Draft",
    "Landed",
    "LettersHarness",
    "Material",
    "Part",
    "PromiseBroken",
    "RetriesHarness",
    "RetriesProcess",
    "SinkHarness",
    "SourceHarness",
    "SourceUnderTest",
]
