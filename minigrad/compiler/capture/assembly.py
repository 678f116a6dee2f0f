"""Assembly of a recording from a finished trace: the program, its inputs, and what guards compare."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.compiler.capture.aliasing import check_overlaps, layouts, shared_gradients, tied
from minigrad.compiler.capture.changes import find_exempt
from minigrad.compiler.capture.effects import recipe_of
from minigrad.compiler.capture.recording import Recording
from minigrad.compiler.capture.state import StateCapture
from minigrad.compiler.ir.program import Buffer, Program, Value
from minigrad.compiler.ir.view_memory import owner, sharing
from minigrad.compiler.refusal import CompileError
from minigrad.compiler.trace.generators import GeneratorSlot
from minigrad.compiler.trace.trace import Trace
from minigrad.compiler.unsupported.static_checks import writes_json
from minigrad.tensor.tensor import Tensor


def assemble(
    recording: Recording,
    trace: Trace,
    capture: StateCapture,
    leaves: list[Any],
    result: Any,
    growing: dict[int, Any],
    replaced: set[Any],
) -> None:
    """Fill a recording with the program of a call that was recorded to its end.

    Args:
        recording: of the call.
        trace: of the call.
        capture: the state, with its changes.
        leaves: of the arguments.
        result: of the call, with tracers.
        growing: lists to which other recordings have appended, by id.
        replaced: places in which other recordings have put new containers that are never read.

    Raises:
        CompileError: no program can do what the call did.
    """
    reach = capture.reach
    capture.drop_unread_gradients()
    recipe = recording.recipe = recipe_of(trace, capture, leaves, result)
    stores = {**recipe.kept, **_stores(trace, capture)}
    base = len(capture.arguments) + len(capture.arrays)
    for buffer in trace.buffers:
        if buffer.place is not None and buffer.place < 0:
            recording.number_arguments.append(~buffer.place)
            buffer.place = base + len(recording.number_arguments) - 1
    check_overlaps(trace)
    trace.check_contents()
    ops = [*trace.inputs, *trace.ops]
    program = Program(ops, trace.buffers, stores, recipe.outputs, trace.generators, recipe.scalars)
    recording.program = program
    recording.rows = [*reach.rows, *trace.contents_read, *layouts(capture), *shared_gradients(capture)]
    recording.numbers, recording.arrays, recording.arguments = capture.numbers, capture.arrays, capture.arguments
    recording.expressions, recording.predicates = trace.expressions, trace.predicates
    recording.tied, recording.is_written = tied(capture), writes_json(reach)
    recording.sharing = sharing([x.value for x in capture.arrays] + leaves)
    recording.owned, recording.objects, recording.keep = capture.owned, reach.held, (reach.seen, capture.owned)
    recording.pinned = {capture.numbers[k].identity for k in trace.pinned}
    read = {op.params["buffer"].place for op in trace.inputs}
    recording.used_arrays = {
        j  # also those of which code may only read the shape
        for j, x in enumerate(capture.arrays)
        if x.number in read or not (isinstance(x.ref.key, str) and x.ref.key not in reach.read)
    }
    number = {id(leaf): k for k, leaf in reversed(list(enumerate(leaves)))}
    recording.grads_read = [
        (ref.holder, None if id(ref.holder) in reach.seen else number[id(ref.holder)], value is None)
        for ref, value in capture.replaced
        if ref.is_grad and id(ref.holder) in capture.grads_read
    ]
    recording.generator_leaves = [
        (g, capture.argument_generators[id(x)])
        for g, x in enumerate(trace.generators)
        if id(x) in capture.argument_generators
    ]
    for g, _ in recording.generator_leaves:
        program.generators[g] = GeneratorSlot(program.generators[g])
    find_exempt(recording, capture, growing, replaced)
    recording.parameters = _roots_of_parameters(capture, stores)
    recording.scratch = {key for key, is_scratch in capture.scratch.items() if is_scratch}


def check_fetched(recording: Recording, capture: StateCapture) -> None:
    """Check that no gradient of a fetched Tensor is read or written: it belongs to the Tensor of this call.

    Raises:
        CompileError: one is. The Tensor must not be fetched then.
    """
    touched = {id(ref.holder) for ref, _, _ in capture.changes if ref.is_grad} | capture.grads_read
    for x in capture.arrays:
        if not x.ref.is_grad and type(x.value) is Tensor and id(x.value) in touched:
            recording.read.add(x.ref.identity)
            recording.again = True
            raise CompileError(
                f"mg.compile: {x.ref.path} is another Tensor from call to call, and the step uses its gradient.\n"
                "Hint: keep the Tensor, and change its data."
            )


def _stores(trace: Trace, capture: StateCapture) -> dict[Buffer, Value]:
    """The buffers that the program writes, with their final values."""
    stores: dict[Buffer, Value] = {}
    for memory in trace.memories.values():
        scratch = capture.scratch.get(id(memory.array), False)
        if memory.buffer is None and memory.version and not scratch:
            memory.buffer = Buffer(trace.names[id(memory.array)], "state", memory.array)
            trace.buffers.append(memory.buffer)
        if memory.buffer is not None and scratch:
            memory.buffer.kind = "scratch"
        if memory.buffer is not None and memory.version and not scratch:
            assert memory.value is not None
            stores[memory.buffer] = memory.value
    return stores


def _roots_of_parameters(capture: StateCapture, stores: dict[Buffer, Value]) -> list[Any]:
    """The written arrays that hold Tensors' data. Tapes that have kept them must notice the change."""
    tensors = {
        id(owner(value))
        for ref, value in capture.reach.refs
        if ref.kind == "slot" and ref.key == "data" and type(value) is np.ndarray
    }
    return [b.array for b in stores if b.kind == "state" and id(owner(b.array)) in tensors]
