"""The bytes of an ONNX model: what the package `onnx` reads out of them, and would have written itself."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from anomaly.network.onnx_bytes import model_bytes, node_bytes, tensor_bytes


@pytest.mark.parametrize(
    ("kind", "inputs", "outputs", "attributes"),
    [
        ("Add", ["a", "b"], ["c"], {}),
        ("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y", "h_1", "c_1"], {"hidden_size": 300, "direction": "bidirectional"}),
        ("Transpose", ["x"], ["y"], {"perm": [0, 2, 1, 3]}),
        ("Gather", ["x", "é"], ["y"], {"axis": -1}),
        ("Cast", ["x"], ["y"], {"to": 2**40}),
    ],
)
def test_a_node_is_as_the_package_writes_it(kind, inputs, outputs, attributes):
    assert onnx.NodeProto.FromString(node_bytes(kind, inputs, outputs, attributes)) == helper.make_node(
        kind, inputs, outputs, **attributes
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 130, 2)])
def test_a_constant_is_as_the_package_writes_it(dtype, shape):
    array = np.random.default_rng(0).normal(0, 300, shape)
    array = np.asarray(array).astype(dtype)
    found = onnx.TensorProto.FromString(tensor_bytes(array, "c0"))
    assert found == numpy_helper.from_array(array, "c0")
    np.testing.assert_array_equal(numpy_helper.to_array(found), array)
    turned = onnx.TensorProto.FromString(tensor_bytes(array.T, "c0"))
    np.testing.assert_array_equal(numpy_helper.to_array(turned), array.T)


def test_a_model_is_as_the_package_writes_it():
    nodes = [("Add", ["x", "c0"], ["n0"]), ("Relu", ["n0"], ["y"])]
    shape = [7, "batch", 200]
    found = onnx.ModelProto.FromString(
        model_bytes(
            [node_bytes(kind, inputs, outputs, {}) for kind, inputs, outputs in nodes], [tensor_bytes(np.ones(200, "f"), "c0")],
            ("x", "y"), shape, 17, 8,
        )
    )  # fmt: skip
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("x", "y")]
    constants = [numpy_helper.from_array(np.ones(200, "f"), "c0")]
    graph = helper.make_graph([helper.make_node(*node) for node in nodes], "autoencoder", ends[:1], ends[1:], constants)
    assert found == helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(found, full_check=True)
