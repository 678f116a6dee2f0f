"""A test of otter-grader, in its OK format: the student's notebook or file defines relu_forward and relu_backward."""

test = {
    "name": "q1",
    "points": 4,
    "suites": [
        {
            "type": "doctest",
            "scored": True,
            "setup": """
                >>> import numpy as np
                >>> import minigrad as mg
                >>> x = np.random.default_rng(0).normal(size=(5, 4))
                >>> report = mg.verify.check_backward(relu_forward, relu_backward, x)
            """,
            "teardown": "",
            "cases": [
                {"code": ">>> [line.text for line in report.wrong]\n[]", "points": 3},
                {"code": ">>> report.missing\n[]", "points": 1},
            ],
        }
    ],
}
