"""Regular transfer: the source's parameters as the prior of the target's. Chelba and Acero, CSL 2006.

With (W_s, b_s), (d, C) and (C,), fitted on the source, the n_f labelled target samples (x_i, y_i) give

    classes:  min_{W,b}  sum_i -log softmax(W'x_i + b)_{y_i}  +  trade_off/2 (||W - W_s||^2 + ||b - b_s||^2)
    values:   min_{w,b}  sum_i (w'x_i + b - y_i)^2            +  trade_off (||w - w_s||^2 + (b - b_s)^2)

W - W_s lies in the span of the target samples, so both are solved in at most n_f coordinates: the linear one in closed
form, the logistic one by L-BFGS. A large ``trade_off`` keeps the source's model, 0 forgets it.

Evidence: tests/test_parameter_transfer.py::test_logistic_transfer_is_stationary,
test_linear_transfer_solves_the_normal_equations, test_large_trade_off_keeps_the_source_model.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.parameter_transfer._few import few_of
from dazoo.methods.shallow import pair, source_of
from dazoo.ops.classwise import one_hot
from dazoo.shallow.classifiers import Classifier, classifier
from dazoo.shallow.steps import LinearScores, Pipeline


@register
class RegularTransfer(ShallowMethod):
    """The source's parameters as the prior of the target's."""

    paper = Paper(
        title="Adaptation of maximum entropy capitalizer: Little data can help a lot",
        authors="Ciprian Chelba, Alex Acero", year=2006, url="https://doi.org/10.1016/j.csl.2005.05.005",
        venue="Computer Speech & Language (Journal)",
        deviations="the paper adapts maximum-entropy models; the linear form is the same Gaussian prior for squared "
        "error",
    )  # fmt: skip
    handles = Handles(marked="few")
    targets = frozenset({"classes", "values"})

    trade_off: float = hp(1.0, 1e-3, 1e3, log=True, help="weight of the distance from the source's parameters")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Fit the source, then move its parameters."""
        if not self.trade_off > 0:
            raise DazooError(f"regular_transfer.trade_off must be above 0, not {self.trade_off}")
        x, y = few_of(seen)
        start = source_parameters(seen, ctx)
        design = torch.cat([x, x.new_ones(len(x), 1)], 1)
        if seen.regression:
            moved = start + ridge_step(design, y.to(x)[:, None] - design @ start, self.trade_off)
            kind, classes = "values", torch.zeros(1, dtype=torch.int64, device=x.device)
        else:
            moved = start + self._logistic_step(design, one_hot(y, seen.n_classes).to(x), start, ctx)
            kind, classes = "logits", torch.arange(seen.n_classes, device=x.device)
        head = LinearScores(moved[:-1].contiguous(), moved[-1].contiguous(), classes, seen.n_classes, kind)
        return Pipeline((), None, head)

    def _logistic_step(self, design: Tensor, belongs: Tensor, start: Tensor, ctx: Context) -> Tensor:
        """The change (d + 1, C) of the parameters."""
        from scipy.optimize import minimize

        basis = torch.linalg.qr(design.T).Q  # (d + 1, r): the span of the samples
        z, offset, target = (v.cpu().numpy() for v in (design @ basis, design @ start, belongs))
        shape = (z.shape[1], offset.shape[1])

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            change = flat.reshape(shape)
            scores = offset + z @ change
            top = scores.max(1, keepdims=True)
            log_total = top[:, 0] + np.log(np.exp(scores - top).sum(1))
            value = (log_total - (scores * target).sum(1)).sum() + self.trade_off / 2 * (change**2).sum()
            gradient = z.T @ (np.exp(scores - log_total[:, None]) - target) + self.trade_off * change
            return float(value), gradient.ravel()

        options = {"maxiter": 5000, "maxfun": 10000, "ftol": 1e-15, "gtol": 1e-8}
        found = minimize(loss, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B", options=options)
        if found.nit >= 5000:
            ctx.warn("regular_transfer: L-BFGS stopped before it converged")
        return basis @ torch.from_numpy(found.x.reshape(shape)).to(basis)


def ridge_step(design: Tensor, residual: Tensor, ridge: float) -> Tensor:
    """argmin_D ||design D - residual||^2 + ridge ||D||^2 (d + 1, k), through the (n_f, n_f) system."""
    inner = design @ design.T
    inner.diagonal().add_(ridge)
    return design.T @ torch.linalg.solve(inner, residual)


def source_parameters(seen: Seen, ctx: Context) -> Tensor:
    """The source's weights with the bias as last row (d + 1, C), or (d + 1, 1) for values.

    Logistic or ridge regression with the options of the suite's classifier where that is one. Classes without source
    samples have zero weights and the lowest bias.
    """
    name = "ridge" if seen.regression else "logistic"
    same = isinstance(ctx.classifier, Classifier) and ctx.classifier.name == name
    chosen = ctx.classifier if same else classifier(name)

    def make() -> tuple[Tensor, list[str]]:
        notes: list[str] = []
        head = chosen.fit(pair(seen)[0], source_of(seen).y, seen.n_classes, warn=notes.append)
        assert isinstance(head, LinearScores)
        weight = torch.zeros(len(head.weight), max(seen.n_classes, 1), dtype=head.weight.dtype, device=head.bias.device)
        bias = head.bias.min().repeat(max(seen.n_classes, 1))
        columns = head.classes if seen.n_classes else torch.zeros(1, dtype=torch.int64, device=weight.device)
        weight[:, columns], bias[columns] = head.weight, head.bias
        return torch.cat([weight, bias[None]]), notes

    found, notes = ctx.memo(("source_parameters", chosen), make)
    for note in notes:  # a shared result warns in every run that uses it
        ctx.warn(f"the source's model: {note}")
    return found
