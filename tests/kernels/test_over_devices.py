"""Kernels over devices, in a process that has eight."""

import pytest

from tests.parallel.test_ways import run_on_eight

pytestmark = pytest.mark.usefixtures("compiled")


def test_operands_that_lie_over_devices():
    run_on_eight("../kernels/over_devices.py")


@pytest.mark.slow
def test_families_train_alike_in_every_way_by_kernels_too():
    run_on_eight("every_family.py", chosen="gan or lstm or transformer")
