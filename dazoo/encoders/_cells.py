"""What the cells of a column hold: texts, levels, numbers and dates, as people and programs write them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

YES, NO = {"true", "yes", "y", "t", "on"}, {"false", "no", "n", "f", "off"}
GAPS = {"", "?", "-", "--", ".", "na", "n/a", "nan", "null", "none", "nil", "unknown", "missing"}  # gaps as words
DATE = r"\d{1,4}\D.*\d"
YEAR_MONTH = r"^\d{4}\D"
DAY_MONTH = r"^(\d{1,2})([./-])(\d{1,2})[./-]\d{2,4}\b"


def texts_of(values: Any) -> list[str]:
    """Cells as texts, empty where there is none."""
    return ["" if gap else str(v) for v, gap in zip(values.to_numpy(dtype=object), values.isna().to_numpy())]


def level_of(value: Any) -> str:
    """A level as text; 3.0 and 3 are the same, since a gap makes floats of whole numbers."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def decimals_of(texts: Any) -> Any:
    """Texts as numbers, with a point or a comma before decimals; NaN where they are none."""
    import pandas as pd

    return pd.to_numeric(texts.str.replace(",", ".", regex=False), errors="coerce")


def day_first(texts: Any) -> bool:
    """Whether dates such as 31.12.2024 begin with the day: with points they do, else where a first number is above 12
    and no second one is."""
    parts = texts.str.extract(DAY_MONTH).dropna()
    if not len(parts):
        return False
    first, second = parts[0].astype(int), parts[2].astype(int)
    return bool((second <= 12).all()) and bool((first > 12).any() or (parts[1] == ".").all())


def dates_of(texts: Any, first: bool) -> Any:
    """Texts as points in time, NaT where they are none; every cell is read by itself, so that none depends on others.

    A year in front is followed by the month, and days before points come first, whatever the others do. A cell that the
    order contradicts (a month above 12) is no date: read the other way round it would stand beside cells that are not.

    ``first``: whether the day comes before the month elsewhere.
    """
    import pandas as pd

    codes, different = pd.factorize(texts.where(texts.str.contains(DATE)))
    cells = pd.Series(different, dtype=object)
    parts = cells.astype("str").str.extract(DAY_MONTH)
    points, year = parts[1] == ".", cells.astype("str").str.match(YEAR_MONTH)
    turned = (points | first) & ~year
    month = parts[2].where(turned, parts[0]).astype(float)
    cells = cells.where(~(month > 12), None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about dates that fit one order only
        read = pd.concat([
            pd.to_datetime(cells[turned == way], errors="coerce", utc=True, format="mixed", dayfirst=way)
            for way in (False, True)
        ]).sort_index()  # fmt: skip
    return pd.Series(read.reindex(codes).to_numpy(), index=texts.index)


def numbers_of(values: Any, days: bool, first: bool = False) -> np.ndarray:
    """Cells (n,) as floats, NaN where there is none; dates in days since 1970, truth values as 0 and 1.

    ``first``: whether the day comes before the month where dates are text.
    """
    import pandas as pd

    kinds = pd.api.types
    if days:
        if kinds.is_timedelta64_dtype(values):
            return np.asarray((values / pd.Timedelta(days=1)).to_numpy(float))
        read = values if kinds.is_datetime64_any_dtype(values) else dates_of(spelled(values), first)
        if getattr(read.dt, "tz", None) is not None:
            read = read.dt.tz_convert(None)
        return np.asarray(((read - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)).to_numpy(float))
    if kinds.is_numeric_dtype(values) and not kinds.is_bool_dtype(values):
        return np.asarray(values.to_numpy(float, na_value=np.nan))
    truth = {**dict.fromkeys(YES, "1"), **dict.fromkeys(NO, "0")}
    texts = spelled(values)
    return np.asarray(decimals_of(texts.str.casefold().map(truth).fillna(texts)).to_numpy(float, na_value=np.nan))


def spelled(values: Any) -> Any:
    """Cells as texts without spaces around them, gaps as they are."""
    import pandas as pd

    return pd.Series(texts_of(values), index=values.index, dtype="str").str.strip().where(values.notna())
