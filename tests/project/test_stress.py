"""A small part of what `python -m tests.stress` does: its figures in docs/reliability.md come from long runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def figures(*options: str) -> dict[str, int]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.stress", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: int(count.replace(",", "")) for count, name in re.findall(r"^ *([\d,]+)  (.+)$", done.stdout, re.M)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, which this system cannot")
def test_kills_and_interrupts_lose_nothing() -> None:
    found = figures("--kills", "16")
    assert found["kills"] == found["interrupts"] == 8
    assert found["that came before the end"] > 0
    assert found["files that differ from the uninterrupted run"] == found["orphans that stayed"] == 0


def test_threads_lose_nothing() -> None:
    found = figures("--threads", "8", "--units", "25")
    assert found["units"] == 200
    assert found["lost additions to a gradient"] == found["lost steps of an optimizer"] == 0
