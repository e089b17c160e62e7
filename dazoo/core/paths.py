"""Folders of this machine that hold what can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """Where decoded images, frozen features and listings are kept: ``DAZOO_CACHE``, else the user cache folder."""
    if os.environ.get("DAZOO_CACHE"):
        return Path(os.environ["DAZOO_CACHE"]).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("dazoo")) / "cache"
