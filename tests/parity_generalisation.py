"""The recorded formulas of generalisation; see ``tests.parity_settings``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dazoo.ops import generalisation as ops


def _irm(l: Tensor, y: Tensor) -> Tensor:  # noqa: E741
    return ops.irm_penalty(l, y, torch.ones(len(l), 1, dtype=l.dtype)).sum()


def _vrex_dro(e: Tensor, beta: Tensor, eta: Tensor, q0: Tensor) -> Tensor:
    there = torch.ones_like(e)
    robust = (ops.group_weights(q0, e, there, eta) * e).sum()
    return ops.mean_over(e, there) + beta * ops.variance_over(e, there) + robust


GENERALISATION: dict[str, Callable[..., Tensor]] = {"dg_irm_penalty": _irm, "dg_vrex_dro": _vrex_dro}
