"""The commands of SLURM that submitit calls, on this machine: ``sbatch``, ``srun``, ``sacct``, ``scontrol requeue``.

The folder of the commands holds a file per task of an array, ``<job>_<task>``, whose content is its state. A task that
is queued again is started by its own shell.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

SHELL = """
while : ; do
  echo RUNNING > {state}; rm -f {state}.again
  env {env} bash {script} > {state}.log 2>&1
  code=$?
  [ -e {state}.again ] || break
done
[ $code = 0 ] && echo COMPLETED > {state} || echo FAILED > {state}
"""


def install(folder: Path) -> None:
    """Write the commands, to be put on ``PATH``."""
    folder.mkdir()
    for name in ("sbatch", "srun", "sacct", "scontrol", "scancel"):
        (folder / name).write_text(
            f'#!/bin/sh\nexec {sys.executable} {Path(__file__).resolve()} {name} {folder} "$@"\n'
        )
        (folder / name).chmod(0o755)


def sbatch(folder: Path, arguments: list[str]) -> None:
    script = Path(arguments[-1])
    (folder / "submitted").write_text(script.read_text())
    job = 1 + len(list(folder.glob("*_0")))
    array = re.search(r"--array=0-(\d+)", script.read_text())
    for task in range(1 + int(array[1])) if array else range(1):
        state = folder / f"{job}_{task}"
        state.write_text("PENDING")
        env = f"SLURM_JOB_ID={100 + job} SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 "
        env += "SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0"
        if array:
            env += f" SLURM_ARRAY_JOB_ID={job} SLURM_ARRAY_TASK_ID={task}"
        else:
            env = env.replace(f"{100 + job}", str(job))
        shell = SHELL.format(state=state, env=env, script=script)
        subprocess.Popen(
            ["bash", "-c", shell], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    print(f"Submitted batch job {job}")


def srun(folder: Path, arguments: list[str]) -> None:
    """``srun --unbuffered --output FILE --error FILE COMMAND``"""
    command = arguments[arguments.index(sys.executable) :]
    os.execvp(command[0], command)


def sacct(folder: Path, arguments: list[str]) -> None:
    print("JobID|State|NodeList")
    for state in sorted(p for p in folder.glob("*_*") if "." not in p.name):
        array = "--array" in (folder / "submitted").read_text()
        print(f"{state.name if array else state.name.split('_')[0]}|{state.read_text().strip()}|here")


def scontrol(folder: Path, arguments: list[str]) -> None:
    """``scontrol requeue JOB``"""
    job = arguments[-1] if "_" in arguments[-1] else f"{arguments[-1]}_0"
    (folder / f"{job}.again").touch()


if __name__ == "__main__":
    _, _name, _folder, *_arguments = sys.argv
    {"sbatch": sbatch, "srun": srun, "sacct": sacct, "scontrol": scontrol}.get(_name, lambda *_: None)(
        Path(_folder), _arguments
    )
