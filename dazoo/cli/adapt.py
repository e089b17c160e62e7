"""The commands ``adapt`` and ``predict``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dazoo.core.errors import DazooError


def adapt(
    source: Annotated[
        Path | None, typer.Option(help="Labelled data: a table, a folder of class folders, or an .npz with x and y.")
    ] = None,
    target: Annotated[Path | None, typer.Option(help="Data without labels, or with few, in the same form.")] = None,
    label: Annotated[str | None, typer.Option(help="The column of the labels, for tables.")] = None,
    task: Annotated[str | None, typer.Option(help="Or a task of a dataset, e.g. 'digits/upright->rotated'.")] = None,
    time: Annotated[str, typer.Option(help="Time after which nothing more is tried, as 90s, 10m or 1h.")] = "10m",
    out: Annotated[Path, typer.Option(help="Folder of the model, predictions and card.")] = Path("model"),
    encoder: Annotated[str, typer.Option(help="What makes numbers of samples; by default what suits them.")] = "auto",
    ignore: Annotated[list[str] | None, typer.Option(help="A column of the tables to leave out; repeatable.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", help="An option of the dataset, NAME=VALUE; repeatable.")
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the datasets; else $DAZOO_DATA.")] = None,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
) -> None:
    """From labelled data here and unlabelled data there to a model, predictions and a page about them.

    No target label takes part in any choice. What is finished is kept: the same command goes on where it was stopped.
    """
    from dazoo.adaptation import adapt as run
    from dazoo.cli.diagnose import option as parsed

    options = dict(parsed(text) for text in option or [])
    if task is not None and data_root is not None:
        options["data_root"] = data_root
    try:
        run(
            source,
            target,
            label=label,
            task=task,
            time=time,
            out=out,
            encoder=encoder,
            seed=seed,
            ignore=ignore or (),
            say=lambda text: print(text, file=sys.stderr, flush=True),
            **options,
        )
    except KeyboardInterrupt:
        print(
            f"stopped: what is finished is in {out}; the same command goes on, and with --time 0s it ends with what is "
            "there",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None


def predict(
    model: Annotated[Path, typer.Argument(help="A model file, or the folder that 'adapt' wrote.")],
    data: Annotated[Path, typer.Argument(help="New samples in the form that the model was adapted to.")],
    out: Annotated[Path, typer.Option(help="The predictions as CSV.")] = Path("predictions.csv"),
    abstain: Annotated[
        float | None, typer.Option(help="Share of answers that should be right, as 0.9; doubtful rows are 'unknown'.")
    ] = None,
    conformal: Annotated[
        float | None, typer.Option(help="Add sets of classes, of which this share may miss the right one, as 0.1.")
    ] = None,
) -> None:
    """Predict a new file with a saved model: names of classes and probabilities; drift is pointed out."""
    from dazoo.adaptation.predict import load_model, predict_file
    from dazoo.core.files import write_text

    if data.exists() and out.exists() and out.samefile(data):
        raise DazooError(f"{out} is the file to predict, which would be overwritten; choose another --out")
    found = predict_file(load_model(model), data, abstain, conformal)
    for text in found.said:
        print(text, file=sys.stderr)
    write_text(out, found.table)
    print(f"wrote {out}")
