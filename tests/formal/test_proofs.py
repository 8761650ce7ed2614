"""The proofs that take seconds, each with its faults; `make formal` runs all."""

from dataclasses import replace

import pytest

from twofold.formal.properties import PROPERTIES
from twofold.formal.runner import Obligation, candidates, run

# Not `obligations`: it emits them all, to see which are the same. None of these are.
SHORT = [
    Obligation(checker, config, (name,))
    for checker in PROPERTIES
    if checker.short
    for name, config in candidates(checker, short=True).items()
]


@pytest.mark.parametrize(
    "obligation", SHORT, ids=lambda obligation: f"{obligation.checker.__name__} {obligation.formats[0]}"
)
def test_proven_and_able_to_fail(obligation, tmp_path):
    for result in run(obligation, tmp_path):
        assert (result.status, result.seeded_fault_caught, result.message) == ("proven", True, "")
        assert result.faults > 0


@pytest.mark.parametrize("checker", PROPERTIES, ids=lambda checker: checker.__name__)
def test_every_build_can_be_made_as_small_as_the_faults_need(checker):
    for config in candidates(checker).values():
        assert replace(config, **checker.fault_build).pe == config.pe
