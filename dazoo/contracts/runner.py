"""All contracts in the order in which a reader wants them, and the run of all of them on one class."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from dazoo.contracts import behaviour, gradient, knobs
from dazoo.contracts.failure import ContractFailure
from dazoo.contracts.toys import is_gradient, setting_of
from dazoo.core.setting import UNSUPERVISED
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


def _classifies(cls: type[Method]) -> str:
    plain = setting_of(cls) is UNSUPERVISED and "classes" in cls.targets
    return "" if plain else "the awkward data is for unsupervised classification"


@dataclass(frozen=True)
class Contract:
    """A promise: its name, what it says in one sentence, the check, and why it may not concern a method."""

    name: str
    promise: str
    check: Check
    skip: Callable[[type[Method]], str] = _always


CONTRACTS = (
    Contract("documented", "formula, paper with link, evidence, meaning of each field", behaviour.check_documented),
    Contract("name", "the name is the file's stem", behaviour.check_name),
    Contract("fits", "fits and gives finite scores for each target sample", behaviour.check_fits),
    Contract("same_seed", "same seed, same bits", behaviour.check_same_seed),
    Contract("hidden_labels", "hidden target labels change nothing", behaviour.check_hidden_labels),
    Contract("knobs", "every searchable hyper-parameter changes the model", knobs.check_knobs, _searchable),
    Contract("sampled", "settings drawn from the ranges run", knobs.check_sampled_settings, _searchable),
    Contract("weight_zero", "weight 0 is source_only, the default is not", gradient.check_weight_zero, _weighted),
    Contract("terms", "every loss term moves a part", gradient.check_terms, _gradient),
    Contract("stacked", "runs trained as one batched model equal runs alone", gradient.check_stacked, _stackable),
    Contract("continues", "a killed run continues with the same bits", gradient.check_continues, _gradient),
    Contract("saves", "a saved and loaded model predicts the same", behaviour.check_saves),
    Contract(
        "awkward_data", "odd data gives finite answers or a clear error", behaviour.check_awkward_data, _classifies
    ),
    Contract("wrong_input", "wrong shapes, NaN and single samples are clear errors", behaviour.check_wrong_input),
)


@dataclass(frozen=True)
class Outcome:
    """How a contract ended on a class; ``message`` explains a failure or says why it was skipped."""

    contract: Contract
    status: str
    message: str = ""
    seconds: float = 0.0


def check_method(cls: type[Method], on_outcome: Callable[[Outcome], None] | None = None) -> list[Outcome]:
    """Run every contract on a registered class; a method that raises is a failure that says where."""
    outcomes = []
    for contract in CONTRACTS:
        outcome = _try(contract, cls)
        outcomes.append(outcome)
        if on_outcome is not None:
            on_outcome(outcome)
    return outcomes


def _try(contract: Contract, cls: type[Method]) -> Outcome:
    reason = contract.skip(cls)
    if reason:
        return Outcome(contract, SKIPPED, reason)
    began = time.perf_counter()
    try:
        contract.check(cls)
    except ContractFailure as failure:
        return Outcome(contract, FAILED, str(failure), time.perf_counter() - began)
    except Exception as error:  # a stranger's method may fail in any way
        return Outcome(contract, FAILED, _explained(error, cls), time.perf_counter() - began)
    return Outcome(contract, PASSED, "", time.perf_counter() - began)


def _explained(error: Exception, cls: type[Method]) -> str:
    """The error and the line of the method's own file that it came through."""
    file = getattr(sys.modules[cls.__module__], "__file__", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    where = f" in {frames[-1].name}, line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
    return f"{cls.name} raises {type(error).__name__}{where}: {error}"
