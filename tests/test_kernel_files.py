"""Kernels that are kept in files: machine code for a second process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

STEP = """
import sys
import numpy as np
import minigrad as mg

x = np.linspace(0, 1, 12).reshape(4, 3)
step = mg.compile(lambda x: (np.exp(x) * x).sum(axis=0), backend="numba")
for _ in range(2):  # the first call is recorded
    assert np.allclose(step(x), (np.exp(x) * x).sum(axis=0), rtol=1e-14, atol=0)
print("kernel" in step.source, "numba.np.arraymath" in sys.modules)
"""


def test_a_second_process_loads_machine_code_without_the_compiler(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    told = []
    for _ in range(2):
        environment = os.environ | {"MINIGRAD_CACHE": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", STEP], env=environment, capture_output=True, text=True, check=True)
        told.append(done.stdout.split())
    assert told == [["True", "True"], ["True", "False"]]
