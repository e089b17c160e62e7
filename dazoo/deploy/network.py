"""Networks as part of an ONNX graph: torch writes the layers, the way from stored samples to their input is ours.

A view of pictures is linear along either side and the same for all pixels, y_c = g_c (A x_c B') + o_c. A, B, gains and
offsets are read off the view itself, by what it makes of pictures of one bright row or column, so every view exports.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dazoo.core.errors import DazooError
from dazoo.deploy.graph import OPSET, CannotExport, Graph
from dazoo.engine.predictor import NetPredictor
from dazoo.methods.base import StreamMethod
from dazoo.nets.augment import eval_images
from dazoo.nets.frozen import image_view
from dazoo.nets.lookup import frozen_backbone
from dazoo.nets.net import Net
from dazoo.nets.parts.domain_norm import TargetNorms

ROWS = 3


class Answering(nn.Module):
    """A method's prediction as a function of tensors alone: scores, and ``unknown`` where it says so."""

    def __init__(self, method: Any, net: nn.Module):
        super().__init__()
        self.method, self.net = method, net
        self.threshold: float | None = None

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        out = self.method.predict(self.net, x)
        self.threshold = out.threshold
        return (out.scores,) if out.unknown is None else (out.scores, out.unknown)


def answers_of(g: Graph, model: NetPredictor, x: str) -> tuple[str, str | None, float | None]:
    """Scores, ``unknown`` and its threshold of stored samples ``x``."""
    method, net, prepare = model.live
    if isinstance(method, StreamMethod):
        raise CannotExport(
            f"{method.name!r} goes on learning while it predicts, which no ONNX file does; serve it with dazoo.load, "
            "or export a method that is fitted once"
        )
    if method.name and model.spec["kind"] == "text":
        raise CannotExport(
            "transformers on texts need their tokeniser, which has no form in ONNX; serve the model with dazoo.load"
        )
    shape = tuple(model.spec["shape"])
    example = torch.zeros(ROWS, *shape)
    if len(shape) == 3:
        x = view(g, prepare.test, shape, x)
        example = prepare.test(example.to(torch.uint8))
    else:
        x = g.cast(x, np.float32)
    answering = Answering(method, _settled(net)).eval()
    found = g.embed(traced(answering, example), x, "net/")
    return found[0], found[1] if len(found) > 1 else None, answering.threshold


def _settled(net: Net) -> Net:
    """A copy in which target norms stand in a body of their own, since a graph has no modules to swap parts of."""
    net = copy.deepcopy(net).requires_grad_(False)
    for part in [m for m in net.modules() if isinstance(m, TargetNorms)]:
        body = copy.deepcopy(net.body)  # whose parameters stand still, and so may be constants
        for name, layer in zip(part.names, part.layers):
            body.set_submodule(name, layer)
        part.__dict__["forward"] = partial(_through, body)
    return net


def _through(body: nn.Module, _: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = body(x)
    return out


def frozen_features(g: Graph, name: str, shape: tuple[int, ...], x: str) -> str:
    """Features of pictures ``x`` under a frozen pretrained backbone; ``none`` flattens."""
    if name == "none":
        return str(g.add("Flatten", g.cast(x, np.float32), axis=1))
    entry = frozen_backbone(name)
    with torch.random.fork_rng(devices=[]):
        net = entry.make(shape, pretrained=True).eval()
    how = image_view(entry, shape)
    example = eval_images(torch.zeros(ROWS, *shape, dtype=torch.uint8), how)
    seen = view(g, lambda p: eval_images(p, how), shape, x)
    return g.embed(traced(net, example), seen, "backbone/")[0]


def traced(module: nn.Module, example: Tensor) -> Any:
    """A module as an ONNX model with a free first axis.

    Raises:
        DazooError: an operation that ONNX does not have.
    """
    import onnx

    file = io.BytesIO()
    more: dict[str, Any] = {"input_names": ["x"], "dynamic_axes": {"x": {0: Graph.batch}}, "opset_version": OPSET}
    before = torch.get_rng_state()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            # the newer exporter needs one more package and takes ten times as long
            torch.onnx.export(module, (example.contiguous(),), file, dynamo=False, **more)
    except Exception as error:
        text = str(error).strip().splitlines() or [""]
        raise CannotExport(
            f"this network has no form in ONNX ({type(error).__name__}: {text[0][:200]}); serve it with dazoo.load"
        ) from error
    finally:
        torch.set_rng_state(before)
    return onnx.load_model_from_string(file.getvalue())


def view(g: Graph, see: Callable[[Tensor], Tensor], shape: tuple[int, ...], x: str) -> str:
    """Pictures ``x`` (n, height, width, channels) of ``shape`` as ``see`` makes network inputs of them."""
    height, width, channels = shape
    dark, bright = (see(torch.full((1, *shape), v, dtype=torch.uint8)) for v in (0, 255))
    if dark.shape[1] != channels:
        raise DazooError(f"the view makes {dark.shape[1]} channels of {channels}")
    gain = bright[0, :, 0, 0] - dark[0, :, 0, 0]
    offset = dark[0, :, 0, 0]
    rows, columns = torch.zeros(height, *shape, dtype=torch.uint8), torch.zeros(width, *shape, dtype=torch.uint8)
    rows[torch.arange(height), torch.arange(height)] = 255
    columns[torch.arange(width), :, torch.arange(width)] = 255
    a = (torch.cat([see(p) for p in rows.split(32)])[:, 0, :, 0] - offset[0]).T / gain[0]
    b = (torch.cat([see(p) for p in columns.split(32)])[:, 0, 0, :] - offset[0]).T / gain[0]
    out = g.add("Transpose", g.cast(x, np.float32), perm=[0, 3, 1, 2])
    for matrix, left in ((a, True), (b, False)):
        if not _is_identity(matrix):
            parts = (g.const(matrix, np.float32), out) if left else (out, g.const(matrix.T, np.float32))
            out = g.add("MatMul", *parts)
    gains = g.const(gain.double().reshape(1, -1, 1, 1) / 255, np.float32)
    return str(g.add("Add", g.add("Mul", out, gains), g.const(offset.reshape(1, -1, 1, 1), np.float32)))


def _is_identity(matrix: Tensor) -> bool:
    square = matrix.shape[0] == matrix.shape[1]
    return square and bool((matrix - torch.eye(len(matrix))).abs().max() < 1e-6)
