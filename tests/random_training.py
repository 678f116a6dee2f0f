"""Random training loops, run eagerly and compiled.

A seed decides the network, the optimizer and its schedule, how gradients are accumulated and clipped, whether there is
an average of the weights, dropout, noise, running statistics or a counter, and what the user changes between two calls.

    python -m tests.random_training --steps 3000
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.compiler import background

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

from scenarios.scenario import clean_modes, is_about_compiling
from scenarios.snapshot import Identities, difference, snapshot

ACTIVATIONS = [nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.LeakyReLU]
OPTIMIZERS = [
    lambda p: optim.SGD(p, lr=0.05),
    lambda p: optim.SGD(p, lr=0.05, momentum=0.9),
    lambda p: optim.SGD(p, lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.01),
    lambda p: optim.Adam(p, lr=0.02, eps=1e-3),
    lambda p: optim.AdamW(p, lr=0.02, eps=1e-3),
    lambda p: optim.RMSprop(p, lr=0.02, eps=1e-3),
    lambda p: optim.Adagrad(p, lr=0.05, eps=1e-3),
    lambda p: optim.Adamax(p, lr=0.02, eps=1e-3),
]
SCHEDULES = [
    lambda o: None,
    lambda o: optim.StepLR(o, 2, gamma=0.7),
    lambda o: optim.CosineAnnealingLR(o, 10),
    lambda o: optim.ExponentialLR(o, 0.9),
    lambda o: optim.LambdaLR(o, lambda k: 1 / (1 + 0.1 * k)),
]


class Loop:
    """One training loop. The same seed gives the same loop; all that a user sees is in `state()`."""

    def __init__(self, seed: int, compiled: bool, backend: str = "numpy") -> None:
        r = self.r = np.random.default_rng([seed, 0])
        self.seed, self.backend = seed, backend if compiled else None
        self.rng = np.random.default_rng(seed)
        self.model = self.network(r)
        parameters = list(self.model.parameters())
        if r.random() < 0.2 and len(parameters) > 2:
            half = len(parameters) // 2
            groups: Any = [{"params": parameters[:half], "lr": 0.03}, {"params": parameters[half:]}]
        else:
            groups = parameters
        self.optimizer = OPTIMIZERS[r.integers(len(OPTIMIZERS))](groups)
        first, one_cycle = self.optimizer.param_groups[0], r.random() < 0.15
        cycles = bool(first.get("momentum")) or "betas" in first
        self.schedule: Any = (
            optim.OneCycleLR(self.optimizer, max_lr=0.1, total_steps=60, cycle_momentum=cycles)
            if one_cycle
            else SCHEDULES[r.integers(len(SCHEDULES))](self.optimizer)
        )
        self.every = int(r.choice([1, 1, 2, 3]))  # micro-batches for a step
        self.s = SimpleNamespace(
            noise=0.1 * (r.random() < 0.3), smoothing=0.0, clip=None, decay=0.9, scale=1.0, calls=0, mean=np.zeros(3),
            average=None, log={}, options={"l2": 0.0, "scales": [1.0]},
        )  # fmt: skip
        if r.random() < 0.3:
            self.s.average = [p.data.copy() for p in parameters]
        if r.random() < 0.3:
            self.s.clip = float(r.uniform(0.1, 1.0))
        self.kinds = {k: bool(r.random() < 0.35) for k in ("statistics", "log", "inside", "rebind")}
        self.counts = bool(r.random() < 0.1)
        self.zero_inside = self.every == 1 and bool(r.random() < 0.7)
        self.run = self.compile(self.whole if self.zero_inside else self.micro)
        self.step = self.optimizer.step
        if r.random() < 0.5:
            self.step = self.compile(self.optimizer.step)

    def compile(self, function: Any) -> Any:
        return function if self.backend is None else mg.compile(function, backend=self.backend)

    def network(self, r: Any) -> nn.Module:
        """Two to four layers of 3 to 5 features, with what is found between layers."""
        layers: list[nn.Module] = []
        size = 3
        for _ in range(r.integers(1, 4)):
            wider = int(r.integers(3, 6))
            layers.append(nn.Linear(size, wider, rng=r))
            size = wider
            extra = r.integers(6)
            if extra == 0:
                layers.append(nn.LayerNorm(size))
            elif extra == 1:
                layers += [nn.BatchNorm(size, momentum=0.2)]
            elif extra == 2:
                layers.append(nn.Dropout(0.3, rng=self.rng if r.random() < 0.7 else None))
            layers.append(ACTIVATIONS[r.integers(len(ACTIVATIONS))]())
        return nn.Sequential(*layers, nn.Linear(size, 4, rng=r))

    # The step

    def loss(self, x: Any, y: Any) -> Any:
        s = self.s
        if s.noise:
            x = x + s.noise * self.rng.normal(size=x.shape)
        if self.kinds["statistics"]:
            if self.kinds["rebind"]:
                s.mean = s.decay * s.mean + (1 - s.decay) * x.mean(axis=0)
            else:
                s.mean *= s.decay
                s.mean += (1 - s.decay) * x.mean(axis=0)
            x = x - s.mean
        loss = F.cross_entropy(self.model(x), y, label_smoothing=s.smoothing) * s.scale * s.options["scales"][-1]
        if s.options["l2"]:
            loss = loss + s.options["l2"] * sum((p**2).sum() for p in self.model.parameters())
        if self.kinds["log"]:
            s.log["last"] = loss.detach()
        if self.counts:
            s.calls += 1
        return loss

    def micro(self, x: Any, y: Any) -> Any:
        loss = self.loss(x, y) / self.every
        loss.backward()
        return loss

    def whole(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        self.before_the_step()
        self.optimizer.step()
        if self.kinds["inside"]:
            self.after_the_step()
        return loss

    def before_the_step(self) -> None:
        if self.s.clip is not None:
            optim.clip_grad_norm_(self.model.parameters(), self.s.clip)

    def after_the_step(self) -> None:
        for k, p in enumerate(self.model.parameters()):
            if self.s.average is not None:
                self.s.average[k] = self.s.decay * self.s.average[k] + (1 - self.s.decay) * p.data

    # The loop

    def call(self, k: int) -> Any:
        """Call number k: what the user changes, a batch, the step, and what comes after it outside."""
        r = np.random.default_rng([self.seed, 1, k])
        if r.random() < 0.25:
            self.change(r)
        x, y = r.normal(size=(int(r.choice([4, 4, 4, 3])), 3)), None
        y = r.integers(0, 4, len(x))
        if self.zero_inside:
            loss = self.run(x, y)
            if not self.kinds["inside"]:
                self.after_the_step()
        else:
            if k % self.every == 0:
                self.optimizer.zero_grad()
            loss = self.run(x, y)
            if k % self.every == self.every - 1:
                self.before_the_step()
                self.step()
                self.after_the_step()
        if self.schedule is not None and k % self.every == self.every - 1:
            self.schedule.step()
        return loss

    def change(self, r: Any) -> None:
        """Something that a user changes between two calls."""
        s, group = self.s, self.optimizer.param_groups[-1]
        parameters = list(self.model.parameters())
        changes = [
            lambda: setattr(s, "smoothing", float(r.uniform(0, 0.2))),
            lambda: setattr(s, "scale", float(r.uniform(0.5, 2))),
            lambda: setattr(s, "decay", float(r.uniform(0.5, 1))),
            lambda: setattr(s, "noise", 0.1 - s.noise),
            lambda: setattr(s, "clip", None if s.clip else 0.3),
            lambda: s.options.update(l2=float(r.uniform(0, 0.1))),
            lambda: s.options["scales"].append(float(r.uniform(0.5, 1.5))),
            lambda: self.model.train(not self.model.training),
            lambda: group.__setitem__("lr", float(r.uniform(0.01, 0.1))),
            lambda: group.__setitem__("weight_decay", float(r.uniform(0, 0.1))),
            lambda: "betas" in group and group.__setitem__("betas", (float(r.uniform(0.5, 0.95)), 0.99)),
            lambda: group.get("momentum") and group.__setitem__("momentum", float(r.uniform(0.1, 0.9))),
            lambda: parameters[r.integers(len(parameters))].data.__imul__(0.9),
            lambda: setattr(parameters[r.integers(len(parameters))], "grad", None),
            lambda: setattr(s, "mean", np.full(3, float(r.normal()))),
            lambda: self.model.load_state_dict({n: v * 0.95 for n, v in self.model.state_dict().items()}),
            lambda: self.optimizer.load_state_dict(self.optimizer.state_dict()),
            lambda: mg.manual_seed(int(r.integers(10))),
            lambda: self.rng.normal(),
        ]
        changes[r.integers(len(changes))]()

    def state(self) -> Any:
        """All that can be seen."""
        return snapshot([self.model, self.optimizer, self.s, self.rng], Identities())


@dataclass
class Report:
    """What comparing loops has shown."""

    steps: int = 0
    loops: int = 0
    different: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)
    fell_back: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"{self.steps} steps of {self.loops} training loops compared: {len(self.different)} differ in silence,"
            f" {len(self.crashed)} crash, {len(self.fell_back)} run eagerly and say so"
        ]
        reasons = Counter(text.partition("\n")[0][:110] for text in self.fell_back)
        lines += [f"    eager: {n} x {text}" for text, n in reasons.most_common(8)]
        return "\n".join(lines + self.different[:10] + self.crashed[:10])


def losses(seed: int, calls: int, compiled: bool, backend: str) -> tuple[list[Any], list[str], str]:
    """What is seen after each call of a loop, the warnings, and an exception."""
    seen: list[Any] = []
    error = ""
    mg.manual_seed(seed)
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"), clean_modes():
        warnings.simplefilter("always")
        loop = Loop(seed, compiled, backend)
        try:
            for k in range(calls):
                seen.append((snapshot(loop.call(k), Identities()), loop.state()))  # noqa: PERF401
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"
    return seen, [str(w.message) for w in caught if is_about_compiling(w)], error


def check(seed: int, calls: int = 8, backend: str = "numpy", report: Report | None = None) -> str:
    """How the compiled loop differs from the eager one; empty if it does not."""
    report = report or Report()
    expected, _, wrong = losses(seed, calls, False, backend)
    found, said, error = losses(seed, calls, True, backend)
    report.loops, report.steps = report.loops + 1, report.steps + len(expected)
    report.fell_back += said[:1]
    for k, (a, b) in enumerate(zip(found, expected, strict=False)):
        if text := difference(a, b):
            report.different.append(f"seed {seed}, call {k}: {text}")
            return report.different[-1]
    if error != wrong and error[:40] != wrong[:40]:
        report.crashed.append(f"seed {seed}, call {len(found)}: {error or 'no error'} instead of {wrong or 'none'}")
        return report.crashed[-1]
    return ""


def main() -> None:
    """Compare as many steps as are asked for, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--calls", type=int, default=12, help="calls of each loop")
    parser.add_argument("--backend", default="numpy", choices=["numpy", "numba", "auto"])
    options = parser.parse_args()
    if options.backend == "auto":  # kernels are asked for at once, and taken over whenever they come
        background.BEFORE_REQUEST = background.FOR_EACH_OP = background.BEFORE_IMPORT = 0.0
    report, seed = Report(), options.first
    while report.steps < options.steps:
        check(seed, options.calls, options.backend, report)
        seed += 1
    print(report)


if __name__ == "__main__":
    main()
