"""All contracts in the order in which a reader wants them, and the run of all of them on one class."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from dazoo.contracts import asking, behaviour, gradient, hidden_source, knobs, label_sets, stream, targets, unseen
from dazoo.contracts.failure import ContractFailure
from dazoo.contracts.toys import is_gradient
from dazoo.methods.base import GradientMethod, Method

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
Check = Callable[[type[Method]], None]


def _always(cls: type[Method]) -> str:
    return ""


def _gradient(cls: type[Method]) -> str:
    return "" if is_gradient(cls) else "the method is not trained by gradients"


def _searchable(cls: type[Method]) -> str:
    return "" if knobs.knobs(cls) else "the method has no searchable hyper-parameter"


def _weighted(cls: type[Method]) -> str:
    return "" if gradient.has_trade_off(cls) else "no adaptation weight trade_off in the unsupervised setting"


def _stackable(cls: type[Method]) -> str:
    if not issubclass(cls, GradientMethod):
        return _gradient(cls)
    return "" if cls.stackable else "the class says stackable = False"


def _partial(cls: type[Method]) -> str:
    if not {"closed", "partial"} <= set(cls.handles.labels):
        return "not for both closed and partial targets"
    return "the class says told_partial = True" if cls.told_partial else ""


def _several_targets(cls: type[Method]) -> str:
    return "" if targets.tells_targets(cls) else "not for both one target and several"


def _hidden_source(cls: type[Method]) -> str:
    return "" if hidden_source.hides_source(cls) else "the method needs samples of the source, or reads them at set-up"


def _black_box(cls: type[Method]) -> str:
    return "" if cls.handles.asks_only else "the method is given the source's model or samples"


def _asks(cls: type[Method]) -> str:
    return "" if asking.asks(cls) else "the method asks for no label"


def _unlabelled(cls: type[Method]) -> str:
    return "" if "unlabelled" in cls.handles.labels else "the method learns from labels"


def _unknown(cls: type[Method]) -> str:
    return "" if set(cls.handles.labels) & set(label_sets.UNKNOWN) else "not for targets with unknown samples"


def _unseen(cls: type[Method]) -> str:
    return "" if unseen.unseen_settings(cls) else "not for targets that are never seen"


def _stream(cls: type[Method]) -> str:
    return "" if stream.is_stream(cls) else "the method meets no stream"


def _still(cls: type[Method]) -> str:
    return _stream(cls) or ("" if stream.stands_still(cls) else "the class does not say when it adapts nothing")


@dataclass(frozen=True)
class Contract:
    """A promise: its name, what it says in one sentence, the check, and why it may not concern a method.

    ``needs`` names promises without which a failure of this one would say nothing.
    """

    name: str
    promise: str
    check: Check
    skip: Callable[[type[Method]], str] = _always
    needs: tuple[str, ...] = ()


CONTRACTS = (
    Contract("documented", "formula, paper with link, evidence, meaning of each field", behaviour.check_documented),
    Contract("name", "the name is the file's stem", behaviour.check_name),
    Contract("fits", "fits and gives finite scores for each target sample", behaviour.check_fits),
    Contract("same_seed", "same seed, same bits", behaviour.check_same_seed),
    Contract(
        "hidden_labels", "hidden target labels change nothing", behaviour.check_hidden_labels, needs=("same_seed",)
    ),
    Contract(
        "all_classes",
        "a partial task with all classes is the closed one",
        label_sets.check_all_classes,
        _partial,
        ("same_seed",),
    ),
    Contract(
        "one_target", "one of several targets is a target", targets.check_one_target, _several_targets, ("same_seed",)
    ),
    Contract(
        "source_labels",
        "where no label is seen, the source's change nothing",
        label_sets.check_source_labels,
        _unlabelled,
    ),
    Contract("unknown", "where samples may be unknown, says which", label_sets.check_unknown, _unknown),
    Contract(
        "source_gone",
        "once the source's model is trained, its samples change nothing",
        hidden_source.check_source_gone,
        _hidden_source,
        ("same_seed",),
    ),
    Contract(
        "unseen_target",
        "another unseen target gives the same model",
        unseen.check_unseen_target,
        _unseen,
        ("same_seed",),
    ),
    Contract("black_box", "of a black box nothing is copied", hidden_source.check_black_box, _black_box),
    Contract(
        "budget", "asks for labels within its budget, and for none twice", asking.check_budget, _asks, ("same_seed",)
    ),
    Contract("knobs", "every searchable hyper-parameter changes the model", knobs.check_knobs, _searchable),
    Contract("sampled", "settings drawn from the ranges run", knobs.check_sampled_settings, _searchable),
    Contract("weight_zero", "weight 0 is source_only, the default is not", gradient.check_weight_zero, _weighted),
    Contract("terms", "every loss term moves a part", gradient.check_terms, _gradient),
    Contract(
        "stacked",
        "runs trained as one batched model equal runs alone",
        gradient.check_stacked,
        _stackable,
        ("same_seed",),
    ),
    Contract(
        "continues", "a killed run continues with the same bits", gradient.check_continues, _gradient, ("same_seed",)
    ),
    Contract(
        "later_batches", "an answer to a stream knows nothing of later batches", stream.check_later_batches, _stream
    ),
    Contract("episodes", "in episodes no batch leaves a trace", stream.check_episodes, _stream),
    Contract("still", "where it adapts nothing, it is the source's model", stream.check_still, _still),
    Contract(
        "stream_continues",
        "a killed stream continues with the same bits",
        stream.check_stream_continues,
        _stream,
        ("same_seed",),
    ),
    Contract("saves", "a saved and loaded model predicts the same", behaviour.check_saves),
    Contract("awkward_data", "odd data gives finite answers or a clear error", behaviour.check_awkward_data),
    Contract("wrong_input", "wrong shapes, NaN and single samples are clear errors", behaviour.check_wrong_input),
)


@dataclass(frozen=True)
class Outcome:
    """How a contract ended on a class; ``message`` explains a failure or says why it was skipped.

    ``crash`` tells one crash of the method from another; empty where a check ended by itself.
    """

    contract: Contract
    status: str
    message: str = ""
    seconds: float = 0.0
    crash: str = ""


def check_method(cls: type[Method], on_outcome: Callable[[Outcome], None] | None = None) -> list[Outcome]:
    """Run every contract on a registered class; a method that raises is a failure that says where, once."""
    outcomes: list[Outcome] = []
    for contract in CONTRACTS:
        broken = [o.contract.name for o in outcomes if o.status == FAILED and o.contract.name in contract.needs]
        if broken:
            outcome = Outcome(contract, SKIPPED, f"it says nothing while {' and '.join(broken)} is broken")
        else:
            outcome = _once(_try(contract, cls), outcomes)
        outcomes.append(outcome)
        if on_outcome is not None:
            on_outcome(outcome)
    return outcomes


def _once(outcome: Outcome, before: list[Outcome]) -> Outcome:
    """``outcome``, or where it is a crash that was told before, the mention of where."""
    first = next((o.contract.name for o in before if outcome.crash and o.crash == outcome.crash), None)
    if first is None:
        return outcome
    return Outcome(outcome.contract, SKIPPED, f"the same crash as in {first}", outcome.seconds)


def _try(contract: Contract, cls: type[Method]) -> Outcome:
    reason = contract.skip(cls)
    if reason:
        return Outcome(contract, SKIPPED, reason)
    began = time.perf_counter()
    try:
        contract.check(cls)
    except ContractFailure as failure:
        crash = "" if failure.__cause__ is None else _crash(failure.__cause__, cls)
        return Outcome(contract, FAILED, str(failure), time.perf_counter() - began, crash)
    except Exception as error:  # a stranger's method may fail in any way
        return Outcome(contract, FAILED, _explained(error, cls), time.perf_counter() - began, _crash(error, cls))
    return Outcome(contract, PASSED, "", time.perf_counter() - began)


def _own_frames(error: BaseException, cls: type[Method]) -> list[traceback.FrameSummary]:
    """The frames of a traceback that lie in the method's own file."""
    file = getattr(sys.modules[cls.__module__], "__file__", None)
    return [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]


def _crash(error: BaseException, cls: type[Method]) -> str:
    """What tells one crash from another: its type, and its line in the method's own file or else its message."""
    frames = _own_frames(error, cls)
    return f"{type(error).__name__} {frames[-1].lineno if frames else error}"


def _explained(error: Exception, cls: type[Method]) -> str:
    """The error and the line of the method's own file that it came through."""
    frames = _own_frames(error, cls)
    where = f" in {frames[-1].name}, line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
    return f"{cls.name} raises {type(error).__name__}{where}: {error}"
