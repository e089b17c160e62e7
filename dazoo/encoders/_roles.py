"""The roles of the columns of a table, inferred from their cells."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from dazoo.encoders._cells import GAPS, NO, YES, dates_of, day_first, decimals_of, level_of

ROLES = ("number", "boolean", "category", "date", "text", "ignored")
READ = 0.95  # of the filled cells must read as numbers, or as dates
LONG, MANY = 4.0, 0.5  # words of a text on average; share of different values from which words are no levels
CODES = 10  # whole numbers with at most so many values may be codes; fewer cells than that tell nothing
IDENTIFIER = re.compile(r"(?:^|[_\s.-])(?:id|uuid|guid)$|^index$|^unnamed: \d+$", re.I)
CAMEL = re.compile(r"[a-z](?:ID|Id)$")
COUNTS = "counts the rows, as an identifier does, and is left out"


def role_in(source: Any, target: Any) -> tuple[str, str]:
    """The role of a column in both domains, as ``role_of``, each judged by itself: both may count their rows."""
    (one, said), (other, also) = role_of(source), role_of(target)
    if {one, other} == {"number"} and len(target) and counts_rows([source, target]):
        return "ignored", COUNTS
    if one == other == "category" and _nothing_shared(source, target):
        return "ignored", "has no level in common in source and target and is left out; spell levels alike in both"
    if one == other or not len(target):
        return one, said or (also if len(target) else "")
    for here, why, there, note in ((one, said, other, also), (other, also, one, said)):
        if here == "ignored":  # an identifier in one file is none of the other's numbers
            return (here, why) if "identifier" in why else (there, note)
    if {one, other} == {"boolean", "number"}:
        return "boolean", ""
    if {one, other} <= {"category", "text"}:
        return "text", ""
    return "category", f"holds {one} cells in the source but {other} cells in the target; read as a category"


def role_of(values: Any) -> tuple[str, str]:
    """The role of a column (a ``pandas.Series``) and, where that needs a word, a sentence after the column's name."""
    import pandas as pd

    filled = values.dropna()
    if not len(filled):
        return "ignored", "is empty and left out"
    kinds = pd.api.types
    if kinds.is_complex_dtype(values):
        return "ignored", "holds complex numbers and is left out; make two columns of them, real and imag"
    if kinds.is_bool_dtype(values) or (values.dtype == object and all(isinstance(v, (bool, np.bool_)) for v in filled)):
        return "boolean", ""
    if kinds.is_datetime64_any_dtype(values):
        return "date", ""
    if kinds.is_timedelta64_dtype(values):
        return "number", "holds spans of time, read as days"
    if kinds.is_numeric_dtype(values):
        role, said = _numeric(filled)
        return (role, said) if role == "ignored" else _called_identifier(filled) or (role, said)
    return _called_identifier(filled) or _words(filled.astype(str).str.strip())


def _words(texts: Any) -> tuple[str, str]:
    """As ``role_of``, of texts (a ``pandas.Series``) without gaps."""
    told = texts[~texts.str.casefold().isin(GAPS)]
    numbers = decimals_of(told)
    if len(told) and float(numbers.notna().mean()) >= READ:
        comma = bool(told.str.contains(",", regex=False).any())
        return "number", "holds numbers as text" + (" with a decimal comma" if comma else "") + "; read as numbers"
    folded = set(texts.str.casefold())
    if folded <= YES | NO and len(folded) > 1:
        return "boolean", ""
    if len(told) and float(dates_of(told, day_first(told)).notna().mean()) >= READ:
        first = ", the day first" if day_first(told) else ""
        return "date", f"holds dates as text; read as dates{first}"
    different = texts.nunique() / len(texts)
    if different > MANY and texts.nunique() > CODES:
        if float(texts.str.split().str.len().mean()) >= LONG:
            return "text", ""
        if different == 1.0:
            return "ignored", "has another value in every row, as an identifier has, and is left out"
    return "category", ""


def _called_identifier(filled: Any) -> tuple[str, str] | None:
    """A column that is called like an identifier and has as many values; numbers with fractions are measurements."""
    import pandas as pd

    name = str(filled.name)
    if not (IDENTIFIER.search(name) or CAMEL.search(name)) or len(filled) <= CODES:
        return None
    if pd.api.types.is_float_dtype(filled) and bool((filled != filled.round()).any()):
        return None
    if filled.astype(str).nunique() <= MANY * len(filled):
        return None
    return "ignored", "is called like an identifier, has as many values, and is left out"


def _numeric(filled: Any) -> tuple[str, str]:
    whole = bool((filled == filled.round()).all())
    n = filled.nunique()
    if n == 1:
        return "ignored", "has the same value in every row and is left out"
    if whole and n == len(filled) > CODES and counts_rows([filled]):
        return "ignored", COUNTS
    if whole and 2 < n <= CODES:
        return "number", f"holds {n} different whole numbers, read as numbers; if they are codes, call it a category"
    return "number", ""


def counts_rows(parts: list[Any]) -> bool:
    """Whether numbers run from some first one to some last one, each once, over all parts together."""
    import pandas as pd

    filled = [p.dropna() for p in parts]
    if not all(len(p) and pd.api.types.is_numeric_dtype(p) for p in filled) or sum(map(len, filled)) <= CODES:
        return False
    low, high = min(float(p.min()) for p in filled), max(float(p.max()) for p in filled)
    every = filled[0] if len(filled) == 1 else pd.concat(filled)
    return high - low == len(every) - 1 and bool(every.is_unique) and bool((every == every.round()).all())


def _nothing_shared(source: Any, target: Any) -> bool:
    """Whether two columns of levels, of more than a few cells each, have no level in common."""
    one, other = (set(part.dropna().map(level_of)) for part in (source, target))
    return min(source.notna().sum(), target.notna().sum()) > CODES and not one & other
