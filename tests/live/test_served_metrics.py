"""Figures for Prometheus: what is served and written, read by prometheus-client's own parsers, and what the guide says of it."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from commands import command

from anomaly import ConfigError
from anomaly.cli import cli
from anomaly.files.scored_rows import ScoredRows
from anomaly.live.metrics import RunMetrics, address_of, served
from anomaly.scoring.row_scores import STATUSES

pytest.importorskip("prometheus_client")
GUIDE = (Path(__file__).parents[2] / "anomaly" / "live" / "README.md").read_text()


def parsed(content):
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    return samples(text_string_to_metric_families(content))


def samples(families):
    found = {}
    for family in families:
        assert family.documentation
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def of(found, name, **labels):
    return found[name, tuple(sorted(labels.items()))]


def rows(scores, threshold=2.0, first=0, statuses=None):
    n, score = len(scores), np.array(scores, float)
    status = np.array([STATUSES.index(name) for name in statuses or ["ok"] * n])
    return ScoredRows(
        [""] * n, first + np.arange(n) * 1_000_000, score, score[:, None], score[:, None], status, np.full(n, threshold)
    )


def test_what_was_counted_is_told_by_series():
    metrics = RunMetrics('a "b"\\c\nd', timed=True)
    metrics.rows("x", rows([1.0, 5.0, np.nan], statuses=["ok", "ok", "missing"]))
    metrics.rows("x", rows([np.nan], first=9_000_000, statuses=["late"]))
    metrics.rows("y", rows([1.0]))
    metrics.rows("y", rows([]))
    metrics.events("x", 2)
    metrics.gaps(3)
    found = parsed(metrics.text().decode())
    both = {"series": "x", "model": 'a "b"\\c\nd'}
    assert of(found, "anomaly_score", **both) == 2.5, "in thresholds, of the last row that has one"
    assert of(found, "anomaly_is_anomaly", **both) == 1
    assert of(found, "anomaly_threshold", **both) == 2
    assert of(found, "anomaly_rows_total", **both, status="ok") == 2
    assert of(found, "anomaly_rows_total", **both, status="late") == 1
    assert of(found, "anomaly_flagged_rows_total", **both) == 1
    assert of(found, "anomaly_events_total", **both) == 2
    assert of(found, "anomaly_last_row_timestamp_seconds", **both) == 9
    assert of(found, "anomaly_lag_seconds", **both) == pytest.approx(time.time() - 9, abs=60)
    assert of(found, "anomaly_is_anomaly", **both | {"series": "y"}) == 0
    assert of(found, "anomaly_gaps_total", model=both["model"]) == 3


def test_the_series_heard_of_last_are_told_where_there_are_too_many():
    metrics = RunMetrics("m", timed=False, most_series=2)
    for name in ("a", "b", "a", "c"):
        metrics.rows(name, rows([1.0]))
    found = parsed(metrics.text().decode())
    assert {dict(labels).get("series") for _, labels in found} == {"a", "c", None}
    assert not any(name.endswith(("seconds", "timestamp_seconds")) for name, _ in found), "counted rows have no time"


@pytest.mark.parametrize(
    ("text", "address"),
    [("9464", ("127.0.0.1", 9464)), ("0.0.0.0:0", ("0.0.0.0", 0)), ("::1:80", ("::1", 80)), (":1", ("127.0.0.1", 1))],
)
def test_an_address_has_a_port_and_perhaps_a_host(text, address):
    assert address_of(text) == address


@pytest.mark.parametrize("text", ["", "host:", "80:host", "65536", "-1", "१"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ConfigError, match=r"--metrics-port must be \[HOST:\]PORT, with a port from 0 to 65535"):
        address_of(text)


def asked(port, accept="text/plain"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def test_it_is_served_in_both_formats_with_figures_of_the_process_and_then_no_more():
    from prometheus_client.parser import text_string_to_metric_families

    metrics = RunMetrics("m", timed=False)
    with served(metrics, ("127.0.0.1", 0)) as port:
        metrics.rows("x", rows([3.0]))
        plain = samples(text_string_to_metric_families(asked(port)))
        assert of(plain, "anomaly_score", series="x", model="m") == 1.5
        assert not sys.platform.startswith("linux") or ("process_cpu_seconds_total", ()) in plain
        opened = parsed(asked(port, "application/openmetrics-text; version=1.0.0"))
        assert of(opened, "anomaly_rows_total", series="x", model="m", status="ok") == 1
        with (
            pytest.raises(ConfigError, match=rf"--metrics-port must be free, .* Received: 127.0.0.1:{port}"),
            served(metrics, ("127.0.0.1", port)),
        ):
            pass
    with pytest.raises(OSError, match="refused"):
        asked(port)


@pytest.fixture
def live(bundle_path):
    """A live run of several series from a pipe, and the port that it serves."""
    words = ["score", "-", "--model", bundle_path, "--follow", "--id-column", "pump", "--metrics-port", "0"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command(*words), **pipes, text=True) as process:
        port = re.fullmatch(r"Metrics: http://127\.0\.0\.1:(\d+)/metrics\n", process.stderr.readline())[1]
        yield process, int(port)
        process.stdin.close()
        process.stdout.read()
        process.stderr.read()


def test_a_live_run_tells_of_its_series_while_they_come(live, detector, series):
    process, port = live
    lines = [line.split(",") for line in to_csv_text(series[380:450]).splitlines()]
    process.stdin.write(",".join(["pump", *lines[0]]) + "\n")
    for name in ("north", "south"):
        process.stdin.writelines(",".join([name, *cells]) + "\n" for cells in lines[1:])
    process.stdin.flush()
    last = [process.stdout.readline() for _ in range(141)][-1]
    found = parsed(asked(port, "application/openmetrics-text; version=1.0.0"))
    expected = detector.score(series[380:450], aggregation="trailing")
    labels = {"series": "south", "model": "tiny.anomaly"}
    assert of(found, "anomaly_score", **labels) == pytest.approx(expected.anomaly_score[-1], rel=1e-6)
    assert of(found, "anomaly_score", **labels) == pytest.approx(float(last.split(",")[-3]), rel=1e-6)
    assert of(found, "anomaly_flagged_rows_total", **labels) == expected.flags.sum()
    assert of(found, "anomaly_rows_total", **labels, status="warm_up") == 11
    assert of(found, "anomaly_lag_seconds", **labels) > 0
    drift = "anomaly_drift", tuple(sorted(labels.items()))
    for _ in range(300):  # it is looked at now and then, when rows come
        if drift in found:
            break
        time.sleep(0.1)
        process.stdin.write(",".join(["south", *lines[-1]]) + "\n")
        process.stdin.flush()
        assert process.stdout.readline()
        found = parsed(asked(port, "application/openmetrics-text; version=1.0.0"))
    assert 0 <= found[drift] <= 1
    named = set(re.findall(r"^\| (`anomaly_.*?) \|", GUIDE, re.MULTILINE))
    told = {name for line in named for name in re.findall(r"`(anomaly_\w+)`", line)}
    assert told == {name for name, _ in found if name.startswith("anomaly_")}


def to_csv_text(series):
    frame = series.to_frame().reset_index()
    frame["timestamp"] = frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return frame.to_csv(index=False)


def test_a_file_is_told_at_once_without_its_rows(bundle_path, csv_path, series, detector, tmp_path):
    words = ["score", str(csv_path), "--model", str(bundle_path), "--format", "openmetrics", "-o", str(tmp_path / "t.prom")]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.stderr
    found, scores = parsed((tmp_path / "t.prom").read_text()), detector.score(series)
    labels = {"series": "", "model": "tiny.anomaly"}
    assert of(found, "anomaly_score", **labels) == pytest.approx(scores.anomaly_score[-1])
    assert of(found, "anomaly_flagged_rows_total", **labels) == scores.flags.sum() > 0
    assert of(found, "anomaly_events_total", **labels) == len(detector.detect(scores))
    assert of(found, "anomaly_last_row_timestamp_seconds", **labels) == series.times[-1] / 1e6
    assert ("anomaly_drift", tuple(sorted(labels.items()))) in found
    assert not any("lag_seconds" in name for name, _ in found), "it would stand still"


def test_a_long_file_is_told_by_series(bundle_path, series, tmp_path):
    lines = to_csv_text(series).splitlines()
    text = [f"pump,{lines[0]}", *(f"{name},{line}" for line in lines[1:] for name in ("a", "b"))]
    (tmp_path / "long.csv").write_text("\n".join(text) + "\n")
    words = [
        "score",
        str(tmp_path / "long.csv"),
        "--model",
        str(bundle_path),
        "--id-column",
        "pump",
        "--format",
        "openmetrics",
        "-q",
    ]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.stderr
    found = parsed(result.stdout)
    one, other = ({k: v for k, v in found.items() if ("series", name) in k[1]} for name in "ab")
    assert [*one.values()] == [*other.values()]
    assert of(found, "anomaly_events_total", series="a", model="tiny.anomaly") > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metrics-port", "9464"], "--metrics-port goes with --follow. Received: --metrics-port without it."),
        (["--follow", "--format", "openmetrics"], "Received: it with --follow. Use --metrics-port."),
        (["--resume", "--format", "openmetrics", "-o", "x"], "Received: it with --resume. Leave one of them out."),
        (["--follow", "--metrics-port", "x"], "--metrics-port must be [HOST:]PORT"),
    ],
)
def test_what_is_refused(bundle_path, csv_path, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["score", str(csv_path), "--model", str(bundle_path), *words])
    assert result.exit_code == 2
    assert message in result.stderr
    assert not any(tmp_path.iterdir())


def test_without_the_package_it_is_named(monkeypatch, bundle_path, csv_path):
    for name in [name for name in sys.modules if name.startswith("prometheus_client")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    for words in (["--follow", "--metrics-port", "0"], ["--format", "openmetrics"]):
        result = CliRunner().invoke(cli, ["score", str(csv_path), "--model", str(bundle_path), *words])
        assert result.exit_code == 2
        assert "needs prometheus-client. Received: no prometheus-client. Run: pip install prometheus-client." in result.stderr


def block(language):
    return re.search(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)[1]


def metrics_in(expression):
    """Return the metrics that an expression of Prometheus names, with the labels that it looks at; refuse odd brackets."""
    for pair in ("()", "[]", "{}"):
        assert expression.count(pair[0]) == expression.count(pair[1])
    bare = re.sub(r"\bby \([^)]*\)", "", re.sub(r"\{[^}]*\}|\[\w+\]", "", expression))
    names = set(re.findall(r"\b[a-z_]\w*\b(?!\s*\()", bare)) - {"by", "and", "or"}
    labels = re.findall(r'(\w+)="', expression) + [
        x.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for x in by.split(",")
    ]
    assert all(
        function in {"min_over_time", "sum", "rate"} for function in re.findall(r"\b(\w+)\s*\(", re.sub(r"by \(", "", expression))
    )
    return names, set(labels)


def test_the_rules_and_the_panel_of_the_guide_ask_for_what_is_told():
    yaml = pytest.importorskip("yaml")
    metrics = RunMetrics("m", timed=True)
    metrics.rows("x", rows([3.0]))
    metrics.drift({"x": Drifted()})
    found = parsed(metrics.text().decode())
    known = {name: {label for label, _ in labels} for name, labels in found}
    rules = [rule for group in yaml.safe_load(block("yaml"))["groups"] for rule in group["rules"]]
    assert all(
        rule.keys() <= {"alert", "expr", "for", "annotations"} and re.fullmatch(r"\d+[mh]", rule.get("for", "1m")) for rule in rules
    )
    asked_for = [rule["expr"] for rule in rules] + [target["expr"] for target in json.loads(block("json"))["targets"]]
    for expression in asked_for:
        names, labels = metrics_in(expression)
        assert names
        assert names <= known.keys()
        assert all(labels <= known[name] for name in names)


class Drifted:
    extent = 0.5


def test_without_the_option_the_package_is_not_loaded(bundle_path, csv_path):
    code = (
        f"import sys; from anomaly.cli import cli\nsys.stdin = open({str(csv_path)!r})\n"
        f"try:\n    cli(['score', '-', '--model', {str(bundle_path)!r}, '--follow', '-q'], standalone_mode=False)\n"
        "finally:\n    print('prometheus_client' in sys.modules, file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == "False\n"
