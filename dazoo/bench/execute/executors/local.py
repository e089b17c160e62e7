"""Jobs of a queue without a queue: submitit's processes of this machine, to try what ``slurm`` would do."""

from __future__ import annotations

from typing import Any

from dazoo.bench.execute.base import register
from dazoo.bench.execute.executors._submitit import Submitit


@register
class Local(Submitit):
    """As many jobs at the same time as there may be workers."""

    cluster = "local"

    def parameters(self) -> dict[str, Any]:
        return {"gpus_per_node": 1} if self.setup.place.device.startswith("cuda") else {}

    def free(self) -> int:
        return self.workers - len(self._jobs)
