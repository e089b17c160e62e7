"""What is measured of a run while it trains: which terms pull at the network, and what its discriminators answer.

A few looks per run, spread evenly. They draw no random numbers and change no parameter, so that a run with them ends
with the same bits as one without.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

LOOKS = 5
LEAST_LOOKS = 3
INERT = 1e-3
"""Share of a term in the gradient below which, at every look, it does nothing."""
SATURATED = 0.98
"""Accuracy from which, at every look, a discriminator knows every sample: its opponent never fooled it."""
BLIND = 0.02
"""Distance of a discriminator's loss from log 2 up to which, at every look, it says nothing about the domains."""
APPARENT = 0.75
"""Held-out accuracy of nearest means on a discriminator's inputs from which there was something to see."""
MARK = "@"


@dataclass
class Looks:
    """The looks at one run.

    Attributes:
        shares: by term, (step, share): norm of the term's gradient over the sum of all terms' norms, on the body where
            the term reaches it, else on the part where its share is largest. Terms of one phase are compared.
        discriminators: by part, (step, accuracy, loss, apparent): balanced accuracy and cross-entropy of its logits on
            the batch, and the held-out accuracy of nearest class means on the same inputs.
    """

    shares: dict[str, list[list[float]]] = field(default_factory=dict)
    discriminators: dict[str, list[list[float]]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def add_share(self, name: str, step: int, share: float) -> None:
        """A term of several phases counts with the largest of its shares."""
        rows = self.shares.setdefault(name, [])
        if rows and rows[-1][0] == step:
            rows[-1][1] = max(rows[-1][1], share)
        else:
            rows.append([step, share])

    def add_answer(self, name: str, step: int, answer: Sequence[float]) -> None:
        rows = self.discriminators.setdefault(name, [])
        if rows and rows[-1][0] == step:
            rows.pop()
        rows.append([step, *answer])


def look_steps(steps: int) -> frozenset[int]:
    """The steps of a run at which to look: the middles of equal parts of it."""
    looks = min(LOOKS, steps)
    return frozenset(int(steps * (i + 0.5) / looks) for i in range(looks))


def measure(
    looks: Sequence[Looks],
    found: Mapping[str, Tensor],
    leaves: Mapping[str, Tensor],
    norms: Callable[[Sequence[Tensor]], Tensor],
    scale: Callable[[Tensor], Tensor],
    n_source: int,
    step: int,
    rest: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Enter a look at every member of a stack, and return the terms in ``found`` (see ``with_outputs``) alone.

    A device without the memory for further gradients is left alone. Arguments as of ``gradient_shares``; ``rest`` are
    the other parameters that move, looked at where a term reaches none of ``leaves``, as one of early layers does.
    """
    terms = {k: v for k, v in found.items() if not k.startswith(MARK)}
    with suppress(torch.cuda.OutOfMemoryError):
        shares_of = gradient_shares(terms, list(leaves), list(leaves.values()), norms, scale)
        if rest and any(v.requires_grad and not bool(shares_of[k].any()) for k, v in terms.items()):
            leaves = {**leaves, **rest}
            shares_of = gradient_shares(terms, list(leaves), list(leaves.values()), norms, scale)
        for name, shares in shares_of.items():
            for mine, share in zip(looks, shares.tolist()):
                mine.add_share(name, step, share)
    for mark, output in found.items():
        if mark.startswith(MARK):
            for mine, rows in zip(looks, output.reshape(len(looks), -1, output.shape[-1])):
                mine.add_answer(mark.removeprefix(MARK), step, answers(rows.cpu(), n_source))
    return terms


# -- gradient shares ----------------------------------------------------------------------------------------------


def probed(moving: Sequence[str]) -> list[str]:
    """The parameters on which gradients are compared: without the backbone where a bottleneck follows it, since the
    backward pass then ends there and costs next to nothing."""
    if any(n.startswith("body.bottleneck.") for n in moving):
        return [n for n in moving if not n.startswith("body.backbone.")]
    return list(moving)


def gradient_shares(
    terms: Mapping[str, Tensor],
    names: Sequence[str],
    leaves: Sequence[Tensor],
    norms: Callable[[Sequence[Tensor]], Tensor],
    scale: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    """Shares (members,) of every term in the gradient; the graph of ``terms`` is kept. See ``Looks.shares``.

    Args:
        names: of the ``leaves``. norms: of a gradient per member. scale: the loss scaling of mixed precision.
    """
    body = [i for i, n in enumerate(names) if n.partition(".")[0] == "body"]
    if body and len(body) < len(names):
        found = _part_norms(terms, [names[i] for i in body], [leaves[i] for i in body], norms, scale)
        if all(found.values()):  # every term reaches the body: gradients elsewhere would not be looked at
            return _shares(terms, found)
    return _shares(terms, _part_norms(terms, names, leaves, norms, scale))


def _part_norms(
    terms: Mapping[str, Tensor],
    names: Sequence[str],
    leaves: Sequence[Tensor],
    norms: Callable[[Sequence[Tensor]], Tensor],
    scale: Callable[[Tensor], Tensor],
) -> dict[str, dict[str, Tensor]]:
    """By term and part, the norms (members,) of the term's gradient on the part."""
    sizes: dict[str, dict[str, Tensor]] = {}
    for name, value in terms.items():
        found: dict[str, list[Tensor]] = {}
        if value.requires_grad:
            grads = torch.autograd.grad(scale(value.float().sum()), leaves, allow_unused=True, retain_graph=True)
            for leaf, grad in zip(names, grads):
                if grad is not None:
                    found.setdefault(leaf.partition(".")[0], []).append(grad)
        sizes[name] = {part: norms(grads).float().reshape(-1) for part, grads in found.items()}
    return sizes


def _shares(terms: Mapping[str, Tensor], sizes: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    members = next((len(v) for v in terms.values() if v.ndim), 1)
    out = {}
    for name, parts in sizes.items():
        shares = []
        for part in ("body",) if "body" in parts else parts:
            total = torch.stack([s[part] for s in sizes.values() if part in s]).sum(0)
            shares.append(torch.where(total > 0, parts[part] / total.clamp_min(1e-38), torch.zeros_like(total)))
        out[name] = torch.stack(shares).amax(0) if shares else torch.zeros(members)
    return out


# -- discriminators -----------------------------------------------------------------------------------------------


def with_outputs(net: nn.Module, parts: Sequence[str], rows: int, call: Callable[[], dict[str, Tensor]]) -> Any:
    """What ``call`` returns, and under ``@part`` the logits and inputs (rows, 1 + d) of each part's last call on
    ``rows`` rows; parts that the network lacks are left out. Parallel discriminators answer as ``one_answer`` says."""
    kept: dict[str, Tensor] = {}

    def keep(part: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, given: Any, out: Any) -> None:
            x = given[0]
            if (
                x.ndim in (2, 3)
                and x.shape[-2] == rows
                and isinstance(out, Tensor)
                and out.numel() * x.shape[-1] == x.numel()
            ):
                x, z = x.detach().float(), out.detach().float().reshape(*x.shape[:-1], 1)
                kept[MARK + part] = torch.cat(one_answer(z, x) if x.ndim == 3 else (z, x), 1)

        return hook

    known = dict(net.named_children())
    handles = [known[p].register_forward_hook(keep(p)) for p in parts if p in known]
    try:
        found = call()
    finally:
        for handle in handles:
            handle.remove()
    return {**found, **kept}


def one_answer(z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (n, 1) and inputs (n, d) of ``k`` discriminators that share every row, from theirs (k, n, 1), (k, n, d).

    Where discriminator c sees g_c f, with g >= 0 of sum 1 over c, the input is f, and each has g_c of the say.
    """
    say = x.norm(dim=2, keepdim=True)
    return (z * say).sum(0) / say.sum(0).clamp_min(1e-12), x.sum(0)


def answers(output: Tensor, n_source: int) -> tuple[float, float, float]:
    """Accuracy, loss and apparent accuracy (see ``Looks``) of logits and inputs (n, 1 + d), source rows first."""
    z, x = output[:, 0].double(), output[:, 1:].double()
    zs, zt = z[:n_source], z[n_source:]
    accuracy = ((zs > 0).double().mean() + (zt <= 0).double().mean()) / 2
    loss = (nn.functional.softplus(-zs).mean() + nn.functional.softplus(zt).mean()) / 2
    return float(accuracy), float(loss), apparent(x[:n_source], x[n_source:])


def apparent(xs: Tensor, xt: Tensor) -> float:
    """Balanced accuracy of the nearest domain mean on standardised features, each half of the rows judged by the means
    of the other; 1/2 where a domain has fewer than four rows."""
    if min(len(xs), len(xt)) < 4:
        return 0.5
    right = []
    for half in (0, 1):
        a, b = xs[half::2], xt[half::2]
        spread = torch.cat([a - a.mean(0), b - b.mean(0)]).square().mean(0).sqrt()
        # a ridge: features that hardly vary in a few rows must not decide
        weight = (a.mean(0) - b.mean(0)) / (spread + 0.1 * spread.mean() + 1e-12) ** 2
        middle = (a.mean(0) + b.mean(0)) / 2
        says_s, says_t = (xs[1 - half :: 2] - middle) @ weight > 0, (xt[1 - half :: 2] - middle) @ weight < 0
        right.append((says_s.double().mean() + says_t.double().mean()) / 2)
    return float(torch.stack(right).mean())


# -- findings -----------------------------------------------------------------------------------------------------


def check(looks: Looks) -> list[dict[str, str]]:
    """What the looks at one run say went wrong: ``kind``, ``subject`` (a term or a part) and ``text``."""
    found = []
    for term, rows in sorted(looks.shares.items()):
        most = max(share for _, share in rows)
        if len(rows) >= LEAST_LOOKS and most < INERT:
            text = (
                f"the loss term {term!r} has at most {most:.1g} of the gradient at {len(rows)} looks (below {INERT:g})"
            )
            found.append({"kind": "inert term", "subject": term, "text": text})
    for part, rows in sorted(looks.discriminators.items()):
        if len(rows) < LEAST_LOOKS:
            continue
        accuracy, loss, there = (list(column) for column in list(zip(*rows))[1:])
        off = max(abs(value - math.log(2.0)) for value in loss)
        seen = sum(there) / len(there)
        if min(accuracy) >= SATURATED:
            text = (
                f"the discriminator {part!r} was right on at least {min(accuracy):.0%} of every batch looked at: the "
                "features never fooled it"
            )
            found.append({"kind": "saturated discriminator", "subject": part, "text": text})
        elif off <= BLIND and seen >= APPARENT:
            text = (
                f"the loss of the discriminator {part!r} stayed within {off:.2g} of log 2, though nearest means tell "
                f"the domains apart on {seen:.0%} of its inputs"
            )
            found.append({"kind": "blind discriminator", "subject": part, "text": text})
    return found
