"""An ONNX graph under construction: values are names, constants are kept once, and types are minded by the caller."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from dazoo.core.errors import DazooError

OPSET, ML_OPSET, IR = 17, 3, 8
ML = "ai.onnx.ml"


class CannotExport(DazooError):
    """A part of a model that ONNX has no words for."""


def onnx() -> Any:
    """The package.

    Raises:
        DazooError: it is not installed.
    """
    try:
        import onnx as package
        import onnx.compose
    except ImportError as error:
        raise DazooError("ONNX files need the package onnx; install it with: pip install 'dazoo[onnx]'") from error
    return package


class Graph:
    """Nodes, constants and inputs of a graph.

    ``batch`` is the name of the free axis of all inputs.
    """

    batch = "n"

    def __init__(self) -> None:
        self.onnx = onnx()
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[Any] = []
        self._known: dict[tuple[Any, ...], str] = {}

    def input(self, name: str, dtype: Any, shape: tuple[int, ...]) -> str:
        """An input of samples (n, *shape); ``dtype`` of numpy, or ``str``."""
        code = self.type_of(dtype)
        self.inputs.append(self.onnx.helper.make_tensor_value_info(name, code, [self.batch, *shape]))
        return name

    def type_of(self, dtype: Any) -> int:
        if dtype is str:
            return int(self.onnx.TensorProto.STRING)
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def const(self, value: Any, dtype: Any = None) -> str:
        """A constant: numbers, tensors or arrays, as ``dtype``; the same value is kept once."""
        array = np.asarray(value.detach().cpu().numpy() if isinstance(value, Tensor) else value)
        array = np.ascontiguousarray(array if dtype is None else array.astype(dtype)).reshape(array.shape)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"c{len(self._known)}"
            self.constants.append(self.onnx.numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def add(self, op: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> Any:
        """A node; the name of its output, or a list of names where there are several."""
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def cast(self, x: str, dtype: Any) -> str:
        return str(self.add("Cast", x, to=self.type_of(dtype)))

    def named(self, x: str, name: str) -> str:
        """``x`` under a name of its own, for outputs."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [x], [name]))
        return name

    def embed(self, inner: Any, x: str, prefix: str) -> list[str]:
        """Put the graph of a model with one input in the place of a node; the names of its outputs."""
        inner = self.onnx.compose.add_prefix(inner, prefix).graph
        self.nodes.append(self.onnx.helper.make_node("Identity", [x], [inner.input[0].name]))
        self.nodes.extend(inner.node)
        self.constants.extend(inner.initializer)
        return [o.name for o in inner.output]

    def model(self, outputs: list[tuple[str, Any, tuple[int, ...]]], metadata: dict[str, str]) -> Any:
        """The checked model; ``outputs`` are names with type and shape of a sample."""
        from dazoo.core.version import VERSION

        helper = self.onnx.helper
        ends = [helper.make_tensor_value_info(n, self.type_of(d), [self.batch, *s]) for n, d, s in outputs]
        graph = helper.make_graph(self.nodes, "dazoo", self.inputs, ends, self.constants)
        sets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
        made = helper.make_model(
            graph, opset_imports=sets, ir_version=IR, producer_name="dazoo", producer_version=VERSION
        )
        helper.set_model_props(made, metadata)
        self.onnx.checker.check_model(made)
        return made
