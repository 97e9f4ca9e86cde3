"""Whatever a library calls a table -> a pandas frame. Beside pandas no library is needed, or loaded that is not there.

A table says itself how it becomes a frame of pandas, or gives its columns by the Arrow interface, through narwhals, by the
interchange protocol, or one by one. What has no names is an array.
"""

from __future__ import annotations

import dataclasses
import decimal
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anomaly.errors import DataError
from anomaly.frames.values import array_of_numbers
from anomaly.quick_start import pd

_KINDS = "a TimeSeries, a frame of pandas, polars or pyarrow, or an array of numbers"


class Table(NamedTuple):
    """A frame, and what of it is the data's own."""

    frame: pd.DataFrame
    named: bool
    indexed: bool


def as_table(data: Any) -> Table:
    """Return data as a frame of pandas, its numbers in the byte order of this machine: pandas computes with no other.

    Args:
        data: a frame or a column of pandas, or of a library that knows how to hand one over; columns by name; records; a
            structured array; or an array of numbers `(n_timesteps, n_features)` or `(n_timesteps,)`, masked cells missing.

    Raises:
        DataError: if it is none of these, or a path.
    """
    try:
        table = _as_table(data)
        for _, cells in table.frame.items():
            if cells.dtype == np.object_:
                cells.isna()
    except decimal.InvalidOperation as error:  # which pandas would meet wherever it asks whether a cell is missing
        raise DataError("A series must hold numbers only. Received: a Decimal that signals, sNaN. Put NaN in its place.") from error
    foreign = {i: x.newbyteorder("=") for i, x in enumerate(table.frame.dtypes) if isinstance(x, np.dtype) and not x.isnative}
    if not foreign:
        return table
    columns = [cells.astype(foreign[i]) if i in foreign else cells for i, (_, cells) in enumerate(table.frame.items())]
    frame = pd.concat(columns, axis=1).set_axis(table.frame.columns, axis=1)
    return table._replace(frame=frame)


def _as_table(data: Any) -> Table:
    if isinstance(data, str | bytes | os.PathLike):
        raise DataError(f"A series must be {_KINDS}. Received: {data!r}, a path or text. Read a file with read_csv first.")
    if isinstance(data, pd.DataFrame | pd.Series):
        return Table(data.to_frame() if isinstance(data, pd.Series) else data, True, True)
    if hasattr(data, "nnz") and hasattr(data, "toarray"):  # in scikit-learn's words, by which its users and checks know them
        raise DataError("Sparse data not supported: a series must be dense. Received: a sparse matrix. Use its toarray().")
    try:
        named = _named(data)
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _unreadable(data, error) from error
    if named is None:
        return Table(pd.DataFrame(_array(data)), False, False)
    if isinstance(named, np.ndarray):
        return Table(pd.DataFrame(_array(named)), False, False)
    named = named.to_frame() if isinstance(named, pd.Series) else named
    return Table(named, True, not isinstance(named.index, pd.RangeIndex))


def _named(data: Any) -> Any:
    """Return a frame of pandas, or an array; None if data has no names."""
    if isinstance(data, np.ndarray):
        return _by_columns({name: data[name] for name in data.dtype.names}) if data.dtype.names else None
    if isinstance(data, Mapping):
        return _by_columns(data)
    if isinstance(data, list | tuple):
        return _of_rows(data)
    for way in (_by_itself, _by_arrow, _by_narwhals, _by_interchange, _by_names):
        found = way(data)
        if found is not None:
            return found
    return None


def _of_rows(rows: Any) -> pd.DataFrame | None:
    """Return rows that name their parts as a frame; None for those that do not."""
    if any(isinstance(row, pd.DataFrame | pd.Series) for row in rows):
        raise ValueError("frames or columns in a list, which pd.concat makes one frame with axis=1")
    named = all(isinstance(row, Mapping) or hasattr(row, "_fields") or dataclasses.is_dataclass(row) for row in rows)
    return pd.DataFrame(list(rows)) if named and len(rows) else None


def _by_columns(columns: Mapping[Any, Any]) -> pd.DataFrame:
    """Return columns as a frame; masked cells are missing."""
    return pd.DataFrame({name: _unmasked(cells) if np.ma.isMA(cells) else cells for name, cells in columns.items()})


def _unmasked(cells: Any) -> Any:
    if cells.dtype.kind in "biufcO":
        return array_of_numbers(cells)
    return pd.Series(np.ma.getdata(cells)).mask(np.ma.getmaskarray(cells))


def _by_itself(data: Any) -> Any:
    """Ask the library of the data; some of them need another one for that, which may be missing."""
    if hasattr(data, "collect_schema") and hasattr(data, "collect"):
        return _by_itself(data.collect())
    if hasattr(data, "__dask_graph__") and hasattr(data, "compute"):
        return data.compute()
    for name in ("to_pandas", "toPandas"):
        if callable(getattr(data, name, None)):
            try:
                found = getattr(data, name)()
            except ImportError:
                return None
            return found if isinstance(found, pd.DataFrame | pd.Series) else None
    return None


def _by_arrow(data: Any) -> Any:
    whole = hasattr(data, "__arrow_c_stream__")
    if not whole and not hasattr(data, "__arrow_c_array__"):
        return None
    try:
        import pyarrow as pa
    except ImportError:
        return None
    return (pa.table(data) if whole else pa.record_batch(data)).to_pandas()


def _by_narwhals(data: Any) -> Any:
    try:
        import narwhals as nw
    except ImportError:
        return None
    frame: Any = nw.from_native(data, pass_through=True, allow_series=True)
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    if isinstance(frame, nw.Series):
        frame = frame.to_frame()
    return _by_names(frame) if isinstance(frame, nw.DataFrame) else None


def _by_interchange(data: Any) -> Any:
    if not hasattr(data, "__dataframe__"):
        return None
    with warnings.catch_warnings():  # pandas is to give the protocol up; who has nothing else is not to be told
        warnings.simplefilter("ignore")
        return pd.api.interchange.from_dataframe(data)


def _by_names(data: Any) -> pd.DataFrame | None:
    """Take column after column by its name."""
    names = getattr(data, "column_names", None)
    names = getattr(data, "columns", None) if names is None else names
    if not isinstance(names, Iterable) or not hasattr(data, "__getitem__"):
        return None
    named = list(names)
    if not all(isinstance(name, str) for name in named):
        return None
    frame = pd.DataFrame({i: _cells(data[name]) for i, name in enumerate(named)})
    return frame.set_axis(named, axis=1)


def _cells(column: Any) -> pd.Series[Any]:
    """Return one column; an array of numpy knows no zone, so that its name is put back."""
    cells = pd.Series(column.to_numpy() if hasattr(column, "to_numpy") else np.asarray(column))
    zone = getattr(getattr(column, "dtype", None), "time_zone", None)
    return cells if zone is None else cells.dt.tz_localize("UTC").dt.tz_convert(zone)


def _array(data: Any) -> npt.NDArray[np.float64]:
    """Return an array of two dimensions."""
    try:
        values = data if isinstance(data, np.ndarray) else np.asarray(data)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _unreadable(data, error) from error
    if values.dtype == np.object_ and values.ndim == 0:
        raise DataError(f"A series must be {_KINDS}. Received: {type(data).__name__}. Turn it into one of these.")
    if values.ndim not in (1, 2):
        raise DataError(
            f"A series must have the shape (n_timesteps, n_features). Received: {values.shape}. "
            "Give one series at a time, its rows in order."
        )
    numbers = array_of_numbers(values)
    if numbers.ndim == 2 and not numbers.shape[1]:
        raise DataError(
            f"Found array with 0 feature(s) (shape={numbers.shape}) while a minimum of 1 is required. Name a column of numbers."
        )
    return numbers[:, None] if numbers.ndim == 1 else numbers


def _unreadable(data: Any, error: Exception) -> DataError:
    said = " ".join(str(error).split())[:200].rstrip(".")
    return DataError(f"A series must be {_KINDS}. Received: {type(data).__name__} ({said}). Turn it into one of these.")
