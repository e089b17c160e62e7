"""Optimisers with one parameter group per learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.engine.recipe import Recipe


def rate_of(name: str, multipliers: dict[str, float], recipe: Recipe) -> float:
    """Learning rate of a parameter: the recipe's, times its backbone rate, times the method's longest matching part."""
    rate = recipe.lr * (recipe.backbone_lr if ".body.backbone." in f".{name}" else 1.0)
    matching = [part for part in multipliers if name == part or name.startswith(part + ".")]
    return rate * multipliers[max(matching, key=len)] if matching else rate


def make_optimizer(
    parameters: Mapping[str, Tensor], names: Sequence[str], multipliers: dict[str, float], recipe: Recipe
) -> torch.optim.Optimizer:
    """The recipe's optimiser over ``names``; parameters without a gradient in a phase stay as they are.

    Raises:
        DazooError: there is no parameter to move.
    """
    if not names:
        raise DazooError(
            "nothing can learn: the method holds the head fixed, and the network has no parameters before it; take a "
            f"recipe with a bottleneck (that of {recipe.name!r} is {recipe.bottleneck}) or a backbone that learns"
        )
    groups: dict[float, list[Tensor]] = {}
    for name in names:
        groups.setdefault(rate_of(name, multipliers, recipe), []).append(parameters[name])
    rows = [{"params": params, "lr": lr} for lr, params in groups.items()]
    if recipe.optimizer == "sgd":
        sgd = torch.optim.SGD(
            rows, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov and recipe.momentum > 0,
            weight_decay=recipe.weight_decay, fused=True,
        )  # fmt: skip
        if recipe.momentum > 0:
            # the fused step fails where some parameters have a buffer and others, released later, have none yet; the
            # first step from zeros is the one that torch makes without a buffer
            for p in (p for params in groups.values() for p in params):
                sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)
        return sgd
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(rows, lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True)
