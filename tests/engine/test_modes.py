"""no_grad, enable_grad and scope: blocks that end in any order, in threads, and around bodies that run in pieces."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import numpy as np
import pytest

import minigrad as mg

on = mg.is_grad_enabled


def plain() -> bool:
    return on()


def steps() -> Iterator[bool]:
    yield on()
    yield on()


async def waits() -> tuple[bool, bool]:
    first = on()
    await asyncio.sleep(0)
    return first, on()


async def streams() -> AsyncIterator[bool]:
    for _ in range(2):
        await asyncio.sleep(0)
        yield on()


class Holder:
    def method(self) -> bool:
        return on()

    def steps(self) -> Iterator[bool]:
        yield on()

    def __call__(self) -> Iterator[bool]:
        yield on()


def collected(made: AsyncIterator[bool]) -> list[tuple[bool, bool]]:
    """What each piece saw, and what held between the pieces."""

    async def collect() -> list[tuple[bool, bool]]:
        return [(value, on()) async for value in made]

    return asyncio.run(collect())


@pytest.mark.parametrize("switch", [mg.no_grad, mg.no_grad()], ids=["without parentheses", "with parentheses"])
def test_a_decorated_body_records_nothing(switch: Any) -> None:
    assert switch(plain)() is False
    assert [(value, on()) for value in switch(steps)()] == [(False, True)] * 2
    assert asyncio.run(switch(waits)()) == (False, False)
    assert collected(switch(streams)()) == [(False, True)] * 2
    assert switch(Holder.method)(Holder()) is False
    assert [*switch(functools.partial(Holder.steps, Holder()))()] == [False]
    assert [*switch(Holder())()] == [False]
    assert switch(functools.partial(plain))() is False
    assert on()


def test_enable_grad_as_a_decorator() -> None:
    with mg.no_grad():
        assert mg.enable_grad(plain)() is True
        assert [(value, on()) for value in mg.enable_grad(steps)()] == [(True, False)] * 2
        assert asyncio.run(mg.enable_grad()(waits)()) == (True, True)


def test_scope_as_a_decorator() -> None:
    def lines() -> Iterator[Any]:
        for _ in range(2):
            yield (mg.Tensor([1.0], requires_grad=True) * 2).node.scope

    with mg.scope("outer"):
        assert [*mg.scope("inner")(lines)()] == ["outer/inner"] * 2


def test_methods_of_all_kinds() -> None:
    class Model:
        @mg.no_grad
        def method(self) -> bool:
            return on()

        @mg.no_grad
        @staticmethod
        def static() -> bool:
            return on()

        @staticmethod
        @mg.no_grad()
        def static_inside() -> bool:
            return on()

        @mg.no_grad()
        @classmethod
        def of_class(cls) -> tuple[bool, type]:
            return on(), cls

        @property
        @mg.no_grad
        def value(self) -> bool:
            return on()

    assert (Model().method(), Model.static(), Model.static_inside(), Model().value) == (False,) * 4
    assert Model.of_class() == (False, Model)


def test_decorated_generators_behave_as_before() -> None:
    closed = []

    @mg.no_grad
    def body() -> Generator[Any, Any, str]:
        try:
            sent = yield on()
            with mg.enable_grad():
                yield sent, on()
            try:
                yield on()
            except ValueError as error:
                yield str(error), on()
            return "end"
        finally:
            closed.append(on())

    made = body()
    assert next(made) is False
    assert made.send("given") == ("given", True)
    assert on()
    assert next(made) is False
    assert made.throw(ValueError("thrown")) == ("thrown", False)
    with pytest.raises(StopIteration) as end:
        next(made)
    assert end.value.value == "end"
    other = body()
    next(other)
    other.close()
    assert closed == [False, False]
    assert on()


def test_an_asynchronous_generator_is_closed_and_receives_exceptions() -> None:
    seen: list[Any] = []

    @mg.no_grad
    async def body() -> Any:
        try:
            try:
                seen.append((yield 1))
            except KeyError:
                yield "caught", on()
        finally:
            seen.append(on())

    async def run() -> Any:
        made = body()
        await made.asend(None)
        caught = await made.athrow(KeyError())
        await made.aclose()
        other = body()
        await other.asend(None)
        with pytest.raises(StopAsyncIteration):
            await other.asend("sent")
        return caught

    assert asyncio.run(run()) == ("caught", False)
    assert seen == [False, "sent", False]


def test_tasks_do_not_see_each_others_modes() -> None:
    async def alternate(mode: Callable[[], Any], expected: bool) -> None:
        with mode():
            for _ in range(5):
                await asyncio.sleep(0)
                assert on() is expected

    async def both() -> None:
        await asyncio.gather(alternate(mg.no_grad, False), alternate(mg.enable_grad, True))

    asyncio.run(both())


def test_blocks_end_in_any_order() -> None:
    def block(mode: Any) -> Iterator[None]:
        with mode:
            yield

    first, second = block(mg.no_grad()), block(mg.enable_grad())
    next(first), next(second)
    assert next(first, "over") == "over"
    assert on()  # the later block goes on
    assert next(second, "over") == "over"
    assert on()  # and does not bring back what is over
    first, second = block(mg.no_grad()), block(mg.scope("later"))
    next(first), next(second)
    next(first, None)
    assert (mg.Tensor([1.0], requires_grad=True) * 2).node.scope == "later"
    next(second, None)
    assert (mg.Tensor([1.0], requires_grad=True) * 2).node.scope == ""


def test_one_block_serves_many_threads() -> None:
    shared, failed = mg.no_grad(), []

    @shared
    def decorated() -> bool:
        return on()

    def work() -> None:
        for _ in range(300):
            with shared:
                failed.append(on())
            failed.append(not on())
            failed.append(decorated())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == 8 * 900
    assert not any(failed)


@pytest.mark.parametrize("given", [5, "loss", None, Holder])
def test_decorating_what_is_not_a_function_is_an_error(given: Any) -> None:
    with pytest.raises(TypeError, match=r"decorates functions, or is a block: `with mg\.no_grad\(\):`"):
        mg.no_grad()(given)


def test_a_decorated_function_keeps_its_name_and_can_be_compiled() -> None:
    scale = {"factor": 2.0}

    @mg.no_grad
    def doubled(x: Any) -> Any:
        """Twice x."""
        return x * scale["factor"]

    assert (doubled.__name__, doubled.__doc__) == ("doubled", "Twice x.")
    step = mg.compile(doubled, backend="numpy")
    for factor in (2.0, 2.0, 2.0, 3.0):
        scale["factor"] = factor
        assert np.array_equal(step(np.ones(2)), np.full(2, factor))
