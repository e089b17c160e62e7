"""The average of all weights inside a valley of the validation loss, found while training goes on (SWAD)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

State = dict[str, Tensor]


def begun(like: Tensor) -> State:
    """Nothing seen yet; weights are vectors (p,) as ``like``."""
    empty = like.new_zeros(0, len(like))
    return {
        "pending": empty,  # means of the weights of segments that are not decided, oldest first (k, p)
        "losses": like.new_zeros(0),  # at the ends of these segments (k,)
        "total": like.new_zeros(len(like)),  # mean of the weights of segments in the valley (p,)
        "count": like.new_zeros(()),  # their number
        "limit": like.new_full((), torch.nan),  # of the loss inside the valley; NaN before its start
        "over": like.new_zeros(()),  # 1 after its end
    }


def added(state: Mapping[str, Tensor], w: Tensor, loss: Tensor, converge: int, tolerate: int, ratio: float) -> State:
    """The state after a segment of training with mean weights w (p,) and ``loss`` at its end.

    The valley starts at the first segment whose loss is the least of itself and the ``converge - 1`` after it; the
    limit is their mean times ``1 + ratio``. A segment belongs to it while one of the ``tolerate`` losses from its own
    on is within the limit; the first that does not ends it.
    """
    new = dict(state)
    if bool(new["over"]):
        return new
    new["pending"] = torch.cat([new["pending"], w[None]])
    new["losses"] = torch.cat([new["losses"], loss.to(w).reshape(1)])
    if bool(new["limit"].isnan()):
        new["pending"], new["losses"] = new["pending"][-converge:], new["losses"][-converge:]
        if len(new["losses"]) == converge and int(new["losses"].argmin()) == 0:
            new["limit"] = new["losses"].mean() * (1.0 + ratio)
        return new
    while len(new["losses"]) >= tolerate and not bool(new["over"]):
        if bool(new["losses"][:tolerate].min() > new["limit"]):
            new["over"] = torch.ones_like(new["over"])
            new["pending"], new["losses"] = new["pending"][:0], new["losses"][:0]
        else:
            new["count"] = new["count"] + 1
            new["total"] = new["total"] + (new["pending"][0] - new["total"]) / new["count"]
            new["pending"], new["losses"] = new["pending"][1:], new["losses"][1:]
    return new


def average(state: Mapping[str, Tensor]) -> Tensor | None:
    """Mean weights (p,) of the valley so far; of the last segment where none has begun, None before the first ends."""
    pending, losses = state["pending"], state["losses"]
    if bool(state["limit"].isnan()):
        return pending[-1] if len(pending) else None
    total, count = state["total"], state["count"]
    for i in range(len(losses)):
        if bool(losses[i:].min() > state["limit"]):
            break
        count = count + 1
        total = total + (pending[i] - total) / count
    return total
