"""What type checkers know about modules: a call has the type of forward."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

NETWORK = """
from minigrad import Tensor, nn


class Net(nn.Module):
    def __init__(self, size: int) -> None:
        self.body = nn.Sequential(nn.Conv2d(size, 4, 3), nn.BatchNorm(4), nn.ReLU(), nn.MaxPool2d(2))
        self.lstm = nn.LSTM(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        outputs, (h, c) = self.lstm(self.body(x))
        return self.head(outputs + c)


net = Net(3)
loss: Tensor = nn.MSELoss()(net(Tensor([1.0])), Tensor([0.0]))
net(3)
"""


@pytest.mark.slow
def test_strict_type_checks_of_a_network(tmp_path: Path) -> None:
    """Only the last line, which calls the network with an integer, is an error."""
    pytest.importorskip("mypy")
    (tmp_path / "network.py").write_text(NETWORK)
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=", "network.py"]
    run = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"MYPYPATH": root}, capture_output=True, text=True, check=False
    )
    errors = [line for line in run.stdout.splitlines() if line.startswith("network.py")]
    assert len(errors) == 1, run.stdout
    assert re.search(rf"network.py:{NETWORK.count(chr(10))}: error: .*\[arg-type\]", errors[0])
