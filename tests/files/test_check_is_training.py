"""What `check` says would be taken is taken, and what it says would be refused is refused: by a training, and by scoring."""

import re

import numpy as np
import pandas as pd
import pytest
from commands import here
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly import AnomalyError, Detector
from anomaly.config import DetectorConfig
from anomaly.errors import DataError
from anomaly.files.checking import check_input
from anomaly.fitting.ready import Ready
from anomaly.ingest.order import in_order
from anomaly.ingest.reading import read_csv
from anomaly.meaning.sentinels import refuse_sentinels

ROWS, NOISE = np.arange(2_000.0), np.random.default_rng(0).normal(size=2_000)


def trains(path):
    """Tell whether a training gets as far as its first step."""
    try:
        series = in_order(read_csv(path))
        refuse_sentinels(series.values, series.columns, series.name, None)
        Ready.of(DetectorConfig(), series)
    except AnomalyError:
        return False
    return True


values = st.one_of(
    st.floats(-1e3, 1e3).map(lambda x: f"{x:.3f}"), st.sampled_from(["", "1e302", "-9999", "0", "inf", "off", "1e-300"])
)


@settings(max_examples=60, deadline=None)
@given(
    n=st.sampled_from([1, 2, 3, 5, 9, 40, 200]),
    cells=st.lists(values, min_size=1, max_size=6),
    every=st.integers(1, 7),
    minutes=st.sampled_from([0, 1, 60, -60, 60 * 24 * 400]),
    gap=st.integers(0, 40),
)
def test_a_check_says_what_a_training_does(tmp_path_factory, n, cells, every, minutes, gap):
    path = tmp_path_factory.mktemp("checked") / "in.csv"
    rows = np.sin(np.arange(n)) + np.arange(n) % 3
    texts = [cells[k // every % len(cells)] if k % every == 0 else f"{x:.4f}" for k, x in enumerate(rows)]
    times = [pd.Timestamp("2024-01-01") + pd.Timedelta(minutes=minutes * k + (gap * 60 if k > n // 2 else 0)) for k in range(n)]
    path.write_text("time,v\n" + "".join(f"{time},{text}\n" for time, text in zip(times, texts, strict=True)))
    assert (not check_input(path).faults) is trains(path)


@settings(max_examples=30, deadline=None)
@given(n=st.sampled_from([1, 2, 5, 8, 30]), empty=st.integers(0, 8), text=st.sampled_from(["", "1e302", "inf", "off", "5"]))
def test_with_a_detector_it_says_what_scoring_does(small_detector, tmp_path_factory, n, empty, text):
    path = tmp_path_factory.mktemp("checked") / "in.csv"
    lines = [f"{k},{text if k < empty else np.sin(k / 5):}\n" for k in range(n)]
    path.write_text("t,v\n" + "".join(lines))
    found = check_input(path, small_detector.bundle_)
    try:
        small_detector.score(read_csv(path, time_column=None, value_columns=["v"]))
        taken = True
    except DataError:
        taken = False
    assert (not found.faults) is taken, found.faults


@pytest.fixture(scope="module")
def small_detector():
    """Return a detector of one feature whose rows are counted."""
    settings = {"window_size": 8, "epochs": 1, "steps_per_epoch": 1, "units": 2, "seed": 0}
    frame = pd.DataFrame({"v": np.sin(np.arange(200) / 5)})
    return Detector(**settings).fit(frame)


def test_what_the_command_says_is_what_the_command_does(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("time,v\n2024-01-01,1\n")
    assert "It would be refused." in here("check", path, code=3).stdout
    refused = here("train", path, "--model", tmp_path / "m.anomaly", code=3).stderr
    assert refused.removeprefix("Error: ") in here("check", path, code=3).stdout.replace("Fault: ", "")


def test_with_a_detector_another_name_of_the_time_is_taken(tmp_path, bundle_path, csv_path):
    path = tmp_path / "renamed.csv"
    path.write_text(csv_path.read_text().replace("timestamp", "clock", 1))
    assert "It would be refused." in here("check", path, "--model", bundle_path, code=3).stdout
    assert "It would be taken." in here("check", path, "--model", bundle_path, "--time-column", "clock").stdout
    here("detect", path, "--model", bundle_path, "--time-column", "clock")


@pytest.mark.parametrize("name", ["score", "threshold", "anomaly_score", "is_anomaly", "status"])
def test_what_scoring_appends_is_no_feature(tmp_path, name):
    path = tmp_path / "in.csv"
    rows = [f"2024-01-{1 + i // 24:02} {i % 24:02}:00,{i % 7}.5,{i % 5}.2" for i in range(300)]
    path.write_text("\n".join([f"time,{name},a", *rows]) + "\n")
    for command in (["check", path], ["train", path, "--model", tmp_path / "m.anomaly"]):
        found = here(*command, code=3)
        said = found.stdout + found.stderr
        assert "called as those that scoring appends" in said and f"'{name}'" in said
    frame = pd.DataFrame({name: np.arange(300) % 7 + 0.5, "a": np.arange(300) % 5 + 0.2})
    detector = Detector(window_size=24, epochs=1, steps_per_epoch=2, units=2, penalty="none")
    with pytest.raises(DataError, match="called as those that scoring appends") as caught:
        detector.fit(frame)
    mended = eval(re.search(r"with (frame\.rename\(.*?\))", str(caught.value))[1])
    scores = detector.fit(mended).score(mended)
    assert len(mended.join(scores.to_frame())) == 300
    with pytest.raises(DataError, match="called as those that scoring appends"):
        detector.fit(frame.rename(columns={name: "b"}).set_axis(pd.date_range("2024", periods=300, freq="h", name=name)))


@pytest.mark.parametrize(("first", "refused"), [(100, False), (158, False), (160, True), (170, True)])
def test_what_is_known_only_of_held_out_rows_is_refused_before_a_training_by_both(tmp_path, first, refused):
    path, rows = tmp_path / "late.csv", np.arange(200)
    cells = ["" if row < first else f"{np.cos(row):.4f}" for row in rows.tolist()]
    path.write_text(
        "t,a,c\n" + "".join(f"{row},{np.sin(row):.4f},{cell}\n" for row, cell in zip(rows.tolist(), cells, strict=True))
    )
    assert trains(path) is not refused
    faults = check_input(path).faults
    assert faults == (
        [
            "Every value column must hold numbers in the rows that train, the first 160 of 200. Received: nothing but missing "
            f"values there in 'c' ({path.name}). Leave it out with --value-columns, or supply a history in which it begins earlier."
        ]
        if refused
        else []
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.cumsum(1 + NOISE**2), "Features that teach little: only rising: 'v'. "),
        (10 + 0.01 * ROWS + NOISE, "Trend: 'v'. "),
        (1.0 * (ROWS == 77), "Features that teach little: nearly constant: 'v'. "),
        (NOISE, None),
        (np.sin(ROWS / 9) + 0.1 * NOISE, None),
        (ROWS % 50 + 0.1 * NOISE, None),
    ],
    ids=["meter", "trend", "hardly ever", "noise", "wave", "refilled"],
)
def test_what_a_training_says_of_features_a_check_says_before(tmp_path, values, told):
    columns = {"v": values, "other": NOISE[::-1]}
    times = pd.date_range("2024-01-01", periods=2_000, freq="h", name="time")
    pd.DataFrame(columns, index=times).to_csv(tmp_path / "in.csv")
    notes = check_input(tmp_path / "in.csv").notes
    found = [note for note in notes if note.startswith(("Features", "Trend"))]
    assert (found == []) if told is None else (len(found) == 1 and found[0].startswith(told))
