"""From samples as people have them to the numbers that a model sees, as nodes: encoders and preprocessing.

Also made-up samples of the same form, on which an exported file is compared with its model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.data.samples import Schema
from dazoo.data.transform import Preprocessing
from dazoo.deploy.graph import ML, CannotExport, Graph
from dazoo.deploy.network import frozen_features
from dazoo.deploy.pieces import transform
from dazoo.encoders._cells import level_of
from dazoo.encoders._columns import CLIP, LARGEST, Category, Number
from dazoo.encoders.channels import FittedChannels
from dazoo.encoders.encode import AsTheyAre, Encoding
from dazoo.encoders.image_features import FittedImageFeatures
from dazoo.encoders.table import FittedTable

F = np.float64
REMEDY = "export what lies behind it with numbers=True (--numbers), and give the file the output of model.numbers(x)"


@dataclass
class Inputs:
    """The inputs of a graph.

    Attributes:
        x: the name of what the model sees, of type ``dtype``.
        columns: names of the columns of tables by the names of inputs.
        rows: a feed of made-up samples and the same samples for ``predict``.
    """

    x: str
    dtype: Any
    columns: dict[str, str] = field(default_factory=dict)
    rows: tuple[dict[str, np.ndarray], Any] | None = None


def inputs_of(
    g: Graph, schema: Schema, encoding: Encoding | None, preprocessing: Preprocessing, numbers: bool, dtype: Any
) -> Inputs:
    """Declare the inputs of samples like ``schema`` and bring them to what a model sees."""
    gen = torch.Generator().manual_seed(0)
    if numbers or encoding is None or isinstance(encoding.fitted, AsTheyAre):
        found = _dense(g, schema, preprocessing, encoding if numbers else None, dtype, gen)
    elif isinstance(encoding.fitted, FittedTable):
        found = _table(g, encoding.fitted, schema, gen)
    elif isinstance(encoding.fitted, FittedChannels) and not encoding.fitted.steps:
        found = _dense(g, schema, preprocessing, None, dtype, gen)
        fitted = encoding.fitted
        moved = g.add("Sub", g.cast(found.x, F), g.const(fitted.mean[:, None], F))
        found.x, found.dtype = g.cast(g.add("Div", moved, g.const(fitted.scale[:, None], F)), np.float32), np.float32
    elif isinstance(encoding.fitted, FittedImageFeatures):
        found = _dense(g, schema, preprocessing, None, dtype, gen)
        found.x, found.dtype = frozen_features(g, encoding.fitted.network, schema.shape, found.x), np.float32
    else:
        raise CannotExport(f"the encoder {encoding.name!r} has no form in ONNX; {REMEDY}")
    if preprocessing.target:
        x = g.cast(found.x, F)
        for fitted_map in preprocessing.target:
            x = transform(g, fitted_map, x)
        found.x, found.dtype = x, F
    return found


def _dense(
    g: Graph, schema: Schema, preprocessing: Preprocessing, encoding: Encoding | None, dtype: Any, gen: torch.Generator
) -> Inputs:
    shape = schema.shape
    if encoding is not None:
        width = _width_behind(encoding, preprocessing)
        shape = (width,)
    elif schema.kind == "image":
        pixels = torch.randint(0, 256, (8, *shape), generator=gen, dtype=torch.uint8)
        x = g.input("x", np.uint8, shape)
        given = pixels[..., 0] if schema.layout == "grey" else pixels
        given = given.permute(0, 3, 1, 2) if schema.layout == "first" else given
        return Inputs(x, np.uint8, rows=({"x": pixels.numpy()}, given))
    if any(not isinstance(k, int) for k in shape) or not shape:
        raise CannotExport(f"{schema.kind} samples have no fixed shape; {REMEDY}")
    rows = torch.randn(16, *shape, generator=gen, dtype=torch.float64)
    rows = _like_training(rows, preprocessing).to(torch.float32 if dtype is np.float32 else torch.float64)
    return Inputs(g.input("x", dtype, shape), dtype, rows=({"x": rows.numpy()}, rows))


def _like_training(rows: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Standard normal rows (n, d) as of the means and spreads that the first transform knows."""
    first = preprocessing.target[0] if preprocessing.target else None
    if first is None:
        return rows
    if first.shift is None or first.factor is None:
        return rows.abs()
    spread = torch.where(first.factor == 0, 0.0, 1 / torch.where(first.factor == 0, 1.0, first.factor.double()))
    return rows * spread + first.shift.double()


def _width_behind(encoding: Encoding, preprocessing: Preprocessing) -> int:
    """How many numbers an encoder makes of a sample."""
    for fitted in preprocessing.target:
        if fitted.shift is not None:
            return len(fitted.shift)
    width = len(encoding.fitted.outputs())
    found = width or getattr(encoding.fitted, "width", 0) or _any_length(encoding.fitted)
    if not found:
        raise CannotExport(
            f"the encoder {encoding.name!r} does not say how many numbers it makes; serve the model with dazoo.load"
        )
    return int(found)


def _any_length(fitted: Any) -> int:
    """The number of columns of what a text or a wave becomes, where the encoder takes one alone."""
    for example in (["word"], None):
        try:
            return int(fitted(example).shape[1]) if example is not None else 0
        except Exception:  # it reads no texts
            continue
    return 0


# -- tables -----------------------------------------------------------------------------------------------------------


def _table(g: Graph, fitted: FittedTable, schema: Schema, gen: torch.Generator) -> Inputs:
    """An input (n, 1) for every column that is used: numbers in double precision, levels as text, '' where missing."""
    import pandas as pd

    parts: list[str] = []
    columns: dict[str, str] = {}
    feed: dict[str, np.ndarray] = {}
    cells: dict[str, Any] = {}
    n = 16
    for i, (name, column) in enumerate(fitted.columns.items()):
        called = name if name.isidentifier() else f"column{i}"
        if isinstance(column, Number) and not column.days:
            x = g.input(called, F, (1,))
            values = column.center + column.spread * torch.randn(n, generator=gen, dtype=torch.float64).numpy()
            values[::7] = np.nan
            feed[called], cells[name] = values[:, None], pd.Series(values)
            parts.append(_number(g, column, x))
        elif isinstance(column, Category):
            x = g.input(called, str, (1,))
            some = [*column.levels, "", "never seen before"]
            drawn = [some[int(k)] for k in torch.randint(0, len(some), (n,), generator=gen)]
            feed[called] = np.array(drawn, dtype=object)[:, None]
            cells[name] = pd.Series([None if v == "" else v for v in drawn], dtype=object)
            parts.append(_category(g, column, x))
        else:
            what = "dates" if fitted.roles.get(name) == "date" or isinstance(column, Number) else "texts"
            raise CannotExport(f"column {name!r} holds {what}, which an ONNX file cannot read; {REMEDY}")
        columns[called] = name
    # columns that are read but not used have no input
    for name in schema.names:
        cells.setdefault(name, pd.Series([0.0] * n))
    frame = pd.DataFrame({name: cells[name] for name in schema.names})
    return Inputs(str(g.add("Concat", *parts, axis=1)), np.float32, columns, (feed, frame))


def _number(g: Graph, column: Number, x: str) -> str:
    endless = g.add("IsInf", x)
    missing = g.add("Or", g.add("IsNaN", x), endless)
    known = g.add("Where", missing, g.const([[column.center]], F), x)
    known = g.add("Clip", known, g.const(-LARGEST, F), g.const(LARGEST, F))
    z = g.add("Div", g.add("Sub", known, g.const(column.center, F)), g.const(column.spread, F))
    z = g.cast(g.add("Clip", z, g.const(-CLIP, F), g.const(CLIP, F)), np.float32)
    return str(g.add("Concat", z, g.cast(missing, np.float32), axis=1)) if column.gaps else z


def _category(g: Graph, column: Category, x: str) -> str:
    other, width = len(column.levels), len(column.levels) + 1 + column.gaps
    keys = [*column.levels] + ([""] if column.gaps and "" not in column.levels else [])
    places = list(range(other)) + [width - 1] * (len(keys) - other)
    place = g.add("LabelEncoder", x, domain=ML, keys_strings=keys, values_int64s=places, default_int64=other)
    hot = g.add("OneHot", place, g.const([width], np.int64), g.const([0.0, 1.0], np.float32))
    return str(g.add("Reshape", hot, g.const([-1, width], np.int64)))


def feed_of(frame: Any, columns: dict[str, str], categories: set[str]) -> dict[str, np.ndarray]:
    """The inputs of an exported table model from a frame, as its metadata describe them."""
    feed = {}
    for called, name in columns.items():
        values = frame[name]
        if name in categories:
            cells = ["" if gap else level_of(v) for v, gap in zip(values.to_numpy(dtype=object), values.isna())]
            feed[called] = np.array(cells, dtype=object)[:, None]
        else:
            feed[called] = values.to_numpy(float, na_value=np.nan)[:, None]
    return feed
