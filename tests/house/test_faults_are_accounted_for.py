"""The fault catalogue is honest: every scenario stands in it once, with its test or the reason why there is none."""

from __future__ import annotations

import tomllib

from docs import generate

SCENARIOS: dict[str, dict[str, str]] = tomllib.loads(generate.FAULTS.read_text(encoding="utf-8"))
SCENARIOS_KNOWN = 182
FIELDS = {"fault", "outcome", "sees", "remark", "untested"}


def test_every_scenario_stands_in_the_catalogue_once() -> None:
    """The sections count up without a gap, and TOML takes no key twice."""
    expected = {f"{letter}{index}" for letter, (_, number) in generate.FAULT_SECTIONS.items() for index in range(1, number + 1)}
    assert len(expected) == SCENARIOS_KNOWN
    assert set(SCENARIOS) == expected


def test_every_scenario_says_what_happens_and_what_is_seen() -> None:
    """A row without words helps nobody, and a field that nothing reads is a misspelt one."""
    for name, row in SCENARIOS.items():
        assert {"fault", "outcome", "sees"} <= set(row) <= FIELDS, name
        assert all(text.strip() == text != "" for text in row.values()), name


def test_no_test_claims_a_scenario_that_does_not_exist() -> None:
    """A name like `test_p1_...` is a claim."""
    assert not {claimed: tests for claimed, tests in generate.fault_tests().items() if claimed not in SCENARIOS}


def test_a_scenario_has_a_test_or_says_why_not() -> None:
    """Never both, never neither."""
    tested = generate.fault_tests()
    assert not [name for name, row in SCENARIOS.items() if name in tested and "untested" in row], "remove `untested` from these rows"
    assert not [name for name, row in SCENARIOS.items() if name not in tested and "untested" not in row], "say under `untested` why"
