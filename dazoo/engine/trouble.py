"""What a computation says when data defeats it, put into a sentence for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from dazoo.core.blocks import some_of
from dazoo.core.errors import DazooError, NonFiniteError
from dazoo.core.types import Seen

# a network computes in single precision, and so do the squares of its input: a little inside of what that can hold
LARGEST, SMALLEST = 1e37, 1e-37
_ONE_ROW = "Expected more than 1 value per channel"
# what scipy, scikit-learn and scipy's programmes say of values that are not finite
_NOT_FINITE = ("must not contain infs or NaNs", "contains infinity", "contains NaN", "values inf, nan")


@contextmanager
def explained(method: str, seen: Seen) -> Iterator[None]:
    """Turn the ways in which sound code fails on unsound data into a ``DazooError``: a decomposition that does not
    exist (no rank, values that are not finite), an overflow that a library finds, statistics of a batch of one."""
    try:
        with np.errstate(all="ignore"):  # what overflows is found in the outcome
            yield
    except (torch.linalg.LinAlgError, np.linalg.LinAlgError) as error:
        raise NonFiniteError(
            f"method {method!r}: a matrix could not be decomposed ({_first_line(error)}). The features reach "
            f"{_reach(seen):.3g} in size; standardise them (the transform zscore), and remove outliers and copies"
        ) from error
    except ValueError as error:
        if any(text in str(error) for text in _NOT_FINITE):
            raise NonFiniteError(
                f"method {method!r}: its arithmetic overflowed ({_first_line(error)}). The features reach "
                f"{_reach(seen):.3g} in size; standardise them (the transform zscore)"
            ) from error
        if _ONE_ROW not in str(error):
            raise
        raise DazooError(
            f"method {method!r}: batch normalisation has no statistics in a batch of one sample; use a recipe with a "
            "batch of at least 2, or with norm='layer' or 'none'"
        ) from error


def check_single_precision(seen: Seen) -> None:
    """Networks compute in single precision; samples that do not fit are refused, rather than taken for 0 or infinity.

    Raises:
        DazooError: the largest sample is beyond 1e37, or below 1e-37 although it is not 0.
    """
    size = _reach(seen)
    if size > LARGEST or 0 < size < SMALLEST:
        raise DazooError(
            f"the features reach {size:.3g} in size, and networks compute in single precision (about {SMALLEST:g} to "
            f"{LARGEST:g}); divide the features by their scale, or standardise them (the transform zscore)"
        )


def _reach(seen: Seen) -> float:
    """The largest size of an entry."""
    parts = [part.x for part in (seen.source, seen.target, seen.few) if part is not None and len(part)]
    looked = (some_of(x) for x in parts if x.is_floating_point())
    return max((float(torch.stack(x.aminmax()).abs().max()) for x in looked), default=1.0)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].removeprefix("linalg.").rstrip(".") if str(error).strip() else "no rank"
