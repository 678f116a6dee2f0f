"""A version of a compiled step: the program for one signature, and how a call of it goes."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from minigrad.compiler.background import Kernels
from minigrad.compiler.guards import door, guard, leaving
from minigrad.compiler.kernel_files import is_available
from minigrad.compiler.numpy_source import Source
from minigrad.compiler.passes import optimized
from minigrad.compiler.program import Program
from minigrad.compiler.recording import Recording, Result
from minigrad.compiler.recycling import FROM
from minigrad.compiler.refusal import CompileError
from minigrad.specialize import attach
from minigrad.tensor import Tensor
from minigrad.trees import flatten

Signature = tuple[Any, ...]  # shapes, dtypes and Python values of the arguments


class Version:
    """The program for one signature, ready to run."""

    def __init__(
        self, recording: Recording, signature: Signature, title: str, backend: str, owned: dict[int, Any]
    ) -> None:
        began = perf_counter()
        self.recording, self.signature = recording, signature
        self.program, self.report = optimized(recording.program)
        self.results_left = results_left(self.program, [left for _, left in recording.exits])
        self.source = Source(self.program, title)
        self.run = self.source.compiled()
        self.kernels: Kernels | None = None
        if backend == "numba" or (backend == "auto" and is_available()):
            self.kernels = Kernels(self.program, title)
            if backend == "numba":
                self.kernels.wait()
        self.arguments = [recording.arguments[k] for k in range(len(recording.arguments))]
        self.written = {b.place for b in self.program.stores if b.place is not None}
        self.takes = door(signature, owned)
        self.fits = guard(recording.guards, recording.held)
        self.leave = leaving(recording.exits)
        self.seconds = perf_counter() - began

    def call(self, leaves: Sequence[Any]) -> Any:
        """Run the program on the arrays among the leaves of the arguments."""
        given = []
        for number, k in enumerate(self.arguments):
            x = leaves[k]
            array = x.data if isinstance(x, Tensor) else x
            given.append(array if number in self.written or array.flags.carray else np.array(array, order="C"))
        if self.kernels is not None:
            self._take_kernels(self.kernels)
        if self.written:
            self._check_apart(given)
        if self.source.is_silent:
            outputs = self.run(*given)
        else:
            with np.errstate(all="ignore"):
                outputs = self.run(*given)
        self.leave()
        for t, k in self.results_left:
            t.data = outputs[k]
        made = self.recording
        for number, k, adds in made.grads:
            t = leaves[self.arguments[number]]
            present = t.grad if adds else None
            t.grad = attach(outputs[k] if present is None else present.data + outputs[k], None)
        results = [_result(part, outputs) if isinstance(part, Result) else part for part in made.static]
        return results[0] if made.is_single else made.rebuild(results)

    def _take_kernels(self, kernels: Kernels) -> None:
        """Go on with the numba program as soon as it is there."""
        is_alive = kernels.thread.is_alive()  # asked first: it may end before the next line
        if kernels.run is not None:
            self.run, self.source, self.kernels = kernels.run, kernels.source, None
        elif not is_alive:
            kernels.warn()
            self.kernels = None

    def _check_apart(self, given: list[Any]) -> None:
        for k in self.written:
            for j, other in enumerate(given):
                if j != k and np.may_share_memory(given[k], other):
                    raise CompileError(
                        f"mg.compile: the step writes into its argument {k}, which shares memory with argument {j}.\n"
                        "Way out: pass a copy of one of them."
                    )


def results_left(program: Program, left: list[Any]) -> list[tuple[Tensor, int]]:
    """Tensors that a step leaves in a `.grad` and returns as well, each with the number of the result.

    Large ones share the result's memory, as they do in eager mode. Their stores, which would be copies, are taken out.
    """
    tensors = {id(t.data): t for t in flatten(left)[0] if isinstance(t, Tensor)}
    first = {v: k for k, v in reversed(list(enumerate(program.outputs)))}
    found = {}
    for buffer, v in program.stores.items():
        if buffer.kind == "kept" and v in first and v.nbytes >= FROM and id(buffer.array) in tensors:
            found[buffer] = tensors[id(buffer.array)], first[v]
    program.stores = {b: v for b, v in program.stores.items() if b not in found}
    program.buffers = [b for b in program.buffers if b not in found]
    return list(found.values())


def _result(part: Result, outputs: list[Any]) -> Any:
    return attach(outputs[part.k], None) if part.is_tensor else outputs[part.k]
