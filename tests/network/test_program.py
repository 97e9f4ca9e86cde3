"""Graphs in a detector file: run as they are, and refused where they need anything beside themselves."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from anomaly.errors import BundleError
from anomaly.network.program import Program, checked_program

SIZE, N = 6, 2


def windows(name, n=N, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, ["batch", SIZE, n])


def graph(nodes=None, *, inputs=None, outputs=None, constants=(), opsets=None, functions=()):
    nodes = nodes or [helper.make_node("Neg", ["x"], ["y"])]
    made = helper.make_graph(nodes, "g", inputs or [windows("x")], outputs or [windows("y")], list(constants))
    opsets = opsets or [helper.make_opsetid("", 17)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8, functions=list(functions))


def beside_itself():
    constant = numpy_helper.from_array(np.ones(1, np.float32), "c")
    constant.data_location = TensorProto.EXTERNAL
    constant.ClearField("raw_data")
    entry = constant.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return graph([helper.make_node("Mul", ["x", "c"], ["y"])], constants=[constant])


def foreign_operator():
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    return graph([helper.make_node("Run", ["x"], ["y"], domain="com.example")], opsets=opsets)


def foreign_operator_in_a_branch():
    inner = helper.make_graph([helper.make_node("Run", ["x"], ["z"], domain="com.example")], "inner", [], [windows("z")])
    condition = numpy_helper.from_array(np.array(True), "c")
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    return graph([node], constants=[condition], opsets=[helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)])


def with_function():
    body = [helper.make_node("Neg", ["a"], ["b"])]
    function = helper.make_function("com.example", "Run", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    node = helper.make_node("Run", ["x"], ["y"], domain="com.example")
    return graph([node], opsets=[helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)], functions=[function])


REFUSED = {
    "bytes": (lambda: None, "no valid graph"),
    "other files": (beside_itself, "no valid graph|numbers in other files"),
    "an operator of somebody's": (foreign_operator, "beyond the standard"),
    "such an operator in a branch": (foreign_operator_in_a_branch, "beyond the standard"),
    "a function": (with_function, "beyond the standard"),
    "too new": (lambda: graph(opsets=[helper.make_opsetid("", 23)]), "operators of version 23, newer than 22"),
    "other windows": (
        lambda: graph(inputs=[windows("x", 3)], outputs=[windows("y", 3)]),
        "whose input is not any number of windows of 6 rows",
    ),
    "two inputs": (lambda: graph([helper.make_node("Add", ["x", "z"], ["y"])], inputs=[windows("x"), windows("z")]), "whose input"),
    "one window at a time": (
        lambda: graph(inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, SIZE, N])]),
        "whose input is not any number of windows",
    ),
    "whole numbers": (
        lambda: graph(inputs=[windows("x", kind=TensorProto.INT32)], outputs=[windows("y", kind=TensorProto.INT32)]),
        "whose input is not float32",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_graph_of_windows_to_windows_is_refused(name):
    make, message = REFUSED[name]
    model = make()
    with pytest.raises(ValueError, match=message):
        checked_program(b"\x01\xff no graph" if model is None else model.SerializeToString(), SIZE, N)


@pytest.mark.parametrize("n", [0, 1, 64, 150])
def test_a_graph_is_run_on_all_windows(n):
    given = np.random.default_rng(0).normal(size=(n, SIZE, N)).astype(np.float32)
    np.testing.assert_array_equal(Program(graph().SerializeToString(), SIZE, N)(given), -given)


def only_the_first():
    first = [numpy_helper.from_array(np.array([value], np.int64), name) for name, value in (("from", 0), ("to", 1), ("axis", 0))]
    return graph([helper.make_node("Slice", ["x", "from", "to", "axis"], ["y"])], constants=first)


def of_another_size():
    shape = numpy_helper.from_array(np.array([-1, 5, 7], np.int64), "s")
    return graph([helper.make_node("Reshape", ["x", "s"], ["y"])], constants=[shape])


@pytest.mark.parametrize("make", [only_the_first, of_another_size])
def test_a_graph_that_gives_something_else_than_it_says_is_told_in_one_sentence(make):
    content = make().SerializeToString()
    checked_program(content, SIZE, N)  # nothing is wrong with it until it runs
    with pytest.raises(BundleError, match=r"The graph of a detector must run on windows of any number\. Received: .+\. Save "):
        Program(content, SIZE, N)(np.zeros((3, SIZE, N), np.float32))
