"""The proofs that take seconds, each with its faults; `make formal` runs all."""

import pytest

from formal.properties import PROPERTIES
from formal.runner import jobs, run

SHORT = jobs([checker for checker in PROPERTIES if checker.short], short=True)


@pytest.mark.parametrize("job", SHORT, ids=lambda job: f"{job.checker.__name__} {job.formats[0]}")
def test_proven_and_able_to_fail(job, tmp_path):
    for result in run(job, tmp_path):
        assert (result.status, result.seeded_fault_caught, result.message) == ("proven", True, "")
        assert result.faults > 0
