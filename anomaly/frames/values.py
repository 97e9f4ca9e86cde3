"""Columns of a frame -> float64: what is no number is refused, what is missing becomes NaN.

Numbers are integers, floats, decimals, fractions and truth values, of numpy, of pandas with pd.NA, of Arrow, or as objects.
Text is no number even where it spells one, and neither are times, spans of time, categories of text and complex numbers.
"""

from __future__ import annotations

import re
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly.errors import DataError, shorten
from anomaly.quick_start import pd
from anomaly.series import Floats, Ints

_NUMERIC = "biuf"
# Of floats of so many bytes: the digits that their shortest decimal may have, from those that always come back; and between which
# numbers a double holds the power of ten that it needs.
_DIGITS, _LEAST_PLAIN = {4: range(6, 10), 2: range(3, 6)}, {4: 1e-13, 2: 1e-4}
_MOST_PLAIN, _POWERS = 1e22, 10.0 ** np.arange(23)
# What a kind of numpy's is called, and how it becomes a number; `{}` stands for the data.
_OTHER_KINDS = {
    "M": ("times", "Make the times the index of a frame"),
    "m": ("spans of time", "Turn them into seconds with {} / np.timedelta64(1, 's')"),
    "U": ("text", "Turn it into numbers with {}.astype(float), or leave it out"),
    "S": ("text", "Turn it into numbers with {}.astype(float), or leave it out"),
    "T": ("text", "Turn it into numbers with {}.astype(float), or leave it out"),
}


def frame_of_numbers(frame: pd.DataFrame) -> Floats:
    """Return the cells of a frame, `(n_timesteps, n_features)`.

    Raises:
        DataError: if a column holds something else than numbers.
    """
    if all(isinstance(dtype, np.dtype) and dtype.kind in _NUMERIC and not _is_narrow(dtype) for dtype in frame.dtypes):
        return frame.to_numpy(np.float64)
    columns = [_column(frame.iloc[:, i], name) for i, name in enumerate(frame.columns)]
    return np.stack(columns, axis=1) if columns else np.empty((len(frame), 0))


def array_of_numbers(values: npt.NDArray[Any]) -> Floats:
    """Return an array of the same shape as float64; masked cells are missing.

    Raises:
        DataError: if it holds something else than numbers.
    """
    if values.dtype.kind == "c":  # in scikit-learn's words, by which its users and checks know them
        raise DataError(
            "Complex data not supported: a series must hold real numbers. Received: complex ones. "
            "Give real and imaginary part, or magnitude and phase, as features of their own."
        )
    if values.dtype.kind == "V" and values.dtype.names is None and np.can_cast(values.dtype, np.float64):
        values = values.astype(np.float64)  # a narrow float of another library, such as bfloat16
    if values.dtype.kind not in f"{_NUMERIC}O":
        noun, remedy = _OTHER_KINDS.get(values.dtype.kind, ("cells of several parts", "Take them apart"))
        raise DataError(f"A series must hold numbers only. Received: {noun}, an array of {values.dtype}. {remedy.format('array')}.")
    masked = np.ma.getmaskarray(values) if np.ma.isMA(values) else None
    plain = np.ma.getdata(values)
    if plain.dtype.kind != "O":
        found = in_double(plain)
        return found if masked is None else np.where(masked, np.nan, found)
    missing = pd.isna(plain) if masked is None else masked | pd.isna(plain)
    numbers, position = _objects(plain.ravel(), missing.ravel())
    if position is not None:
        raise DataError(
            f"A series must hold numbers only. Received: {_shown(plain.ravel()[position])} in the array. "
            "Leave out what is no number, or put NaN in its place."
        )
    return numbers.reshape(plain.shape)


def in_double(values: npt.NDArray[Any]) -> Floats:
    """Return numbers as float64; those of 32 or 16 bits are what their shortest decimal says, as in a file of them.

    So -999.9 is one number in whatever it is kept.

    Args:
        values: of any shape; integers, truth values or floats.
    """
    found = values.astype(np.float64)
    if not _is_narrow(values.dtype):
        return found
    numbers, wide = values.ravel(), found.ravel()
    least, digits = _LEAST_PLAIN[values.dtype.itemsize], _DIGITS[values.dtype.itemsize]
    sizes = np.abs(wide)
    left: Ints = np.flatnonzero((sizes > least) & (sizes < _MOST_PLAIN))
    text = np.isfinite(wide) & (wide != 0)
    text[left] = False
    for n in digits:
        short = _rounded(wide[left], n)
        same = short.astype(numbers.dtype) == numbers[left]
        wide[left[same]], left = short[same], left[~same]
        if n == digits[0]:  # below a power of two the numbers lie closer, so that the nearest decimal may not be the one
            power = np.abs(np.frexp(wide[left])[0]) == 0.5
            text[left[power]], left = True, left[~power]
    text[left] = True
    wide[text] = [float(str(number)) for number in numbers[text]]
    return wide.reshape(values.shape)


def _rounded(numbers: Floats, digits: int) -> Floats:
    """Return numbers `(n,)` with so many digits; a quotient or product with a power of ten in a double is the nearest number."""
    places = digits - 1 - np.floor(np.log10(np.abs(numbers))).astype(np.int64)
    scale = _POWERS[np.abs(places)]
    rounded: Floats = np.where(places < 0, np.rint(numbers / scale) * scale, np.rint(numbers * scale) / scale)
    return rounded


def _is_narrow(dtype: Any) -> bool:
    return bool(dtype.kind == "f" and dtype.itemsize in _DIGITS)


def _column(cells: pd.Series[Any], name: Any) -> Floats:
    dtype = cells.dtype
    kind = getattr(dtype, "kind", "O")
    numbers_kept = isinstance(dtype, pd.CategoricalDtype) and dtype.categories.dtype.kind in _NUMERIC
    if numbers_kept or isinstance(dtype, pd.SparseDtype):  # as Arrow keeps numbers that repeat
        return _column(pd.Series(np.asarray(cells)), name)
    if kind in _NUMERIC and not isinstance(dtype, pd.CategoricalDtype):
        own: Any = getattr(dtype, "numpy_dtype", dtype)  # that of pandas' and Arrow's own types
        return in_double(cells.to_numpy(own if _is_narrow(own) else np.float64, na_value=np.nan))
    what, remedy = _refusal(cells, name)
    if what is None:
        plain = cells.to_numpy(object)
        numbers, position = _objects(plain, np.asarray(cells.isna(), np.bool_))
        if position is None:
            return numbers
        what, remedy = _of_objects(plain[position], name)
        what = f"{what}, {_shown(plain[position])} in row {position}"
    raise DataError(f"Column {str(name)!r} must hold numbers only. Received: {what} (frame). {remedy}")


def _refusal(cells: pd.Series[Any], name: Any) -> tuple[str | None, str]:
    """Return what a column that holds no numbers holds and what to do about it; nothing where cells are to be looked at."""
    dtype = cells.dtype
    drop = f"leave it out with frame.drop(columns=[{name!r}])"
    if isinstance(dtype, pd.CategoricalDtype):
        return f"categories, {shorten([str(x) for x in dtype.categories], 2)}", f"{drop[0].upper()}{drop[1:]}."
    kind = getattr(dtype, "kind", "O")
    if kind == "m":
        return "spans of time", f"Turn it into seconds with frame[{name!r}].dt.total_seconds(), or {drop}."
    if kind == "M" or isinstance(dtype, pd.PeriodDtype):
        return "times", f"Make it the index with frame.set_index({name!r}), or {drop}."
    if kind == "c":
        return "complex numbers", f"Take frame[{name!r}].abs(), or {drop}."
    if isinstance(dtype, pd.IntervalDtype):
        return "intervals", f"Take frame[{name!r}].array.mid, or {drop}."
    return None, ""


def _of_objects(cell: Any, name: Any) -> tuple[str, str]:
    """Return what an object that is no number is, and what to do about a column of such."""
    drop = f"leave it out with frame.drop(columns=[{name!r}])"
    if isinstance(cell, str | bytes):
        series = f"if it says which series a row belongs to, take one at a time: frame[frame[{name!r}] == {cell!r}]"
        comma = isinstance(cell, str) and re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell)
        numbers = (
            f"frame[{name!r}].str.replace(',', '.').astype(float), if its comma is a decimal mark"
            if comma
            else f"pd.to_numeric(frame[{name!r}], errors='coerce')"
        )
        times = f"if it holds times, turn it into such with pd.to_datetime(frame[{name!r}], dayfirst=True), or dayfirst=False; "
        times = times if len(re.findall(r"\d+", str(cell))) > 2 else ""
        return "text", f"Turn it into numbers with {numbers}; {times}{series}, without the column; or {drop}."
    return type(cell).__name__, f"{drop[0].upper()}{drop[1:]}."


def _objects(cells: npt.NDArray[np.object_], missing: npt.NDArray[np.bool_]) -> tuple[Floats, int | None]:
    """Return objects `(n,)` as numbers, and where the first is none, if one is not."""
    numbers = np.full(len(cells), np.nan)
    for row in np.flatnonzero(~missing).tolist():
        cell = cells[row]
        if not isinstance(cell, Real | Decimal | np.bool_) or isinstance(cell, np.timedelta64):
            return numbers, row
        try:
            numbers[row] = float(str(cell) if isinstance(cell, np.floating) else cell)
        except (ValueError, OverflowError):
            return numbers, row
    return numbers, None


def _shown(cell: Any) -> str:
    text = repr(cell)
    return text if len(text) <= 40 else f"{text[:40]}..."
