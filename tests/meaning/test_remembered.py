"""What a detector remembers of its training file beside marks and formats: that times said their offset, and units."""

import functools

import pandas as pd
import pytest
from commands import here

from anomaly.ingest.csv_rows import CsvReader

SHORT = ("--window-size", 24, "--epochs", 1, "--steps-per-epoch", 2, "--units", 2, "--penalty", "none", "--quiet")


def write(path, suffix="", units=None, n=400, names="time,flow,temp"):
    times = pd.date_range("2024-01-01", periods=n, freq="h")
    rows = [f"{time:%Y-%m-%dT%H:%M:%S}{suffix},{i % 7}.5,{i % 5}.2" for i, time in enumerate(times)]
    path.write_text("\n".join([names, *([units] if units else []), *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return what trains a detector on a file, once for each kind of file."""

    @functools.cache
    def train(**how):
        folder = tmp_path_factory.mktemp("trained")
        here("train", write(folder / "history.csv", **how), "--model", folder / "m.anomaly", *SHORT)
        return folder / "m.anomaly"

    return train


@pytest.mark.parametrize("suffix", ["Z", "+01:00"])
def test_times_without_an_offset_need_a_zone_where_those_of_the_training_had_one(trained, tmp_path, suffix):
    model = trained(suffix=suffix)
    data = write(tmp_path / "new.csv")
    for command, code in (("score", 3), ("detect", 3), ("check", 3)):
        found = here(command, data, "--model", model, code=code)
        assert "Times must say their offset from UTC, as in training. Received: 2024-01-01T00:00:00" in found.stdout + found.stderr
    for zone in ("Europe/Berlin", "Etc/UTC"):
        here("detect", data, "--model", model, "--tz", zone)
    for other in ("Z", "-05:00"):
        here("detect", write(tmp_path / "other.csv", suffix=other), "--model", model)


def test_times_with_an_offset_need_nothing_where_those_of_the_training_had_none(trained, tmp_path):
    here("detect", write(tmp_path / "new.csv", suffix="Z"), "--model", trained())


def test_another_unit_is_refused(trained, tmp_path):
    model = trained(units=",m3/h,°C")
    for units, said in (
        (",m3/h,°F", "had in training, °C. Received: °F for 'temp'"),
        (",[l/s],°C", "m3/h. Received: l/s for 'flow'"),
    ):
        data = write(tmp_path / "new.csv", units=units)
        assert said in here("score", data, "--model", model, code=3).stderr
        assert said in here("check", data, "--model", model, code=3).stdout
    for units in (",m3/h,°C", ",[m3/h],(°C)", None):
        here("detect", write(tmp_path / "new.csv", units=units), "--model", model)
    here("detect", write(tmp_path / "new.csv", units=",m3/h,°F"), "--model", trained())


def test_a_path_in_python_is_read_as_the_command_line_reads_it(tmp_path):
    """With what the training remembers: here that numbers have a decimal comma, of which the new file says nothing."""
    from anomaly import DataError, Detector, read_csv

    rows = [f"2024-01-{1 + i // 24:02} {i % 24:02}:00;{i % 7}," + ("125" if i % 2 else "5") for i in range(300)]
    (tmp_path / "history.csv").write_text("\n".join(["time;flow", *rows]) + "\n")
    detector = Detector(window_size=24, epochs=1, steps_per_epoch=2, units=2, penalty="none", seed=0).fit(
        read_csv(tmp_path / "history.csv")
    )
    path = tmp_path / "new.csv"
    path.write_text("\n".join(["time;flow", *(f"{row.split(';')[0]};1.043" for row in rows)]) + "\n")
    with pytest.raises(DataError, match="A point in a number must have one meaning"):
        detector.score(str(path))


@pytest.mark.parametrize("first", [72_000, 20_240_101, 45_376])
def test_times_that_counted_from_0_in_training_go_on(tmp_path, first):
    path = tmp_path / "in.csv"
    path.write_text("time,a\n" + "".join(f"{first + 60 * n},{n % 7}\n" for n in range(300)))
    with CsvReader(path, time_column="time", value_columns=("a",), before={"from_zero": "yes"}) as reader:
        assert next(iter(reader)).times[0] == first * 10**6


@pytest.mark.parametrize("command", ["score", "detect", "check"])
@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        ("time,flow", "or add an empty one for what is missing."),
        ("stamp,flow,temp", "Name an existing column with --time-column stamp."),
        ("Date,Time,flow,temp", "Name an existing column with --time-column Date,Time."),
    ],
)
def test_what_a_detector_misses_is_told_with_what_helps(trained, tmp_path, command, names, remedy):
    path, times = tmp_path / "new.csv", pd.date_range("2024-02-01", periods=300, freq="h")
    n = names.count(",") - names.startswith("Date")
    stamp = "%Y-%m-%d,%H:%M:%S" if names.startswith("Date") else "%Y-%m-%d %H:%M:%S"
    path.write_text(
        "\n".join([names, *(f"{time:{stamp}},{i % 7}.5,{i % 5}.2"[: None if n > 1 else -4] for i, time in enumerate(times))]) + "\n"
    )
    found = here(command, path, "--model", trained(), code=3)
    assert remedy in found.stdout + found.stderr
