"""A derivation that is a pair of functions: how its inputs are drawn, its check, its graph, and its fused form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.tensor.custom import custom
from minigrad.util.pytree import flatten
from minigrad.verify.as_written.inputs import SIZES, drawn
from minigrad.verify.as_written.written import check_pair
from minigrad.verify.as_written.written_report import WrittenReport
from minigrad.verify.derivation.derivation import Derivation
from minigrad.verify.derivation.forward import OTHER_SIZES, Forward
from minigrad.verify.pairs.adapted import adapted
from minigrad.verify.pairs.pair import Pair, is_float_array

if TYPE_CHECKING:
    from minigrad.drawing.picture import Picture

Array = Any


class WrittenDerivation:
    """A forward and a backward function, checked as they are. Made by `Derivation.from_functions`."""

    def __init__(
        self, pair: Pair, shapes: Mapping[str, Any], names: Mapping[str, str], constants: Sequence[str] = ()
    ) -> None:
        self.pair, self.names = pair, names
        self.name = pair.name
        self.forward = Forward(pair.forward.function, shapes, constants)
        self.report: WrittenReport | None = None

    def check(
        self, *, seed: int = 0, cotangent: Any = None, repair_seconds: float = 0.3, exact: bool | None = None,
        **inputs: Any,
    ) -> WrittenReport:  # fmt: skip
        """Check every line of the backward function.

        Args:
            seed: of the random values.
            cotangent: the upstream gradient, or a tuple of several; drawn if it is not given.
            repair_seconds: how long to search for an edit that makes a wrong line right.
            exact: whether lines that are right by floats are proven without a tolerance too, as in `Derivation.check`.
            **inputs: values or shapes of inputs. Shapes of others are found in the code and its docstring.

        Returns:
            See `mg.verify.check_backward`.

        Raises:
            ValueError: the shape of an input is not known.
        """
        rng = np.random.default_rng(seed)
        known = {**self.forward.shapes, **inputs}
        if all(name in known for name in self.forward.inputs):
            arguments = self.forward.arguments(inputs, rng)
            axes = {axis: OTHER_SIZES[size] for axis, size in self.forward.axes.items()}
            other = self.forward.arguments(inputs, rng, axes)
            assumptions = []
        else:
            assumed, others = [drawn(self.pair.forward, self.pair.parameters, rng, None, sizes) for sizes in SIZES]
            given = {k: v for k, v in inputs.items() if not isinstance(v, str)}
            arguments, other = {**assumed.arguments, **given}, {**others.arguments, **given}
            assumptions = assumed.assumptions
        report = check_pair(
            self.pair, arguments, other=other, names=self.names, cotangent=cotangent, seed=seed,
            repair_seconds=repair_seconds, exact=exact, constants=self.forward.kept,
        )  # fmt: skip
        report.assumptions = assumptions + report.assumptions
        self.report = report
        return report

    def draw(self, **inputs: Any) -> Picture:
        """The forward function's graph with the verdict on each value that has a line."""
        from minigrad.drawing.graph.model import Verdict
        from minigrad.drawing.picture import picture_of

        report = self.check(**inputs)
        verdicts = {}
        for line in report.lines:
            reason = line.report.brief if not line.ok else ""
            verdicts[line.target] = Verdict(line.ok, f"d{line.target} {line.verdict}{reason}")
        return picture_of(self.forward.tape(), verdicts=verdicts)

    def fused(self) -> Callable[..., Any]:
        """The forward function as one primitive, whose backward pass is the backward function.

        The backward pass calls the forward function once more, for what it keeps for it.

        Raises:
            ValueError: a line, or a gradient that the function returns, is wrong or missing.
        """
        report = self.report or self.check()
        if not report.ok or report.missing:
            raise ValueError(f"{self.name} is not proven, so it cannot be fused:\n{report}")
        arguments = self.forward.arguments({}, np.random.default_rng(0))
        inputs = {k: v for k, v in arguments.items() if is_float_array(v)}
        constants = {k: v for k, v in arguments.items() if k not in inputs}
        pair = adapted(self.pair.forward.function, self.pair.backward.function, list(arguments.values()))
        if pair is None:
            raise ValueError(
                f"{self.name}: its backward function cannot be called with a cotangent and the inputs alone"
            )
        names = list(arguments)

        def values(operands: tuple[Any, ...], options: Mapping[str, Any]) -> list[Any]:
            by_name = {**dict(zip(inputs, operands, strict=True)), **options}
            return [by_name[name] for name in names]

        def function(*operands: Any, **options: Any) -> Any:
            results, _ = flatten(pair.forward(*values(operands, options)))
            return results[0] if len(results) == 1 else tuple(results)

        def joint(v: Any, *rest: Any) -> Any:
            return pair.gradient(
                v, *values(rest[: len(inputs)], dict(zip(constants, rest[len(inputs) :], strict=True)))
            )

        kind = inspect.Parameter
        operands = [kind(name, kind.POSITIONAL_ONLY) for name in inputs]
        options = [kind(name, kind.KEYWORD_ONLY, default=value) for name, value in constants.items()]
        everything = [kind(name, kind.POSITIONAL_OR_KEYWORD) for name in ["v", *inputs, *constants]]
        vars(function)["__signature__"] = inspect.Signature([*operands, *options])
        vars(joint)["__signature__"] = inspect.Signature(everything)
        return custom(function, joint=joint, name=self.forward.name)


def from_functions(
    _: type, /, forward: Any, backward: Any = None, *, names: Mapping[str, str] | None = None,
    constants: Sequence[str] = (), **shapes: Any,
) -> WrittenDerivation:  # fmt: skip
    """A derivation from a plain forward and backward function, in which nothing is changed.

    Args:
        forward: a function, or an object with the methods `forward` and `backward`.
        backward: a function of the upstream gradient and of what the forward function returned with its result.
        names: by the name of a gradient in the backward function, the name of the value.
        constants: see Derivation.
        **shapes: for each input, as in Derivation. Those that are not given are found in the code and its docstring.

    Returns:
        An object with the methods `check`, `draw` and `fused`.

    Raises:
        TypeError: the source of a function is not available.

    Example:
        >>> import numpy as np
        >>> import minigrad as mg
        >>> def forward(x, w):
        ...     h = np.tanh(x @ w)
        ...     return h, (x, w, h)
        >>> def backward(dh, cache):
        ...     x, w, h = cache
        ...     dz = dh * (1 - h**2)
        ...     return dz @ w.T, x.T @ dz
        >>> d = mg.verify.Derivation.from_functions(forward, backward, x="N D", w="D M")
        >>> d.check().ok
        True
    """
    return WrittenDerivation(
        Pair(forward) if backward is None else Pair(forward, backward), shapes, names or {}, constants
    )


# The class is defined before what checks pairs, which uses its parts; so the constructor is bound here.
Derivation.from_functions = classmethod(from_functions)
