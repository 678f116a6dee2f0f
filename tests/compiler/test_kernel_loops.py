"""Transforms of loops, on the text that they print."""

from __future__ import annotations

from minigrad.compiler.kernels.loops import (
    Accumulate,
    Element,
    If,
    Let,
    Loop,
    Store,
    chunk,
    hoist_pointers,
    nested,
    python,
    unroll_columns,
    unroll_rows,
)

# A row of x * scale + bias, stored, with its sum and the sums of columns.
ROW = [
    Let("scale", Element("a1", ("i0",))),
    Let("total", "0.0"),
    Loop(
        "j",
        "n1",
        (
            Let("x", Element("a0", ("i0", "j"))),
            Let("bias", Element("a2", ("j",))),
            Let("y", "x * scale + bias"),
            Accumulate("total", "{0} + {1}", "y"),
            Accumulate(Element("o1", ("j",)), "{0} + {1}", "y"),
            Store(Element("o0", ("i0", "j")), "y"),
        ),
    ),
    Store(Element("o2", ("i0",)), "total"),
]


def lines(text: str) -> list[str]:
    return [line[4:] for line in text.strip("\n").split("\n")]


def test_nested_loops_and_empty_bodies() -> None:
    statements = nested((0, 2), [If("i0 == 0", ())])
    assert python(statements) == [
        "for i0 in range(n0):",
        "    for i2 in range(n2):",
        "        if i0 == 0:",
        "            pass",
    ]


def test_pointers_are_hoisted_out_of_the_loop_over_columns() -> None:
    text = python(hoist_pointers(ROW, 3))
    assert text[:2] == ["p0_3 = a0[i0]", "p1_3 = o0[i0]"]
    assert "    x = p0_3[j]" in text
    assert "    bias = a2[j]" in text
    assert "    p1_3[j] = y" in text


def test_two_rows_at_once() -> None:
    """Both load the bias once, and add to one sum of columns, which is loaded and stored once."""
    assert python(unroll_rows(ROW, "i0", 2)) == lines(
        """
    scale_0 = a1[2 * k + 0]
    total_0 = 0.0
    scale_1 = a1[2 * k + 1]
    total_1 = 0.0
    for j in range(n1):
        sum_o1 = o1[j]
        x_0 = a0[2 * k + 0, j]
        bias = a2[j]
        y_0 = x_0 * scale_0 + bias
        total_0 = total_0 + y_0
        sum_o1 = sum_o1 + y_0
        o0[2 * k + 0, j] = y_0
        x_1 = a0[2 * k + 1, j]
        y_1 = x_1 * scale_1 + bias
        total_1 = total_1 + y_1
        sum_o1 = sum_o1 + y_1
        o0[2 * k + 1, j] = y_1
        o1[j] = sum_o1
    o2[2 * k + 0] = total_0
    o2[2 * k + 1] = total_1
    """.rstrip()
    )


def test_columns_are_unrolled_in_flat_arrays() -> None:
    loop = Loop("j", "n1", (Let("x", Element("row", ("j",))), Store(Element("o0", ("i0", "j")), "x")))
    assert python(unroll_columns([loop], 2, {"row"})) == [
        "x = row_0",
        "o0[np.uint64(i0 * 2 + 0)] = x",
        "x = row_1",
        "o0[np.uint64(i0 * 2 + 1)] = x",
    ]


def test_parts_have_their_own_sums() -> None:
    nest = [
        Let("v1", "0.0"),
        Loop("j", "n0", (Accumulate("v1", "{0} + {1}", "x"), Accumulate(Element("o2", ("j",)), "{0} + {1}", "x"))),
        Store(Element("o1", ("0",)), "v1"),
    ]
    assert python(chunk(nest, {"v1": None, "v2": "o2"})) == [
        "cv2 = qv2[part]",
        "v1 = 0.0",
        "for j in range(n0):",
        "    v1 = v1 + x",
        "    cv2[j] = cv2[j] + x",
        "qv1[part, 0] = v1",
    ]
