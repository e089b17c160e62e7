"""Commands about models outside: ``export`` (of runs too), ``demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dazoo.core.errors import DazooError


def export(
    place: Annotated[Path, typer.Argument(help="A model (a file, or the folder of 'adapt'), or a result folder.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="Of a model: an ONNX file, which runs without dazoo.")] = False,
    numbers: Annotated[bool, typer.Option("--numbers", help="ONNX: without the encoder, see model.numbers.")] = False,
    double: Annotated[bool, typer.Option("--double", help="ONNX: vectors in double precision.")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="Of runs: a Parquet file; the default.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Of runs: a CSV file.")] = False,
    out: Annotated[Path | None, typer.Option(help="The file to write; beside the model, or in the folder.")] = None,
) -> None:
    """Write a model as an ONNX file (--onnx), or the runs of a result folder as a table for notebooks.

    'export-model' takes the selected model out of a result folder.
    """
    from dazoo.adaptation.store import MODEL

    model = place / MODEL if place.is_dir() and (place / MODEL).is_file() else place
    if onnx:
        show_onnx(model, out, numbers, double)
        return
    if model.is_file():
        raise DazooError(f"{place} is a model: say --onnx to write it as an ONNX file")
    from dazoo.cli.records import show_export

    show_export(place, parquet, csv, out)


def show_onnx(model: Path, out: Path | None, numbers: bool = False, double: bool = False) -> None:
    """Write a model file as an ONNX file and say where."""
    if model.is_dir():
        raise DazooError(f"{model} holds no model; take one out of a result folder with: dazoo export-model {model}")
    from dazoo.core.portable import load
    from dazoo.deploy.onnx import export_onnx

    print(export_onnx(load(model), out or model.with_suffix(".onnx"), numbers=numbers, double=double))


def demo(
    model: Annotated[Path, typer.Argument(help="A model file, or the folder that 'adapt' wrote.")],
    port: Annotated[int | None, typer.Option(help="Port of the page; by default the first that is free.")] = None,
    share: Annotated[bool, typer.Option("--share", help="Also at a public address for three days.")] = False,
) -> None:
    """Open a page on which a person tries a model (needs gradio)."""
    from dazoo.adaptation import load_model
    from dazoo.deploy.demo import interface

    interface(load_model(model)).launch(server_port=port, share=share)
