"""Side by side with another library: the same data, classifier or network, steps and batch, in one run.

``python -m benchmarks.peers shallow`` and ``python -m benchmarks.peers deep`` write ``results/peers/<part>.{csv,md}``.
Needs the extra ``peers`` (skada, and skorch for the deep part) and Office-Caltech10 under the data root.
"""

import os

# before numpy and torch are first imported: their thread pools read these once
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
