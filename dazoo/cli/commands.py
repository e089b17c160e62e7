"""Layer 7: the command line. Heavy imports happen inside commands, so that help answers at once."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dazoo.cli.adapt import adapt, predict
from dazoo.cli.deploy import demo, export
from dazoo.core.errors import DazooError

app = typer.Typer(
    name="dazoo",
    help="A zoo of transfer-learning and domain-adaptation methods with a benchmark harness one can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Kind(StrEnum):
    """What can be listed."""

    methods = "methods"
    datasets = "datasets"
    backbones = "backbones"
    suites = "suites"
    recipes = "recipes"
    validators = "validators"
    encoders = "encoders"
    settings = "settings"


class MethodKind(StrEnum):
    """How a method learns."""

    gradient = "gradient"
    shallow = "shallow"


def _show_version(wanted: bool) -> None:
    if wanted:
        from dazoo import __version__

        print(f"dazoo {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A zoo of transfer-learning and domain-adaptation methods with a benchmark harness one can trust."""


DataRoot = Annotated[Path | None, typer.Option("--data-root", help="Folder of the datasets; else $DAZOO_DATA.")]


@app.command()
def run(
    suite: Annotated[str, typer.Argument(help="A suite file, or the name of one that 'dazoo list suites' shows.")],
    data_root: DataRoot = None,
    out: Annotated[Path | None, typer.Option(help="Result folder; results/NAME by default.")] = None,
    methods: Annotated[
        str | None, typer.Option(help="Only these, separated by commas; a path/to/file.py adds its methods.")
    ] = None,
    tasks: Annotated[str | None, typer.Option(help="A task pattern instead of the suite's, e.g. '*->webcam'.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Number of seeds instead of the suite's.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Workers, one thread each.")] = 1,
    device: Annotated[
        str, typer.Option(help="cpu, cuda or cuda:1; auto takes CUDA where it is there; cuda:0,cuda:1 a worker each.")
    ] = "auto",
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run again what failed before.")] = False,
    keep: Annotated[
        str | None, typer.Option(help="Disk space for outputs that 'dazoo rescore' needs, e.g. 2GB; 0 keeps none.")
    ] = None,
    stack: Annotated[
        int | None,
        typer.Option(min=1, help="Runs of one method that train as one batched model; 64 on CUDA, 1 on a CPU."),
    ] = None,
    data_parallel: Annotated[
        int, typer.Option(min=1, help="Processes that train one run together, each a share of its batches.")
    ] = 1,
    executor: Annotated[
        str, typer.Option(help="What does the work: processes of this machine, or ray, slurm, local.")
    ] = ("processes"),
    address: Annotated[
        str | None, typer.Option(help="Of a cluster that is there, for executors that know such.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--with", help="An option of the executor, NAME=VALUE; may be repeated.")
    ] = None,
) -> None:
    """Run what is missing of a suite, nothing twice, and show the leaderboard.

    A run that was stopped in any way goes on where it was.
    """
    from dazoo.cli.unchanged import options_of, told_again

    options = {
        "data_root": data_root,
        "out": out,
        "methods": [m.strip() for m in (methods or "").split(",") if m.strip()],
        "tasks": tasks,
        "seeds": seeds,
        "jobs": jobs,
        "device": device,
        "retry_failed": retry_failed,
        "keep": keep,
        "stack": stack,
        "processes": data_parallel,
        "executor": executor,
        "options": options_of(option, address),
    }
    if not told_again(suite, options):
        from dazoo.cli.run import run_suite

        run_suite(suite, **options)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A result folder.")],
    select_by: Annotated[
        str | None, typer.Option(help="A validator, 'last' or 'oracle' instead of the suite's rule.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="A target metric instead of the suite's.")] = None,
    scatter: Annotated[str, typer.Option(help="Projection of the features on the page: pca or tsne.")] = "pca",
    scatter_methods: Annotated[
        str | None, typer.Option(help="Methods whose features are shown, separated by commas, instead of a choice.")
    ] = None,
    methods: Annotated[str | None, typer.Option(help="LaTeX: only these labels, separated by commas.")] = None,
    top: Annotated[int, typer.Option(min=0, help="LaTeX: the best so many without target labels; 0 for all.")] = 0,
    longtable: Annotated[bool, typer.Option("--longtable", help="LaTeX: a table that breaks over pages.")] = False,
    by_family: Annotated[bool, typer.Option("--by-family", help="LaTeX: one block per family.")] = False,
    with_beside: Annotated[
        bool, typer.Option("--beside", help="LaTeX: also the metrics beside the shown one, such as its parts.")
    ] = False,
    text_width: Annotated[float, typer.Option(min=100, help="LaTeX: points between the margins.")] = 397,
    figures: Annotated[bool, typer.Option("--figures", help="Also write the figures as PDF and PNG.")] = False,
) -> None:
    """Rebuild leaderboard and tables of a result folder from its records alone."""
    from dazoo.bench.report.latex import Layout
    from dazoo.cli.report import show_report

    chosen = _names(scatter_methods)
    layout = Layout(tuple(_names(methods)), top, longtable, by_family, with_beside, width=text_width)
    show_report(folder, select_by, metric, scatter, chosen, layout=layout, figures=figures)


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


@app.command()
def rescore(
    folder: Annotated[Path, typer.Argument(help="A result folder.")],
    validators: Annotated[
        str | None, typer.Option(help="Names or patterns separated by commas; by default all cheap validators.")
    ] = None,
    data_root: DataRoot = None,
    again: Annotated[bool, typer.Option("--again", help="Compute scores that are there already, too.")] = False,
) -> None:
    """Score the kept outputs of finished runs by more validators, without training anything again."""
    from dazoo.cli.rescore import rescore

    rescore(folder, [v.strip() for v in (validators or "").split(",") if v.strip()], data_root, again)


@app.command()
def ledger(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Result folders, or folders of such; 'results' by default.")
    ] = None,
    published: Annotated[
        Path | None, typer.Option(help="CSV of published numbers; reference/published.csv beside $DAZOO_DATA.")
    ] = None,
    rows: Annotated[Path | None, typer.Option(help="The declaration; benchmarks/published/ledger.yaml.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the page here instead of printing it.")] = None,
) -> None:
    """Compare published averages with ours, computed from the records of result folders."""
    from dazoo.cli.run import show_ledger

    show_ledger(folders or [Path("results")], published, rows, out)


@app.command()
def site(
    folders: Annotated[list[Path], typer.Argument(help="Result folders, or folders of such; same suites are merged.")],
    out: Annotated[Path, typer.Option(help="Folder of the site.")] = Path("public"),
    published: Annotated[
        Path | None, typer.Option(help="CSV of published numbers; reference/published.csv beside $DAZOO_DATA.")
    ] = None,
    rows: Annotated[Path | None, typer.Option(help="The declaration; benchmarks/published/ledger.yaml.")] = None,
) -> None:
    """Write a static site of result folders: suites, methods, datasets, downloads; it needs no server."""
    from dazoo.cli.run import make_site

    make_site(folders, out, published, rows)


@app.command()
def compare(
    folder: Annotated[Path, typer.Argument(help="A result folder.")],
    a: Annotated[str, typer.Argument(help="A method of the leaderboard.")],
    b: Annotated[str, typer.Argument(help="The method to compare it with.")],
    select_by: Annotated[str | None, typer.Option(help="A selection rule instead of the suite's.")] = None,
    metric: Annotated[str | None, typer.Option(help="A target metric instead of the suite's.")] = None,
) -> None:
    """Say in one sentence whether A is better than B, by how much, and how many more seeds would settle it."""
    from dazoo.cli.statistics import show_compare

    show_compare(folder, a, b, select_by, metric)


@app.command(name="export-model")
def export_model(
    folder: Annotated[Path, typer.Argument(help="A result folder.")],
    out: Annotated[Path, typer.Option(help="File of the model, for dazoo.load; or .onnx.")] = Path("model.safetensors"),
    method: Annotated[str | None, typer.Option(help="A method of the leaderboard instead of the best.")] = None,
    task: Annotated[str | None, typer.Option(help="A task; needed where there are several.")] = None,
    seed: Annotated[int | None, typer.Option(help="A seed instead of the first.")] = None,
    select_by: Annotated[str | None, typer.Option(help="A selection rule instead of the suite's.")] = None,
    data_root: DataRoot = None,
) -> None:
    """Write the selected model of the best method, from kept outputs or by fitting it again, for dazoo.load."""
    from dazoo.cli.statistics import show_export

    show_export(folder, out, method=method, task=task, seed=seed, select_by=select_by, data_root=data_root)


@app.command()
def compact(folders: Annotated[list[Path], typer.Argument(help="Result folders.")]) -> None:
    """Merge the records of result folders into few small files that read the same; curves keep what is drawn."""
    from dazoo.cli.records import show_compact

    show_compact(folders)


@app.command()
def cite(folder: Annotated[Path, typer.Argument(help="A result folder.")]) -> None:
    """Print a method-section fragment and the BibTeX of dazoo, datasets and methods of a folder."""
    from dazoo.cli.statistics import show_cite

    show_cite(folder)


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="A result folder.")],
    new: Annotated[Path, typer.Argument(help="The result folder to compare it with.")],
    select_by: Annotated[str | None, typer.Option(help="A selection rule instead of the suites'.")] = None,
    metric: Annotated[str | None, typer.Option(help="A target metric instead of the suites'.")] = None,
) -> None:
    """Show which results moved between two result folders, and which moves are more than chance."""
    from dazoo.cli.statistics import show_diff

    show_diff(old, new, select_by, metric)


@app.command()
def diagnose(
    task: Annotated[str, typer.Argument(help="A task, e.g. 'office_caltech10/amazon->webcam' (sources: a+b->t).")],
    data_root: DataRoot = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", help="An option of the dataset, NAME=VALUE; repeatable.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Look at its frozen features; images need one, 'none' takes raw values.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(min=1, help="Side of the images that the backbone sees.")] = None,
    transform: Annotated[str | None, typer.Option(help="Transforms of each domain, e.g. 'row_sum,zscore'.")] = None,
    setting: Annotated[
        str | None, typer.Option(help="unsupervised, multi_source or few_labels; the first by default.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Samples of each domain that are looked at, drawn at random.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of subsamples, folds and permutations.")] = 0,
    device: Annotated[str, typer.Option(help="For frozen features.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Before any training: how do the domains differ, are classes separable, and which families should help?

    Target labels play no part in any number.
    """
    from dazoo.cli.diagnose import show_diagnosis

    show_diagnosis(
        task,
        data_root=data_root,
        options=option or [],
        backbone=backbone,
        image_size=image_size,
        transform=transform,
        setting=setting,
        limit=limit,
        seed=seed,
        device=device,
        as_json=as_json,
    )


@app.command(name="list")
def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")] = Kind.methods,
    pattern: Annotated[str, typer.Argument(help="Shell-style pattern, e.g. 'ot_*'.")] = "*",
    family: Annotated[str | None, typer.Option(help="Only methods of this family.")] = None,
    setting: Annotated[str | None, typer.Option(help="Only methods for this setting, e.g. 'partial'.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """List methods, datasets, backbones, encoders, suites, recipes, validators or settings."""
    from dazoo.cli.listing import show_list

    show_list(kind.value, pattern, family, as_json, setting)


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="A method, dataset, backbone, validator, recipe or setting.")],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Show what something is: paper, formula, hyper-parameters, settings, deviations; domains; options."""
    from dazoo.cli.listing import show_info

    show_info(name, as_json)


@app.command(name="new-method")
def new_method(
    name: Annotated[str, typer.Argument(help="Name of the method in lower_snake letters; also the file's stem.")],
    family: Annotated[str, typer.Option(help="Its family, e.g. moment, transport, adversarial.")],
    kind: Annotated[MethodKind, typer.Option(help="Trained by gradients, or solved on vectors.")] = MethodKind.gradient,
    out: Annotated[Path, typer.Option(help="Folder of the new file.")] = Path("."),
) -> None:
    """Write a small method that runs as it is, to be changed into yours; nothing is overwritten."""
    from dazoo.cli.new_method import run_new_method

    run_new_method(name, family, kind.value, out)


@app.command()
def check(
    target: Annotated[
        str, typer.Argument(metavar="MODULE:CLASS", help="Or path/to/file.py:Class, or the name of a method.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Run all contract tests on a method and explain each failure; exit code 1 where one fails."""
    from dazoo.cli.check import run_check

    if not run_check(target, as_json):
        raise typer.Exit(1)


app.command()(adapt)
app.command()(predict)
app.command()(export)
app.command()(demo)


def main() -> None:
    """Entry point: a mistake of the user ends in one message and exit code 2."""
    try:
        app()
    except DazooError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, a folder without permission, a file where a folder should be
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
