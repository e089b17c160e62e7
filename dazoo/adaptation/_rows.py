"""Rows of the data as a person knows them: values, texts, pictures, names of recordings; and how columns differ."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from dazoo.adaptation._markup import Cell, Raw, bars, e
from dazoo.data.raw import Ragged, Table, Texts

COLUMNS, LETTERS, NUMBERS, SIDE, BINS, LEVELS = 8, 300, 6, 72, 8, 6
MOST = 8
"""Columns that are compared."""


def shown(x: Any, rows: Sequence[int], names: Sequence[str] = ()) -> tuple[list[str], list[list[Cell]]]:
    """Names of columns, and for every row a cell each; ``names`` are those of the numbers of dense samples."""
    if isinstance(x, Table):
        chosen = list(x.names[:COLUMNS])
        more = [f"... {len(x.names) - COLUMNS} more"] if len(x.names) > COLUMNS else []
        made: list[list[Cell]] = []
        for r in rows:
            cells: list[Cell] = [_value(v) for v in x.frame.iloc[r, : len(chosen)].tolist()]
            made.append([*cells, *([""] * len(more))])
        return [*chosen, *more], made
    if isinstance(x, Texts):
        return ["text"], [[_short(str(x.values[r]))] for r in rows]
    if isinstance(x, Ragged):
        return ["length"], [[_length(x, r)] for r in rows]
    if isinstance(x, Tensor) and x.ndim == 4:
        return ["picture"], [[Raw(thumbnail(x[r], f"row {r + 1}"))] for r in rows]
    if isinstance(x, Tensor) and x.ndim == 2:
        k = min(NUMBERS, x.shape[1])
        heads = [names[i] if i < len(names) else f"feature {i}" for i in range(k)]
        more = [f"... {x.shape[1] - k} more"] if x.shape[1] > k else []
        return [*heads, *more], [[*(f"{v:.4g}" for v in x[r, :k].tolist()), *([""] * len(more))] for r in rows]
    return [], [[] for _ in rows]


def thumbnail(picture: Tensor, words: str) -> str:
    """A picture (height, width, channels) uint8 as a small image inside the page."""
    from PIL import Image

    values = picture.detach().cpu().numpy().astype(np.uint8)
    made = Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values[..., :3])
    small = max(made.size) < SIDE // 2
    if small:
        made = made.resize((SIDE * made.width // max(made.size), SIDE * made.height // max(made.size)), 0)
    made.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    made.save(file, "PNG" if small else "JPEG", **({} if small else {"quality": 80}))
    data = base64.b64encode(file.getvalue()).decode()
    kind = "png" if small else "jpeg"
    size = f'width="{made.width}" height="{made.height}"'
    return f'<img alt="{e(words)}" {size} src="data:image/{kind};base64,{data}">'


def moved(source: Any, target: Any, names: Sequence[str] = ()) -> list[list[Cell]]:
    """Columns that differ most between the domains: name, what they are in either, and both histograms."""
    if isinstance(source, Table) and isinstance(target, Table):
        pairs = [(n, source.frame[n], target.frame[n]) for n in source.names if n in target.names]
        made = [found for n, a, b in pairs if (found := _compared(n, a, b)) is not None]
    elif isinstance(source, Tensor) and source.ndim == 2 and names:
        one, other = source.double().numpy(), target.double().numpy()
        made = [_numbers(n, one[:, i], other[:, i]) for i, n in enumerate(names)]
    elif isinstance(source, Texts):
        made = [_numbers("words per text", *(_words(x) for x in (source, target)))]
    elif isinstance(source, Ragged):
        made = [
            _numbers("length in " + ("seconds" if source.rate else "steps"), *(_lengths(x) for x in (source, target)))
        ]
    elif isinstance(source, Tensor) and source.ndim == 4:
        made = [_numbers("brightness", *(x.float().mean((1, 2, 3)).numpy().astype(float) for x in (source, target)))]
    else:
        made = []
    return [cells for _, cells in sorted(made, key=lambda m: -m[0])[:MOST]]


def _compared(name: str, a: Any, b: Any) -> tuple[float, list[Cell]] | None:
    import pandas as pd

    filled = [v.dropna() for v in (a, b)]
    if not all(map(len, filled)):
        return None
    if all(pd.api.types.is_numeric_dtype(v) and not pd.api.types.is_bool_dtype(v) for v in filled):
        one, other = (v.to_numpy(dtype=float) for v in filled)
        one, other = (v[np.isfinite(v)] for v in (one, other))
        if not len(one) or not len(other):
            return None
        distance, cells = _numbers(name, one, other)
    else:
        words = [v.astype(str).str.strip() for v in filled]
        both = pd.concat(words)
        if both.nunique() > max(LEVELS, len(both) // 5):
            return None
        levels = both.value_counts().index[:LEVELS].tolist()
        shares = [[float((w == level).mean()) for level in levels] for w in words]
        distance = sum(abs(x - y) for x, y in zip(*shares))
        said: list[Cell] = [
            ", ".join(f"{_short(str(level), 24)} {100 * v:.0f} %" for level, v in zip(levels[:3], s)) for s in shares
        ]
        cells = [name, *said, Raw(bars(*shares))]
    gaps = [float(v.isna().mean()) for v in (a, b)]
    if max(gaps) > 0:
        cells[1:3] = [f"{c}; {100 * g:.0f} % missing" for c, g in zip(cells[1:3], gaps)]
    return distance + abs(gaps[0] - gaps[1]), cells


def _numbers(name: str, a: np.ndarray, b: np.ndarray) -> tuple[float, list[Cell]]:
    spread = float(np.sqrt((a.var() + b.var()) / 2))
    far = abs(float(a.mean() - b.mean()))
    both = np.concatenate([a, b])
    low, high = np.quantile(both, [0.01, 0.99])
    edges = np.linspace(low, high, BINS + 1) if high > low else np.linspace(low - 0.5, low + 0.5, BINS + 1)
    shares = [np.histogram(np.clip(v, edges[0], edges[-1]), edges)[0] / len(v) for v in (a, b)]
    cells: list[Cell] = [
        name,
        *(f"{v.mean():.4g} ± {v.std():.3g}" for v in (a, b)),
        Raw(bars(*(s.tolist() for s in shares))),
    ]
    return far / max(spread, 1e-12) if far else 0.0, cells


def _words(x: Texts) -> np.ndarray:
    return np.array([len(str(t).split()) for t in x.values], dtype=float)


def _lengths(x: Ragged) -> np.ndarray:
    found: np.ndarray = (x.ends - x.starts) / (x.rate or 1.0)
    return found


def _length(x: Ragged, row: int) -> str:
    steps = float(_lengths(x)[row])
    return f"{steps:.2f} s" if x.rate else f"{steps:.0f} steps"


def _value(v: Any) -> str:
    if v is None or v != v or type(v).__name__ in ("NAType", "NaTType"):
        return "–"
    return f"{v:.4g}" if isinstance(v, float) else _short(str(v), 60)


def _short(text: str, most: int = LETTERS) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
