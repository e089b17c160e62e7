"""Whether a model of the Hugging Face hub can be had at all, before a library waits for a hub that is not there."""

from __future__ import annotations

import socket
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from dazoo.core.errors import DazooError

PATIENCE = 3.0  # seconds
FILES = ("config.json", "modules.json", "tokenizer_config.json")


def check_there(model: str, what: str, packages: tuple[str, ...], also: str = "") -> None:
    """An error at once where a package is missing, or a model is no folder, not kept here and cannot be fetched.

    Args:
        model: a folder or a name. what: what the model is, for the message. packages: that read it.
        also: a name under which it may be kept, too.

    Raises:
        DazooError: with the remedy.
    """
    for package in packages:
        if not installed(package):
            raise DazooError(f"{what} needs {package}: pip install {package}")
    if Path(model).expanduser().exists():
        return
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for name in filter(None, (model, also)):
        try:
            if any(isinstance(try_to_load_from_cache(name, file), str) for file in FILES):
                return
        except HFValidationError:
            continue
    if constants.HF_HUB_OFFLINE or not reachable(constants.ENDPOINT):
        raise DazooError(
            f"{what} cannot be loaded: it is no folder, not kept on this machine, and {constants.ENDPOINT} cannot be "
            "reached; it must be a folder, or a name that the Hugging Face hub knows and can be reached"
        )


def installed(package: str) -> bool:
    """Whether a package could be imported, without doing so."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def reachable(address: str) -> bool:
    """Whether a server answers; True behind a proxy, which only a whole request could tell."""
    parts = urlsplit(address)
    if urllib.request.getproxies().get(parts.scheme):
        return True
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=PATIENCE):
            return True
    except OSError:
        return False
