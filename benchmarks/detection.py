"""Wrong derivations found, blamed and explained: `python benchmarks/detection.py [--each 30]`.

From the derivations in examples/: written in other words (all must be accepted), and with one mistake each (all must be
rejected, by blaming exactly the line that has it). Whether a mutant is wrong at all is decided apart from the checker:
its line is evaluated in extended precision against the tape in extended precision, on three draws; what is equal there
to twelve digits is an equivalent mutant, and left out. Where the gradient is identically 0, the line is compared with the
original one for a random upstream gradient.

A reason counts as named correctly if
- the sentence names the mistake: the pattern that `mutations.py` gives for its kind ("times" for a factor, "the path
  ... is missing" for a dropped term, "the factor γ is missing" for that factor); or
- the repair undoes it: the repaired line is the original, or is right on a third draw, made here, and its edit lies in
  the expression around the mistake.

Beside it, PyTorch's gradcheck and JAX's check_vjp (what check_grads does in reverse mode), where installed, on the same
functions at the same inputs, with the chained derivation as the backward pass: they can say only whether the whole is
right. They are given what helps them: drawn parameters, and eps = 0.3. (A gradient whose sum over the batch is forgotten
is summed by PyTorch itself, before gradcheck sees it.)
"""

from __future__ import annotations

import argparse
import contextlib
import re
import runpy
import statistics
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.mutations import Mutant, mutants, refactored
from minigrad.verify import Derivation
from minigrad.verify.draws import Draw, at
from minigrad.verify.gradients import signed
from minigrad.verify.truth import truth
from minigrad.verify.verdicts import CannotRun

LIBRARY = Path(__file__).parent.parent / "examples" / "derivations"
Vjp = Callable[..., tuple[Any, ...]]


def library() -> Iterator[tuple[str, Derivation]]:
    for path in sorted(LIBRARY.glob("*.py")):
        for name, d in runpy.run_path(str(path)).items():
            if isinstance(d, Derivation):
                yield f"{path.stem}.{name}", d


def wide_draw(d: Derivation, seed: int) -> Draw:
    """A draw in extended precision, with the truth in extended precision."""
    rng = np.random.default_rng([seed, 1234])
    arguments = {k: _wide(v) for k, v in d.forward.arguments({}, rng).items()}
    run = d.forward.run(arguments, record=False)
    cotangents = {k: _wide(signed(rng, run.values[k].shape)) for k in run.outputs}
    return Draw(arguments, truth(d.forward, arguments, cotangents), {})


def _wide(v: Any) -> Any:
    return v.astype(np.longdouble) if getattr(getattr(v, "dtype", None), "kind", "") == "f" else v


def is_wrong(m: Mutant, draws: list[Draw]) -> bool:
    """Whether the line differs from the truth, in extended precision."""
    mine, original = m.derivation.lines[m.target], m.base.lines[m.target]
    for draw in draws:
        names, t = draw.names(), draw.truth
        expected = t.gradients[m.target]
        used = mine.uses(t)
        if any(t.is_zero(k) for k in [m.target, *used]):
            rng = np.random.default_rng(3)
            names |= {f"d{k}": _wide(signed(rng, t.gradients[k].shape)) for k in used}
            expected = m.base.evaluate(original, names)
        try:
            result = m.derivation.evaluate(mine, names)
        except CannotRun:
            return True
        if result.shape != expected.shape or not np.all(np.isfinite(result)):
            return True
        if np.max(np.abs(result - expected), initial=0) > 1e-12 * np.max(np.abs(expected), initial=0):
            return True
    return False


def named(m: Mutant, line: Any, third: Draw) -> tuple[bool, bool, bool]:
    """Whether the sentence names the mistake, whether the repair undoes it, and whether a repair is false."""
    sentence = line.kind != "unexplained" and re.search(m.told, line.reason) is not None
    if line.repair is None:
        return sentence, False, False
    restored = re.sub(r"\s", "", line.repaired) in re.sub(r"\s", "", m.original)
    scope = dict(m.derivation.lines[m.target].function.__globals__)
    names = third.names()
    header = f"def repaired({', '.join(k for k in names if k != f'd{m.target}')}):\n"
    exec(header + "".join(f"    {text}\n" for text in line.repaired.splitlines()), scope)
    result = scope["repaired"](*(v for k, v in names.items() if k != f"d{m.target}"))
    expected = third.truth.gradients[m.target]
    # Where the truth is identically 0, a draw cannot tell a right repair from a wrong one.
    right = third.truth.is_zero(m.target) or (
        result.shape == expected.shape
        and bool(np.max(np.abs(result - expected), initial=0) <= 1e-9 * np.max(np.abs(expected), initial=0))
    )
    edited = line.repair.split("` should be `")[0][1:]
    return sentence, restored or (right and edited in m.region), not right


def value_and_vjp(d: Derivation, arguments: dict[str, Any]) -> tuple[list[str], Callable[..., Any], Vjp]:
    """The inputs, the function on arrays, and its backward pass by the derivation alone."""
    inputs = d.forward.run(arguments, record=False).inputs

    def value(*arrays: Any) -> tuple[Any, ...]:
        given = dict(zip(inputs, (np.asarray(a) for a in arrays), strict=True))
        run = d.forward.run({**arguments, **given}, record=False)
        return tuple(run.values[k] for k in run.outputs)

    def vjp(arrays: Any, cotangents: Any) -> tuple[Any, ...]:
        given = dict(zip(inputs, (np.asarray(a) for a in arrays), strict=True))
        run = d.forward.run({**arguments, **given}, record=False)
        names = dict(run.values) | {f"d{k}": np.asarray(v) for k, v in zip(run.outputs, cotangents, strict=True)}
        for t in d.order():
            names[f"d{t}"] = d.evaluate(d.lines[t], names)
        return tuple(names[f"d{k}"] for k in inputs)

    return inputs, value, vjp


def peers() -> dict[str, Callable[[Derivation, dict[str, Any]], bool]]:
    """Checks of the chained gradient by others: True if they accept it."""
    found: dict[str, Callable[[Derivation, dict[str, Any]], bool]] = {}
    with contextlib.suppress(ImportError):
        import torch

        def gradcheck(d: Derivation, arguments: dict[str, Any], fast: bool) -> bool:
            inputs, value, vjp = value_and_vjp(d, arguments)

            class Function(torch.autograd.Function):
                @staticmethod
                def forward(ctx: Any, *tensors: Any) -> Any:
                    ctx.save_for_backward(*tensors)
                    out = tuple(torch.as_tensor(np.array(v)) for v in value(*(t.detach().numpy() for t in tensors)))
                    return out[0] if len(out) == 1 else out

                @staticmethod
                def backward(ctx: Any, *cotangents: Any) -> Any:
                    arrays = [t.detach().numpy() for t in ctx.saved_tensors]
                    found = vjp(arrays, [c.detach().numpy() for c in cotangents])
                    return tuple(torch.as_tensor(np.array(v)) for v in found)

            tensors = tuple(torch.tensor(arguments[k], requires_grad=True) for k in inputs)
            try:
                return bool(torch.autograd.gradcheck(Function.apply, tensors, fast_mode=fast, raise_exception=False))
            except (RuntimeError, ValueError, CannotRun):
                return False

        found["gradcheck"] = lambda d, arguments: gradcheck(d, arguments, fast=False)
        found["gradcheck fast"] = lambda d, arguments: gradcheck(d, arguments, fast=True)
    with contextlib.suppress(ImportError):
        import jax
        from jax.test_util import check_vjp

        jax.config.update("jax_enable_x64", True)

        def check(d: Derivation, arguments: dict[str, Any]) -> bool:
            inputs, value, vjp = value_and_vjp(d, arguments)
            try:
                check_vjp(value, lambda *a: (value(*a), lambda v: vjp(a, v)), tuple(arguments[k] for k in inputs))
            except (AssertionError, ValueError, TypeError, CannotRun):
                return False
            return True

        found["jax check_vjp"] = check
    return found


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def chosen(every: list[Mutant], each: int) -> list[Mutant]:
    """As many of each kind, from all derivations alike."""
    rng = np.random.default_rng(0)
    kinds = defaultdict(list)
    for m in every:
        kinds[m.kind].append(m)
    return [m for kind in kinds.values() for m in [kind[k] for k in sorted(rng.permutation(len(kind))[:each])]]


def accepted(names: dict[str, Derivation], others: dict[str, Any]) -> None:
    """The right derivations, in other words, at other seeds and sizes."""
    count, right, seconds, by_others = 0, 0, [], defaultdict(int)
    for name, d in names.items():
        for seed in range(5):
            rng = np.random.default_rng(seed)
            variant = refactored(d, rng)
            axes = {axis: int(n) for axis, n in zip(d.forward.axes, rng.permutation(np.arange(2, 10)), strict=False)}
            free = all(isinstance(s, str) for s in d.forward.shapes.values())
            shapes = {
                k: tuple(int(a) if a.isdigit() else axes[a] for a in text.split())
                for k, text in d.forward.shapes.items()
                if free and not name.startswith("convolution")  # whose kernel must fit
            }
            report, took = timed(lambda v=variant, s=seed, g=shapes: v.check(seed=s, **g))
            count, right = count + 1, right + report.ok
            seconds.append(took)
            if not report.ok:
                print(report)
            for key, check in others.items():
                by_others[key] += check(variant, variant.forward.arguments(shapes, np.random.default_rng(seed)))
    print(f"right derivations in other words: {right} of {count} accepted, {statistics.median(seconds):.3f} s each")
    for key, n in by_others.items():
        print(f"    {key}: {n} of {count}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=30, help="wrong derivations of each kind")
    parser.add_argument("--show", action="store_true", help="print those whose reason was not named")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    names, others = dict(library()), peers()
    accepted(names, others)
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    equivalent = 0
    with np.errstate(all="ignore"):
        draws = {id(d): [wide_draw(d, seed) for seed in range(3)] for d in names.values()}
        pool = [m for d in names.values() for m in mutants(d)]
        for m in chosen(pool, options.each):
            if not is_wrong(m, draws[id(m.base)]):
                equivalent += 1
                continue
            report, took = timed(m.derivation.check)
            line = report.lines[m.target]
            third = at(
                m.base.forward, m.base.forward.arguments({}, np.random.default_rng(99)), np.random.default_rng(98)
            )
            sentence, repair, false = named(m, line, third)
            row = {
                "rejected": not report.ok,
                "blamed": report.wrong == [m.target],
                "sentence": sentence,
                "repair": repair,
                "reason": sentence or repair,
                "false repair": false,
                "seconds": took,
            }
            arguments = m.base.forward.arguments({}, np.random.default_rng([0, 0, 77]))
            for key, check in others.items():
                accepts, seconds = timed(lambda c=check, d=m.derivation, a=arguments: c(d, a))
                row |= {key: not accepts, f"{key} seconds": seconds}
            rows[m.kind].append(row)
            if options.show and not (row["blamed"] and row["reason"]):
                print(f"--- {m.kind} ({row})\n{m.source}\n{report}\n")
    table(rows, [*others], equivalent, len(pool))


def table(rows: dict[str, list[dict[str, float]]], others: list[str], equivalent: int, pool: int) -> None:
    columns = ["rejected", "blamed", "sentence", "repair", "reason", *others]
    print(f"\nwrong derivations ({pool} made; of those chosen, {equivalent} left out: equivalent)")
    print(f"{'mistake':<18}{'wrong':>6}" + "".join(f"{c:>16}" for c in columns))
    every = [row for of_kind in rows.values() for row in of_kind]
    for kind, of_kind in [*rows.items(), ("all", every)]:
        shares = "".join(f"{sum(row[c] for row in of_kind):>9.0f} {sum(row[c] for row in of_kind) / len(of_kind):>5.0%} "
                         for c in columns)  # fmt: skip
        print(f"{kind:<18}{len(of_kind):>6}{shares}")
    print(f"repairs that are not right on a third draw: {sum(row['false repair'] for row in every):.0f}")
    took = [row["seconds"] for row in every]
    print(f"seconds a check: median {statistics.median(took):.3f}, largest {max(took):.3f}")
    for key in others:
        took = [row[f"{key} seconds"] for row in every]
        print(f"    {key}: median {statistics.median(took):.3f}, largest {max(took):.3f}")


if __name__ == "__main__":
    main()
