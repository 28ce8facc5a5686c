"""What holds for every test: the quick ones first, nothing skipped in CI, and no verdict by the speed of the machine."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# A deadline per example would judge the machine, not the code.
settings.register_profile("landfast", settings.default, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("landfast")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Within the random order, tests on real brokers and stores come last: a broken core is known soon.

    Of these the long ones come first: where tests run side by side, nobody waits in the end for one that was begun last.
    """
    items.sort(key=lambda item: (item.get_closest_marker("system") is not None, item.get_closest_marker("long") is None))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one: there every part must be present."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _fail_skipped_in_ci(item, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file that skips itself."""
    report = yield
    _fail_skipped_in_ci(collector, report)
    return report


def _fail_skipped_in_ci(node: pytest.Item | pytest.Collector, report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and os.environ.get("CI", "").lower() in {"1", "true"}:
        report.outcome = "failed"
        report.longrepr = f"{node.nodeid} was skipped, and in CI nothing may be: {report.longrepr}"
