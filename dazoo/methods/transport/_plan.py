"""Transport plans between whole samples, by POT, and the base of methods that move the source along a plan.

POT's solvers take arrays or tensors: costs on a GPU go to its torch backend and stay there (the network simplex, which
has none, runs on the CPU); costs on the CPU go in as numpy arrays.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError, NonFiniteError
from dazoo.core.hparam import hp
from dazoo.core.memo import Memo
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import Context
from dazoo.methods.shallow import Aligned, FeatureMap, pair, source_of
from dazoo.methods.transport._parts import GIB, PART, PASSES, large_said
from dazoo.ops.linalg.blas import all_finite, product
from dazoo.ops.linalg.linear import total_variance
from dazoo.shallow.steps import NearestShift

PAIR_BYTES = 48
EMD_ITERATIONS = 5_000_000
KEPT = 0.05
GAP = 0.05
FLAT = 200.0


def check_size(n_s: int, n_t: int, gib: float = 4.0, pair_bytes: int = PAIR_BYTES, remedy: str = "") -> None:
    """Raise ``DazooError`` where the matrices of (n_s, n_t) entries behind a plan need more than ``gib`` GiB."""
    need = n_s * n_t * pair_bytes / GIB
    if need > gib:
        raise DazooError(
            f"a transport plan of {n_s} x {n_t} samples needs about {need:.1f} GiB, more than memory_gib={gib:g}; "
            f"{remedy or 'raise memory_gib, or draw a subsample'}, or use ot_linear, whose cost does not grow with the "
            "number of pairs"
        )


def even_weights(n: int) -> np.ndarray[Any, Any]:
    """The uniform distribution on n points."""
    return np.full(n, 1.0 / n)


def top_cost(cost: Tensor) -> Tensor:
    """The largest entry of ``cost``, or 1 where all are zero."""
    top = cost.max()
    if not bool(torch.isfinite(top)):
        raise NonFiniteError("the transport cost is not finite; check the features' scale")
    return torch.where(top > 0, top, torch.ones_like(top))


def posed(x: Tensor, native: bool | None = None) -> Any:
    """``x`` as POT takes it: the tensor itself on a GPU (or where ``native``), a numpy array on the CPU."""
    native = x.device.type != "cpu" if native is None else native
    return x.contiguous() if native else np.ascontiguousarray(x.cpu().numpy())


def back(plan: Any, like: Tensor) -> Tensor:
    """A plan of POT as a tensor like ``like``, checked to be finite."""
    out = torch.as_tensor(plan).to(like)
    if not all_finite(out):
        raise NonFiniteError("the transport plan is not finite; raise reg, or check the features' scale")
    return out


def marginals(cost: Tensor, a: Tensor | None = None, b: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``a`` and ``b``, or uniform weights (n_s,) and (n_t,), as tensors like ``cost``."""
    n, m = cost.shape
    return (
        cost.new_full((n,), 1.0 / n) if a is None else a.to(cost),
        cost.new_full((m,), 1.0 / m) if b is None else b.to(cost),
    )


def exact_plan(cost: Tensor, ctx: Context, a: Tensor | None = None, b: Tensor | None = None) -> Tensor:
    """The exact plan (n_s, n_t) between weights ``a`` and ``b`` (None: uniform) by the network simplex."""
    import ot

    wa, wb = (posed(w, False) for w in marginals(cost, a, b))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan, log = ot.emd(
            wa, wb, posed(cost / top_cost(cost), False), numItermax=EMD_ITERATIONS, log=True, check_marginals=False
        )
    if log["warning"] is not None:
        ctx.warn(f"the transport problem was not solved to the end: {log['warning']}")
    return back(plan, cost)


def entropic_plan(
    cost: Tensor,
    reg: float,
    ctx: Context,
    iterations: int = 1000,
    a: Tensor | None = None,
    b: Tensor | None = None,
    native: bool | None = None,
) -> Tensor:
    """The entropic plan (n_s, n_t) for ``cost`` divided by its largest entry."""
    plan, _, settled = entropic(cost / top_cost(cost), reg, iterations, a, b, native=native)
    if not settled:
        ctx.warn(f"Sinkhorn stopped after {iterations} iterations before it converged; raise reg or the iterations")
    return plan


def entropic(
    cost: Tensor,
    reg: float,
    iterations: int,
    a: Tensor | None = None,
    b: Tensor | None = None,
    start: tuple[Any, Any] | None = None,
    native: bool | None = None,
    tolerance: float = 1e-8,
) -> tuple[Tensor, tuple[Any, Any], bool]:
    """argmin_P <P, cost> + reg sum P (log P - 1) between ``a`` and ``b``, the logarithms of its scalings, and whether
    it converged.

    Where the cost varies by at most 200 reg, exp(-cost / reg) stays above 1e-87, and plain matrix scaling is exact and
    fast; otherwise the iteration runs in the log domain. ``start`` are scalings of an earlier call.
    """
    import ot

    wa, wb = (posed(w, native) for w in marginals(cost, a, b))
    low, high = torch.aminmax(cost)
    flat = bool(high - low <= FLAT * reg)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plan, log = ot.sinkhorn(
            wa, wb, posed(cost - low, native), reg, method="sinkhorn" if flat else "sinkhorn_log",
            numItermax=iterations, stopThr=tolerance, log=True, warmstart=start,
        )  # fmt: skip
    settled = not any("converge" in str(w.message) or "numerical" in str(w.message).lower() for w in caught)
    keep = ("log_u", "log_v")
    scalings = tuple(log[k] if k in log else _log(log[k[4:]]) for k in keep)
    return back(plan, cost), (scalings[0], scalings[1]), settled


def _log(x: Any) -> Any:
    tiny = 1e-300
    return x.clamp(min=tiny).log() if isinstance(x, Tensor) else np.log(np.maximum(x, tiny))


def note_gap(name: str, gap: float, value: float, ctx: Context) -> None:
    """Warn where a Frank-Wolfe iteration ended with a duality gap of more than ``GAP`` of its objective ``value``."""
    if gap > GAP * abs(value):
        ctx.warn(
            f"{name} stopped with a duality gap of {gap / max(abs(value), 1e-300):.0%} of its objective; "
            "raise rounds and lower tolerance, or lower the weight of the regulariser"
        )


def note_uniform(name: str, zs: Tensor, xt: Tensor, ctx: Context) -> None:
    """Warn where samples ``zs`` (n_s, d) moved along a plan keep less than ``KEPT`` of the variance of ``xt``."""
    kept = float(total_variance(zs) / total_variance(xt).clamp(min=1e-300))
    if len(zs) > 1 and kept < KEPT:
        ctx.warn(
            f"{name}: the plan is nearly uniform: moved source samples keep {kept:.1%} of the target's "
            "variance, so one far sample may set the scale of the costs; lower reg, or standardise the features"
        )


def barycentric(plan: Tensor, xt: Tensor) -> Tensor:
    """sum_j P_ij x_t,j / sum_j P_ij (n_s, d); rows without mass give the mean of ``xt``."""
    return _mean(_carried(plan, xt), plan.sum(dim=1), xt)


def _carried(plan: Tensor, xt: Tensor) -> Tensor:
    if plan.device.type == "cpu" and int((plan > 0).sum()) < 0.1 * plan.numel():
        from scipy.sparse import csr_array

        return torch.from_numpy(csr_array(plan.numpy()) @ xt.numpy())
    return product(plan, xt)


def _mean(carried: Tensor, mass: Tensor, xt: Tensor) -> Tensor:
    mass = mass[:, None]
    return torch.where(mass > 0, carried / torch.where(mass > 0, mass, torch.ones_like(mass)), xt.mean(dim=0))


@dataclass(frozen=True, kw_only=True)
class MovedByPlan(FeatureMap):
    """A method that moves every source sample to the barycentre of where a plan sends its mass.

    The target stays as it is. New source samples move as their nearest training sample did. A plan that needs more
    than ``memory_gib`` is handled as ``large`` says:

    - ``auto``: mini-batches of at most 1024 samples a side, twice (``_parts``), and a warning says so.
    - ``error``: refused, in one sentence.
    - ``minibatch``: both domains are cut at random into as many parts, of at most ``batch`` samples; part i of the
      source is transported to part i of the target, and this is repeated ``passes`` times; a source sample moves to
      the barycentre of all it was sent to (Fatras et al., AISTATS 2020, https://arxiv.org/abs/1910.04091).
    - ``dense``: go on, whatever it needs.

    Class attributes:
        pair_bytes: memory per source-target pair at the peak, all matrices together.
        ways: the choices of ``large``.
    """

    pair_bytes: ClassVar[int] = PAIR_BYTES
    ways: ClassVar[tuple[str, ...]] = ("auto", "error", "minibatch", "dense")

    memory_gib: float = hp(4.0, help="largest memory of the dense problem, in GiB", positive=True)
    large: str = hp(
        "auto", keyed="error",
        help="what to do beyond memory_gib: auto, error, minibatch or dense (ot_sinkhorn: or lazy)",
    )  # fmt: skip
    batch: int = hp(2048, help="samples per side of a mini-batch where large is minibatch")
    passes: int = hp(4, help="how often each source sample is transported where large is minibatch")

    def plan(self, seen: Seen, ctx: Context) -> Tensor:
        """The transport plan (n_s, n_t)."""
        raise NotImplementedError(f"{self.name} does not define plan")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Move the source."""
        xs, _ = pair(seen)
        zs, _ = self.move(seen, ctx)
        note_uniform(self.name, zs, pair(seen)[1], ctx)
        return Aligned(zs, (), (NearestShift(xs, zs - xs),))

    def move(self, seen: Seen, ctx: Context) -> tuple[Tensor, Tensor]:
        """Images (n_s, d) of the source samples, and the mass (n_s,) each sends."""
        xs, xt = pair(seen)
        if self.large not in self.ways:
            raise DazooError(f"{self.name}.large must be one of {list(self.ways)}, not {self.large!r}")
        need = len(xs) * len(xt) * self.bytes_per_pair(seen) / GIB
        if self.in_parts(seen):
            ways = " or ".join(f"large={w!r}" for w in self.ways if w != "error")
            if self.large == "error" and not ctx.on_disk:  # a sample of what is on disk goes by mini-batches
                check_size(len(xs), len(xt), self.memory_gib, self.bytes_per_pair(seen), f"choose {ways}")
            if self.large == "auto":
                parts = replace(self, large="minibatch", batch=min(self.batch, PART), passes=min(self.passes, PASSES))
                ctx.warn(large_said(self.name, len(xs), len(xt), need, self.memory_gib, parts.batch, parts.passes))
                return parts.move_large(seen, ctx)
            return self.move_large(seen, ctx)
        plan = self.plan(seen, ctx)
        return barycentric(plan, xt), plan.sum(dim=1)

    def in_parts(self, seen: Seen) -> bool:
        """Whether the whole plan would be too large."""
        xs, xt = pair(seen)
        return len(xs) * len(xt) * self.bytes_per_pair(seen) > self.memory_gib * GIB and self.large != "dense"

    def bytes_per_pair(self, seen: Seen) -> int:
        """``pair_bytes``, unless it depends on the data."""
        return self.pair_bytes

    def move_large(self, seen: Seen, ctx: Context) -> tuple[Tensor, Tensor]:
        """``move`` by mini-batches."""
        xs, xt = pair(seen)
        carried, mass = torch.zeros_like(xs), xs.new_zeros(len(xs))
        for rows, part in _batches(seen, self.batch, self.passes, ctx):
            plan = self.plan(part, replace(ctx, memo=Memo()))
            carried[rows] += _carried(plan, part.target.x) * len(rows)
            mass[rows] += plan.sum(dim=1) * len(rows)
        return _mean(carried, mass, xt), mass / (self.passes * len(xs))


def _batches(seen: Seen, size: int, passes: int, ctx: Context) -> Iterator[tuple[Tensor, Seen]]:
    """Random parts of the source, as rows, each with a task of its own against a part of the target."""
    xs, xt = pair(seen)
    source = source_of(seen)
    parts = -(-max(len(xs), len(xt)) // max(size, 2))
    parts = min(parts, max(min(len(xs), len(xt)) // 2, 1))
    for _ in range(max(passes, 1)):
        order_s = torch.randperm(len(xs), generator=ctx.gen).to(xs.device)
        order_t = torch.randperm(len(xt), generator=ctx.gen).to(xs.device)
        for rows, cols in zip(order_s.tensor_split(parts), order_t.tensor_split(parts)):
            labelled = Labeled(xs[rows], source.y[rows], source.domain[rows])
            yield rows, replace(seen, source=labelled, target=Unlabeled(xt[cols]), few=None, source_val=None)
