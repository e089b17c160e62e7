"""Jobs of SLURM through submitit: one array, of which as many run at the same time as there may be workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dazoo.bench.execute.base import register
from dazoo.bench.execute.executors._submitit import Submitit
from dazoo.bench.execute.worker import THREADS
from dazoo.core.errors import DazooError

ARRAY = 1000
"""Jobs of an array at most: clusters allow 1001 unless they say otherwise."""
PLAIN = ("partition", "account", "qos", "constraint")
NUMBERS = {"mem_gb": float, "cpus": int, "gpus": int}


@register
class Slurm(Submitit):
    """An array of jobs."""

    cluster = "slurm"
    options = {
        **Submitit.options,
        "partition": "as of sbatch",
        "account": "as of sbatch",
        "qos": "as of sbatch",
        "constraint": "as of sbatch",
        "exclude": "nodes that take no part",
        "mem_gb": "memory of a job",
        "cpus": "processor cores of a job (1)",
        "gpus": "GPUs of a job (1 where the device is cuda)",
        "sbatch": "any other option of sbatch, as in sbatch:reservation=NAME",
    }

    @classmethod
    def check(cls, options: Mapping[str, str]) -> None:
        super().check(options)
        for name, of in NUMBERS.items():
            try:
                of(options.get(name, 1))
            except ValueError as error:
                raise DazooError(f"--with {name}={options[name]}: a number is needed") from error

    def parameters(self) -> dict[str, Any]:
        asked = self.setup.options
        excluded = [asked.get("exclude", ""), *self._refused]
        more = {name.partition(":")[2]: value for name, value in asked.items() if name.startswith("sbatch:")}
        found: dict[str, Any] = {f"slurm_{name}": asked[name] for name in PLAIN if name in asked}
        return found | {
            "name": "dazoo",
            "slurm_array_parallelism": max(1, self.workers),
            "slurm_setup": [f"export {name}=1" for name in THREADS],
            "slurm_exclude": ",".join(dict.fromkeys(filter(None, excluded))) or None,
            "slurm_additional_parameters": more or None,
            "mem_gb": float(asked["mem_gb"]) if "mem_gb" in asked else None,
            "cpus_per_task": int(asked.get("cpus", 1)),
            "gpus_per_node": int(asked.get("gpus", self.setup.place.device.startswith("cuda"))),
        }

    def free(self) -> int:
        return max(0, ARRAY - len(self._jobs)) if self.workers else 0
