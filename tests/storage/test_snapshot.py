"""Files that keep where something stands: what was written comes back, and nothing else is taken for it."""

import numpy as np
import pytest

from anomaly import BundleError
from anomaly.storage.snapshot import Snapshots, changed, plain

SNAPSHOTS = Snapshots("A test's file", "anomaly_test", 3, "Write it again.")
NUMBERS = {"a": [1, 2.5, None, 0.1 + 0.2], "ü": {"x": "\n"}}
ARRAYS = {"one": np.arange(6).reshape(2, 3), "two": np.empty((0, 4)), "three": np.array([np.nan, -0.0])}


def test_numbers_and_arrays_come_back_to_the_last_bit(tmp_path):
    SNAPSHOTS.write(tmp_path / "s", NUMBERS, ARRAYS)
    numbers, arrays = SNAPSHOTS.read(tmp_path / "s")
    assert numbers == NUMBERS
    assert {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()} == {
        name: (array.dtype, array.shape, array.tobytes()) for name, array in ARRAYS.items()
    }


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (Snapshots("", "another_key", 3, ""), "'anomaly_test'"),
        (Snapshots("", "anomaly_test", 2, ""), "format version 2"),
    ],
)
def test_a_file_of_another_kind_or_version_is_refused(tmp_path, other, reason):
    other.write(tmp_path / "s", NUMBERS, ARRAYS)
    with pytest.raises(BundleError) as refused:
        SNAPSHOTS.read(tmp_path / "s")
    rule = "A test's file must be a whole file of format version 3."
    assert str(refused.value) == f"{rule} Received: {tmp_path / 's'} ({reason}). Write it again."


def test_what_differs_is_named_in_order():
    found = plain({"b": (1, 2), "a": 1, "only here": 0})
    assert found["b"] == [1, 2]
    assert changed(found, {"b": [1, 2], "a": 2, "and there": 1}) == ["a", "and there", "only here"]
