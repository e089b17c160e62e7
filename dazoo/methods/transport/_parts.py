"""What plan-based methods do where the matrix of all pairs is too large: random parts of both domains, one by one.

Both domains are cut at random into as many parts, of at most ``PART`` samples a side; part i of the source meets part
i of the target, and all is cut anew ``PASSES`` times (Fatras et al., AISTATS 2020, https://arxiv.org/abs/1910.04091).
What a sample sends or receives is the mean over the parts it was in. Memory and time grow with n, not with n^2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import Context
from dazoo.methods.shallow import source_of, target_x

# All matrices of a part, 120 bytes a pair at most, take 126 MB, an eighth of a process of 1 GiB, and an exact plan
# about 0.15 CPU seconds, those of 20,000 samples a side (20 parts, twice) 6 of them; both grow with its square.
PART = 1024
PASSES = 2
GIB = 1 << 30
ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of the source and rows of the target that are transported to one another."""

    rows: Tensor | slice
    cols: Tensor | slice


def gib_of(n_s: int, n_t: int, pair_bytes: int) -> float:
    """Memory in GiB of ``pair_bytes`` for each of (n_s, n_t) pairs."""
    return n_s * n_t * pair_bytes / GIB


def large_said(name: str, n_s: int, n_t: int, need: float, gib: float, part: int, passes: int) -> str:
    """The sentence about random parts in the place of the whole plan."""
    return (
        f"{name}: a plan of {n_s} x {n_t} samples needs about {need:.1f} GiB, more than memory_gib={gib:g}; random "
        f"parts of at most {part} samples a side are transported instead, {passes} times each"
    )


def blocks_of(
    name: str, n_s: int, n_t: int, gib: float, pair_bytes: int, ctx: Context, strata: Iterable[Tensor] = ()
) -> list[Block]:
    """One block of all pairs where those need at most ``gib`` GiB, else random parts, which a warning says.

    ``strata``: labels (n_s,) each value of which is dealt evenly to the parts of the source.
    """
    need = gib_of(n_s, n_t, pair_bytes)
    if need <= gib:
        return [Block(ALL, ALL)]
    ctx.warn(large_said(name, n_s, n_t, need, gib, PART, PASSES))
    return plan_parts(n_s, n_t, ctx, list(strata))


def plan_parts(n_s: int, n_t: int, ctx: Context, strata: list[Tensor]) -> list[Block]:
    """The parts of all passes."""
    parts = min(-(-max(n_s, n_t) // PART), max(min(n_s, n_t) // 2, 1))
    if strata:
        _, counts = torch.unique(torch.stack(strata, 1), dim=0, return_counts=True)
        parts = max(min(parts, int(counts.min())), 1) if len(strata) > 1 else parts
    blocks = []
    for _ in range(PASSES):
        order = torch.randperm(n_s, generator=ctx.gen)
        for labels in reversed(strata):
            order = order[labels.cpu()[order].argsort(stable=True)]
        columns = torch.randperm(n_t, generator=ctx.gen).tensor_split(parts)
        blocks += [Block(order[i::parts], cols) for i, cols in enumerate(columns)]
    return blocks


def part_of(seen: Seen, block: Block) -> Seen:
    """The task of one block; ``seen`` itself where it is the only one."""
    if block.rows is ALL:
        return seen
    source = source_of(seen)
    labelled = Labeled(source.x[block.rows], source.y[block.rows], source.domain[block.rows])
    return replace(seen, source=labelled, target=Unlabeled(target_x(seen)[block.cols]), few=None, source_val=None)


def scaled(costs: list[Tensor]) -> list[Tensor]:
    """Costs over the largest entry of all."""
    top = torch.stack([c.max() for c in costs]).max()
    top = torch.where(top > 0, top, torch.ones_like(top))
    return [c / top for c in costs]


def received(blocks: list[Block], plans: list[Tensor], rows: Tensor, n_t: int) -> Tensor:
    """The mean (n_t, k) of what ``plans`` send of ``rows`` (n_s, k) to every target sample."""
    if len(blocks) == 1:
        return plans[0].T @ rows / plans[0].sum(0)[:, None]
    total, mass = rows.new_zeros(n_t, rows.shape[1]), rows.new_zeros(n_t, 1)
    for block, plan in zip(blocks, plans):
        total[block.cols] += plan.T @ rows[block.rows]
        mass[block.cols] += plan.sum(0)[:, None]
    return total / mass


def sent(blocks: list[Block], plans: Iterable[Tensor], xt: Tensor, n_s: int) -> Tensor:
    """The mean (n_s, d) of the samples ``xt`` (n_t, d) to which ``plans`` send every source sample; all must send."""
    total, mass = xt.new_zeros(n_s, xt.shape[1]), xt.new_zeros(n_s, 1)
    for block, plan in zip(blocks, plans):
        total[block.rows] += plan @ xt[block.cols]
        mass[block.rows] += plan.sum(1)[:, None]
    return total / mass
