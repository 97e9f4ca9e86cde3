"""The bytes of an ONNX model, written without the package `onnx`, whose import takes longer than to score a small file.

ONNX is Protocol Buffers: each field is its number and wire type, then a varint, or a length and so many bytes. The numbers
below are those of `onnx.proto`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FLOAT = 1
_ELEMENTS = {"float32": FLOAT, "int64": 7, "bool": 9, "float64": 11}
# Kinds of attributes.
_INT, _STRING, _INTS = 2, 3, 7


def node_bytes(kind: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Any]) -> bytes:
    """Return a NodeProto.

    Args:
        kind: of the operator.
        inputs: names of tensors, "" for one that is left out.
        outputs: names of tensors.
        attributes: whole numbers, texts, or lists of whole numbers, by name.
    """
    names = [_text(1, name) for name in inputs] + [_text(2, name) for name in outputs]
    return b"".join([*names, _text(4, kind), *(_bytes(5, _attribute(name, attributes[name])) for name in sorted(attributes))])


def tensor_bytes(array: Any, name: str) -> bytes:
    """Return the TensorProto of an array of float32, float64, int64 or bool."""
    dims = b"".join(_number(1, size) for size in array.shape)
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return dims + _number(2, _ELEMENTS[array.dtype.name]) + _text(8, name) + _bytes(9, little.tobytes())


def model_bytes(
    nodes: Sequence[bytes], constants: Sequence[bytes], ends: tuple[str, str], shape: Sequence[int | str], opset: int, version: int
) -> bytes:
    """Return a ModelProto.

    Args:
        nodes: of the graph, each as `node_bytes` returns it.
        constants: as `tensor_bytes` returns them.
        ends: names of the input and the output, tensors of float32.
        shape: of both; a name where any size may come.
        opset: version of the operators.
        version: of the format.
    """
    infos = [_bytes(field, _info(name, shape)) for field, name in zip((11, 12), ends, strict=True)]
    parts = [
        *(_bytes(1, node) for node in nodes),
        _text(2, "autoencoder"),
        *(_bytes(5, constant) for constant in constants),
        *infos,
    ]
    return _number(1, version) + _bytes(7, b"".join(parts)) + _bytes(8, _text(1, "") + _number(2, opset))


def _attribute(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return _text(1, name) + _text(4, value) + _number(20, _STRING)
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, _INT)
    return _text(1, name) + b"".join(_number(8, item) for item in value) + _number(20, _INTS)


def _info(name: str, shape: Sequence[int | str]) -> bytes:
    sizes = [_bytes(1, _text(2, size) if isinstance(size, str) else _number(1, size)) for size in shape]
    tensor = _number(1, FLOAT) + _bytes(2, b"".join(sizes))
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value % (1 << 64))


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Return seven bits a byte, the lowest first; all but the last have their highest bit set."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
