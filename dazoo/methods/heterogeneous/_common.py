"""A common width for both domains, and any shallow method behind it: the baselines of heterogeneous adaptation."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.hparam import hp
from dazoo.core.memo import Memo
from dazoo.core.types import Labeled, Prediction, Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, create_method
from dazoo.methods.shallow import Aligned, finished, sides
from dazoo.shallow.steps import Step, run_steps


@dataclass(frozen=True, eq=False)
class Through(Predictor):
    """A model of the common space: target and source samples pass the steps of their own side before it."""

    target_steps: tuple[Step, ...]
    source_steps: tuple[Step, ...]
    inner: Predictor

    def predict(self, x: Tensor) -> Prediction:
        return self.inner.predict(run_steps(self.target_steps, x))

    def predict_source(self, x: Tensor) -> Prediction:
        return self.inner.predict_source(run_steps(self.source_steps, x))


@dataclass(frozen=True, kw_only=True)
class CommonWidth(ShallowMethod):
    """A method that maps each domain by itself to a common width, where any shallow method can go on."""

    dim: int = hp(100, 20, 200, log=True, help="dimensions of the common space")
    then: str = hp("", help="the method that adapts there, e.g. coral; none: the classifier on all labelled samples")

    def maps(self, xs: Tensor, xt: Tensor, ctx: Context) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        """The steps of source and of target samples."""
        raise NotImplementedError(f"{self.name} does not define maps")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Map both sides, then fit the classifier or the other method."""
        xs, xt = sides(seen)
        of_source, of_target = self.maps(xs, xt, ctx)
        if not self.then:
            return finished(self.name, seen, ctx, Aligned(run_steps(of_source, xs), of_target, of_source))
        method = create_method(self.then)
        there = seen.setting.change(spaces="same")
        if not isinstance(method, ShallowMethod) or method.start is not None:
            raise DazooError(f"{self.name}.then must be a shallow method, and {self.then!r} is trained by gradients")
        problem = method.handles.problem(there)
        if problem:
            raise DazooError(f"{self.name}.then={self.then!r} does not run in the setting {there.name!r}: it {problem}")

        def moved(part: Labeled | None, steps: tuple[Step, ...]) -> Labeled | None:
            return None if part is None else replace(part, x=run_steps(steps, part.x))

        common = replace(
            seen,
            source=moved(seen.source, of_source),
            source_val=moved(seen.source_val, of_source),
            target=replace(seen.target, x=run_steps(of_target, seen.target.x)),
            few=moved(seen.few, of_target),
            setting=there,
        )
        return Through(of_target, of_source, method.fit(common, replace(ctx, memo=Memo())))
