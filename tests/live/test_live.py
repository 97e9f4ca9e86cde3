"""Live runs as people run them: killed and started again, told to reload, fed with line protocol, by many series at once."""

import csv
import errno
import json
import os
import random
import re
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from commands import command
from conftest import make_series, to_csv
from heeding import heeding

from anomaly import Detector, TimeSeries
from anomaly.cli import cli
from anomaly.files.one_file import score_file
from anomaly.fleet.folder import Index, replaced_fleet, write_member

# From Python 3.12 on, a warning that a process with threads forks; what runs before the new program here only sets signals.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
N = 300


@pytest.fixture(scope="module")
def lines(series, tmp_path_factory):
    return to_csv(series[:N], tmp_path_factory.mktemp("live") / "in.csv").read_text().splitlines(keepends=True)


@pytest.fixture(scope="module")
def wanted(detector, lines, tmp_path_factory):
    """The lines that scoring the whole file gives."""
    folder = tmp_path_factory.mktemp("batch")
    (folder / "in.csv").write_text("".join(lines))
    with open(folder / "out.csv", "wb") as handle:
        score_file(detector, folder / "in.csv", aggregation="trailing", output=handle)
    return (folder / "out.csv").read_text().splitlines(keepends=True)


def start(model, data="-", *options):
    """Start a live run that heeds signals."""
    return piped(heeding(command("score", data, "--model", model, "--follow", *options)))


def fed(model, *options):
    """Start a live run that ends with its standard input."""
    return piped(command("score", "-", "--model", model, "--follow", *options))


def piped(words):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(words, **pipes, text=True, bufsize=1)


def invoke(*arguments, **options):
    return CliRunner().invoke(cli, list(map(str, arguments)), **options)


def waited_for(tell, seconds=60):
    end = time.monotonic() + seconds
    while not tell():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def size_of(path):
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize("aggregation", ["trailing", "combined"])
def test_killed_at_any_moment_it_leaves_the_bytes_of_a_run_that_was_not(bundle_path, detector, lines, tmp_path, aggregation):
    source, output, rng = tmp_path / "in.csv", tmp_path / "out.csv", random.Random(5)
    options = ["--output", output, "--state", tmp_path / "state", "--aggregation", aggregation, "--lag", 11]
    with open(tmp_path / "batch.csv", "wb") as handle:
        (tmp_path / "whole.csv").write_text("".join(lines))
        score_file(detector, tmp_path / "whole.csv", aggregation=aggregation, output=handle)
    batch = (tmp_path / "batch.csv").read_text()
    source.write_text("".join(lines[:2]))
    n = 2
    for turn in range(4):
        with start(bundle_path, source, *options) as run, open(source, "a") as handle:
            before = size_of(output)
            for line in lines[n : n + 70]:  # half a line may be there when the signal comes
                for part in (line[:7], line[7:]):
                    handle.write(part)
                    handle.flush()
                if rng.random() < 0.1:
                    time.sleep(0.02)
            n += 70
            waited_for(lambda before=before: size_of(output) > before)
            time.sleep(rng.random() * 1.3)
            run.send_signal((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT)[turn])
            assert run.wait(60) == (-9, 143, -9, 130)[turn]
            assert "Traceback" not in run.stderr.read()
            assert batch.startswith(output.read_text().rpartition("\n")[0])
    with open(source, "a") as handle:
        handle.writelines(lines[n:])
    n_waiting = 0 if aggregation == "trailing" else 11
    expected = "".join(batch.splitlines(keepends=True)[: N + 1 - n_waiting])
    with start(bundle_path, source, *options, "--report-json", tmp_path / "report.json") as run:
        waited_for(lambda: output.read_text() == expected)
        run.terminate()
        assert run.wait(60) == 143
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["rows"] == sum(report["statuses"].values()) == N - n_waiting


def test_a_pipe_that_ends_goes_on_in_the_next_run(bundle_path, lines, wanted, tmp_path):
    state, found = tmp_path / "state", []
    for number, (first, stop) in enumerate([(1, 90), (90, 91), (91, N + 1)]):
        with fed(bundle_path, "--state", state) as run:
            out, errors = run.communicate(lines[0] + "".join(lines[first:stop]))
            assert (run.returncode, "Traceback" in errors) == (0, False)
            found += out.splitlines(keepends=True)
        assert f"of {stop - 1} rows scored" in errors, number
    assert found == wanted


def test_a_file_in_the_place_of_the_one_read_is_read_from_its_beginning(bundle_path, lines, wanted, tmp_path):
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    options = ["--output", output, "--state", tmp_path / "state"]
    for first, stop in ((1, 100), (100, N + 1)):
        source.write_text(lines[0] + "".join(lines[first:stop]))
        with start(bundle_path, source, *options) as run:
            waited_for(lambda stop=stop: output.exists() and output.read_text().count("\n") == stop)
            run.terminate()
            assert run.wait(60) == 143
            errors = run.stderr.read()
        source.rename(tmp_path / f"in.csv.{first}")
    assert output.read_text() == "".join(wanted)
    assert "cut or replaced (1)" in errors


def test_a_hangup_makes_a_new_threshold_take_effect(bundle_path, detector, lines, wanted, tmp_path):
    model = tmp_path / "tuned.anomaly"
    model.write_bytes(bundle_path.read_bytes())
    with start(model) as run:
        found = []

        def send(some):
            run.stdin.write("".join(some))
            run.stdin.flush()
            return [run.stdout.readline() for _ in some]

        found += send(lines[:101])
        Detector.load(model).set_threshold(77, aggregation="trailing").save(model)
        run.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        found += send(lines[101:201])
        model.write_bytes(b"no detector")
        run.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        found += send(lines[201 : N + 1])
        run.stdin.close()
        assert run.wait(60) == 0
        errors = run.stderr.read()
    scores = [line.split(",")[3] for line in found]
    assert scores == [line.split(",")[3] for line in wanted]
    old = wanted[1].split(",")[4]
    assert [line.split(",")[4] for line in found[1:]] == [old] * 100 + ["77"] * (N - 100)
    assert "The model was read again.\n" in errors
    assert "The model was read again, and the old one stays." in errors


def test_a_session_in_line_protocol_over_pipes(bundle_path, series, wanted):
    """What Telegraf's execd processor does: metrics in, each answered before the next."""
    with fed(bundle_path, "--input-format", "influx", "--id-column", "host") as run:
        for row in range(40):
            first, second = series.values[row].tolist()
            for host in ("a", "b\\ c"):
                line = f'cpu,host={host} s1={first!r},s2={second!r},note="x, y" {series.times[row] * 1000}'
                run.stdin.write(line + "\n")
                run.stdin.flush()
                answer = run.stdout.readline().rstrip("\n")
                score, threshold, _, flag, status = wanted[row + 1].rstrip("\n").split(",")[3:]
                assert answer.startswith(line.rpartition(" ")[0])
                assert answer.endswith(f" {series.times[row] * 1000}") and f',status="{status}" ' in answer
                assert f",threshold={threshold}," in answer
                if score:
                    assert f",score={score}," in answer and f",is_anomaly={'true' if flag == '1' else 'false'}," in answer
                else:
                    assert ",score=" not in answer and ",is_anomaly=" not in answer
        run.stdin.close()
        assert run.wait(60) == 0
        assert "of 80 rows scored" in run.stderr.read()


def test_objects_keep_their_text_and_get_what_scoring_appends(bundle_path, series, wanted):
    objects = [
        f'{{ "timestamp":"{stamp.isoformat()}Z","x": [1, {{}}],"s1":{a!r}, "s2":{b!r} }} '
        for stamp, (a, b) in zip(series.to_frame().index.tz_localize(None)[:60], series.values.tolist(), strict=False)
    ]
    result = invoke("score", "-", "--model", bundle_path, "--follow", "--input-format", "jsonl", input="\n".join(objects) + "\n")
    assert result.exit_code == 0, result.output
    for given, answer, line in zip(objects, result.stdout.splitlines(), wanted[1:], strict=False):
        assert answer.startswith(given.rstrip()[:-1].rstrip())
        found, cells = json.loads(answer), line.rstrip("\n").split(",")[3:]
        assert found["x"] == [1, {}]
        assert [found["score"], found["status"]] == [float(cells[0]) if cells[0] else None, cells[4]]
        assert found["is_anomaly"] == {"1": True, "0": False, "": None}[cells[3]]


def test_events_are_written_as_they_end(bundle_path, csv_path, tmp_path):
    events = tmp_path / "events.jsonl"
    with fed(bundle_path, "--events", events) as run:
        run.stdin.write(csv_path.read_text())
        run.stdin.flush()
        waited_for(lambda: events.exists() and events.read_text().count("\n") >= 1)
        run.stdin.close()
        assert run.wait(60) == 0
        assert f"{events.read_text().count(chr(10))} event" in run.stderr.read()


def test_late_rows_that_are_held_are_scored_in_order(bundle_path, lines, wanted):
    swapped = lines[:1] + [line for pair in zip(lines[2:101:2], lines[1:100:2], strict=True) for line in pair]
    result = invoke("score", "-", "--model", bundle_path, "--follow", "--reorder", "1", input="".join(swapped))
    assert result.stdout == "".join(wanted[:101])


@pytest.fixture
def fleet(detector, tmp_path):
    """A folder of two detectors, which differ in their thresholds."""
    members = {}
    with replaced_fleet(tmp_path / "fleet") as new:
        for name, threshold in (("a", 3.5), ("b", 1e9)):
            tuned = Detector(**detector.get_params())
            tuned.bundle_, tuned._reconstruct = detector.bundle_, None
            tuned.set_threshold(threshold, aggregation="trailing").set_threshold(threshold)
            members[name] = write_member(new.folder, name, tuned.bundle_)
        new.finish(Index(None, "timestamp", detector.columns_, members))
    return tmp_path / "fleet"


@pytest.mark.parametrize("follow", [["--follow"], []])
def test_each_series_is_scored_by_its_own_detector(fleet, lines, wanted, tmp_path, follow):
    path = tmp_path / "long.csv"
    path.write_text(f"host,{lines[0]}" + "".join(f"{host},{line}" for line in lines[1:101] for host in "abc"))
    asked = command("score", "-", "--model", fleet, "--id-column", "host", "--aggregation", "trailing", *follow)
    result = subprocess.run(asked, input=path.read_text(), capture_output=True, text=True, check=False)
    assert result.returncode == 3
    assert "must be one of the 2 that the fleet was trained on. Received: 'c'" in result.stderr
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [row["host"] for row in rows] == list("abc") * 100
    scores = [line.split(",")[3] for line in wanted[1:101]]
    for host, threshold in (("a", "3.5"), ("b", "1e+09"), ("c", "")):
        mine = [row for row in rows if row["host"] == host]
        assert {row["threshold"] for row in mine} == {threshold}
        assert [row["score"] for row in mine] == (scores if threshold else [""] * 100)
    assert {row["status"] for row in rows if row["host"] == "c"} == {"no_detector"}


def test_a_folder_of_detectors_needs_the_name_of_each_series(fleet, csv_path):
    result = invoke("score", csv_path, "--model", fleet, "--follow")
    assert result.exit_code == 2 and "Name the series with --id-column" in result.stderr


def test_counts_of_a_run_in_two_parts_are_those_of_one(bundle_path, lines, tmp_path):
    """Bad, blank and repeated lines at the end of a part, columns nobody knows: each is counted once, and none ends the run."""
    source, state, reports = tmp_path / "in.csv", tmp_path / "state", []
    extra = [f"{line.rstrip()},{i or 'note'}\n" for i, line in enumerate(lines)]
    parts = [[*extra[:60], "2022-04-15T06:20:00Z,x,1,2\n", "\n", extra[0]], [*extra[60:90], "soon\n", *extra[90:100], "\n"], []]
    options = ["--state", state, "--on-bad-rows", "skip", "--report-json", tmp_path / "report.json"]
    source.write_text("")
    for part, n_rows in zip(parts, (59, 99, 99), strict=True):
        with open(source, "a") as handle:
            handle.writelines(part)
        with start(bundle_path, source, *options, "--output", tmp_path / "out.csv") as run:
            waited_for(lambda n=n_rows: size_of(tmp_path / "out.csv") and (tmp_path / "out.csv").read_text().count("\n") > n)
            time.sleep(1.2 if not part else 0.3)
            run.terminate()
            assert run.wait(60) == 143, run.stderr.read()
        reports.append(json.loads((tmp_path / "report.json").read_text()))
    assert [report["rejected"] for report in reports] == [1, 2, 2]
    counts = {"blank_lines": 2, "repeated_headers": 1, "extra_columns": 1, "rejected_fields": 1, "rejected_numbers": 1}
    assert reports[2]["tolerated"] == counts
    for report in reports:
        assert report["rows"] == sum(report["statuses"].values()) + report["rejected"]
    assert reports[2]["rows"] == 101


def in_parts(arguments, lines, bounds, report):
    """Score lines that come in parts, each to a run of its own; return all rows and the last report."""
    out = ""
    for start, stop in pairwise(bounds):
        result = invoke(*arguments, "--report-json", report, input=lines[0] + "".join(lines[start:stop]))
        assert result.exit_code in (0, 3), result.output
        out += result.stdout
    return out, json.loads(report.read_text())


@pytest.mark.parametrize("options", [[], ["--aggregation", "combined", "--lag", "11"], ["--reorder", "3"]])
def test_the_report_of_the_last_of_several_runs_is_that_of_one(bundle_path, lines, tmp_path, options):
    arguments = ["score", "-", "--model", bundle_path, "--follow", "--threshold", "0.95", *options]
    lines = [line.replace("2022-", "2023-") for line in lines]  # scores of training rows are no drift
    one = in_parts([*arguments, "--state", tmp_path / "one"], lines, [1, 250], tmp_path / "one.json")
    bounds = [1, *range(5, 250, 9), 250]
    several = in_parts([*arguments, "--state", tmp_path / "several"], lines, bounds, tmp_path / "several.json")
    assert several == one
    assert one[1]["events"] > 1 and one[1]["drift"]["rows"] == 249 > one[1]["drift"]["scores"] > 200


def test_runs_that_are_no_events_are_counted_over_restarts(bundle_path, lines, tmp_path):
    strict = tmp_path / "strict.anomaly"
    assert invoke("threshold", bundle_path, "--min-length", "60", "--merge-gap", "6", "--output", strict).exit_code == 0
    arguments = ["score", "-", "--model", strict, "--follow", "--threshold", "0.9"]
    _, one = in_parts([*arguments, "--state", tmp_path / "one"], lines, [1, 250], tmp_path / "one.json")
    _, several = in_parts([*arguments, "--state", tmp_path / "several"], lines, [1, 40, 41, 120, 250], tmp_path / "several.json")
    assert several["not_raised"] == one["not_raised"] and one["not_raised"]["too_short"] > 1


def test_a_series_that_was_refused_is_not_scored_again_after_a_restart(bundle_path, lines, tmp_path):
    both = [f"host,{lines[0]}"]
    for fast, slow in zip(lines[1:101], lines[1:301:3], strict=True):
        both += [f"a,{fast}", f"b,{slow}"]
    arguments = ["score", "-", "--model", bundle_path, "--follow", "--id-column", "host"]
    one = in_parts([*arguments, "--state", tmp_path / "one"], both, [1, 201], tmp_path / "one.json")
    several = in_parts([*arguments, "--state", tmp_path / "s"], both, [1, 60, 130, 201], tmp_path / "several.json")
    assert several == one
    assert one[1]["statuses"]["no_detector"] == 100 - 15
    result = invoke(*arguments, "--state", tmp_path / "s", input=both[0] + both[-1])
    assert result.exit_code == 3
    assert "b: Rows must come about as often as in training, every 3600 s. Received: a series that was refused" in result.stderr


@pytest.fixture(scope="module")
def counting_path(series, tmp_path_factory):
    """A detector for rows without times."""
    from conftest import TINY

    path = tmp_path_factory.mktemp("counting") / "counting.anomaly"
    counted = TimeSeries(np.arange(400), series.values[:400], series.columns, name="made", time_column=None)
    Detector(**TINY | {"epochs": 1}).fit(counted).save(path)
    return path


def test_where_rows_are_counted_a_skipped_one_leaves_its_place_over_restarts_and_in_every_format(counting_path, series, tmp_path):
    rows, found = [[repr(a), repr(b)] for a, b in series.values[:80].tolist()], {}
    for bad in (20, 21, 49, 50, 70):
        rows[bad][1] = "x"
    texts = {
        "csv": ["s1,s2\n", *(f"{a},{b}\n" for a, b in rows)],
        "jsonl": ["", *(json.dumps({"s1": float(a), "s2": b if b == "x" else float(b)}) + "\n" for a, b in rows)],
    }
    for file_format, text in texts.items():
        for name, bounds in (("one", [1, 81]), ("several", [1, 22, 51, 52, 81])):
            arguments = ["score", "-", "--model", counting_path, "--follow", "--input-format", file_format, "--on-bad-rows", "skip"]
            arguments += ["--max-bad-fraction", "1", "--state", tmp_path / f"{name}.{file_format}"]
            out, report = in_parts(arguments, text, bounds, tmp_path / "report.json")
            found[file_format, name] = out, {kind: report["tolerated"].get(kind) for kind in ("gaps", "missing_rows")}
    for file_format in texts:
        assert found[file_format, "several"] == found[file_format, "one"]
    scores = [line.split(",")[2] for line in found["csv", "one"][0].splitlines()[1:]]
    objects = map(json.loads, found["jsonl", "one"][0].splitlines())
    assert scores == [f"{row['score']:.9g}" if row["score"] else "" for row in objects]
    assert found["csv", "one"][1] == found["jsonl", "one"][1]


# What does not go together


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--state", "s"], "goes with --follow"),
        (["--lag", "3"], "goes with --follow"),
        (["--input-format", "jsonl"], "goes with --follow"),
        (["--follow", "--output", "out.csv"], "--output needs --state"),
        (["--follow", "--resume"], "knows no --resume"),
        (["--follow", "--max-bytes", "1MB"], "knows no --resume or --no-resume|knows no --max-bytes"),
        (["--follow", "--state", "s", "--events", "e.csv"], "knows no --events beside --state"),
        (["--follow", "--state", "s", "--on-bad-rows", "skip", "--rejects", "r.csv"], "--state knows no --rejects"),
        (["--follow", "--state", "s", "--report-json", "s"], "Files must differ"),
        (["--follow", "--aggregation", "combined"], "--lag must be at least that"),
        (["--follow", "--input-format", "jsonl", "--format", "csv"], "must be written as jsonl"),
        (["--format", "influx"], "must be written as csv or jsonl"),
        (["--engine", "ray"], "A cluster works on several inputs"),
        (["--id-column", "x", "--resume", "--output", "o"], "knows no --id-column"),
    ],
)
def test_options_that_contradict_each_other_are_told(bundle_path, csv_path, tmp_path, options, sentence, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke("score", csv_path, "--model", bundle_path, *options)
    assert result.exit_code == 2, result.output
    assert re.search(sentence, result.stderr)
    assert result.stdout == ""
    assert not (tmp_path / "out.csv").exists()


def test_an_output_that_is_there_is_not_written_over(bundle_path, lines, tmp_path):
    output = tmp_path / "out.csv"
    output.write_text("mine")
    result = invoke("score", "-", "--model", bundle_path, "--follow", "-o", output, "--state", tmp_path / "s", input="".join(lines))
    assert (result.exit_code, output.read_text()) == (5, "mine")
    assert "must be a new file" in result.stderr


def test_an_output_that_lost_rows_is_told(bundle_path, lines, tmp_path):
    output = tmp_path / "out.csv"
    arguments = ["score", "-", "--model", bundle_path, "--follow", "-o", output, "--state", tmp_path / "s"]
    assert invoke(*arguments, input="".join(lines[:50])).exit_code == 0
    os.truncate(output, 100)
    result = invoke(*arguments, input="".join(lines[:1] + lines[50:]))
    assert (result.exit_code, size_of(output)) == (5, 100)
    assert "must still have" in result.stderr


def test_the_state_of_a_run_with_other_options_is_told(bundle_path, lines, tmp_path):
    arguments = ["score", "-", "--model", bundle_path, "--follow", "--state", tmp_path / "s"]
    assert invoke(*arguments, input="".join(lines[:50])).exit_code == 0
    result = invoke(*arguments, "--reorder", "2", input="".join(lines))
    assert result.exit_code == 2 and "another reorder" in result.stderr


# Long files


def test_a_long_file_is_scored_in_place(bundle_path, detector, tmp_path):
    rng, rows, alone = random.Random(1), [], {}
    for number, name in enumerate(("b", "a", '"x,y"')):
        made = make_series(150 - 30 * number, seed=number, spike=slice(60, 64))
        its_own = to_csv(made, tmp_path / f"{number}.csv").read_text().splitlines()
        out = tmp_path / f"{number}.out.csv"
        assert invoke("score", tmp_path / f"{number}.csv", "--model", bundle_path, "-o", out).exit_code == 0
        cells = out.read_text().splitlines()[1:]
        alone |= {(name, line.split(",")[0]): line.split(",", 3)[3] for line in cells}
        rows.append([f"{name},{line}" for line in its_own[1:]])
    mixed, left = [], [list(reversed(some)) for some in rows]
    while any(left):
        mixed.append(rng.choice([some for some in left if some]).pop())
    for order in (mixed, [row for some in rows for row in some]):
        path, output = tmp_path / "long.csv", tmp_path / "long.out.csv"
        path.write_text("id,timestamp,s1,s2\n" + "".join(f"{row}\n" for row in order))
        events = tmp_path / "events.csv"
        result = invoke("score", path, "--model", bundle_path, "--id-column", "id", "-o", output, "--events", events)
        assert result.exit_code == 0, result.output
        found = output.read_text().splitlines()[1:]
        wanted = [f"{row},{alone[tuple(row.rsplit(',', 2)[0].rsplit(',', 1))]}" for row in order]
        assert found == wanted
        asked = command("score", "-", "--model", bundle_path, "--id-column", "id")
        piped = subprocess.run(asked, input=path.read_bytes(), capture_output=True, check=True)
        assert piped.stdout == output.read_bytes()
        assert events.read_text().startswith("series,start,stop,")
        named = [next(csv.reader([line]))[0] for line in events.read_text().splitlines()[1:]]
        assert sorted(named) == ["a", "b", "x,y"]


def test_a_short_series_is_reported_and_the_others_are_scored(bundle_path, tmp_path):
    path = tmp_path / "long.csv"
    good = [f"good,{line}" for line in to_csv(make_series(60), tmp_path / "x.csv").read_text().splitlines()[1:]]
    short = [row.replace("good", "short") for row in good[:5]]
    path.write_text("id,timestamp,s1,s2\n" + "\n".join(good + short) + "\n")
    result = invoke("score", path, "--model", bundle_path, "--id-column", "id")
    assert result.exit_code == 3
    assert "short: no row could be scored" in result.stderr
    assert result.stdout.count("\n") == 66
    path.write_text("id,timestamp,s1,s2\n" + "\n".join(short) + "\n")
    result = invoke("score", path, "--model", bundle_path, "--id-column", "id", "-o", tmp_path / "o.csv")
    assert result.exit_code == 3 and not (tmp_path / "o.csv").exists()


def test_an_output_is_on_disk_before_the_state_that_points_to_it(bundle_path, lines, tmp_path, monkeypatch):
    output, state, calls = tmp_path / "out.csv", tmp_path / "state", []
    fsync, replace_file = os.fsync, os.replace

    def synced(descriptor):
        found = os.fstat(descriptor)
        if output.exists() and os.path.samestat(found, output.stat()):
            calls.append(("output", found.st_size))
        elif os.path.samestat(found, tmp_path.stat()):
            calls.append(("folder", output.exists()))
        fsync(descriptor)

    def replaced(source, target):
        if Path(target) == state:
            calls.append(("state", output.stat().st_size))
        replace_file(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    invoke("score", "-", "--model", bundle_path, "--follow", "-o", output, "--state", state, input="".join(lines))
    assert calls[0] == ("folder", True)
    claims = [place for place, (what, size) in enumerate(calls) if what == "state" and size]
    assert claims and all(("output", calls[place][1]) in calls[:place] for place in claims)
    assert calls[claims[-1]][1] == output.stat().st_size


@pytest.mark.parametrize(("number", "message"), [(errno.EINVAL, None), (errno.EIO, "Input/output error")])
def test_an_output_that_cannot_be_flushed_to_disk_is_good_enough_and_a_disk_that_fails_is_not(
    bundle_path, lines, tmp_path, monkeypatch, number, message
):
    output, fsync = tmp_path / "out.csv", os.fsync

    def synced(descriptor):
        if os.path.samestat(os.fstat(descriptor), output.stat()):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    arguments = ["score", "-", "--model", bundle_path, "--follow", "-o", output, "--state", tmp_path / "state"]
    result = invoke(*arguments, input="".join(lines))
    assert result.exit_code == (0 if message is None else 5) and (message or "") in result.stderr
