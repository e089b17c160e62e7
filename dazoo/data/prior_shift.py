"""Targets of other class shares: samples of a target are left out until its classes have the shares that are stated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dazoo.core.errors import DazooError, nearest
from dazoo.core.setting import Setting
from dazoo.data.domain import Domain

if TYPE_CHECKING:
    from dazoo.data.task import Task

KINDS = ("dirichlet", "tweak_one", "knock_out", "given")
STREAM = sum(map(ord, "prior"))


@dataclass(frozen=True)
class PriorShift:
    """Shares of the classes that a target is to have.

    Attributes:
        kind: ``dirichlet``: drawn from Dirichlet(alpha, ..., alpha); ``tweak_one``: one class has the share ``share``,
            all others the same; ``knock_out``: one class loses the share ``share`` of its samples, and the others none;
            ``given``: ``shares``.
        alpha: small values make few classes frequent.
        share: of ``tweak_one`` (default 0.7) or ``knock_out`` (default 0.8).
        of: the name of the one class; None draws it.
        shares: by class in the order of the classes; they are divided by their sum.
        size: at most so many samples; None keeps as many as the shares allow.
    """

    kind: str
    alpha: float = 1.0
    share: float | None = None
    of: str | None = None
    shares: tuple[float, ...] | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DazooError(f"unknown kind of class shares {self.kind!r}: {nearest(str(self.kind), KINDS)}")
        if not _number(self.alpha) or not 0.01 <= self.alpha <= 1e6:
            raise DazooError(f"prior.alpha is a number from 0.01 to 1e6, not {self.alpha!r}")
        if self.share is not None and (not _number(self.share) or not 0 <= self.share <= 1):
            raise DazooError(f"prior.share is a number from 0 to 1, not {self.share!r}")
        if self.size is not None and (not isinstance(self.size, int) or isinstance(self.size, bool) or self.size < 2):
            raise DazooError(f"prior.size is a whole number, at least 2, not {self.size!r}")
        if (self.kind == "given") != (self.shares is not None):
            raise DazooError("prior.shares goes with the kind 'given', and only with it")
        if self.shares is not None:
            whole = list(self.shares)
            if not all(_number(v) and v >= 0 for v in whole) or not sum(whole) > 0:
                raise DazooError(f"prior.shares are numbers, none of them negative and not all 0, not {whole}")
            if abs(sum(whole) - 1) > 0.01 and not all(float(v).is_integer() for v in whole):
                raise DazooError(
                    f"prior.shares sum to {sum(whole):.4g}, not to 1; give shares that do, or whole numbers as ratios"
                )

    @staticmethod
    def of_option(value: Any) -> PriorShift:
        """What an option ``prior`` means: ``{kind: dirichlet, alpha: 0.5}``, or a kind alone.

        Raises:
            DazooError: it is neither.
        """
        if isinstance(value, PriorShift):
            return value
        if isinstance(value, str):
            return PriorShift(value)
        known = [f.name for f in fields(PriorShift)]
        if not isinstance(value, Mapping) or "kind" not in value:
            raise DazooError(f"prior is {{kind: dirichlet, alpha: 1.0}} or one of {', '.join(KINDS)}, not {value!r}")
        for key in value:
            if key not in known:
                raise DazooError(f"prior has no {key!r}: {nearest(str(key), known)}")
        shares = value.get("shares")
        listed = isinstance(shares, (list, tuple))
        return PriorShift(**{**value, "shares": tuple(shares) if listed else shares})  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        """Every field that says something, as plain data."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.kind != "dirichlet":
            del found["alpha"]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in found.items() if v is not None}

    def stated(self, natural: np.ndarray, classes: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
        """The shares (C,) to be had, of a target that has ``natural`` (C,) samples of its classes."""
        held = natural > 0
        if self.shares is not None:
            if len(self.shares) != len(classes):
                raise DazooError(f"prior.shares has {len(self.shares)} shares, but there are {len(classes)} classes")
            wanted = np.array(self.shares, dtype=np.float64)
        elif self.kind == "dirichlet":
            wanted = np.where(held, rng.gamma(self.alpha, size=len(classes)), 0.0)
            if not wanted.sum() > 0:  # so small an alpha that every draw is 0
                wanted[rng.choice(np.flatnonzero(held))] = 1.0
        else:
            if self.of is not None and self.of not in classes:
                raise DazooError(f"prior.of is no class: {nearest(self.of, classes)}")
            one = classes.index(self.of) if self.of is not None else int(rng.choice(np.flatnonzero(held)))
            if self.kind == "tweak_one":
                share, others = 0.7 if self.share is None else self.share, held.sum() - held[one]
                wanted = np.where(held, (1 - share) / max(others, 1), 0.0)
                wanted[one] = share
            else:
                wanted = natural.astype(np.float64)
                wanted[one] *= 1 - (0.8 if self.share is None else self.share)
        lacking = [classes[c] for c in np.flatnonzero((wanted > 0) & ~held)]
        if lacking or not wanted.sum() > 0:
            raise DazooError(f"prior asks for samples of the classes {lacking[:5]}, of which the target has none")
        return wanted / wanted.sum()


def counts_of(shares: np.ndarray, natural: np.ndarray, size: int | None) -> np.ndarray:
    """As many samples (C,) of each class as ``shares`` (C,) say, of ``natural`` (C,) at most: the largest such target.

    Whole numbers by largest remainders.
    """
    asked = shares > 0
    total = int(np.floor((natural[asked] / shares[asked]).min() * (1 + 1e-12)))
    total = total if size is None else min(total, size)
    exact = np.minimum(shares * total, natural)
    found = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - found), kind="stable")
    room = [c for c in order if found[c] < natural[c] and asked[c]]
    found[room[: total - int(found.sum())]] += 1
    return found


def resampled(domain: Domain, shift: PriorShift, seed: int) -> Domain:
    """``domain``, and its test part, with the class shares of ``shift``: samples are left out, and none is doubled.

    Raises:
        DazooError: not every sample has a class, or too few are left.
    """
    if domain.y is None or domain.regression or domain.known is not None:
        raise DazooError(
            f"domain {domain.name!r} cannot get other class shares, since not every sample has a class label; leave "
            "the option prior out, and say setting='label_shift' where its shares are unknown anyway"
        )
    rng = np.random.default_rng([seed, STREAM])
    y = domain.y.numpy()
    natural = np.bincount(y, minlength=len(domain.classes))
    counts = counts_of(shift.stated(natural, domain.classes, rng), natural, shift.size)
    if counts.sum() < 2:
        raise DazooError(f"domain {domain.name!r}: class shares so unlike its own leave {counts.sum()} samples")
    order = rng.permutation(len(y))
    rows = torch.from_numpy(np.sort(np.concatenate([order[y[order] == c][:k] for c, k in enumerate(counts)])))
    given = replace(shift, kind="given", shares=tuple(counts / counts.sum()), size=None, share=None, of=None)
    few = None if domain.few is None else torch.nonzero(torch.isin(rows, domain.few))[:, 0]
    return replace(
        domain,
        x=domain.x[rows],
        y=domain.y[rows],
        test=None if domain.test is None else resampled(domain.test, given, seed),
        few=few if few is not None and len(few) else None,
        member=None if domain.member is None else domain.member[rows],
    )


def taken(options: dict[str, Any], known: Mapping[str, Any]) -> PriorShift | None:
    """Take the class shares out of the options of a dataset; None where they hold none. ``known`` are the options that
    the dataset itself has."""
    if options.get("prior") is None or "prior" in known:
        return None
    return PriorShift.of_option(options.pop("prior"))


def setting_under(setting: Setting, shift: PriorShift | None) -> Setting:
    """``setting`` where the target's class shares are changed: label shift."""
    if shift is None or setting.labels in ("shifted", "unlabelled"):
        return setting
    if setting.labels != "closed":
        raise DazooError(
            f"the option prior changes shares of common classes, but {setting.name!r} means {setting.labels} label "
            "sets; leave one of them out"
        )
    return setting.change(labels="shifted")


def with_prior(task: Task, prior: Any) -> Task:
    """``task`` with a target of other class shares, drawn with the task's seed, in the setting of label shift."""
    shift = PriorShift.of_option(prior)
    return task.change(target=resampled(task.target, shift, task.seed), setting=setting_under(task.setting, shift))


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
