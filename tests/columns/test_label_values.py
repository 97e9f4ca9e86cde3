"""Which value of a label is the anomaly, which columns are called labels in further languages, and which may be labels unnamed."""

import numpy as np
import pytest

from anomaly.columns.label_values import labels_as_said, may_be_labels, means_normal
from anomaly.columns.labels import doubtful_labels_of, labels_of
from anomaly.errors import DataError
from anomaly.ingest.reading import read_csv, read_each
from anomaly.sources.tolerance import Tolerance

N = 200
EVENTS = np.zeros(N, bool)
EVENTS[50:60], EVENTS[120:125] = True, True
MARKS = ["0", "1", "0", "0", "1"]


@pytest.mark.parametrize(
    "name",
    [
        "是否异常", "异常标签", "異常フラグ", "故障标志", "ラベル", "障害", "正常", "是否正常",
        "Störungsmeldung", "Sammelstörung", "Stoerungsmeldung",
        "Fehlercode", "Fehler_aktiv", "étiquette", "etiqueta", "rótulo", "falha", "авария", "faulted", "bad", "leak_detected",
        "alarm_active", "AlarmActive", "incident_id", "healthy", "is_healthy", "valid", "pass", "good",
        "not_ok", "inlier", "is_normal",
    ],
)  # fmt: skip
def test_names_of_labels(name):
    assert labels_of({name: MARKS}) == [name]


@pytest.mark.parametrize(
    "name",
    [
        "valve_open", "pump_on", "door", "status", "active", "state", "on", "tag_id", "is_holiday", "weekend", "Fehlerzähler",
        "Ausfallzeit", "Fehlerstrom", "异常次数", "passenger", "goods", "validation", "detected", "not", "normal_load", "strategy",
    ],
)  # fmt: skip
def test_names_of_features(name):
    assert not labels_of({name: MARKS})


@pytest.mark.parametrize("name", ["good", "bad", "ok", "valid", "pass", "Fehlerzähler", "异常次数"])
def test_what_is_counted_is_no_class(name):
    counts = [str(i % 7) for i in range(100)]
    assert not labels_of({name: counts}) and not doubtful_labels_of({name: counts})


def written(path, name, cells):
    rows = [f"{np.datetime64('2024-01-03') + np.timedelta64(i, 'h')},{i % 24},{cell}" for i, cell in enumerate(cells)]
    path.write_text("\n".join([f"time,x,{name}", *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "no", "yes", "said"),
    [
        ("is_anomaly", "0", "1", None),
        ("label", "normal", "attack", None),
        ("label", "", "1", None),
        ("is_normal", "1", "0", "1 in 'is_normal' stands for what is normal"),
        ("isNormal", "True", "False", "stands for what is normal"),
        ("inlier", "yes", "no", "stands for what is normal"),
        ("ok", "1", "0", "stands for what is normal"),
        ("healthy", "1.0", "0.0", "stands for what is normal"),
        ("is_healthy", "1", "-1", "stands for what is normal"),
        ("quality_ok", "1", "0", "stands for what is normal"),
        ("正常", "1", "0", "stands for what is normal"),
        ("is_normal", "normal", "anomaly", None),  # which says so itself
        ("status_ok", "ok", "nok", None),
        ("not_ok", "0", "1", None),
        ("abnormal", "0", "1", None),
        ("不正常", "0", "1", None),
        ("Normal/Attack", "0", "1", None),
        ("label", "1", "-1", "-1 is taken for the anomaly, since it is rarer than 1: 15 of 200 rows"),
        ("label", "-1", "1", "1 is taken for the anomaly, since it is rarer than -1: 15 of 200 rows"),
    ],
)
def test_the_anomalies_of_a_label_column(tmp_path, name, no, yes, said):
    path = written(tmp_path / "in.csv", name, np.where(EVENTS, yes, no))
    tolerance = Tolerance()
    series = read_csv(path, label_column=name, tolerance=tolerance)
    assert series.labels is not None and np.array_equal(series.labels == 1, EVENTS)
    assert (said is None and not tolerance.of_labels) or said in tolerance.of_labels[0]
    assert set(tolerance.of_labels) <= set(tolerance.reading)


def test_an_empty_cell_is_no_anomaly_whatever_1_stands_for(tmp_path):
    series = read_csv(written(tmp_path / "in.csv", "ok", ["1", "", "0", "1"] * 10), label_column="ok")
    assert series.labels is not None and series.labels.sum() == 10


@pytest.mark.parametrize("cells", [["-1"] * 20, ["-1", "1"] * 10, ["-1", "0", "0", "1"] * 5, ["-1", "1", "1"] * 10])
def test_of_others_nobody_knows_which_is_the_anomaly(tmp_path, cells):
    with pytest.raises(DataError, match="-1 and 1, of which the clearly rarer one.* row 0.*Write 1 for anomalies and 0"):
        read_csv(written(tmp_path / "in.csv", "label", cells), label_column="label")


def test_all_series_of_a_file_have_one_anomaly(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(
        "time,id,x,label\n"
        + "".join(f"2024-01-{1 + i:02d},{s},{i},{-1 if s == 'b' and i < 5 else 1}\n" for i in range(20) for s in "ab")
    )
    found = read_each(path, "id", label_column="label")
    assert found["a"].labels.sum() == 0 and found["b"].labels.sum() == 5


def test_more_than_half_of_the_rows_are_told():
    labels = labels_as_said(np.array([1.0, 1, 1, 0, np.nan]), "label", "in.csv")
    assert labels.values.tolist() == [1, 1, 1, 0, 0]
    assert labels.told == [
        "More than half of the rows are labelled as anomalies in 'label': 3 of 5. If 1 stands for what is normal there, write 1 "
        "for anomalies and 0 for all other rows."
    ]
    assert not labels_as_said(np.array([1.0, 1, 0, 0]), "label", "in.csv").told


def test_names_that_say_what_is_normal():
    assert all(map(means_normal, ["normal", "is_normal", "Normal_Flag", "ok", "benign", "normal_operation"]))
    assert not any(map(means_normal, ["label", "normal/attack", "not_normal", "no_ok", "abnormal", "token", "goods", ""]))


@pytest.mark.parametrize(
    ("name", "own", "told"),
    [
        ("z", EVENTS, True),
        ("afwijking", EVENTS, True),
        ("valve_open", EVENTS, False),
        ("pump3", EVENTS, False),
        ("is_holiday", EVENTS, False),
        ("z", np.arange(N) % 12 == 0, False),  # again and again
        ("z", np.arange(N) % 50 < 10, False),  # often
        ("z", EVENTS * 2.0, False),
        ("z", EVENTS * 0.0, False),
        ("z", np.where(EVENTS, 1, np.nan), False),
    ],
)
def test_labels_without_a_name_are_told_and_stay(name, own, told):
    values = np.column_stack([np.arange(N), np.asarray(own, np.float64)])
    found = may_be_labels(values, ("x", name))
    assert len(found) == told and (not told or f"--label-column {name} takes it for labels" in found[0])
    assert not may_be_labels(values[:, 1:], (name,))  # the only feature
