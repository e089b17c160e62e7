"""The adversarial method that others put something on top of, chosen by name."""

from __future__ import annotations

from typing import Any

from dazoo.methods.adversarial.cdan import CDAN
from dazoo.methods.adversarial.dann import DANN
from dazoo.methods.base import GradientMethod

BASES = ("dann", "cdan", "cdan_e", "none")


def game(base: str, trade_off: Any, disc_width: int) -> GradientMethod | None:
    """The method called ``base`` with these settings; None for ``none``."""
    if base == "none":
        return None
    if base == "dann":
        return DANN(trade_off=trade_off, disc_width=disc_width)
    return CDAN(trade_off=trade_off, disc_width=disc_width, entropy=base == "cdan_e", random_dim=0)
