"""tune_malloc: freed memory stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

import minigrad as mg

FAULTS = """
import resource
import numpy as np
import minigrad as mg
{tuned}
x = np.ones((1024, 1024))
for _ in range(5):
    several = [x + 1 for _ in range(4)]
    del several
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    several = [x + 1 for _ in range(4)]
    del several
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(tuned: str) -> int:
    """Pages that the system hands out while arrays of 8 MB are made and given back, four at a time."""
    code = FAULTS.format(tuned=tuned)
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to keep memory")
def test_pages_are_used_again() -> None:
    assert faults("assert mg.tune_malloc()") < faults("") / 10


@pytest.mark.parametrize("keep", [0, -1, 1 << 31])
def test_bad_input(keep: int) -> None:
    with pytest.raises(ValueError, match=rf"tune_malloc\(keep={keep}\): must be a positive number"):
        mg.tune_malloc(keep)
