"""Methods put together by name: ``create_method("cdan+mcc")`` is CDAN with MCC's term, with no file of its own.

    objective of a+b = objective of a + (terms of b without "cls")

The first method leads: it gives the classification loss, its phases and how it predicts; where that is not the head
alone (``GradientMethod.scores``), the others' terms see those scores as the head's. Each further one adds the terms of
its main phase (all but ``cls``) to the leader's main phase, and its other phases after the leader's; the main phase is
the first that moves the body. A further method's parts are built under ``<name>_``, its hooks run after the leader's,
and the leader's terms that its phase calls ``smooth`` become so. Body, features and head are computed once per input
and shared. Hyper-parameters are addressed as ``mcc.trade_off``; a method may hold some of them at fixed values where it
is added to another (``GradientMethod.partner``) or put together at all (``GradientMethod.alone``).

Composed classes are made when asked for, looked up like any other method, and not listed. Evidence:
tests/test_compose.py (``cdan+mcc`` with one weight 0 is the other method alone, bit for bit).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dazoo.core import hparam
from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import METHODS, Batch, GradientMethod, Look, Method, Phase, Progress
from dazoo.methods.composition.view import Once, View

PLAIN = (GradientMethod.predict, GradientMethod.scores)


def composed(name: str) -> type[Method] | None:
    """The class of ``a+b`` (any number of names), or None for a name without a plus.

    Raises:
        UnknownName: one of the names is no method.
        DazooError: the methods cannot be put together; the message says why.
    """
    return _made(name) if "+" in name else None


@cache
def _made(name: str) -> type[Method]:
    names = name.split("+")
    classes: list[type[GradientMethod]] = []
    for part in names:
        cls = METHODS.get(part)
        if not issubclass(cls, GradientMethod):
            raise DazooError(f"{name!r} cannot be put together: {part!r} is not trained by gradients")
        classes.append(cls)
    _check(name, classes)
    lead, rest = classes[0], classes[1:]
    body: dict[str, Any] = {
        "__doc__": " + ".join((c.__doc__ or c.name).strip().splitlines()[0].rstrip(".") for c in classes) + ".",
        "__module__": __name__,
        "name": name,
        "family": lead.family,
        "revision": sum(c.revision for c in classes),
        "members": tuple(classes),
        "paper": _paper(classes),
        "handles": _handles(classes),
        "targets": frozenset.intersection(*(c.targets for c in classes)),
        "start": lead.start,
        "fresh": lead.fresh,
        "stackable": all(c.stackable for c in classes),
        "strong_views": max(int(c.strong_views) for c in classes),
        "uses_source": any(c.uses_source for c in classes),
        "uses_target": any(c.uses_target for c in classes),
        "needs_batch_norm": any(c.needs_batch_norm for c in classes),
        "own_norms": any(c.own_norms for c in classes),
        "neutral": _neutral(classes),
        "discriminators": tuple(
            (f"{c.name}_" if i else "") + p for i, c in enumerate(classes) for p in c.discriminators
        ),
    }
    # the engine leaves out hooks that a class does not define
    for hook in ("refresh", "redraw", "combine", "after_step", "finish"):
        if any(getattr(c, hook) is not getattr(GradientMethod, hook) for c in classes):
            body[hook] = getattr(Composition, "_" + hook)
    annotations: dict[str, Any] = {}
    for cls in classes:
        for f in dataclasses.fields(cls):  # type: ignore[arg-type]
            if f.name in _held(cls, cls in rest):
                continue
            annotations[f"{cls.name}.{f.name}"] = f.type
            body[f"{cls.name}.{f.name}"] = dataclasses.field(default=f.default, metadata=f.metadata)
    body["__annotations__"] = annotations
    body["settings"] = body["handles"].settings
    made = type("".join(c.__name__ for c in classes), (Composition,), body)
    return dataclasses.dataclass(init=False, repr=False, eq=False)(made)


def _held(cls: type[GradientMethod], further: bool) -> dict[str, Any]:
    """Hyper-parameters that a member of a composition does not leave open, with their values."""
    return {**cls.alone, **(cls.partner if further else {})}


def _check(name: str, classes: list[type[GradientMethod]]) -> None:
    def refuse(reason: str) -> DazooError:
        return DazooError(f"{name!r} cannot be put together: {reason}")

    lead, rest = classes[0], classes[1:]
    if len(set(classes)) < len(classes):
        raise refuse("a method stands twice")
    for cls in rest:
        if cls.start is not None and cls.start != lead.start:
            raise refuse(f"{cls.name!r} starts from a fitted {cls.start!r} and has to stand first")
    own = [c.name for c in rest if (c.predict, c.scores) != PLAIN and not c.alone]
    if own:
        raise refuse(f"{own[0]!r} predicts in a way of its own and has to stand first")
    joint = [c.name for c in classes if c.combine is not GradientMethod.combine]
    if joint and not (lead.classifies and lead.uses_source):
        raise refuse(
            f"{joint[0]!r} weighs other gradients against that of a classification, and {lead.name!r} has none"
        )
    if len(joint) > 1:
        raise refuse("two methods put the gradients of all terms together")
    if _handles(classes) is None:
        raise refuse("the methods have no settings in common")
    if not frozenset.intersection(*(c.targets for c in classes)):
        raise refuse("the methods have no targets in common")


def _handles(classes: list[type[GradientMethod]]) -> Handles | None:
    """What all of them can do."""
    both: Handles | None = classes[0].handles
    for cls in classes[1:]:
        both = None if both is None else both & cls.handles
    return both


def _paper(classes: list[type[GradientMethod]]) -> Paper:
    papers = [c.paper for c in classes]
    notes = [f"{c.name}: {c.paper.deviations}" for c in classes if c.paper.deviations]
    return Paper(
        title=" + ".join(p.title for p in papers),
        authors=", ".join(dict.fromkeys(name for p in papers for name in p.authors.split(", "))),
        year=max(p.year for p in papers),
        url=papers[-1].url,
        venue=" + ".join(p.where for p in papers),
        deviations="; ".join(["the terms of the methods are added up", *notes]),
        parts=tuple((c.name, c.paper) for c in classes),
    )


def _neutral(classes: list[type[GradientMethod]]) -> dict[str, Any] | None:
    merged: dict[str, Any] = {}
    for c in classes:
        if c.neutral is None:
            return None
        merged |= {f"{c.name}.{k}": v for k, v in c.neutral.items() if k not in _held(c, c is not classes[0])}
    return merged


class Composition(GradientMethod):
    """Base of all composed methods: a frozen dataclass whose fields are the members' under ``<name>.``.

    ``methods`` holds an instance of every member.
    """

    members: ClassVar[tuple[type[GradientMethod], ...]] = ()
    methods: tuple[GradientMethod, ...]

    def __init__(self, **given: Any):
        fields = {f.name: f.default for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        unknown = set(given) - set(fields)
        if unknown:
            raise TypeError(f"{self.name} has no fields {sorted(unknown)}")
        for name, default in fields.items():
            object.__setattr__(self, name, given.get(name, default))
        made = []
        for i, cls in enumerate(self.members):
            own = {n.split(".", 1)[1]: getattr(self, n) for n in fields if n.split(".", 1)[0] == cls.name}
            made.append(cls(**own, **_held(cls, i > 0)))
        object.__setattr__(self, "methods", tuple(made))

    def __setattr__(self, name: str, value: Any) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __getattr__(self, name: str) -> Any:
        """``mcd.losses_b``: that phase of that member."""
        owner, _, losses = name.partition(".")
        for i, method in enumerate(self.__dict__.get("methods", ())):
            if losses and method.name == owner:
                return lambda net, b, t: getattr(method, losses)(self._view(net, i, Once()), _batch(b, method), t)
        raise AttributeError(name)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and hparam.values(self) == hparam.values(other)

    def __hash__(self) -> int:
        return hash((self.name, *hparam.values(self).values()))

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in hparam.values(self).items())})"

    def __reduce__(self) -> Any:
        return _rebuilt, (self.name, hparam.values(self))

    def _view(self, net: Any, i: int, once: Once | None = None) -> View:
        others = tuple(f"{m.name}_" for m in self.methods[1:])
        lead = self.methods[0] if i and type(self.methods[0]).scores is not GradientMethod.scores else None
        return View(net, "" if i == 0 else others[i - 1], others, once, lead)

    @property
    def phases(self) -> tuple[Phase, ...]:  # type: ignore[override]
        """The leader's phases, with the others' main ones in its main one, then the others' further ones."""
        lead, *rest = self.methods
        at, main = _main(lead)
        phases = [_own(lead, p, "", p.update) for p in lead.phases]
        merged = dataclasses.replace(main, losses="losses", radius=_dotted(lead, main.radius))
        for method in rest:
            prefix, (_, own) = f"{method.name}_", _main(method)
            parts = self._parts(method, prefix)
            if own.radius and merged.radius:
                raise DazooError(f"{self.name!r} cannot be put together: two methods smooth the same phase")
            merged = dataclasses.replace(
                merged,
                update=merged.update if "*" in merged.update else (*merged.update, *parts),
                smooth=(*merged.smooth, *(s if s == "cls" else f"{method.name}.{s}" for s in own.smooth)),
                radius=merged.radius or _dotted(method, own.radius),
            )
            for p in method.phases:
                if p is not own:
                    phases.append(_own(method, p, prefix, ("body", "head", *parts) if "*" in p.update else p.update))
        return (*phases[:at], merged, *phases[at + 1 :])

    def _parts(self, method: GradientMethod, prefix: str) -> tuple[str, ...]:
        """Names of the parts with parameters that ``method`` builds; their shapes do not matter here."""
        with torch.device("meta"):
            built = method.build(2, 2)
        return tuple(prefix + n for n, m in built.items() if any(True for _ in m.parameters()))

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        parts: dict[str, nn.Module] = {}
        for i, method in enumerate(self.methods):
            prefix = f"{method.name}_" if i else ""
            parts |= {prefix + n: m for n, m in method.build(width, n_classes).items()}
        return parts

    def setup(self, net: Any) -> None:
        for i, method in enumerate(self.methods):
            method.setup(self._view(net, i))

    def part_lr(self) -> dict[str, float]:
        rates: dict[str, float] = {}
        for i, method in enumerate(self.methods):
            for part, rate in method.part_lr().items():
                name = part if not i or part.split(".")[0] in ("body", "head") else f"{method.name}_{part}"
                if rates.setdefault(name, rate) != rate:
                    raise DazooError(f"{self.name!r} cannot be put together: two rates for {part!r}")
        return rates

    def resting(self, net: Any, t: Progress) -> frozenset[str]:
        return frozenset().union(*(m.resting(self._view(net, i), t) for i, m in enumerate(self.methods)))

    def losses(self, net: Any, b: Batch, t: Progress) -> dict[str, Tensor]:
        once = Once()
        terms: dict[str, Tensor] = {}
        for i, method in enumerate(self.methods):
            found = getattr(method, _main(method)[1].losses)(self._view(net, i, once), _batch(b, method), t)
            terms |= found if i == 0 else {f"{method.name}.{k}": v for k, v in found.items() if k != "cls"}
        return terms

    def scores(self, net: Any, features: Tensor) -> Tensor:
        return self.methods[0].scores(self._view(net, 0), features)

    def predict(self, net: Any, x: Tensor) -> Prediction:
        return self.methods[0].predict(self._view(net, 0), x)

    def predict_source(self, net: Any, x: Tensor) -> Prediction:
        return self.methods[0].predict_source(self._view(net, 0), x)

    def _refresh(self, net: Any, look: Look) -> dict[str, Tensor]:
        return {
            f"{m.name}.{k}": v
            for i, m in enumerate(self.methods)
            for k, v in m.refresh(self._view(net, i), look).items()
        }

    def _redraw(
        self, rows: Mapping[str, Tensor], ys: Tensor, memory: Mapping[str, Tensor], gen: torch.Generator
    ) -> Mapping[str, Tensor]:
        for m in self.methods:
            rows = m.redraw(rows, ys, _own_memory(memory, m), gen)
        return rows

    def _combine(self, grads: Mapping[str, Sequence[Tensor | None]], names: Sequence[str]) -> list[Tensor | None]:
        own = next(m for m in self.methods if type(m).combine is not GradientMethod.combine)
        return own.combine(grads, names)

    def _after_step(self, net: Any, b: Batch, t: Progress) -> None:
        for i, method in enumerate(self.methods):
            method.after_step(self._view(net, i), _batch(b, method), t)

    def _finish(self, net: Any, look: Look) -> None:
        for i, method in enumerate(self.methods):
            method.finish(self._view(net, i), look)


def _rebuilt(name: str, values: dict[str, Any]) -> Method:
    made: Method = METHODS.get(name)(**values)
    return made


def _main(method: GradientMethod) -> tuple[int, Phase]:
    """The first phase that moves the body, and its place."""
    phases = method.phases
    moving = (i for i, p in enumerate(phases) if any(u == "*" or u.split(".")[0] == "body" for u in p.update))
    at = next(moving, 0)
    return at, phases[at]


def _batch(b: Batch, method: GradientMethod) -> Batch:
    """The batch with the method's own memory under its own names."""
    return dataclasses.replace(b, memory=_own_memory(b.memory, method))


def _own_memory(memory: Mapping[str, Tensor], method: GradientMethod) -> dict[str, Tensor]:
    prefix = f"{method.name}."
    return {k.removeprefix(prefix): v for k, v in memory.items() if k.startswith(prefix)}


def _dotted(method: GradientMethod, field: str) -> str:
    return f"{method.name}.{field}" if field else ""


def _own(method: GradientMethod, phase: Phase, prefix: str, update: tuple[str, ...]) -> Phase:
    """A later phase of one member, with its parts under their names in the composed network."""
    moved = tuple(
        u if u == "*" or u.split(".")[0] in ("body", "head") or u.startswith(prefix) else prefix + u for u in update
    )
    return dataclasses.replace(
        phase, losses=f"{method.name}.{phase.losses}", update=moved, radius=_dotted(method, phase.radius)
    )


METHODS.derive_by(composed)
