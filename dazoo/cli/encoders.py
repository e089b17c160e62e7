"""What ``dazoo list encoders`` and ``dazoo info ENCODER`` tell."""

from __future__ import annotations

import inspect
import sys
from typing import Any

Row = dict[str, Any]


def list_encoders() -> list[Row]:
    from dazoo.encoders.base import ENCODERS

    return [
        {
            "name": name,
            "takes": list(cls.takes),
            "by default for": [*cls.default_for, *(f"{kind} (as vectors)" for kind in cls.vectors_for)],
            "description": inspect.cleandoc(cls.__doc__ or "").split("\n")[0],
        }
        for name, cls in ENCODERS.items()
    ]


def encoder_info(name: str) -> Row | None:
    from dazoo.core.hparam import space
    from dazoo.encoders.base import ENCODERS

    if name not in ENCODERS:
        return None
    cls = ENCODERS.get(name)
    return {
        "kind": "encoder",
        "name": name,
        "takes": list(cls.takes),
        "by default for": list(cls.default_for),
        "text": inspect.cleandoc(sys.modules[cls.__module__].__doc__ or cls.__doc__ or ""),
        "hyper-parameters": [
            {
                "name": key,
                "default": meta.default,
                "range": list(meta.choices) if meta.choices else "",
                "meaning": meta.help,
            }
            for key, meta in space(cls).items()
        ],
    }
