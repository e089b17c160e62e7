"""Processes that believe in two GPUs: a ``sitecustomize`` that notes what each worker was given and computes on a CPU.

Only the modules that look at devices are touched, when they are imported, so that other processes load no torch.
"""

from __future__ import annotations

from pathlib import Path

CUSTOM = """
import importlib.abc, importlib.util, os, sys
from dataclasses import replace


def two_devices(module):
    module.torch.cuda.is_available = lambda: True
    module.torch.cuda.device_count = lambda: 2
    module.torch.cuda.get_device_name = lambda device=None: "none"


def on_a_cpu(module):
    real = module.Worker.__init__

    def init(self, place, since, token=""):
        with open(os.environ["FAKE_DEVICES"], "a") as file:
            file.write(f"{place.device} {os.environ.get('CUDA_VISIBLE_DEVICES')}\\n")
        real(self, replace(place, device="cpu"), since, token)
        sys.modules["torch"].cuda.is_available = lambda: False  # it would look for a driver from here on

    module.Worker.__init__ = init


class Finder(importlib.abc.MetaPathFinder):
    what = {"dazoo.engine.device": two_devices, "dazoo.bench.execute.worker": on_a_cpu}

    def find_spec(self, name, path, target=None):
        change = self.what.pop(name, None)
        if change is None:
            return None
        spec = importlib.util.find_spec(name)
        real = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (real(module), change(module))[0]
        return spec


sys.meta_path.insert(0, Finder())
"""


def environment(folder: Path) -> dict[str, str]:
    """What to add to the environment of a command, and ``FAKE_DEVICES``, the file of notes: device and visible ones."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(CUSTOM)
    return {"FAKE_DEVICES": str(folder / "seen")}
