"""What methods have in common that adapt a fitted source model and read no source sample."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from dazoo.core.handles import Handles
from dazoo.core.hparam import space
from dazoo.methods.base import Batch, GradientMethod
from dazoo.nets.net import Net


class SourceFree(GradientMethod):
    """From the source model, without the source; with all weights 0 it stays that model. Several sources that are told
    apart each have a model, which is adapted by itself; the adapted ones vote."""

    handles = Handles(source="model", n_sources={"one", "many"})
    start = "source_only"
    uses_source = False
    one_by_one = True

    @property
    def idle(self) -> bool:
        weights = [k for k in space(type(self)) if k == "trade_off" or k.endswith("_weight")]
        return bool(weights) and not any(getattr(self, k) for k in weights)


def banks(features: Tensor, scores: Tensor) -> dict[str, Tensor]:
    """All target samples' unit features ``bank_f`` (N, width) and predictions ``bank_p`` (N, C)."""
    return {"bank_f": normalize(features, dim=-1), "bank_p": scores.softmax(-1)}


def renew_banks(net: Net, b: Batch) -> None:
    """Put the batch into the banks as the network sees it now."""
    features = net.body(b.xt)
    b.memory["bank_f"][b.t_rows] = normalize(features, dim=-1)
    b.memory["bank_p"][b.t_rows] = net.head(features).softmax(-1)
