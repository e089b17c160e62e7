"""Models on the Hugging Face hub, or in a folder of the same form.

model.safetensors    what ``dazoo.save`` writes; nothing in it is executed on loading
README.md            the model's card under the metadata that the hub reads
config.json          what programs may want to know without loading: classes, method, form of the samples, versions
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml

from dazoo.core.errors import DazooError
from dazoo.core.files import write_text
from dazoo.core.portable import load, save
from dazoo.core.types import Predictor
from dazoo.core.version import VERSION
from dazoo.engine.card import card_of
from dazoo.engine.model import Model

MODEL, CARD, CONFIG = "model.safetensors", "README.md", "config.json"
AREAS = {
    "vector": "tabular",
    "table": "tabular",
    "sparse": "tabular",
    "image": "image",
    "text": "text",
    "audio": "audio",
}


def push_to_hub(
    model: Model, place: str | Path, *, private: bool = False, token: str | None = None, licence: str | None = None
) -> str:
    """Put a model on the hub, or into a folder.

    Args:
        place: ``"name/repository"``; or a folder, as a ``Path`` or a text that begins with ``.`` or ``/``.
        private: of a repository that is made anew.
        token: of the hub; by default that of ``hf auth login``.
        licence: the hub's name of a licence, as ``apache-2.0``, for the card.

    Returns:
        The address of the repository, or the folder.

    Raises:
        DazooError: a model without a card, one that cannot be saved, or a hub that cannot be reached.
    """
    if not isinstance(model, Model):
        raise DazooError(f"the hub takes a model of dazoo.fit or dazoo.adapt, not {type(model).__name__}")
    if is_folder(place):
        here = Path(place).expanduser()
        write_folder(model, here, str(here), licence)
        return str(here)
    repository = str(place)
    if repository.count("/") != 1:
        raise DazooError(f"a repository is 'name/repository', not {repository!r}; a folder is a Path, or ./folder")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    with tempfile.TemporaryDirectory() as folder:
        write_folder(model, Path(folder), repository, licence)
        api = HfApi(token=token)
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"A model of dazoo {VERSION}")
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise DazooError(
                f"the hub did not take {repository} ({_first(error)}); log in with 'hf auth login', or give a folder"
            ) from error
        return f"{api.endpoint}/{repository}"


def from_hub(place: str | Path, *, revision: str | None = None, token: str | None = None) -> Predictor:
    """The model in a repository of the hub or in a folder that ``push_to_hub`` wrote; nothing in it is executed.

    Raises:
        DazooError: there is none, it is damaged, or the hub cannot be reached.
    """
    if is_folder(place) or Path(place).is_dir():
        file = Path(place).expanduser() / MODEL
        if not file.is_file():
            raise DazooError(f"{place} holds no {MODEL}; give a folder that push_to_hub wrote, or 'name/repository'")
    else:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError

        try:
            file = Path(hf_hub_download(str(place), MODEL, revision=revision, token=token))
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise DazooError(f"there is no model {place!r} that could be fetched ({_first(error)})") from error
    found: Predictor = load(file)
    return found


def write_folder(model: Model, folder: Path, name: str, licence: str | None = None) -> None:
    """The files of a repository."""
    save(model, folder / MODEL)
    write_text(folder / CARD, readme(model, name, licence))
    settings = model.report.get("settings", {})
    config = {
        "library_name": "dazoo",
        "classes": list(model.classes),
        "kind": model.schema.kind,
        "shape": list(model.schema.shape),
        "columns": list(model.schema.names),
        "method": settings.get("method"),
        "setting": settings.get("setting"),
        "versions": model.report.get("versions", {}),
    }
    write_text(folder / CONFIG, json.dumps(config, ensure_ascii=False, indent=1) + "\n")


def readme(model: Model, name: str, licence: str | None = None) -> str:
    """The card under the metadata of the hub, with the lines that use the model."""
    settings = model.report.get("settings", {})
    about: dict[str, Any] = {
        "library_name": "dazoo",
        "tags": ["dazoo", "domain-adaptation", str(settings.get("method"))],
    }
    area = AREAS.get(model.schema.kind)
    if area and (model.classes or area == "tabular"):
        about["pipeline_tag"] = f"{area}-{'classification' if model.classes else 'regression'}"
    if licence:
        about["license"] = licence
    head = yaml.safe_dump(about, sort_keys=False, allow_unicode=True)
    code = f"import dazoo\n\nmodel = dazoo.from_hub({name!r})\nprediction = model.predict(samples)"
    how = f"## How to use it\n\n```python\n{code}\n```"
    return f"---\n{head}---\n\n{card_of(model)}\n\n{how}\n"


def is_folder(place: str | Path) -> bool:
    return isinstance(place, Path) or str(place).startswith((".", "/", "~"))


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
