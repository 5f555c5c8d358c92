"""The table of faults in README.md says what there is."""

from __future__ import annotations

from tests.service.fault_table import FAULTS, README, found, table, written

LATER = {fault for fault, what in FAULTS.items() if "later, with" in what}


def test_the_table_is_that_of_the_tests_in_this_folder() -> None:
    assert written() == table(), f"{README} is stale: python -m tests.service.fault_table"


def test_every_fault_of_what_exists_has_a_test() -> None:
    assert found().keys() == FAULTS.keys() - LATER
