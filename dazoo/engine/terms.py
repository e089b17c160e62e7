"""What a method's losses must return, and what is said where they return something else."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from dazoo.core.errors import DazooError, NonFiniteError, nearest

Terms = dict[str, Tensor]


class Diverged(NonFiniteError):
    """Training turned non-finite; the message holds the step, the term and the last finite values."""


def checked(terms: Any, method: str, losses: str) -> Terms:
    """``terms`` if they are named scalar tensors, shape () each.

    Raises:
        DazooError: anything else, with what was returned and what is wanted.
    """
    where = f"{losses} of {method!r}"
    if not isinstance(terms, dict):
        what = f"a tensor of shape {tuple(terms.shape)}" if isinstance(terms, Tensor) else f"a {type(terms).__name__}"
        raise DazooError(
            f"{where} returns {what}; it must return a dictionary of named scalar terms, e.g. "
            "{'cls': ..., 'mine': ...}, whose sum is minimised"
        )
    if not terms:
        raise DazooError(f"{where} returns an empty dictionary; it must return at least one named scalar term")
    for name, value in terms.items():
        if not isinstance(value, Tensor):
            raise DazooError(
                f"{where}: the term {name!r} is a {type(value).__name__}, not a tensor; .item(), float() and numpy cut "
                "it off from the network, so that it would train nothing"
            )
        if value.ndim:
            raise DazooError(
                f"{where}: the term {name!r} has the shape {tuple(value.shape)}; a term is a scalar, so take .mean() "
                "or .sum() over the samples"
            )
    return terms


def diverged(name: str, step: int, last: dict[str, list[float]]) -> Diverged:
    """The error of a run whose term ``name`` is not finite at ``step``; ``last`` are the last finite values."""
    if not last:
        return Diverged(
            f"the term {name!r} is not finite at step {step}, before any parameter has moved: it overflows, takes the "
            "logarithm of 0 or divides by 0; clamp what is inside, and check the scale of the samples"
        )
    shown = {k: [round(x, 6) for x in v] for k, v in last.items()}
    first = "; after one step already: is a gradient infinite, such as that of a root or a norm at 0?"
    return Diverged(
        f"training became non-finite at step {step} in the term {name!r}; last finite values: {shown}; lower the "
        f"learning rate or clip gradients{first if step == 1 else ''}"
    )


def call_losses(method: Any, losses: str, net: nn.Module, batch: Any, t: Any) -> Terms:
    """The checked terms of ``method.losses(net, batch, t)``; an attribute that is not there is told with the nearest
    name of the network's parts or of the batch's fields."""
    try:
        return checked(getattr(method, losses)(net, batch, t), method.name, losses)
    except AttributeError as error:
        found = _MISSING.search(str(error))
        if found is not None and found[1] == type(net).__name__:
            parts = [*dict(net.named_children()), "features", "criterion", "n_sources", "n_targets", "regression"]
            error.args = (f"the network has no part {found[2]!r}: {nearest(found[2], parts)}",)
        elif found is not None and found[1] == type(batch).__name__:
            hidden = "; the target's labels are hidden from every method (xf, yf are the few that a setting shows)"
            told = hidden if found[2].startswith("y") else f": {nearest(found[2], vars(batch))}"
            error.args = (f"the batch has no field {found[2]!r}{told}",)
        raise


_MISSING = re.compile(r"'(\w+)' object has no attribute '(\w+)'")
