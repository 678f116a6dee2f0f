"""How many wrong derivations are found and explained: `python benchmarks/detection.py [--each 30]`.

The derivations in examples/ are rewritten in equivalent ways (all must be accepted), and changed by one mistake each
(all must be rejected, with exactly the changed line reported as wrong). Whether a changed line is wrong at all is
decided without the checker: it is evaluated in extended precision and compared with the tape in extended precision, in
three samples. A line that agrees to twelve digits is an equivalent mutant and is left out. Where the gradient is
identically 0, the line is compared with the original one for a random upstream gradient.

A reason counts as correct if
- the sentence names the mistake: it matches the pattern that `mutations.py` has for its kind ("times" for a factor,
  "the path ... is missing" for a dropped term, "the factor γ is missing" for that factor); or
- the repair undoes the mistake: the repaired line is the original, or it is right in a third sample, drawn here, and
  the edit lies in the expression around the mistake.

For comparison, PyTorch's gradcheck and JAX's check_vjp (the reverse mode of check_grads) run where they are installed,
on the same functions at the same inputs, with the chained derivation as the backward pass. They can only say whether
the gradient is right. They get favorable inputs: random parameters, and eps = 0.3. (If a sum over the batch is missing,
PyTorch sums the gradient itself before gradcheck sees it.) The checker was developed against these kinds of mistakes;
its reasons are checked at a second seed, its repairs in a third sample.
"""

from __future__ import annotations

import argparse
import re
import runpy
import statistics
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.gradient_checks import peers
from benchmarks.mutations import Mutant, mutants, refactored, with_line
from minigrad.verify import Derivation
from minigrad.verify.derivation.backward_pass import CannotRun
from minigrad.verify.derivation.reference import reference_gradients
from minigrad.verify.derivation.sample import Sample, sample_at
from minigrad.verify.gradients.problem import is_float_array, signed

LIBRARY = Path(__file__).parent.parent / "examples" / "derivations"


def library() -> Iterator[tuple[str, Derivation]]:
    for path in sorted(LIBRARY.glob("*.py")):
        for name, d in runpy.run_path(str(path)).items():
            if isinstance(d, Derivation):
                yield f"{path.stem}.{name}", d


def wide_sample(d: Derivation, seed: int) -> Sample:
    """A sample in extended precision, with the reference in extended precision."""
    rng = np.random.default_rng([seed, 1234])
    arguments = {k: _wide(v) for k, v in d.forward.arguments({}, rng).items()}
    run = d.forward.run(arguments, record=False)
    cotangents = {k: _wide(signed(rng, run.values[k].shape)) for k in run.outputs}
    return Sample(arguments, reference_gradients(d.forward, arguments, cotangents), {})


def _wide(v: Any) -> Any:
    return v.astype(np.longdouble) if is_float_array(v) else v


def is_wrong(m: Mutant, samples: list[Sample]) -> bool:
    """Whether the line differs from the reference, in extended precision."""
    mine, original = m.derivation.lines[m.target], m.base.lines[m.target]
    for sample in samples:
        names, reference = sample.names(), sample.reference
        expected = reference.gradients[m.target]
        used = mine.upstream(reference)
        if any(reference.is_zero(k) for k in [m.target, *used]):
            rng = np.random.default_rng(3)
            names |= {f"d{k}": _wide(signed(rng, reference.gradients[k].shape)) for k in used}
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


def named(m: Mutant, line: Any, third: Sample) -> tuple[bool, bool, bool]:
    """Whether the sentence names the mistake, whether the repair undoes it, and whether a repair is false."""
    sentence = line.kind != "unexplained" and re.search(m.pattern, line.reason) is not None
    if line.repair is None:
        return sentence, False, False
    restored = re.sub(r"\s", "", line.repaired) in re.sub(r"\s", "", m.original)
    scope = dict(m.derivation.lines[m.target].function.__globals__)
    names = third.names()
    header = f"def repaired({', '.join(k for k in names if k != f'd{m.target}')}):\n"
    exec(header + "".join(f"    {text}\n" for text in line.repaired.splitlines()), scope)
    result = scope["repaired"](*(v for k, v in names.items() if k != f"d{m.target}"))
    expected = third.reference.gradients[m.target]
    # Where the gradient is identically 0, no sample distinguishes a right repair from a wrong one.
    right = third.reference.is_zero(m.target) or (
        result.shape == expected.shape
        and bool(np.max(np.abs(result - expected), initial=0) <= 1e-9 * np.max(np.abs(expected), initial=0))
    )
    edited = line.repair.split("` should be `")[0][1:]
    return sentence, restored or (right and edited in m.region), not right


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def chosen(every: list[Mutant], each: int) -> list[Mutant]:
    """A random selection of `each` mutants of every kind."""
    rng = np.random.default_rng(0)
    kinds = defaultdict(list)
    for m in every:
        kinds[m.kind].append(m)
    return [m for kind in kinds.values() for m in [kind[k] for k in sorted(rng.permutation(len(kind))[:each])]]


def accepted(names: dict[str, Derivation], others: dict[str, Any]) -> None:
    """Check the right derivations, rewritten, at other seeds and sizes."""
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


def examine(m: Mutant, others: dict[str, Any], show: bool) -> dict[str, float]:
    """The results of our check and of the others for one wrong derivation."""
    report, took = timed(m.derivation.check)
    line = report.lines[m.target]
    third = sample_at(
        m.base.forward, m.base.forward.arguments({}, np.random.default_rng(99)), np.random.default_rng(98)
    )
    sentence, repair, false = named(m, line, third)
    again = m.derivation.check(seed=1, repair_seconds=0).lines[m.target]
    row: dict[str, float] = {
        "rejected": not report.ok,
        "blamed": report.wrong == [m.target],
        "sentence": sentence,
        "repair": repair,
        "reason": sentence or repair,
        "false repair": false,
        "other reason": line.kind != "error" and line.reason != again.reason,
        "seconds": took,
    }
    arguments = m.base.forward.arguments({}, np.random.default_rng([0, 0, 77]))
    for key, check in others.items():
        accepts, seconds = timed(partial(check, m.derivation, arguments))
        row |= {key: not accepts, f"{key} seconds": seconds}
    if show and not (row["blamed"] and row["reason"]):
        print(f"--- {m.kind} ({row})\n{m.source}\n{report}\n")
    return row


def two_mistakes(wrong: list[Mutant], samples: dict[int, list[Sample]], count: int) -> None:
    """Check derivations with two wrong lines: are exactly these two reported?"""
    rng = np.random.default_rng(1)
    right = made = cancel = 0
    while made < count:
        a, b = (wrong[int(k)] for k in rng.integers(0, len(wrong), 2))
        if a.base is b.base and a.target != b.target:
            both = with_line(a.derivation, b.target, b.derivation.lines[b.target].function)
            made += 1
            if all(cancels(both, sample) for sample in samples[id(a.base)]):
                cancel += 1
            else:
                right += set(both.check(repair_seconds=0).wrong) == {a.target, b.target}
    print(
        f"\ntwo wrong lines at once: exactly these two blamed in {right} of {count - cancel}; {cancel} pairs cancel out"
    )


def cancels(d: Derivation, sample: Sample) -> bool:
    """Whether the chained derivation gives the gradients of all inputs, in extended precision."""
    results, gradients = d.chained(sample), sample.reference.gradients
    if any(v.shape != gradients[t].shape for t, v in results.items()):
        return False
    inputs = [t for t in d.lines if t in sample.reference.run.inputs]
    return all(
        t in results and np.max(np.abs(results[t] - gradients[t])) <= 1e-12 * np.max(np.abs(gradients[t]))
        for t in inputs
    )


def usual(wrong: list[Mutant], others: dict[str, Any]) -> None:
    """Check the batch-norm mistakes at usual inputs: 64 rows, γ = 1, β = 0, and for the others eps = 1e-5."""
    x = np.random.default_rng(0).standard_normal((64, 5))
    given = {"x": x, "gamma": np.ones(5), "beta": np.zeros(5)}
    mine = [m for m in wrong if m.base.name == "batch_norm"]
    rejected = {"minigrad": sum(not m.derivation.check(**given, repair_seconds=0).ok for m in mine)}
    for key, check in others.items():
        rejected[key] = sum(not check(m.derivation, {**given, "eps": 1e-5}) for m in mine)
    print(f"\nthe {len(mine)} wrong batch norms at 64 rows, gamma = 1, beta = 0: rejected")
    for key, n in rejected.items():
        print(f"    {key}: {n} of {len(mine)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=30, help="wrong derivations of each kind")
    parser.add_argument("--show", action="store_true", help="print those whose reason was not named")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    names, others = dict(library()), peers()
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    with np.errstate(all="ignore"):
        accepted(names, others)
        samples = {id(d): [wide_sample(d, seed) for seed in range(3)] for d in names.values()}
        pool = [m for d in names.values() for m in mutants(d)]
        picked = chosen(pool, options.each)
        wrong = [m for m in picked if is_wrong(m, samples[id(m.base)])]
        for m in wrong:
            rows[m.kind].append(examine(m, others, options.show))
        table(rows, [*others], len(picked) - len(wrong), len(pool))
        two_mistakes(wrong, samples, 100)
        usual(wrong, others)


def table(rows: dict[str, list[dict[str, float]]], others: list[str], equivalent: int, pool: int) -> None:
    columns = ["rejected", "blamed", "sentence", "repair", "reason", *others]
    print(f"\nwrong derivations ({pool} made; of those chosen, {equivalent} left out: equivalent)")
    print(f"{'mistake':<18}{'wrong':>6}" + "".join(f"{c:>16}" for c in columns))
    every = [row for of_kind in rows.values() for row in of_kind]
    for kind, of_kind in [*rows.items(), ("all", every)]:
        counts = [sum(row[c] for row in of_kind) for c in columns]
        print(f"{kind:<18}{len(of_kind):>6}" + "".join(f"{n:>10.0f} {n / len(of_kind):>5.0%}" for n in counts))
    print(f"repairs that are not right in a third sample: {sum(row['false repair'] for row in every):.0f}")
    print(f"reasons that another seed does not give: {sum(row['other reason'] for row in every):.0f}")
    for key in ("", *(f"{key} " for key in others)):
        took = [row[f"{key}seconds"] for row in every]
        print(f"seconds a check, {key or 'minigrad '}: median {statistics.median(took):.3f}, largest {max(took):.3f}")


if __name__ == "__main__":
    main()
