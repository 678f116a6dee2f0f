import math

import numpy as np
import pytest

import minigrad as mg
from minigrad.data import DataLoader, train_test_split

x, y = np.arange(20.0).reshape(10, 2), np.arange(10)


def test_batches_in_order():
    loader = DataLoader(x, y, batch_size=4)
    assert len(loader) == 3
    batches = list(loader)
    assert [len(a) for a, _ in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([a for a, _ in batches]), x)
    np.testing.assert_array_equal(np.concatenate([b for _, b in batches]), y)


def test_drop_last():
    loader = DataLoader(x, batch_size=4, drop_last=True)
    assert len(loader) == len(list(loader)) == 2
    assert len(DataLoader(x, batch_size=5, drop_last=True)) == len(DataLoader(x, batch_size=5)) == 2
    assert list(DataLoader(x, batch_size=11, drop_last=True)) == []


def test_shuffling_keeps_rows_together_and_loses_none():
    loader = DataLoader(x, y, batch_size=3, shuffle=True, rng=0)
    first, second = (np.concatenate([b for _, b in loader]) for _ in range(2))
    assert sorted(first) == sorted(second) == list(y)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, y)
    for a, b in loader:
        np.testing.assert_array_equal(a[:, 0], 2 * b)


def test_order_follows_the_seed():
    def order(rng):
        return np.concatenate(list(DataLoader(y, batch_size=3, shuffle=True, rng=rng)))

    np.testing.assert_array_equal(order(4), order(np.random.default_rng(4)))
    mg.manual_seed(1)
    first = order(None)
    mg.manual_seed(1)
    np.testing.assert_array_equal(first, order(None))


def test_single_arrays_tensors_and_transform():
    (batch,) = DataLoader(mg.Tensor(x), batch_size=10)
    assert isinstance(batch, mg.Tensor)
    (pair,) = DataLoader(x, y, batch_size=10, transform=lambda a, b: (-a, b + 1))
    np.testing.assert_array_equal(pair[0], -x)
    np.testing.assert_array_equal(pair[1], y + 1)


def test_split():
    parts = train_test_split(x, y, test_size=0.3, rng=0)
    assert [len(p) for p in parts] == [7, 3, 7, 3]
    assert sorted([*parts[2], *parts[3]]) == list(y)
    np.testing.assert_array_equal(parts[0][:, 0], 2 * parts[2])
    assert list(parts[2]) != sorted(parts[2])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: DataLoader(batch_size=2), "at least one"),
        (lambda: DataLoader(x, y[:5], batch_size=2), r"\(10, 2\), \(5,\)"),
        (lambda: DataLoader(3.0, batch_size=2), "same number of rows"),
        (lambda: DataLoader(x, batch_size=0), "at least 1"),
        (lambda: DataLoader(x, batch_size=2.5), "an integer"),
        (lambda: DataLoader(x, batch_size=math.nan), "an integer"),
        (lambda: DataLoader(x, batch_size="2"), "an integer"),
        (lambda: DataLoader(x, batch_size=True), "an integer"),
        (lambda: DataLoader((x, y), batch_size=2), r"one by one, DataLoader\(x, y, ...\)"),
        (lambda: train_test_split(x, test_size=0.01), "a part empty"),
        (lambda: train_test_split(x, test_size=1.0), "a part empty"),
    ],
)
def test_bad_input(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_a_transform_must_be_callable():
    with pytest.raises(TypeError, match="must be a function"):
        DataLoader(x, batch_size=2, transform=3)


@pytest.mark.parametrize("shuffle", [False, True])
def test_writing_to_a_batch_does_not_change_the_data(shuffle):
    x = np.arange(8.0).reshape(4, 2)
    for (batch,) in ((b,) for b in DataLoader(x, batch_size=2, shuffle=shuffle, rng=0)):
        batch /= 255
    assert x.tolist() == np.arange(8.0).reshape(4, 2).tolist()
