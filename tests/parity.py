"""Compare dazoo's formulas with recorded values and gradients: ``python -m tests.parity [FILE.npz ...]``.

FILE.npz holds arrays ``<case>/<number>/in/<name>`` and ``.../grad/<name>``; FILE.json beside it holds, per
``<case>/<number>``, the ``value`` and the names of ``inputs`` and ``grads``. One line per key; the exit status is 0
only if every value and every gradient entry agrees within ``1e-6 (|expected| + 0.01)``: 1e-6 relative, 1e-8 absolute.
The numbers printed are the largest ``|actual - expected| / (|expected| + 0.01)``, so 1e-6 is the bound. Cases that
dazoo has no formula for are skipped and counted.

Without a file, all files of the folder that DAZOO_PARITY names are checked, else those of ``parity/`` beside the folder
that DAZOO_DATA names, else of ``../shared/parity`` beside the checkout; where there are none, nothing is.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from dazoo.diagnosis import scores
from dazoo.ops import adversarial, discrepancy, entropy, mmd, norms, openset
from tests.parity_settings import SETTINGS

RELATIVE, ABSOLUTE = 1e-6, 1e-8


def _domain(fs: Tensor, ft: Tensor, w: Tensor) -> Tensor:
    return adversarial.domain_bce(torch.cat([fs, ft]) @ w, len(fs), saturate=True)


def _conditional(weighted: bool) -> Callable[..., Tensor]:
    def loss(ls: Tensor, lt: Tensor, fs: Tensor, ft: Tensor, wc: Tensor) -> Tensor:
        p = torch.softmax(torch.cat([ls, lt]), 1).detach()
        z = adversarial.conditional_map(p, torch.cat([fs, ft])) @ wc
        weights = entropy.entropy_weights(p) if weighted else None
        return adversarial.domain_bce_joint(z, len(fs), weights, saturate=True)

    return loss


# case name -> function of the inputs by their names
CASES: dict[str, Callable[..., Tensor | float]] = {
    "dan_mkmmd": lambda fs, ft: mmd.mk_mmd(fs, ft, offset=True),
    "dan_mkmmd_linear": lambda fs, ft: mmd.mk_mmd_linear(fs, ft, offset=True),
    "jan_jmmd": lambda fs, ft, ps, pt: mmd.joint_mmd((fs, ps), (ft, pt), offset=True),
    "dann_domain_loss": _domain,
    "cdan": _conditional(False),
    "cdan_e": _conditional(True),
    "mcd_discrepancy": discrepancy.mcd,
    "mdd_margin4": lambda y_s, a_s, y_t, a_t: discrepancy.mdd(y_s, a_s, y_t, a_t, 4.0),
    "mcc_T2.5": lambda l: entropy.mcc(l, 2.5),  # noqa: E741
    "afn_delta1": lambda f: norms.afn(f, 1.0),
    "bsp": norms.bsp,
    "bss_k1": lambda f: norms.bss(f, 1),
    "osbp_unknown_bce": lambda l: openset.osbp(l, 0.5),  # noqa: E741
    "entropy_mean": entropy.entropy_mean,
    "rsd": norms.rsd,
    "h_score": scores.h_score,
    "regularized_h_score": scores.regularized_h_score,
    "logme": lambda features, labels: scores.logme(features, labels),
    "transrate": scores.transrate,
    "leep": scores.leep,
    "nce": scores.nce,
}


@dataclass(frozen=True)
class Outcome:
    """One key's result. ``errors`` maps ``value`` and each gradient's name to its largest relative error; ``skipped``
    where dazoo has no such formula."""

    key: str
    ok: bool
    errors: dict[str, float] = field(default_factory=dict)
    problem: str = ""
    skipped: bool = False

    @property
    def off(self) -> bool:
        return not self.ok and not self.skipped

    def __str__(self) -> str:
        detail = self.problem or "  ".join(f"{name} {error:.1e}" for name, error in self.errors.items())
        return f"{'ok' if self.ok else 'skip' if self.skipped else 'off':4s} {self.key:26s} {detail}"


def compare(actual: Any, expected: Any) -> float:
    """The largest ``|actual - expected| / (|expected| + ABSOLUTE / RELATIVE)``; infinite where shapes differ or
    either side is not finite."""
    a, e = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if a.shape != e.shape:
        return float("inf")
    both = np.isfinite(a) & np.isfinite(e)
    gap = np.abs(np.where(both, a, 0.0) - np.where(both, e, 0.0)) / (
        np.where(both, np.abs(e), 0.0) + ABSOLUTE / RELATIVE
    )
    return float(np.where(both, gap, np.inf).max(initial=0.0))


def check(key: str, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Outcome:
    """Evaluate the loss of one key on its inputs and compare."""
    case = key.rpartition("/")[0] or key
    function = CASES.get(case) or SETTINGS.get(case)
    if function is None:
        return Outcome(key, False, problem="no implementation yet", skipped=True)
    try:
        inputs = {name: torch.tensor(np.asarray(arrays[f"{key}/in/{name}"])) for name in meta["inputs"]}
        inputs = {name: x.double() if x.is_floating_point() else x for name, x in inputs.items()}
        for name in meta["grads"]:
            inputs[name].requires_grad_()
        value = function(**inputs)
        if isinstance(value, Tensor):
            wanted = [inputs[name] for name in meta["grads"]]
            grads = torch.autograd.grad(value, wanted, allow_unused=True) if wanted else ()
            value = float(value.detach())
        elif meta["grads"]:
            return Outcome(key, False, problem=f"{case} has no gradients")
        else:
            grads = ()
        errors: dict[str, float] = {}
        pairs = [("value", value, meta["value"])]
        for name, grad in zip(meta["grads"], grads, strict=True):
            expected = arrays[f"{key}/grad/{name}"]
            pairs.append((name, np.zeros_like(expected) if grad is None else grad.numpy(), expected))
        for name, actual, expected in pairs:
            errors[name] = compare(actual, expected)
        return Outcome(key, max(errors.values()) <= RELATIVE, errors)
    except Exception as error:  # a key that cannot be evaluated is off; the others still count
        return Outcome(key, False, problem=f"{type(error).__name__}: {error}")


def run(path: str | Path) -> list[Outcome]:
    """Check every key of FILE.json against FILE.npz.

    Keys with arrays but no entry in the JSON file are reported as off: they would otherwise go unchecked.
    """
    path = Path(path)
    meta = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    known = {name.partition("/in/")[0].partition("/grad/")[0] for name in arrays}
    outcomes = [check(key, entry, arrays) for key, entry in meta.items()]
    outcomes += [
        Outcome(key, False, problem="arrays without an entry in the JSON file") for key in sorted(known - set(meta))
    ]
    return outcomes


def default_paths() -> list[Path]:
    """The recorded files to check where none is named; none on a machine without them."""
    data = os.environ.get("DAZOO_DATA")
    places = [Path(data).parent / "parity"] if data else []
    places.append(Path(__file__).resolve().parents[2] / "shared" / "parity")
    if named := os.environ.get("DAZOO_PARITY"):
        places = [Path(named)]
    for place in places:
        if found := sorted(p for p in place.glob("*.npz") if p.with_suffix(".json").is_file()):
            return found
    return []


def main(arguments: list[str]) -> int:
    """Print one line per key and return the exit status: 0, 1 if a key is off, 2 if a file cannot be read."""
    paths = [Path(argument) for argument in arguments] or default_paths()
    if not paths:
        print(
            "parity is not checked: there are no recorded values here; DAZOO_PARITY names a folder of FILE.npz with "
            "FILE.json, or give a file: python -m tests.parity FILE.npz"
        )
        return 0
    return max(report(path) for path in paths)


def report(path: Path) -> int:
    """Print one file's outcomes and return its exit status."""
    for needed in (path, path.with_suffix(".json")):
        if not needed.is_file():
            print(f"no such file: {needed}", file=sys.stderr)
            return 2
    try:
        outcomes = run(path)
    except (OSError, ValueError, BadZipFile) as error:
        print(
            f"{path} and {path.with_suffix('.json').name} are not a pair of recorded losses: {error}", file=sys.stderr
        )
        return 2
    for outcome in outcomes:
        print(outcome)
    off, skipped = sum(outcome.off for outcome in outcomes), sum(outcome.skipped for outcome in outcomes)
    checked = len(outcomes) - skipped
    tail = f"; {skipped} keys skipped, of cases without an implementation yet" if skipped else ""
    print(f"{path.name}: {checked - off} of {checked} agree within {RELATIVE:g} relative, {ABSOLUTE:g} absolute{tail}")
    return 1 if off or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
