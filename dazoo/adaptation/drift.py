"""Whether new samples still look like those that a model was adapted to.

Of every number that the model sees, its quartiles and the shares of samples below, at and above each are remembered.
New samples are put into the same bins. A feature has drifted if a fifth of the samples lie elsewhere (half the sum of
the differences of the shares; what a move by half a standard deviation makes), and if that is no chance: by the
chi-squared test of two samples, at a thousandth over all features together.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dazoo.data.raw import Table
from dazoo.engine.model import Model

FEWEST = 20
"""Samples on either side from which a drift is looked for."""
MOVED = 0.2
"""Share of the samples that lie elsewhere from which a feature has drifted."""
LEVEL = 1e-3
"""Probability of a false alarm, over all features."""
MOST = 2048
NAMED = 3
QUARTERS = (0.25, 0.5, 0.75)


def looks(x: Tensor, raw: Any = None) -> dict[str, Any]:
    """What later samples are compared with: numbers (n, d) that the model sees, and gaps in the columns of ``raw``."""
    if x.ndim != 2 or x.shape[1] > MOST or len(x) < FEWEST:
        return {}
    x = x.detach().double().cpu()
    edges = torch.quantile(x, torch.tensor(QUARTERS, dtype=x.dtype), dim=0).T.contiguous()
    shares = [[round(v, 5) for v in row] for row in _shares(x, edges).tolist()]
    return {"n": len(x), "edges": edges.tolist(), "shares": shares, "missing": _missing(raw)}


def drift(model: Model, numbers: Tensor, raw: Any = None) -> list[str]:
    """Sentences about how new samples (n, d), as the model sees them, differ from those that it was adapted to."""
    known = model.report.get("drift") or {}
    if "edges" not in known or len(numbers) < FEWEST:
        return []
    x = numbers.detach().double().cpu()
    edges, old = (torch.tensor(known[k], dtype=torch.float64) for k in ("edges", "shares"))
    if x.shape[1:] != edges.shape[:1]:
        return []
    new = _shares(x, edges)
    elsewhere = (new - old).abs().sum(1) / 2
    chance = _chance(old * known["n"], new * len(x))
    found = torch.nonzero((elsewhere >= MOVED) & (chance < LEVEL / len(edges)))[:, 0].tolist()
    said = _gaps(known.get("missing") or {}, _missing(raw), known["n"], len(x))
    if found:
        worst = sorted(found, key=lambda i: -float(elsewhere[i]))[:NAMED]
        called = () if model.encoding is None else model.encoding.fitted.outputs()
        called = called or model.schema.names
        names = ", ".join(
            f"{called[i] if i < len(called) else f'feature {i}'} ({float(elsewhere[i]):.0%} of the rows)" for i in worst
        )
        said.append(
            f"drift: {len(found)} of {len(edges)} features lie elsewhere than in the data that the model was adapted "
            f"to, most of all {names}; adapt again with these data as target"
        )
    return said


def _shares(x: Tensor, edges: Tensor) -> Tensor:
    """Shares (d, 7) of samples (n, d) below, at and above the edges (d, 3), in their order."""
    edges = edges.T[:, None]
    place = (edges < x).sum(0) + (edges <= x).sum(0)
    return torch.stack([(place == k).double().mean(0) for k in range(2 * len(QUARTERS) + 1)], 1)


def _chance(one: Tensor, other: Tensor) -> Tensor:
    """p-values (d,) of the chi-squared test that counts (d, k) and (d, k) are of one distribution."""
    from scipy.stats import chi2

    n, m = one.sum(1, keepdim=True), other.sum(1, keepdim=True)
    total = one + other
    apart = ((m / n).sqrt() * one - (n / m).sqrt() * other).square() / total.clamp(min=1e-12)
    free = (total > 1e-9).sum(1).clamp(min=2) - 1
    return torch.from_numpy(chi2.sf(apart.sum(1).numpy(), free.numpy()))


def _missing(raw: Any) -> dict[str, float]:
    """Shares of gaps in the columns of a table."""
    if not isinstance(raw, Table):
        return {}
    return {n: round(float(v), 5) for n, v in zip(raw.names, raw.frame.isna().mean().tolist())}


def _gaps(old: dict[str, float], new: dict[str, float], n: int, m: int) -> list[str]:
    """A sentence about columns with other gaps than before."""
    both = [c for c in new if c in old]
    if not both or n < FEWEST:
        return []
    counts = [torch.tensor([[s[c], 1 - s[c]] for c in both], dtype=torch.float64) * k for s, k in ((old, n), (new, m))]
    chance = _chance(*counts).tolist()
    far = [c for c, p in zip(both, chance) if abs(new[c] - old[c]) >= MOVED and p < LEVEL / len(both)]
    worst = sorted(far, key=lambda c: -abs(new[c] - old[c]))[:NAMED]
    if not far:
        return []
    named = ", ".join(f"{c!r} in {new[c]:.0%} of the rows (before: {old[c]:.0%})" for c in worst)
    return [f"drift: cells are missing as they were not in the data that the model was adapted to: {named}"]
