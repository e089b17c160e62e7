"""Batches: seeded samplers over the visible data, gathered, moved, augmented and normalised for one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dazoo.core.types import Labeled, Seen
from dazoo.engine.units import Units
from dazoo.engine.windowed import Windowed
from dazoo.methods.base import Batch, GradientMethod
from dazoo.nets.net import part_seed

EMPTY = torch.empty(0)


class Sampler:
    """Rows of ``n`` samples in batches: a fresh permutation per epoch, no short last batch.

    Fewer samples than a batch are repeated within it. The state is plain, so a killed run goes on with the same rows.

    Args:
        passes: calls between two permutations; a permutation that is used up before starts again from its beginning.
            None: a fresh one whenever one is used up.
    """

    def __init__(self, n: int, batch: int, seed: int, passes: int | None = None):
        self.n, self.batch, self.passes = n, batch, passes
        self.gen = torch.Generator().manual_seed(seed)
        self.order = torch.randperm(n, generator=self.gen)
        self.at = self.calls = 0

    @property
    def per_epoch(self) -> int:
        """Whole batches of a permutation, at least one."""
        return max(1, self.n // self.batch)

    def __call__(self) -> Tensor:
        if self.passes is not None and self.calls == self.passes:
            self.order = torch.randperm(self.n, generator=self.gen)
            self.at = self.calls = 0
        self.calls += 1
        if self.n < self.batch:
            parts = [torch.randperm(self.n, generator=self.gen) for _ in range(-(-self.batch // self.n))]
            return torch.cat(parts)[: self.batch]
        if self.at + self.batch > self.n:
            if self.passes is None:
                self.order = torch.randperm(self.n, generator=self.gen)
            self.at = 0
        rows = self.order[self.at : self.at + self.batch]
        self.at += self.batch
        return rows

    def state(self) -> dict[str, Any]:
        return {"gen": self.gen.get_state(), "order": self.order, "at": self.at, "calls": self.calls}

    def restore(self, state: dict[str, Any]) -> None:
        self.gen.set_state(state["gen"])
        self.order, self.at, self.calls = state["order"], state["at"], state["calls"]


class EvenSampler:
    """Rows of several sources in batches that hold as many of each, in turns: row i is of source i modulo their number.

    ``domain`` (n,) says of which source a row is. Every source has a sampler of its own; ``batch`` is rounded down to a
    multiple of their number, two rows of each at least.
    """

    def __init__(self, domain: Tensor, batch: int, seeds: Sequence[int]):
        self.places = [torch.nonzero(domain == k)[:, 0] for k in range(len(seeds))]
        self.places, seeds = zip(*((p, s) for p, s in zip(self.places, seeds) if len(p)))  # type: ignore[assignment]
        share = max(2, batch // len(self.places))
        self.each = [Sampler(len(p), share, s) for p, s in zip(self.places, seeds)]
        self.n, self.batch = len(domain), share * len(self.places)

    @property
    def per_epoch(self) -> int:
        """Whole batches of all rows, at least one."""
        return max(1, self.n // self.batch)

    @property
    def at(self) -> int:
        """Rows of all sources that were drawn from the present permutations."""
        return sum(sampler.at for sampler in self.each)

    def __call__(self) -> Tensor:
        return torch.stack([place[rows()] for place, rows in zip(self.places, self.each)], 1).reshape(-1)

    def state(self) -> dict[str, Any]:
        return {"each": [s.state() for s in self.each]}

    def restore(self, state: dict[str, Any]) -> None:
        for sampler, held in zip(self.each, state["each"]):
            sampler.restore(held)


@dataclass(frozen=True)
class Preparer:
    """Turns raw samples into what a network takes, on its device.

    Attributes:
        train: ``(x, generator) -> x`` with the recipe's augmentation.
        strong: the same with strong augmentation.
        test: ``x -> x`` without augmentation.
    """

    train: Callable[[Tensor, torch.Generator], Tensor]
    strong: Callable[[Tensor, torch.Generator], Tensor]
    test: Callable[[Tensor], Tensor]


class Feed:
    """The batches of one run. Source and target draw from generators of their own, so that what a method does with
    one domain never changes what it sees of the other. Values arrive standardised by ``units``."""

    def __init__(
        self,
        seen: Seen,
        method: GradientMethod,
        prepare: Preparer,
        batch: int,
        seed: int,
        device: torch.device,
        cycle: str = "fresh",
        units: Units | None = None,
        window: int | None = None,
    ):
        self.method, self.prepare, self.device, self.units = method, prepare, device, units
        self.batch, self.seed, self.cycle = batch, seed, cycle
        self.few_only = seen.few is not None and not method.uses_source
        self.samplers: dict[str, Sampler | EvenSampler] = {}
        self.x: dict[str, Tensor] = {}
        self.y: dict[str, Tensor] = {}
        self.windowed, self.window = Windowed.of(seen, seed, window), 0
        self.seen = seen
        seen = self._open(0)
        self._few = lambda n: Sampler(n, batch, part_seed(seed, "sample few"))
        if seen.few is not None:
            self.samplers["f"] = self._few(len(seen.few))
        self.gens = {k: torch.Generator(device).manual_seed(part_seed(seed, "augment " + k)) for k in "stf"}
        own = type(method).redraw is not GradientMethod.redraw
        self.redraws = torch.Generator().manual_seed(part_seed(seed, "redraw")) if own else None
        self.x["f"] = _to(seen.few.x if seen.few is not None else EMPTY, device)
        self.y["f"] = _labels(seen.few, device, units)

    def _open(self, window: int) -> Seen:
        """The samples of a window (of all, where nothing stays on disk), with samplers of their own."""
        for key in self.windowed.moving:
            self.x.pop(key, None)  # not two windows at a time
        before = self.seen if window else None
        self.seen = seen = self.windowed.seen(window, before)
        self.window, device, batch = window, self.device, self.batch
        new = {"s", "t"} if before is None else self.windowed.moving
        again = f", window {window}" if window else ""
        source = seen.source
        if "s" in new and source is not None and self.method.uses_source:
            first = part_seed(self.seed, "sample source" + again)
            if self.method.even_sources and seen.n_sources > 1:
                more = [part_seed(self.seed, f"sample source {k}{again}") for k in range(1, seen.n_sources)]
                self.samplers["s"] = EvenSampler(source.domain, batch, [first, *more])
            else:
                self.samplers["s"] = Sampler(len(source), batch, first)
        if "t" in new and self.method.uses_target:
            passes = self.samplers["s"].per_epoch if self.cycle == "repeat" and "s" in self.samplers else None
            self.samplers["t"] = Sampler(len(seen.target), batch, part_seed(self.seed, "sample target" + again), passes)
        if "s" in new:
            self.x["s"] = _to(source.x if source is not None else EMPTY, device)
            self.y["s"] = _labels(source, device, self.units)
            self.ds = source.domain.to(device) if source is not None else EMPTY
            self._first: Tensor | None = None
        if "t" in new:
            self.x["t"] = _to(seen.target.x, device)
            self.dt = None if seen.target.domain is None else seen.target.domain.to(device)
        return seen

    def advance(self, window: int, memory: dict[str, Tensor]) -> dict[str, Tensor]:
        """Go on to a window; what is left of ``memory`` without what is about the samples of the last one."""
        if window == self.window or not self.windowed.moving:
            return memory
        old = {len(self.x[key]) for key in self.windowed.moving if len(self.x[key])}
        self._open(window)
        return {k: v for k, v in memory.items() if not v.ndim or len(v) not in old}

    def learn(self, few: Labeled) -> None:
        """Other labelled target samples than before: those that were asked for by now."""
        self.x["f"], self.y["f"] = _to(few.x, self.device), _labels(few, self.device, self.units)
        self.samplers["f"] = self._few(len(few))

    @property
    def epoch(self) -> int:
        """Iterations in a pass over the largest domain in use, or over the window of it that is in memory."""
        return max(-(-s.n // s.batch) for s in self.samplers.values())

    @property
    def per_epoch(self) -> int:
        """Iterations in a pass over the source, or over the largest domain in use where there is none."""
        used = {"s"} & self.samplers.keys() or self.samplers.keys()
        return max(max(1, self.windowed.rows(k, self.samplers[k].n) // self.samplers[k].batch) for k in used)

    def __call__(self, memory: dict[str, Tensor]) -> Batch:
        here = self.device
        drawn = {k: sampler() for k, sampler in self.samplers.items()}
        if self.redraws is not None:
            kept = {k: v.cpu() for k, v in memory.items()}
            drawn = dict(self.method.redraw(drawn, self.y["s"].cpu(), kept, self.redraws))
        rows = drawn if here.type == "cpu" else {k: r.to(here) for k, r in drawn.items()}
        weak: dict[str, Tensor] = {}
        strong: dict[str, Tensor] = {}
        more = None
        for k in rows:
            raw = self._gather(k, rows[k] if self.x[k].device.type == here.type else drawn[k])
            weak[k] = self.prepare.train(raw, self.gens[k])
            if self.method.strong_views:
                strong[k] = self.prepare.strong(raw, self.gens[k])
            if k == "t" and self.method.strong_views > 1:
                views = range(self.method.strong_views - 1)
                more = torch.stack([self.prepare.strong(raw, self.gens[k]) for _ in views], 1)
        s, t = rows.get("s"), rows.get("t")
        return Batch(
            xs=weak.get("s", EMPTY),
            ys=self.y["s"].index_select(0, s) if s is not None else EMPTY,
            ds=self._sources(s) if s is not None else EMPTY,
            xt=weak.get("t", EMPTY),
            s_rows=s if s is not None else EMPTY,
            t_rows=t if t is not None else EMPTY,
            xs_strong=strong.get("s"),
            xt_strong=strong.get("t"),
            xf=weak.get("f"),
            yf=self.y["f"].index_select(0, rows["f"]) if "f" in rows else None,
            xf_strong=strong.get("f"),
            dt=self.dt.index_select(0, t) if t is not None and self.dt is not None else None,
            xt_more=more,
            memory=memory,
        )

    def _sources(self, rows: Tensor) -> Tensor:
        """Source index of every row; with one source, all rows have that of the first."""
        if self.seen.n_sources > 1:
            return self.ds.index_select(0, rows)
        if self._first is None or len(self._first) != len(rows):
            self._first = self.ds[:1].expand(len(rows))
        return self._first

    def _gather(self, key: str, rows: Tensor) -> Tensor:
        x = self.x[key]
        # the same rows by a call with less around it; for pictures the copying is all that counts
        picked = x.index_select(0, rows) if x.ndim == 2 else x[rows]
        return picked if picked.device == self.device else picked.to(self.device, non_blocking=True)

    def state(self) -> dict[str, Any]:
        return {
            "samplers": {k: s.state() for k, s in self.samplers.items()},
            "gens": {k: g.get_state() for k, g in self.gens.items()},
            "redraws": None if self.redraws is None else self.redraws.get_state(),
            "window": self.window,
        }

    def restore(self, state: dict[str, Any]) -> None:
        if self.windowed.moving and state.get("window", 0) != self.window:
            self._open(state["window"])
        for k, s in state["samplers"].items():
            self.samplers[k].restore(s)
        for k, g in state["gens"].items():
            self.gens[k].set_state(g.cpu())
        if self.redraws is not None:
            self.redraws.set_state(state["redraws"].cpu())


def _to(x: Tensor, device: torch.device) -> Tensor:
    """Vectors live on the device as float32; photographs stay where they are mapped and travel per batch."""
    if x.dtype == torch.uint8 and device.type == "cpu":
        return x
    if x.dtype == torch.uint8 and x.numel() > 4 << 30:
        return x
    return x.to(device=device, dtype=x.dtype if x.dtype == torch.uint8 else torch.float32)


def _labels(part: Labeled | None, device: torch.device, units: Units | None) -> Tensor:
    if part is None:
        return EMPTY
    if units is None:
        return part.y.to(device=device, dtype=torch.int64)
    return units.standardise(part.y).to(device=device, dtype=torch.float32)
