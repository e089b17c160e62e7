"""The one training loop: every gradient method, any device, alone or stacked."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.engine import parallel
from dazoo.engine.learner import Alone, Learner, Stacked, stack_batches
from dazoo.engine.look import LazyLook
from dazoo.engine.member import Member
from dazoo.engine.optim import make_optimizer
from dazoo.engine.precision import parts_in
from dazoo.engine.recipe import Recipe
from dazoo.engine.state import read_state, write_state
from dazoo.engine.terms import Terms, diverged
from dazoo.engine.watch import Looks, look_steps, measure, probed
from dazoo.methods.base import Batch, GradientMethod, Phase, Progress
from dazoo.nets.gradients import gradients
from dazoo.nets.stages import held
from dazoo.nets.update import Update


@dataclass
class Loop:
    """State of a training run; ``run`` advances it to the end, through kills and restarts.

    Args:
        members: the runs trained together; more than one makes a stack.
        checkpoints: how many evenly spaced evaluations, the last at the end.
        on_checkpoint: called with (member index, step, fraction); must not draw random numbers.
        state: file for periodic state; an existing one is continued. Every ``save_every`` seconds.
        progress: called with the number of finished steps.
    """

    members: list[Member]
    recipe: Recipe
    steps: int
    device: torch.device
    checkpoints: int = 1
    on_checkpoint: Callable[[int, int, float], None] | None = None
    state: Path | None = None
    save_every: float = 60.0
    progress: Callable[[int], None] | None = None

    def __post_init__(self) -> None:
        first = self.members[0]
        self.learner: Learner = (
            Alone(first.method, first.net)
            if len(self.members) == 1
            else Stacked([m.method for m in self.members], [m.net for m in self.members])
        )
        names = sorted({n for moving in self.learner.phases.values() for n in moving})
        self.optimizer = make_optimizer(self.learner.parameters, names, first.method.part_lr(), self.recipe)
        self.update = Update(self.optimizer)
        self.base_lr = [g["lr"] for g in self.optimizer.param_groups]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.recipe.precision == "fp16")
        self.epoch = first.feed.epoch
        self.step = 0
        self.accumulate = self.recipe.accumulate
        self.log_every = max(1, self.steps // 100)
        self.looks = look_steps(self.steps)
        self.last: dict[str, list[float]] = {}

    # -- the loop ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train from the current step to the last."""
        if self.state is not None and self.state.is_file():
            self._restore(self.state)
        parallel.together()  # nobody writes a state that another is still to read
        stops = {max(1, round(self.steps * (i + 1) / self.checkpoints)) for i in range(self.checkpoints)}
        asking = self.members[0].questions
        if asking is not None:  # rounds are checkpoints, the first without any answer
            stops = {*asking.portions, self.steps}
            if not len(asking.ask.log):
                self._look_at_all()
        saved = time.monotonic()
        self._modes()
        while self.step < self.steps:
            if asking is not None and asking.due(self.step):
                self._ask()
            if self.step % self.epoch == 0:
                self._refresh()
            self._iterate()
            self.step += 1
            if self.progress is not None:
                self.progress(self.step)
            if self.step in stops:
                self._look_at_all()
            if self.state is not None and time.monotonic() - saved > self.save_every and parallel.first():
                self._save(self.state)
                saved = time.monotonic()
        self.learner.nets()
        if self.state is not None and parallel.first():
            self.state.unlink(missing_ok=True)

    def _look_at_all(self) -> None:
        if self.on_checkpoint is not None:
            self.learner.nets()
            for i in range(len(self.members)):
                self.on_checkpoint(i, self.step, self.step / self.steps)
            self._modes()

    def _ask(self) -> None:
        """Every member asks for the labels that are due; what it was answered is on disk before it is used."""
        for m, net in zip(self.members, self.learner.nets()):
            assert m.questions is not None
            net.eval()
            with torch.no_grad():
                m.questions.put(m.method, m.feed, net, LazyLook(m, net, self.step), self.step)
        self._modes()
        if self.state is not None and parallel.first():
            self._save(self.state)

    def _iterate(self) -> None:
        if self.members[0].method.idle:
            return
        t = Progress(self.step / self.steps, self.step, self.steps, self.recipe.ramp_at(self.step))
        batches = [m.feed(m.memory) for m in self.members]
        batch = batches[0] if isinstance(self.learner, Alone) else stack_batches(batches)
        factor = self.recipe.lr_factor(self.step)
        for group, lr in zip(self.optimizer.param_groups, self.base_lr):
            group["lr"] = lr * factor
        resting = self.members[0].method.resting(self.members[0].net, t)
        with parallel.working():
            for phase, every in self.learner.phases.items():
                moving = [n for n in every if n not in resting] if resting else every
                parts = of_each_source(batch) if phase.each_source else [batch]
                for turn, part in enumerate(parts * phase.repeat if moving else ()):  # a body may have no parameters
                    terms = self._advance(phase, moving, part, t, look=turn == 0 and self.step in self.looks)
                    self._check(terms)
        if isinstance(self.learner, Alone):
            member = self.members[0]
            if type(member.method).after_step is not GradientMethod.after_step:
                member.net.eval()  # a look at the net must not move its batch statistics
                with torch.no_grad():
                    member.method.after_step(member.net, batch, t)
                self._modes()

    def _advance(self, phase: Phase, moving: list[str], batch: Batch, t: Progress, look: bool = False) -> Terms:
        """One optimiser step; on CUDA running out of memory splits the batch further and tries again."""
        while True:
            try:
                return self._gradient_step(phase, moving, batch, t, look)
            except torch.cuda.OutOfMemoryError:
                if len(self.members) > 1 or parallel.current() is not None:  # whoever made the group makes smaller ones
                    raise
                if self.accumulate >= self.recipe.batch // 2:
                    raise DazooError(
                        "out of CUDA memory even with two samples per micro-batch; take a smaller network or images"
                    ) from None
                self.accumulate *= 2
                torch.cuda.empty_cache()
                for m in self.members:
                    m.warnings.append(
                        f"out of CUDA memory at step {self.step}: micro-batches cut to 1/{self.accumulate}"
                    )

    def _gradient_step(self, phase: Phase, moving: list[str], batch: Batch, t: Progress, look: bool) -> Terms:
        leaves = [self.learner.parameters[n] for n in moving]
        pieces = [batch] if self.accumulate == 1 else _split(batch, self.accumulate)
        seen: Terms = {}
        method = self.members[0].method
        own = type(method).combine is not GradientMethod.combine
        apart: dict[str, list[Tensor | None]] = {}
        for piece in pieces:
            terms = self._terms(phase, piece, t) if not look else self._look(phase, moving, piece, t)
            look = False
            plain = {k: v for k, v in terms.items() if k not in phase.smooth} if phase.smooth else terms
            groups = {k: {k: v} for k, v in plain.items()} if own else {"": plain}
            found = {
                k: self._gradients(group, leaves, 1 / len(pieces), keep=own or bool(phase.smooth))
                for k, group in groups.items()
            }
            if phase.smooth:
                sharp = {k: v for k, v in terms.items() if k in phase.smooth}
                found["smooth"] = self._sharp_gradients(phase, sharp, leaves, piece, t, 1 / len(pieces))
                if own and sharp:
                    found[next(iter(sharp))] = found.pop("smooth")
            apart = {k: _added(apart[k], v) if k in apart else v for k, v in found.items()}
            for k, v in terms.items():
                share = v.detach() if len(pieces) == 1 else v.detach() / len(pieces)
                seen[k] = seen[k] + share if k in seen else share
        names = list(moving)
        grads = method.combine(apart, names) if own else _summed(list(apart.values()))
        # fused optimisers walk through memory: a gradient of another layout would be applied to the wrong elements
        grads = [
            torch.empty_like(leaf).copy_(grad) if grad is not None and grad.stride() != leaf.stride() else grad
            for leaf, grad in zip(leaves, grads)
        ]
        if self.scaler.is_enabled():
            self._scaled_step(leaves, grads)
        else:
            if self.recipe.grad_clip:
                self._clip([grad for grad in grads if grad is not None])
            self.update(leaves, grads)
        return seen

    def _scaled_step(self, leaves: list[Tensor], grads: list[Tensor | None]) -> None:
        """A step in float16: gradients are unscaled, and a step whose gradients overflowed is left out."""
        for p in self.learner.parameters.values():
            p.grad = None
        for leaf, grad in zip(leaves, grads):
            leaf.grad = grad
        if self.recipe.grad_clip:
            self.scaler.unscale_(self.optimizer)
            self._clip([leaf.grad for leaf in leaves if leaf.grad is not None])
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _terms(self, phase: Phase, batch: Batch, t: Progress, watch: tuple[str, ...] = ()) -> Terms:
        if self.recipe.precision == "fp32":
            return self.learner.terms(phase, batch, t, watch)
        net = self.learner.net if isinstance(self.learner, Alone) else self.learner.template.net
        with parts_in(net, self.device.type, _DTYPES[self.recipe.precision]):
            return self.learner.terms(phase, batch, t, watch)

    def _gradients(self, terms: Terms, leaves: list[Tensor], share: float, keep: bool = False) -> list[Tensor | None]:
        """Gradients of ``share`` times the sum of ``terms``; None where there is none."""
        moving = [v for v in terms.values() if v.requires_grad]
        if not moving:
            return [None] * len(leaves)
        weight = share * self.scaler.get_scale() if self.scaler.is_enabled() else share
        starts = None if weight == 1 and not moving[0].ndim else [torch.full_like(v, weight) for v in moving]
        return gradients(moving, leaves, starts, keep)

    def _sharp_gradients(
        self, phase: Phase, terms: Terms, leaves: list[Tensor], batch: Batch, t: Progress, share: float
    ) -> list[Tensor | None]:
        """Gradients of ``phase.smooth`` at the parameters moved uphill by the phase's radius; then moves them back."""
        ascent = self._gradients(terms, leaves, share)
        moved = [(leaf, g) for leaf, g in zip(leaves, ascent) if g is not None]
        if not moved:
            return ascent
        radius = torch.tensor([float(getattr(m.method, phase.radius)) for m in self.members], device=self.device)
        norm = self.learner.norms([g for _, g in moved])
        scale = radius.reshape(norm.shape) / norm.clamp_min(1e-12)
        kept = [leaf.detach().clone() for leaf, _ in moved]
        with torch.no_grad():
            for leaf, g in moved:
                leaf.add_(g * (scale.view([-1] + [1] * (g.ndim - 1)) if scale.ndim else scale))
        again = self._terms(phase, batch, t)
        found = self._gradients({k: v for k, v in again.items() if k in phase.smooth}, leaves, share)
        with torch.no_grad():
            for (leaf, _), before in zip(moved, kept):
                leaf.copy_(before)
        return found

    def _clip(self, grads: list[Tensor]) -> None:
        if not grads:
            return
        scale = (self.recipe.grad_clip / (self.learner.norms(grads) + 1e-12)).clamp(max=1.0)
        for g in grads:
            g.mul_(scale.view([-1] + [1] * (g.ndim - 1)) if scale.ndim else scale)

    # -- watching ---------------------------------------------------------------------------------------------

    def _check(self, terms: Terms) -> None:
        """Log the terms, stop a run whose loss is no longer a number. On a device that costs a wait: not every step."""
        if self.device.type != "cpu" and self.step % 20 and self.step + 1 < self.steps:
            return
        values = {k: v.reshape(-1).tolist() if v.ndim else [v.item()] for k, v in terms.items()}
        for name, row in values.items():
            if not all(map(math.isfinite, row)):
                raise diverged(name, self.step, {k: v for k, v in self.last.items() if k in values})
        self.last.update(values)
        if self.step % self.log_every == 0 or self.step + 1 == self.steps:
            for i, m in enumerate(self.members):
                for name, row in values.items():
                    m.curves.setdefault(name, []).append((self.step, row[i]))

    def _look(self, phase: Phase, moving: list[str], batch: Batch, t: Progress) -> Terms:
        """The terms of a phase, measured; see ``engine.watch``."""
        found = self._terms(phase, batch, t, self.members[0].method.discriminators)
        # a method that uses no source has an empty batch, without a dimension for members
        n_source = batch.xs.shape[0 if isinstance(self.learner, Alone) else 1] if batch.xs.numel() else 0
        looks, leaves = [m.looks for m in self.members], {n: self.learner.parameters[n] for n in probed(moving)}
        rest = {n: self.learner.parameters[n] for n in moving if n not in leaves}
        return measure(looks, found, leaves, self.learner.norms, self.scaler.scale, n_source, self.step, rest)

    def _modes(self) -> None:
        """Training mode everywhere but in parts that are held fixed, whose statistics must not move."""
        for m in self.members:
            m.net.train()
            fixed = [part for part, lr in m.method.part_lr().items() if lr == 0]
            bodies = [n for n, _ in m.net.named_modules() if f".{n}".endswith(".body.backbone")]
            if self.recipe.freeze_norm and not m.method.own_norms:
                fixed += bodies
            elif self.recipe.frozen_stages and not m.method.own_norms:
                early = held(m.net.body.backbone, self.recipe.frozen_stages)
                fixed += [f"{body}.{name}" for body in bodies for name in early]
            for part in fixed:
                m.net.get_submodule(part).eval()
        if isinstance(self.learner, Stacked):
            for mine, other in zip(self.learner.template.net.modules(), self.members[0].net.modules()):
                mine.training = other.training

    def _refresh(self) -> None:
        for m, net in zip(self.members, self.learner.nets()):
            m.memory = m.feed.advance(self.step // self.epoch, m.memory)
            if type(m.method).refresh is not GradientMethod.refresh:
                net.eval()
                with torch.no_grad():
                    m.memory = m.method.refresh(net, LazyLook(m, net, self.step))
        self._modes()

    # -- state on disk ----------------------------------------------------------------------------------------

    def _save(self, path: Path) -> None:
        state = {
            "step": self.step,
            "parameters": {k: v.detach() for k, v in self.learner.parameters.items()},
            "buffers": [dict(m.net.named_buffers()) for m in self.learner_members()],
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
            "feeds": [m.feed.state() for m in self.members],
            "memory": [m.memory for m in self.members],
            "curves": json.dumps([m.curves for m in self.members]),
            "notes": json.dumps([m.notes for m in self.members]),
            "warnings": [m.warnings for m in self.members],
            "looks": json.dumps([m.looks.to_json() for m in self.members]),
            "asked": [None if m.questions is None else m.questions.state() for m in self.members],
        }
        problem = write_state(path, state)
        for m in self.members:
            m.warnings += [problem] if problem and problem not in m.warnings else []

    def _restore(self, path: Path) -> None:
        state = read_state(path, self.device)
        if state is None:
            return
        self.step = state["step"]
        with torch.no_grad():
            for name, p in self.learner.parameters.items():
                p.copy_(state["parameters"][name])
            for m, buffers in zip(self.learner_members(), state["buffers"]):
                for name, b in m.net.named_buffers():
                    b.copy_(buffers[name])
        if isinstance(self.learner, Stacked):
            for name, stacked in self.learner.buffers.items():
                stacked.copy_(torch.stack([dict(m.net.named_buffers())[name] for m in self.members]))
        self.optimizer.load_state_dict(state["optimizer"])
        self.update.forget()
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"].cpu())
        for i, m in enumerate(self.members):
            if m.questions is not None:
                m.questions.restore(m.feed, state["asked"][i])
            m.feed.restore(state["feeds"][i])
            m.memory = state["memory"][i]
            m.curves = {k: [(int(s), v) for s, v in c] for k, c in json.loads(state["curves"])[i].items()}
            m.notes[:] = json.loads(state["notes"])[i]
            m.warnings[:] = state["warnings"][i]
            m.looks = Looks(**json.loads(state["looks"])[i]) if "looks" in state else Looks()

    def learner_members(self) -> Sequence[Member]:
        self.learner.nets()
        return self.members


_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def _added(old: list[Tensor | None], new: list[Tensor | None]) -> list[Tensor | None]:
    return [b if a is None else a if b is None else a + b for a, b in zip(old, new)]


def _summed(grads: list[list[Tensor | None]]) -> list[Tensor | None]:
    total = grads[0]
    for more in grads[1:]:
        total = _added(total, more)
    return total


def of_each_source(batch: Batch) -> list[Batch]:
    """The rows of every source that the batch has rows of; what is of the target stays as it is."""
    cut = ("xs", "ys", "ds", "s_rows", "xs_strong")
    held = {k: v for k in cut if (v := getattr(batch, k)) is not None}
    rows = [batch.ds == k for k in batch.ds.unique().tolist()]
    return [replace(batch, **{k: v[mine] for k, v in held.items()}) for mine in rows]


def _split(batch: Batch, pieces: int) -> list[Batch]:
    """Micro-batches of about equal size, of two samples at least: moments and batch statistics of one say nothing."""
    whole = {k: v for k, v in vars(batch).items() if isinstance(v, Tensor) and v.numel()}
    rest = {k: v for k, v in vars(batch).items() if k not in whole}
    pieces = max(1, min(pieces, min(len(v) for v in whole.values()) // 2))
    cut: dict[str, Any] = {k: torch.tensor_split(v, pieces) for k, v in whole.items()}
    return [Batch(**{k: parts[i] for k, parts in cut.items()}, **rest) for i in range(pieces)]
