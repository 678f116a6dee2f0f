"""The values of a forward function, one version for each assignment, and the gradient at each of them.

The gradients come from the tape: the function runs on Tensors, and every value that it writes becomes a node. Where it
cannot run on Tensors, or computes something else there, they come from finite differences: each value is shifted after
it was written.
"""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.engine.modes import enable_grad
from minigrad.engine.node import Node
from minigrad.engine.primitive import value_of
from minigrad.engine.tape import ancestors, pull
from minigrad.tensor.linearize import variable
from minigrad.tensor.tensor import Tensor
from minigrad.verify.derivation.forward import Run
from minigrad.verify.derivation.reference import Reference, agree, contributions_to
from minigrad.verify.gradients.problem import signed
from minigrad.verify.pairs.gradient_names import squeeze
from minigrad.verify.pairs.instrument import Listener, caller
from minigrad.verify.pairs.pair import BackwardCall, Pair, Returned, is_float_array, is_number

Array = Any
CONSUMERS = 8  # the most consumers of a value whose subsets are tried
VERSIONS = 150  # the most values of a forward pass for which contributions are computed
STEP = 1e-3  # of finite differences of fourth order, relative to the size of the value
TOLERANCE = {"tape": 1e-7, "differences": 1e-6}  # of a line's result, relative


@dataclass
class Version:
    """A value of the forward function after one assignment.

    Attributes:
        name: the variable's name.
        index: the values of the loops' variables at that time, and the key of an item of a dictionary or list.
        line: the number of the line in the file; 0 for an argument.
        order: the number of the event in the run, the same in every run.
    """

    name: str
    index: dict[str, Any]
    line: int
    order: int
    value: Array
    node: Node | None = None
    label: str = ""
    is_item: bool = False  # of a dictionary or list
    is_part: bool = False  # an expression within a statement


@dataclass
class Values:
    """One run of the forward function: its versions, and what it returned."""

    versions: list[Version] = field(default_factory=list)
    returned: Returned | None = None
    by_name: dict[str, Any] = field(default_factory=dict)  # the last value of each name, whatever it is
    owner: Any = None

    def version_at(self, order: int) -> Version | None:
        """The version of an event."""
        return next((v for v in self.versions if v.order == order), None)


class Recorder(Listener):
    """Keeps the values that a copy of the forward function writes."""

    def __init__(self, pair: Pair, shifts: Mapping[int, Array] | None = None) -> None:
        self.written, self.pair = pair.forward, pair
        self.values = Values()
        self.order = 0
        self.shifts = shifts or {}
        self.item_written = {
            site.path for site in self.written.sites if site.continues and not site.is_after_loop
        }  # paths of which parts are written later

    def wrote(self, number: int, value: Any) -> Any:
        """Keep a value."""
        site = self.written.sites[number]
        return self._store(site.name, value, indices(site.loops, caller().f_locals), site.lines[0], site.path)

    def item(self, number: int, value: Any, key: Any) -> Any:
        """Keep an item of a dictionary or list, or an array that is complete."""
        site = self.written.sites[number]
        index = indices(site.loops, caller().f_locals)
        if isinstance(value, (dict, list)):
            if isinstance(key, (int, str, np.integer)):
                index = {**index, "": key} if key not in index.values() else index
                items: Any = value
                items[key] = self._store(site.name, items[key], index, site.lines[0], "", is_item=True)
            return value
        if site.is_complete:
            return self._store(site.name, value, index, site.lines[0], site.path)
        self.values.by_name[site.name] = value
        return value

    def part(self, number: int, value: Any) -> Any:
        """Keep the value of an expression."""
        part = self.written.parts[number]
        if np.ndim(value) == 0:
            return value
        index = indices(part.loops, caller().f_locals)
        return self._store(f"`{part.text}`", value, index, part.line, "", is_part=True)

    def returned(self, number: int, value: Any) -> Any:
        """Keep what the function returns."""
        self.values.returned = Returned.of(value, self.written, number)
        return value

    def argument(self, name: str, value: Any) -> Any:
        """Keep an argument."""
        if not is_float_array(value) and not isinstance(value, Tensor):
            self.values.by_name[name] = value
            return value
        return self._store(name, value, {}, 0, name)

    def _store(
        self, name: str, value: Any, index: dict[str, Any], line: int, path: str, is_item: bool = False,
        is_part: bool = False,
    ) -> Any:  # fmt: skip
        self.order += 1
        if is_number(value) or isinstance(value, Tensor):
            if self.order in self.shifts:
                value = value + self.shifts[self.order]
            value, node = self.recorded(value, path)
            array = self.copied(value_of(value))
            if array.dtype.kind == "f":
                self.values.versions.append(Version(name, index, line, self.order, array, node, "", is_item, is_part))
        if not is_part:
            self.values.by_name[name] = value
        return value

    def recorded(self, value: Any, path: str) -> tuple[Any, Node | None]:
        """The value with which the function continues, and its node on the tape."""
        return value, None

    def copied(self, value: Any) -> Array:
        """The array to keep."""
        return np.array(value)


class TapeRecorder(Recorder):
    """Makes every value a node of the tape."""

    def recorded(self, value: Any, path: str) -> tuple[Any, Node | None]:
        """The value as a node of its own, if it has a history; as a Tensor if parts of it are written later."""
        if isinstance(value, Tensor):
            if value.dtype.kind != "f":
                return value, None
            if value.node is not None:
                value = variable(value)
            return value, value.node
        if isinstance(value, np.ndarray) and path in self.item_written:
            return Tensor(value.copy()), None  # Tensors will be written into it
        return value, None

    def argument(self, name: str, value: Any) -> Any:
        """Make an argument a variable."""
        if is_float_array(value) and isinstance(value, np.ndarray):
            value = variable(value)
        return super().argument(name, value)


def indices(loops: tuple[str, ...], names: Mapping[str, Any]) -> dict[str, Any]:
    """The values of loop variables that are integers or texts."""
    found = {}
    for name in loops:
        value = names.get(name)
        if isinstance(value, (int, str, np.integer)) and not isinstance(value, bool):
            found[name] = int(value) if isinstance(value, np.integer) else value
    return found


@contextmanager
def same_randomness(state: Any) -> Iterator[None]:
    """Within the block, NumPy's and Python's global generators begin at a state; afterwards they are as before."""
    before = randomness()
    _set_randomness(state)
    try:
        yield
    finally:
        _set_randomness(before)


def randomness() -> Any:
    """The state of NumPy's and Python's global generators."""
    return np.random.get_state(), random.getstate()  # noqa: NPY002  (what the checked functions use)


def _set_randomness(state: Any) -> None:
    np.random.set_state(state[0])  # noqa: NPY002
    random.setstate(state[1])


class ForwardPass:
    """A forward function at some arguments, with the gradient at each of its values.

    Args:
        pair: the functions.
        arguments: by parameter, of the forward function.
        owner: the object of a method, whose arrays are arguments too.
        state: of the global random generators at the beginning of a run.
        rng: draws the cotangents.
        cotangents: of the results, by place; drawn if they are not given.

    Raises:
        ValueError: a second run gives other results, or the result is not finite.
        CannotCall: it is not clear how the backward function is called.
    """

    def __init__(
        self, pair: Pair, arguments: Mapping[str, Any], owner: Any, state: Any, rng: np.random.Generator,
        cotangents: Mapping[int, Array] | None = None,
    ) -> None:  # fmt: skip
        self.pair, self.state = pair, state
        self.given, self.owner = widened(arguments), widened(owner, into_objects=True)
        self.plain = self._run(Recorder(pair))
        again = self._run(Recorder(pair))
        assert self.plain.returned is not None
        assert again.returned is not None
        self.call: BackwardCall = pair.plan(self.plain.returned, self._names(self.plain))
        for k in self.call.outputs:
            value = np.asarray(self.plain.returned.parts[k])
            if not np.array_equal(value, np.asarray(again.returned.parts[k]), equal_nan=True):
                raise ValueError(
                    f"{pair.forward.name} gave other values when it was called again with the same arguments. If it "
                    "draws random numbers, make their generator inside it from a fixed seed"
                )
            if not np.all(np.isfinite(value)):
                raise ValueError(f"{pair.forward.name}: the result has NaN or infinite elements at these arguments")
        shapes = {k: np.shape(self.plain.returned.parts[k]) for k in self.call.outputs}
        self.cotangents = dict(cotangents or {
            k: np.ones(shape) if self.call.is_unit else signed(rng, shape) for k, shape in shapes.items()
        })  # fmt: skip
        self.last_line = 0  # of the loss, in one function that returns its gradients too
        self.are_cotangents_given = cotangents is not None
        self.constants: Sequence[str] = ()  # arguments that keep their values
        self.why_differences = ""
        # By line and name, for loops of the backward function: how many assignments earlier a value was computed than
        # in the iteration of the same index.
        self.shifts: dict[tuple[int, str], int] = {}
        # By line and name, a consumer whose contribution is added elsewhere, in the next iteration.
        self.left_out: dict[tuple[int, str], str] = {}
        # Whether a line in a loop may be the contribution of the next iteration, to which it adds the rest there.
        self.are_parts_allowed = False
        self._names_of: dict[str, list[Version]] | None = None
        self._shapes: dict[tuple[int, ...], tuple[list[Version], Array]] | None = None
        self.reference = self._by_tape() or self._by_differences()
        self.method = "differences" if self.why_differences else "tape"
        self._confirm(rng)

    @property
    def rtol(self) -> float:
        """The relative tolerance for a line's result, by the accuracy of the gradients."""
        single = any(v.value.dtype.itemsize < 8 for v in self.plain.versions)
        return 1e-4 if single else TOLERANCE[self.method]

    def backward_arguments(self) -> tuple[Any, dict[str, Any]]:
        """Fresh arguments of the backward function: its object, and its parameters."""
        values = copy.deepcopy(self.plain)
        assert values.returned is not None
        return values.owner, self.call.arguments(values.returned, self._names(values), self.cotangents)

    def find(self, squeezed: str) -> list[Version]:
        """The versions of a value by its name without underscores and capitals, in the order of computation."""
        if self._names_of is None:
            self._names_of = {}
            for v in self.plain.versions:
                if not v.is_part:
                    self._names_of.setdefault(squeeze(v.name), []).append(v)
        plural = [v for v in self._names_of.get(squeezed + "s", ()) if v.is_item]  # hs[t] may be called h
        return self._names_of.get(squeezed) or plural

    def has_value(self, path: str) -> bool:
        """Whether a name is that of a value of the forward function, as in `x, w = cache`."""
        name = path.rpartition(".")[2]
        return name in self.plain.by_name and not (self.pair.is_one_function and self.last_line and not self.find(name))

    def is_value(self, result: Array) -> bool:
        """Whether a result is a value of the forward function that was computed again."""
        return any(v.value.shape == result.shape and np.allclose(v.value, result) for v in self.plain.versions)

    def equal_to(self, result: Array) -> Version | None:
        """The last version of which a result is the gradient, in the order of computation, named ones first."""
        if not np.any(result):
            return None
        versions, sums = self._by_shape().get(result.shape, ([], np.zeros(0)))
        near = np.abs(sums - np.sum(np.abs(result))) <= 1e-4 * np.abs(sums)
        found = [versions[k] for k in np.nonzero(near)[0] if self.is_gradient(versions[k], result)]
        return next((v for v in found[::-1] if not v.is_part), found[-1] if found else None)

    def _by_shape(self) -> dict[tuple[int, ...], tuple[list[Version], Array]]:
        if self._shapes is None:
            groups: dict[tuple[int, ...], list[Version]] = {}
            for v in self.plain.versions:
                groups.setdefault(v.value.shape, []).append(v)
            self._shapes = {
                shape: (vs, np.array([np.sum(np.abs(self.gradient(v))) for v in vs])) for shape, vs in groups.items()
            }
        return self._shapes

    def fit(self, version: Version, value: Any) -> int:
        """How well an array fits as the gradient of a value: 2 if it is, 1 if only its shape is, 0 if neither is."""
        value = value_of(value)
        if np.shape(value) != np.shape(version.value):
            return 0
        is_plain = isinstance(value, (np.ndarray, float, np.floating))  # an exact array is only looked up by its shape
        return 2 if is_plain and is_number(value) and self.is_gradient(version, np.asarray(value, float)) else 1

    def is_gradient(self, version: Version, result: Array) -> bool:
        """Whether a result is the gradient at a version."""
        return agree(result, self.gradient(version), self.rtol, 1e-11 * self.reference.scale)

    def gradient(self, version: Version) -> Array:
        """The gradient at a version."""
        return self.reference.gradients[version.label]

    def consumers_of(self, version: Version, result: Array, used: Collection[str] = ()) -> tuple[str, ...]:
        """The consumers of a value whose contributions add up to a result; none if there are no such consumers."""
        if not np.any(result) or self.method == "differences" or len(self.plain.versions) > VERSIONS:
            return ()
        terms = {k: t for k, t in self.reference.contributions[version.label].items() if k not in used}
        if len(terms) > CONSUMERS:
            return ()
        for count in range(1, len(terms) + 1):
            for names in itertools.combinations(terms, count):
                total = np.asarray(sum(terms[k] for k in names))
                if agree(np.asarray(result), total, self.rtol, 1e-11 * self.reference.scale):
                    return names
        return ()

    def without(self, version: Version, consumer: str) -> tuple[Array, dict[str, Array]]:
        """The gradient at a version without the contributions of a consumer in all iterations, and its terms."""
        terms = self.reference.contributions[version.label]
        left = {k: t for k, t in terms.items() if k.partition("[")[0] != consumer}
        return np.asarray(self.gradient(version) - sum(t for k, t in terms.items() if k not in left)), left

    def inputs(self) -> list[Version]:
        """The arguments that are arrays of floating-point numbers."""
        return [v for v in self.plain.versions if v.line == 0]

    def _names(self, values: Values) -> dict[str, Any]:
        return dict(self.given) if self.pair.is_one_function else {**self.given, **values.by_name}

    def run_with(self, recorder: Recorder) -> Values:
        """A run of the forward function, with its values reported to a recorder."""
        return self._run(recorder)

    def _run(self, recorder: Recorder) -> Values:
        with same_randomness(self.state), np.errstate(all="ignore"):
            arguments = copy.deepcopy(self.given)
            owner = copy.deepcopy(self.owner)
            for name, value in arguments.items():
                arguments[name] = _with_arguments(value, name, recorder.argument)
            if owner is not None:
                for name, value in vars(owner).items():
                    setattr(owner, name, _with_arguments(value, name, recorder.argument))
            self.pair.call_forward(recorder, arguments, owner)
        values = recorder.values
        values.owner = owner
        if values.returned is None:
            raise TypeError(f"{self.pair.forward.name} returned nothing")
        return values

    def _by_tape(self) -> Reference | None:
        """The gradients by the tape; None if the function does not run on Tensors."""
        try:
            with enable_grad():
                values = self._run(TapeRecorder(self.pair))
        except Exception as error:  # NumPy code may fail on Tensors in any way
            self.why_differences = f"{type(error).__name__}: {error}".partition("\n")[0]
            return None
        if not self._agrees(values):
            self.why_differences = "on Tensors the function computes other values, as it writes into shared memory"
            return None
        # What has no node does not depend on the inputs.
        pairs = [(v, p) for v, p in zip(values.versions, self.plain.versions, strict=True) if v.node is not None]
        if self.pair.is_one_function:  # the gradients in it are no values of the forward pass
            assert values.returned is not None
            loss = getattr(values.returned.parts[0], "node", None)
            needed = set(ancestors([] if loss is None else [loss])[0])
            pairs = [(v, p) for v, p in pairs if v.node in needed or v.line == 0]
            self.last_line = max((v.line for v, _ in pairs), default=0)
        self.plain.versions = [p for _, p in pairs]
        return self._reference({v.order: v.node for v in values.versions}, values)

    def _agrees(self, values: Values) -> bool:
        orders = [v.order for v in self.plain.versions] == [v.order for v in values.versions]
        return orders and all(
            v.value.shape == p.value.shape and np.allclose(v.value, p.value, rtol=1e-9, atol=1e-12, equal_nan=True)
            for v, p in zip(values.versions, self.plain.versions, strict=True)
        )

    def _reference(self, nodes: Mapping[int, Node | None], values: Values) -> Reference:
        run = self._labelled()
        assert values.returned is not None
        pending: dict[Node, Array] = {}
        for k, cotangent in self.cotangents.items():
            out = values.returned.parts[k]
            node = out.node if isinstance(out, Tensor) else None
            if node is not None:
                pending[node] = pending[node] + cotangent if node in pending else np.asarray(cotangent)
        kept = [node for node in nodes.values() if node is not None]
        pulled = pull(ancestors(list(pending))[0], dict(pending), keep=kept) if pending else {}
        gradients = {}
        for v in self.plain.versions:
            node = nodes[v.order]
            gradients[v.label] = (
                np.asarray(pulled.get(node, np.zeros(v.value.shape))) if node else np.zeros(v.value.shape)
            )
            run.tensors[v.label] = _with_node(v.value, node)
        reference = Reference(run, {str(k): c for k, c in self.cotangents.items()}, gradients, {}, _scale(gradients))
        reference.contributions = _Contributions(reference)
        return reference

    def _by_differences(self) -> Reference:
        self.plain.versions = [v for v in self.plain.versions if not v.is_part]
        self._shapes = self._names_of = None
        gradients = {}
        run = self._labelled()
        for v in self.plain.versions:
            gradient = np.zeros(v.value.shape)
            step = STEP * max(float(np.max(np.abs(v.value), initial=0.0)), 1e-3)
            for index in np.ndindex(v.value.shape):
                gradient[index] = self._slope({v.order: _unit(v.value.shape, index)}, step)
            gradients[v.label] = gradient
        return Reference(run, {}, gradients, {k: {} for k in gradients}, _scale(gradients))

    def _slope(self, directions: Mapping[int, Array], step: float) -> float:
        """The derivative of <cotangent, result> along directions of some versions, to fourth order in the step."""

        def value(h: float) -> float:
            run = self._run(Recorder(self.pair, {order: h * d for order, d in directions.items()}))
            assert run.returned is not None
            return sum(float(np.sum(np.asarray(run.returned.parts[k]) * c)) for k, c in self.cotangents.items())

        near, far = value(step) - value(-step), value(2 * step) - value(-2 * step)
        return (8 * near - far) / (12 * step)

    def _confirm(self, rng: np.random.Generator) -> None:
        """Compare the tape with finite differences, along one direction of all versions at once."""
        if self.method == "differences":
            return
        directions = {v.order: signed(rng, v.value.shape) * max(float(np.max(np.abs(v.value), initial=0.0)), 1e-3)
                      for v in self.plain.versions}  # fmt: skip
        terms = [float(np.sum(self.gradient(v) * directions[v.order])) for v in self.plain.versions]
        by_tape, size = sum(terms), sum(map(abs, terms))
        slopes = [self._slope(directions, step) for step in (1e-4, 1e-5, 1e-6)]
        if all(abs(s - by_tape) > 1e-4 * size + 1e-9 * self.reference.scale for s in slopes):
            self.why_differences = (
                f"the tape says {by_tape:.6g} and finite differences {slopes[1]:.6g} along the same direction"
            )
            self.reference = self._by_differences()
            self.method = "differences"

    def _labelled(self) -> Run:
        """The run by labels: a name, with an index if it is written in a loop, or its line if there are several."""
        run = Run({}, {}, [], [], [])
        names = [v.name for v in self.plain.versions]
        for v in self.plain.versions:
            same = [w for w in self.plain.versions if w.name == v.name]
            label = v.name + (f"[{', '.join(map(str, v.index.values()))}]" if v.index else "")
            others = [w for w in same if w.index == v.index]
            if len(others) > 1:
                if v.line and sum(w.line == v.line for w in others) == 1:
                    label += f" (line {v.line})"
                elif v.line:
                    label += f" (line {v.line}, time {[w.order for w in others].index(v.order) + 1})"
                else:
                    label += " (argument)"
            v.label = label
            run.values[label] = v.value
            if not v.is_part:
                (run.inputs if v.line == 0 else run.named).append(label)
        for name, value in {**self.given, **self.plain.by_name}.items():
            if name not in names:
                run.values.setdefault(name, value)
        return run


class _Contributions(dict[str, dict[str, Array]]):
    """The contributions of consumers to a value's gradient, computed when they are asked for."""

    def __init__(self, reference: Reference) -> None:
        super().__init__()
        self.reference = reference

    def __missing__(self, name: str) -> dict[str, Array]:
        run = self.reference.run
        is_part = name not in run.named and name not in run.inputs
        if is_part:
            run.named.append(name)
        self[name] = contributions_to(self.reference, name)
        if is_part:
            run.named.remove(name)
        return self[name]


def _unit(shape: tuple[int, ...], index: tuple[int, ...]) -> Array:
    unit = np.zeros(shape)
    unit[index] = 1.0
    return unit


def _scale(gradients: Mapping[str, Array]) -> float:
    return max((float(np.max(np.abs(g), initial=0.0)) for g in gradients.values()), default=1.0) or 1.0


def _with_node(value: Array, node: Node | None) -> Tensor:
    t = Tensor(value)
    t.node = node
    return t


def widened(value: Any, into_objects: bool = False) -> Any:
    """The value with arrays of float16 and float32 as float64, so that differences can be seen; in containers too."""
    value = copy.deepcopy(value)
    if isinstance(value, np.ndarray):
        return value.astype(np.float64) if value.dtype.kind == "f" else value
    if isinstance(value, dict):
        return {k: widened(v) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(widened(v) for v in value)
    if into_objects and hasattr(value, "__dict__"):
        vars(value).update({k: widened(v) for k, v in vars(value).items()})
    return value


def _with_arguments(value: Any, name: str, argument: Callable[[str, Any], Any]) -> Any:
    """The value after a function of every array of floating-point numbers in it, which gets the name of the array."""
    if is_float_array(value):
        return argument(name, value)
    if isinstance(value, dict):
        return (
            type(value)({k: _with_arguments(v, str(k), argument) for k, v in value.items()})
            if type(value) is dict
            else value
        )
    if type(value) in (list, tuple):
        return type(value)(_with_arguments(v, f"{name}[{k}]", argument) for k, v in enumerate(value))
    argument(name, value)
    return value
