"""checkpoint: a function as one node of the tape, computed again in the backward pass instead of kept."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar, copy_context
from types import FunctionType, MethodType
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
from minigrad.tensor import naming
from minigrad.tensor.linearize import variable
from minigrad.tensor.tensor import Tensor
from minigrad.util.pytree import flatten

if TYPE_CHECKING:
    from minigrad.recompute.snapshot import Snapshot
    from minigrad.recompute.surroundings import Surroundings

KEPT = 8  # walks of one function, for different objects among its arguments
WATCHED = 64  # elements of an output that must be the same again
LIKE = {"float16": 5e-2, "float32": 1e-3}  # how closely, relative to the largest; else 1e-6
PRESENT: tuple[ContextVar[Any], ...] = (
    tracing.active,
    tracing.walked,
    intercept.STACK,
    naming.probe,
    mutation.JOURNAL,
)  # context variables of those who watch the backward pass

_surroundings: weakref.WeakKeyDictionary[Any, dict[Any, Surroundings]] = weakref.WeakKeyDictionary()


def checkpoint(f: Callable[..., Any], *arguments: Never, **options: Never) -> Callable[..., Any]:
    """The same function, whose intermediate values are not kept for the backward pass but computed again there.

    Memory for a deep network falls from all its values to those at the checkpoints, for one more forward pass (Chen et
    al. 2016). Parameters that f takes from outside receive their gradients as usual.

    The second computation repeats the first: random numbers of any Generator that f can reach, running statistics,
    counters, lists, attributes and train or eval mode are put back to what the forward call saw, and afterwards to what
    they are now, so every effect happens once. Plain arrays of up to 64 KiB are copied for that, and so are larger ones
    that f writes. Parameters are not copied.

    Args:
        f: a function of Tensors (nested structures are allowed) that returns Tensors.
        *arguments: none. PyTorch's checkpoint(f, x) is checkpoint(f)(x) here.
        **options: none.

    Returns:
        A function of the same arguments.

    Raises:
        RuntimeError: by a call, if f advances something that nothing can put back, such as an iterator; by the backward
            pass, if a parameter or a large array was changed since the forward call, or if f computes something else
            than it did then. The message names what it is.

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

    check_function(f, "checkpoint", "it comes too late: what it was computed from is kept already")
    check_not_called((*arguments, *options), "checkpoint")
    walks = _Walks(f)

    @functools.wraps(f)
    def checkpointed(*args: Any, **options: Any) -> Any:
        # A compiled step is one program, which decides itself what it keeps.
        if mode.get() is None or tracing.active.get() is not None:
            return f(*args, **options)
        leaves, rebuild = flatten((args, options), lambda tree: tree is not options and _has_no_variables(tree))
        moving = [k for k, x in enumerate(leaves) if isinstance(x, Tensor) and x.node is not None]
        recompute = _Recompute(f, leaves, rebuild, moving, walks.snapshot(leaves, moving))
        return recompute.first((args, options), [leaves[k] for k in moving])

    return checkpointed


def _has_no_variables(tree: Any) -> bool:
    """Whether f can be given this list or dict itself, because none of its Tensors is replaced by a variable."""
    if not isinstance(tree, (list, dict)):
        return False
    return not any(isinstance(x, Tensor) and x.node is not None for x in flatten(tree)[0])


class _Walks:
    """What f reaches, for each set of objects among its arguments. Walks are kept from call to call.

    Those from a module or a global function are kept as long as it lives, for all wrappers; others as long as this.
    """

    def __init__(self, f: Any) -> None:
        self.f, self.title = f, f"checkpoint({getattr(f, '__name__', type(f).__name__)})"
        self.method = f.__func__ if isinstance(f, MethodType) else None
        owner = f.__self__ if isinstance(f, MethodType) else f
        self.keeper = owner if _is_keeper(owner) else self

    def minigrad_reach(self) -> list[Any]:
        """What another checkpoint around this one reaches through it: not what is kept here."""
        return [self.f]

    def snapshot(self, leaves: list[Any], moving: list[int]) -> Snapshot:
        """The state of what f and its arguments reach."""
        snapshot, surroundings, is_leaf = _loaded()
        roots: list[tuple[str, Any]] = [("", self.f)]
        arrays: list[tuple[str, Any]] = []
        for k, x in enumerate(leaves):
            if k not in moving and not is_leaf(x):
                (arrays if isinstance(x, (np.ndarray, Tensor)) else roots).append((f"argument {k}", x))
        key = (self.method, *(id(x) for _, x in roots[1:]))
        keeper = self.keeper if len(roots) == 1 else self
        before = _surroundings.get(keeper, {}).get(key)
        if before is None and keeper is not self:
            before = _surroundings.get(self, {}).get(key)
        found, now = surroundings.first(roots) if before is None else before.current(roots)
        if before is not found:
            # What is kept must not keep its keeper alive, unless that is a global function.
            is_free = keeper is self or isinstance(keeper, FunctionType) or not found.holds(keeper)
            kept = _surroundings.setdefault(keeper if is_free else self, {})
            while len(kept) >= KEPT:
                kept.pop(next(iter(kept)))
            kept[key] = found
        return snapshot(found, now, self.title, arrays)


@functools.cache
def _loaded() -> tuple[type[Snapshot], type[Surroundings], Callable[[Any], bool]]:
    """What is imported when it is first used, because NumPy's random module is loaded with it."""
    from minigrad.reach import is_leaf, register_opaque
    from minigrad.recompute.snapshot import Snapshot
    from minigrad.recompute.surroundings import Surroundings

    register_opaque(_Walks)
    return Snapshot, Surroundings, is_leaf


def _is_keeper(x: Any) -> bool:
    """Whether walks are kept for as long as x lives, and not only as long as one wrapper: modules, global functions."""
    if isinstance(x, FunctionType):
        return x.__globals__.get(x.__name__) is x
    kind: Any = type(x)
    return kind.__eq__ is object.__eq__ and kind.__hash__ is object.__hash__ and hasattr(x, "__weakref__")


def _copies(tree: Any, copy: Any) -> Iterator[tuple[Any, Any, Any]]:
    """The caller's lists and dicts of which f is given copies, with variables in them: both, and what they hold."""
    if tree is copy or not isinstance(tree, (list, tuple, dict)):
        return
    if not isinstance(tree, tuple):
        yield tree, copy, copy.copy()
    pairs = [(tree[key], copy[key]) for key in tree] if isinstance(tree, dict) else zip(tree, copy, strict=True)
    for x, y in pairs:
        yield from _copies(x, y)


def _write_back(copies: list[tuple[Any, Any, Any]], originals: dict[int, Any]) -> None:
    """Let the caller's lists and dicts show what f did to its copies of them."""
    own = originals | {id(copy): tree for tree, copy, _ in copies}
    for tree, copy, before in copies:
        if _same_objects(copy, before):
            continue
        if isinstance(tree, dict):
            now = {key: own.get(id(x), x) for key, x in copy.items()}
            tree.clear()
            tree.update(now)
        else:
            tree[:] = [own.get(id(x), x) for x in copy]


def _same_objects(x: Any, y: Any) -> bool:
    if isinstance(x, dict):
        return list(x) == list(y) and all(x[key] is y[key] for key in x)
    return len(x) == len(y) and all(a is b for a, b in zip(x, y, strict=True))


def _outside(variables: list[Tensor], outputs: list[Tensor]) -> tuple[Node, ...]:
    """The nodes from outside on which the outputs depend: a closure's Tensors."""
    since = _serial(variables[0])
    inside, _ = ancestors([t.node for t in outputs if t.node is not None], since)
    own = {t.node for t in variables}
    found = dict.fromkeys(
        parent
        for node in inside
        if node not in own
        for parent in node.parents
        if parent is not None and parent.serial < since
    )
    found |= dict.fromkeys(t.node for t in outputs if t.node is not None and t.node.serial < since)
    return tuple(found)


def _serial(t: Tensor) -> int:
    assert t.node is not None
    return t.node.serial


class _Recompute(Opaque):
    """The primitive of one checkpointed call: its pull runs the function again and pulls through that."""

    kind = "checkpoint"

    def __init__(self, f: Any, leaves: list[Any], rebuild: Any, moving: list[int], snapshot: Snapshot) -> None:
        self.f, self.rebuild, self.moving, self.snapshot = f, rebuild, moving, snapshot
        self.leaves = [None if k in moving else x for k, x in enumerate(leaves)]
        self.name = f"checkpoint[{getattr(f, '__name__', type(f).__name__)}]"
        self.context: Context = copy_context()
        self.seen: list[Any] = []

    def first(self, given: Any, inputs: list[Tensor]) -> Any:
        """The forward call, as one node of the tape if gradients can flow through it."""
        variables, outputs, rebuild_value = self.run(list(inputs), given)
        used = _outside(variables, outputs)
        parents = tuple(t.node for t in inputs) + used
        if not parents:
            return rebuild_value([t.detach() for t in outputs])
        if not self.snapshot.close():
            return rebuild_value(outputs)  # with their history: this call cannot be repeated
        node = Node()
        node.primitive, node.parents, node.params = self, parents, ()
        node.residuals = (tuple(t.data for t in inputs),)
        node.scope, node.serial = mode.get() or "", next_serial()
        self.seen = [_sample(t.data) for t in outputs]
        self.outputs = tuple(f"out{k}" for k in range(len(outputs)))
        node.shape, node.dtype = tuple(t.shape for t in outputs), tuple(t.dtype for t in outputs)
        return rebuild_value(list(selected(node, tuple(t.data for t in outputs))))

    def run(self, inputs: list[Any], given: Any = None) -> tuple[list[Tensor], list[Tensor], Any]:
        """Call the function on fresh variables. The first variable is a mark: it is older than all that follows."""
        leaves = list(self.leaves)
        with enable_grad():
            variables = [variable(0.0), *(variable(x) for x in inputs)]
            for k, t in zip(self.moving, variables[1:], strict=True):
                leaves[k] = t
            args, options = self.rebuild(leaves)
            copies = [] if given is None else list(_copies(given, (args, options)))
            parts, rebuild = flatten(self.f(*args, **options))
        # What has no history is no output, and returned as it is: a count, an array of class ids.
        places = [k for k, x in enumerate(parts) if isinstance(x, Tensor) and x.node is not None]

        def rebuild_value(values: list[Any]) -> Any:
            given = dict(zip(places, values, strict=True))
            return rebuild([given.get(k, x) for k, x in enumerate(parts)])

        outputs = [parts[k] for k in places]
        _write_back(copies, {id(t): x for t, x in zip(variables[1:], inputs, strict=True)})
        return variables, outputs, rebuild_value

    def run_again(self, inputs: list[Any]) -> tuple[list[Tensor], list[Tensor], Any]:
        """Call the function in the context of the forward call: its scope, np.errstate, context variables."""
        present = [(var, var.get()) for var in PRESENT]

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
            found = pull(inside, own, stop=nodes, record=record, retain=record) if inside else {}
        if not own.keys() <= set(n.parents):
            raise self._another("depends on other Tensors")
        # What is left in `own` is pending for nodes from outside.
        contributions = [(n.parents[k], found.get(node)) for k, node in enumerate(nodes)] + list(own.items())
        for parent, contribution in contributions:
            if parent is not None and contribution is not None:
                pending[parent] = pending[parent] + wide(contribution) if parent in pending else contribution

    def push(self, n: Node, tangents: Any, residuals: tuple[Any, ...]) -> Any:
        """Forward mode pulls the pull."""
        return None

    def _compare(self, n: Node, outputs: list[Tensor]) -> None:
        """Whether the second run has computed what the first did."""
        kinds = tuple((t.shape, t.dtype) for t in outputs)
        if kinds != tuple(zip(n.shape, n.dtype, strict=True)):
            raise self._another(f"returns shapes {[t.shape for t in outputs]} after {list(n.shape)}")
        for k, (t, before) in enumerate(zip(outputs, self.seen, strict=True)):
            now = _sample(t.data)
            if now.tobytes() != before.tobytes() and not _alike(now, before):
                raise self._another(f"has other values in output {k} of shape {t.shape}")

    def _another(self, what: str) -> RuntimeError:
        return RuntimeError(
            f"{self.snapshot.what} was computed once more for the backward pass, and now it {what}, so the gradient "
            "would be wrong. It depends on something that minigrad cannot see or put back: a clock, a file, a thread, "
            "the state of an extension. Pass it as an argument."
        )


def _sample(value: Any) -> Any:
    """Some elements of an output, spread over it."""
    flat = np.asarray(value).reshape(-1)
    return flat[:: max(flat.size // WATCHED | 1, 1)].copy()


def _alike(x: Any, y: Any) -> bool:
    """Whether two samples differ by no more than roundings."""
    if x.dtype.kind not in "fc":
        return False
    with np.errstate(all="ignore"):
        finite = np.isfinite(y)
        scale = np.abs(y[finite]).max(initial=0)
        near = np.abs(x - y) <= LIKE.get(str(y.dtype), 1e-6) * scale
        return bool(np.all(near | ((x == y) | (np.isnan(x) & np.isnan(y)))))
