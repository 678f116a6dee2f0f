"""checkpoint: a function as one node of the tape, which is computed again in the backward pass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Never

import numpy as np

from minigrad.engine import intercept, mutation, tracing
from minigrad.engine.errors import check_function, check_not_called
from minigrad.engine.modes import enable_grad
from minigrad.engine.node import Node, mode, next_serial
from minigrad.engine.pairwise import wide
from minigrad.engine.primitive import Opaque
from minigrad.engine.specialize import selected
from minigrad.engine.tape import ancestors, pull
from minigrad.recompute.walk_cache import WalkCache
from minigrad.tensor import naming
from minigrad.tensor.linearize import variable
from minigrad.tensor.tensor import Tensor
from minigrad.util.pytree import flatten

if TYPE_CHECKING:
    from minigrad.recompute.snapshot import Snapshot

SAMPLED = 64  # elements of an output that are compared
TOLERANCE = {"float16": 5e-2, "float32": 1e-3}  # relative to the largest element; otherwise 1e-6
OBSERVERS: tuple[ContextVar[Any], ...] = (
    tracing.active,
    tracing.walked,
    intercept.STACK,
    naming.probe,
    mutation.JOURNAL,
)  # context variables of tools that observe the backward pass


def checkpoint(f: Callable[..., Any], *arguments: Never, **options: Never) -> Callable[..., Any]:
    """The same function, whose intermediate values are computed again in the backward pass instead of kept.

    A deep network keeps only the values at the checkpoints, for one more forward pass (Chen et al. 2016). Parameters
    that f takes from outside receive their gradients as usual.

    The second computation repeats the first: random numbers of any Generator that f can reach, running statistics,
    counters, lists, attributes and train or eval mode are restored to their state in the forward call, and
    afterwards to their present state, so every effect happens once. Plain arrays of up to 64 KiB are copied for that,
    and so are larger ones that f writes. Parameters are not copied.

    Args:
        f: a function of Tensors (nested structures are allowed) that returns Tensors.
        *arguments: none. PyTorch's checkpoint(f, x) is checkpoint(f)(x) here.
        **options: none.

    Returns:
        A function of the same arguments.

    Raises:
        RuntimeError: in a call, if f advances something that cannot be restored, such as an iterator; in the backward
            pass, if a parameter or a large array was changed since the forward call, or if f computes another result
            than it did then. The message names the object.

    Example:
        >>> import minigrad as mg
        >>> x = mg.Tensor([0.5, 1.0], requires_grad=True)
        >>> y = mg.checkpoint(lambda t: mg.exp(mg.sin(t)))(x)
        >>> y.sum().backward()
        >>> bool(mg.allclose(x.grad, mg.exp(mg.sin(x)) * mg.cos(x)))
        True

        Dropout with a generator of its own drops the same elements again:

        >>> x = mg.ones(4, requires_grad=True)
        >>> y = mg.checkpoint(mg.nn.Dropout(0.5, rng=0))(x)
        >>> y.sum().backward()
        >>> bool(mg.all(x.grad == y))
        True
    """

    check_function(f, "checkpoint", "it comes too late: the values that it was computed from are kept already")
    check_not_called((*arguments, *options), "checkpoint")
    walks = WalkCache(f)

    @functools.wraps(f)
    def checkpointed(*args: Any, **options: Any) -> Any:
        # A compiled step is one program, which decides what it keeps.
        if mode.get() is None or tracing.active.get() is not None:
            return f(*args, **options)
        leaves, rebuild = flatten((args, options), lambda tree: tree is not options and _has_no_variables(tree))
        input_places = [k for k, x in enumerate(leaves) if isinstance(x, Tensor) and x.node is not None]
        recompute = _Recompute(f, leaves, rebuild, input_places, walks.snapshot(leaves, input_places))
        return recompute.first((args, options), [leaves[k] for k in input_places])

    return checkpointed


def _has_no_variables(tree: Any) -> bool:
    """Whether f can receive this list or dict itself, because none of its Tensors is replaced by a variable."""
    if not isinstance(tree, (list, dict)):
        return False
    return not any(isinstance(x, Tensor) and x.node is not None for x in flatten(tree)[0])


def _copies(tree: Any, copy: Any) -> Iterator[tuple[Any, Any, Any]]:
    """The caller's lists and dicts that f receives as copies with variables: both, and the items of the copy."""
    if tree is copy or not isinstance(tree, (list, tuple, dict)):
        return
    if not isinstance(tree, tuple):
        yield tree, copy, copy.copy()
    pairs = [(tree[key], copy[key]) for key in tree] if isinstance(tree, dict) else zip(tree, copy, strict=True)
    for x, y in pairs:
        yield from _copies(x, y)


def _write_back(copies: list[tuple[Any, Any, Any]], originals: dict[int, Any]) -> None:
    """Apply the changes that f made to its copies to the caller's lists and dicts."""
    replaced = originals | {id(copy): tree for tree, copy, _ in copies}
    for tree, copy, before in copies:
        if _same_objects(copy, before):
            continue
        if isinstance(tree, dict):
            items = {key: replaced.get(id(x), x) for key, x in copy.items()}
            tree.clear()
            tree.update(items)
        else:
            tree[:] = [replaced.get(id(x), x) for x in copy]


def _same_objects(x: Any, y: Any) -> bool:
    if isinstance(x, dict):
        return list(x) == list(y) and all(x[key] is y[key] for key in x)
    return len(x) == len(y) and all(a is b for a, b in zip(x, y, strict=True))


def _outside(variables: list[Tensor], outputs: list[Tensor]) -> tuple[Node, ...]:
    """The nodes outside on which the outputs depend: Tensors of a closure."""
    since = _serial(variables[0])
    inside, _ = ancestors([t.node for t in outputs if t.node is not None], since)
    own = {t.node for t in variables}
    nodes = dict.fromkeys(
        parent
        for node in inside
        if node not in own
        for parent in node.parents
        if parent is not None and parent.serial < since
    )
    nodes |= dict.fromkeys(t.node for t in outputs if t.node is not None and t.node.serial < since)
    return tuple(nodes)


def _serial(t: Tensor) -> int:
    assert t.node is not None
    return t.node.serial


class _Recompute(Opaque):
    """The primitive of one checkpointed call: its pull runs the function again and pulls through that run."""

    kind = "checkpoint"

    def __init__(self, f: Any, leaves: list[Any], rebuild: Any, input_places: list[int], snapshot: Snapshot) -> None:
        self.f, self.rebuild, self.input_places, self.snapshot = f, rebuild, input_places, snapshot
        self.leaves = [None if k in input_places else x for k, x in enumerate(leaves)]
        self.name = f"checkpoint[{getattr(f, '__name__', type(f).__name__)}]"
        self.context: Context = copy_context()
        self.samples: list[Any] = []

    def first(self, arguments: Any, inputs: list[Tensor]) -> Any:
        """The forward call, as one node of the tape if gradients can flow through it."""
        variables, outputs, rebuild_value = self.run(list(inputs), arguments)
        parents = tuple(t.node for t in inputs) + _outside(variables, outputs)
        if not parents:
            return rebuild_value([t.detach() for t in outputs])
        if not self.snapshot.close():
            return rebuild_value(outputs)  # with their history: this call cannot be repeated
        node = Node()
        node.primitive, node.parents, node.params = self, parents, ()
        node.residuals = (tuple(t.data for t in inputs),)
        node.scope, node.serial = mode.get() or "", next_serial()
        self.samples = [_sample(t.data) for t in outputs]
        self.outputs = tuple(f"out{k}" for k in range(len(outputs)))
        node.shape, node.dtype = tuple(t.shape for t in outputs), tuple(t.dtype for t in outputs)
        return rebuild_value(list(selected(node, tuple(t.data for t in outputs))))

    def run(self, inputs: list[Any], arguments: Any = None) -> tuple[list[Tensor], list[Tensor], Any]:
        """Call the function on new variables. The first one is a marker, which is older than all later nodes."""
        leaves = list(self.leaves)
        with enable_grad():
            variables = [variable(0.0), *(variable(x) for x in inputs)]
            for k, t in zip(self.input_places, variables[1:], strict=True):
                leaves[k] = t
            args, options = self.rebuild(leaves)
            copies = [] if arguments is None else list(_copies(arguments, (args, options)))
            parts, rebuild = flatten(self.f(*args, **options))
        # Results without a history are returned as they are: a count, an array of class ids.
        places = [k for k, x in enumerate(parts) if isinstance(x, Tensor) and x.node is not None]

        def rebuild_value(values: list[Any]) -> Any:
            replaced = dict(zip(places, values, strict=True))
            return rebuild([replaced.get(k, x) for k, x in enumerate(parts)])

        outputs = [parts[k] for k in places]
        _write_back(copies, {id(t): x for t, x in zip(variables[1:], inputs, strict=True)})
        return variables, outputs, rebuild_value

    def run_again(self, inputs: list[Any]) -> tuple[list[Tensor], list[Tensor], Any]:
        """Call the function in the context of the forward call: its scope, np.errstate, context variables."""
        present = [(var, var.get()) for var in OBSERVERS]

        def run() -> Any:
            for var, value in present:
                var.set(value)
            return self.run(inputs)

        return self.context.copy().run(run)

    def pull(self, n: Node, v: Any, pending: dict[Node, Any], residuals: tuple[Any, ...]) -> None:
        """The contributions to the parents: from a second run, in the state of the first, and a pull through it."""
        record = any(hasattr(x, "node") for x in v)
        with self.snapshot.repeat() as repetition:
            repetition.retained = record
            variables, outputs, _ = self.run_again(list(residuals[0]))
            repetition.settle()
            self._compare(n, outputs)
            own: dict[Node, Any] = {}
            for t, contribution in zip(outputs, v, strict=True):
                if contribution is not None and t.node is not None:
                    own[t.node] = own[t.node] + contribution if t.node in own else contribution
            inside, _ = ancestors(own, _serial(variables[0]))
            nodes = [t.node for t in variables[1:] if t.node is not None]
            gradients = pull(inside, own, stop=nodes, record=record, retain=record) if inside else {}
        if not own.keys() <= set(n.parents):
            raise self._differs("depends on other Tensors")
        # The rest of `own` is pending for nodes outside.
        contributions = [(n.parents[k], gradients.get(node)) for k, node in enumerate(nodes)] + list(own.items())
        for parent, contribution in contributions:
            if parent is not None and contribution is not None:
                pending[parent] = pending[parent] + wide(contribution) if parent in pending else contribution

    def push(self, n: Node, tangents: Any, residuals: tuple[Any, ...]) -> Any:
        """Forward mode pulls the pull."""
        return None

    def _compare(self, n: Node, outputs: list[Tensor]) -> None:
        """Check that the second run computed the same as the first.

        Raises:
            RuntimeError: it did not.
        """
        kinds = tuple((t.shape, t.dtype) for t in outputs)
        if kinds != tuple(zip(n.shape, n.dtype, strict=True)):
            raise self._differs(f"returns shapes {[t.shape for t in outputs]} instead of {list(n.shape)}")
        for k, (t, first) in enumerate(zip(outputs, self.samples, strict=True)):
            second = _sample(t.data)
            if second.tobytes() != first.tobytes() and not _are_close(second, first):
                raise self._differs(f"has other values in output {k} of shape {t.shape}")

    def _differs(self, difference: str) -> RuntimeError:
        return RuntimeError(
            f"{self.snapshot.call} was computed again for the backward pass, and now it {difference}, so the gradient "
            "would be wrong. It depends on something that minigrad cannot see or restore: a clock, a file, a thread, "
            "the state of an extension. Pass it as an argument."
        )


def _sample(value: Any) -> Any:
    """Some elements of an output, spread over it."""
    flat = np.asarray(value).reshape(-1)
    return flat[:: max(flat.size // SAMPLED | 1, 1)].copy()


def _are_close(x: Any, y: Any) -> bool:
    """Whether two samples differ by rounding errors at most."""
    if x.dtype.kind not in "fc":
        return False
    with np.errstate(all="ignore"):
        finite = np.isfinite(y)
        scale = np.abs(y[finite]).max(initial=0)
        near = np.abs(x - y) <= TOLERANCE.get(str(y.dtype), 1e-6) * scale
        return bool(np.all(near | ((x == y) | (np.isnan(x) & np.isnan(y)))))
