"""A scoring run that is interrupted, killed or cheated goes on to the very bytes of one that was not, or says why it cannot."""

import contextlib
import errno
import functools
import io
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import FIRST_TIME, HOUR
from faulty_storage import ERRORS, FaultyStorage, failing_with
from heeding import heeding
from hypothesis import given, settings
from hypothesis import strategies as st
from made_bundles import made_bundle

from anomaly import ConfigError, DataError, Detector, StorageError
from anomaly.bundle.file import write_bundle
from anomaly.cli import cli
from anomaly.config import AGGREGATIONS
from anomaly.files import journal
from anomaly.files import one_file as files
from anomaly.files.journal import journalled, refuse_to_lose
from anomaly.files.one_file import score_file
from anomaly.scoring import overlaps
from anomaly.series import format_time
from anomaly.storage.writing import exclusive

N = 600


def made_lines(n=N, seed=0):
    """An hourly file of two features with all that can happen to a row: missing, late, repeated, after a gap, out of range."""
    rng = np.random.default_rng(seed)
    steps = np.full(n, HOUR)
    steps[[n // 5, n // 5 + 3, n // 2, n - 20]] *= 40
    times = FIRST_TIME + np.cumsum(steps)
    values = rng.normal(size=(n, 2)) * [0.1, 1 / 3] + [1.5, -2.0]
    values[n // 3 : n // 3 + 9] += 4
    values[n // 4, 0] = 1e300
    cells = [f"{format_time(t, 'when')},{a!r},{b!r}" for t, (a, b) in zip(times.tolist(), values.tolist(), strict=True)]
    for row in (40, n // 4 + 30, n - 40):
        cells[row] = cells[row].split(",")[0] + ",,"
    for row, source in ((60, 59), (n // 2 + 50, n // 2 + 49), (n // 2 + 80, n // 2 + 74), (n - 30, n - 33)):
        cells.insert(row + 1, cells[source])
    return ["when,flow,Drück", *cells]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file with rows of every kind, and a detector whose weights are random."""
    folder = tmp_path_factory.mktemp("journal")
    (folder / "in.csv").write_text("\n".join(made_lines()) + "\n", "utf-8")
    write_bundle(folder / "tiny.anomaly", made_bundle())
    return folder


@pytest.fixture(scope="module")
def tiny(folder):
    return Detector.load(folder / "tiny.anomaly")


@pytest.fixture(scope="module", autouse=True)
def small_steps():
    """Many chunks, pieces and blocks, and a line of the journal for every piece; disks are not waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlaps, "BLOCK_WINDOWS", 32)
        patch.setattr(journal, "_PIECE_ROWS", 37)
        patch.setattr(files, "CsvReader", functools.partial(files.CsvReader, chunk_bytes=7_000))
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@functools.cache
def straight(detector, path, content=None, **options):
    """Return bytes and summary of a run that nothing happens to; another `content` is another file."""
    output = io.BytesIO()
    summary = score_file(detector, path, output=output, **options)
    assert summary.n_rows == sum(summary.statuses.values()) > 0
    return output.getvalue(), summary


def resumed(detector, path, output, say=lambda _: None, seconds=0.0, **options):
    with journalled(output, seconds=seconds, say=say) as run:
        return score_file(detector, path, output=run, **options)


def kept_in(folder):
    """Return the contents of a folder, as a kill would leave them."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def put_back(folder, contents):
    for path in folder.iterdir():
        path.unlink()
    for name, content in contents.items():
        (folder / name).write_bytes(content)


class Killed(BaseException):
    """Ends a run as a kill does: what it leaves behind is put back afterwards."""


def hit(detector, path, output, number, *, kill, **options):
    """Run, and be hit at call `number` of the system by Ctrl-C or a kill; tell whether the run came to its end before."""
    left = {}

    def fault():
        left.update(kept_in(output.parent))
        raise Killed if kill else KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        faulty = FaultyStorage(number, fault).install(patch)
        with contextlib.suppress(KeyboardInterrupt, Killed):
            resumed(detector, path, output, **options)
    if kill and faulty.failed:
        put_back(output.parent, left)
    (output.parent / ".out.csv.lock").unlink(missing_ok=True)  # a dead process holds no lock
    return not faulty.failed


def same(found, expected):
    """Compare two summaries: every count, every event to the last bit."""
    assert json.dumps(found.to_dict()) == json.dumps(expected.to_dict())
    assert repr(found.events) == repr(expected.events)


# Interrupted anywhere


@settings(max_examples=10)
@given(
    aggregation=st.sampled_from(AGGREGATIONS),
    file_format=st.sampled_from(["csv", "jsonl"]),
    hits=st.lists(st.tuples(st.integers(1, 130), st.booleans()), min_size=1, max_size=4),
    quantile=st.sampled_from([0.05, 0.9, 0.99]),
)
def test_hits_at_any_call_leave_what_gives_the_same_bytes_and_events(
    folder, tiny, tmp_path_factory, aggregation, file_format, hits, quantile
):
    data, target = folder / "in.csv", tmp_path_factory.mktemp("out") / "out.csv"
    options = {"aggregation": aggregation, "file_format": file_format}
    options["threshold"] = float(np.quantile(scores_of(tiny, data, aggregation), quantile))
    expected, summary = straight(tiny, data, **options)
    assert summary.events and summary.n_flagged
    for number, kill in hits:
        ended = hit(tiny, data, target, number, kill=kill, **options)
        assert not target.exists() or target.read_bytes() == expected
        if ended:
            break
    same(resumed(tiny, data, target, **options), summary)
    assert target.read_bytes() == expected
    assert os.listdir(target.parent) == ["out.csv"]


def scores_of(detector, path, aggregation):
    text, _ = straight(detector, path, aggregation=aggregation, file_format="jsonl")
    return [row["score"] for row in map(json.loads, text.decode().splitlines()) if row["score"] is not None]


def test_any_call_can_be_the_last_one(folder, tiny, tmp_path):
    data, target = folder / "in.csv", tmp_path / "out.csv"
    expected, summary = straight(tiny, data)
    again = []
    for number in itertools.count(1, 7):
        if hit(tiny, data, target, number, kill=number % 2):
            break
        if target.exists():  # all was done but tidying up
            assert target.read_bytes() == expected
        notes = []
        same(resumed(tiny, data, target, notes.append), summary)
        assert target.read_bytes() == expected and os.listdir(tmp_path) == ["out.csv"]
        again += notes
        target.unlink()
    assert number > 60
    assert len({note for note in again if note.startswith("Going on after")}) > 5


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="nothing says which files are open")
@pytest.mark.parametrize("ends_well", [True, False])
def test_no_file_is_removed_or_replaced_while_it_is_open(folder, tiny, tmp_path, monkeypatch, ends_well):
    """Windows refuses that. There are no lock files there."""
    touched = []

    def closed(real, *paths, **options):
        of_process = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
        names = [os.path.basename(path) for path in paths if not str(path).endswith(".lock")]
        assert not [name for name in names if str(tmp_path / name) in of_process]
        touched.extend(names)
        return real(*paths, **options)

    for name in ("unlink", "replace"):
        monkeypatch.setattr(os, name, functools.partial(closed, getattr(os, name)))
    if not ends_well:
        monkeypatch.setattr(journal.Journal, "write", lambda *_: failing_with(errno.EIO)())
    with contextlib.nullcontext() if ends_well else pytest.raises(OSError, match="Input/output error"):
        resumed(tiny, folder / "in.csv", tmp_path / "out.csv")
    assert {".out.csv.partial", ".out.csv.progress"} <= set(touched)
    assert os.listdir(tmp_path) == (["out.csv"] if ends_well else [])


def test_a_run_that_is_hit_all_the_time_comes_to_an_end(folder, tiny, tmp_path):
    data, target = folder / "in.csv", tmp_path / "out.csv"
    expected, _ = straight(tiny, data)
    draw = random.Random(1)
    n_runs = 1
    while not hit(tiny, data, target, draw.randint(12, 40), kill=True):
        n_runs += 1
        assert n_runs < 60
    assert n_runs > 4
    assert target.read_bytes() == expected


def test_windows_longer_than_a_block_of_them(tmp_path):
    bundle = made_bundle()
    config = replace(bundle.config, windows=replace(bundle.config.windows, window_size=300))
    long = Detector(**config.to_settings())
    long.bundle_, long._reconstruct = replace(bundle, config=config, window_size=300), None
    data, target = tmp_path / "in.csv", tmp_path / "out" / "out.csv"
    target.parent.mkdir()
    lines = made_lines()
    data.write_text("\n".join(lines[:1] + lines[130:290] + later_lines(lines)) + "\n", "utf-8")
    expected, summary = straight(long, data, threshold=1.0)
    for number in (40, 25, 25):
        hit(long, data, target, number, kill=True, threshold=1.0)
    same(resumed(long, data, target, threshold=1.0), summary)
    assert target.read_bytes() == expected


def test_only_rows_that_are_not_written_go_through_the_network(folder, tiny, tmp_path):
    data, target = folder / "in.csv", tmp_path / "out.csv"
    rows, network = [], tiny.row_scorer()._reconstruct

    def counted(windows):
        rows[-1] += len(windows)
        return network(windows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "_reconstruct", counted)
        rows.append(0)
        straight.__wrapped__(tiny, data)
        rows.append(0)
        with pytest.raises(KeyboardInterrupt), journalled(target, seconds=0) as run:
            mark = run.mark
            patch.setattr(run, "mark", lambda scores: (mark(scores), stop_after(run, 450)))
            score_file(tiny, data, output=run)
        rows.append(0)
        notes = []
        resumed(tiny, data, target, notes.append)
    assert rows[1] + rows[2] < rows[0] + 2 * 32
    assert rows[2] < rows[0] / 2
    assert notes == [f"Going on after {run.kept:,} rows."]


def stop_after(run, n_rows):
    if run.kept >= n_rows:
        raise KeyboardInterrupt


def test_an_interruption_makes_sure_of_rows_that_no_line_holds_yet(folder, tiny, tmp_path):
    target = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt), journalled(target, seconds=3600) as run:
        mark = run.mark
        run.mark = lambda scores: (mark(scores), stop_after_scored(run, 300))
        score_file(tiny, folder / "in.csv", output=run)
    assert run.kept >= 300
    assert sorted(os.listdir(tmp_path)) == [".out.csv.partial", ".out.csv.progress"]


def stop_after_scored(run, n_rows):
    if run._scored >= n_rows:
        raise KeyboardInterrupt


# Damage


@pytest.fixture
def unfinished(folder, tiny, tmp_path):
    """What a kill left in the middle of a run."""
    target = tmp_path / "out" / "out.csv"
    target.parent.mkdir()
    hit(tiny, folder / "in.csv", target, 60, kill=True)
    return target, kept_in(target.parent)


def test_whatever_is_cut_or_changed_the_result_is_right(folder, tiny, unfinished):
    target, left = unfinished
    expected, summary = straight(tiny, folder / "in.csv")
    draw, notes = random.Random(0), []
    for name, case in itertools.product(sorted(left), range(8)):
        content = left[name]
        place = draw.randrange(len(content))
        damaged = [content[:place], content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :], content + b"{}\n"][
            case % 3
        ]
        put_back(target.parent, left | {name: damaged if case else b""})
        same(resumed(tiny, folder / "in.csv", target, notes.append), summary)
        assert target.read_bytes() == expected and os.listdir(target.parent) == ["out.csv"]
    assert any(note.startswith("Nothing that can be used was left") for note in notes)
    assert any(note.startswith("Going on after") for note in notes)
    assert all(note.endswith(("scoring begins anew.", "rows.")) for note in notes)


@pytest.mark.parametrize("name", [".out.csv.partial", ".out.csv.progress"])
def test_one_file_without_the_other_begins_anew(folder, tiny, unfinished, name):
    target, left = unfinished
    put_back(target.parent, {name: left[name]})
    resumed(tiny, folder / "in.csv", target)
    assert target.read_bytes() == straight(tiny, folder / "in.csv")[0]
    put_back(target.parent, {name: left[name]})
    refuse_to_lose(str(target), begin_anew=False)  # of no use: removed
    assert os.listdir(target.parent) == []


@pytest.mark.parametrize("code", ["ENOSPC", "EIO"])
def test_on_a_disk_that_is_full_from_some_call_on_nothing_is_lost(folder, tiny, tmp_path, code):
    data, target = folder / "in.csv", tmp_path / "out.csv"
    target.write_bytes(b"the old one")
    expected, _ = straight(tiny, data)
    kept = []
    for number in range(3, 90, 9):
        with pytest.MonkeyPatch.context() as patch:
            faulty = FaultyStorage(number, failing_with(ERRORS[code]), sticky=True).install(patch)
            with contextlib.suppress(StorageError):
                resumed(tiny, data, target)
        assert target.read_bytes() == (b"the old one" if faulty.failed and "replace" not in faulty.calls else expected)
        notes = []
        resumed(tiny, data, target, notes.append)
        assert target.read_bytes() == expected
        kept += notes
        put_back(tmp_path, {"out.csv": b"the old one"})
    assert sum(note.startswith("Going on") for note in kept) > 3


# Changes


CHANGES = {
    "aggregation": {"aggregation": "point_mean"},
    "threshold": {"threshold": 3.5},
    "format": {"file_format": "jsonl"},
}


@pytest.mark.parametrize("changed", CHANGES)
def test_other_options_are_refused_by_name(folder, tiny, unfinished, changed):
    target, left = unfinished
    with pytest.raises(ConfigError, match=f"Received: another {changed}[ ,].*--no-resume"):
        resumed(tiny, folder / "in.csv", target, **CHANGES[changed])
    assert kept_in(target.parent) == left


def test_another_detector_is_refused(folder, unfinished):
    target, left = unfinished
    bundle = made_bundle()
    weights = {name: array + np.float32(1e-6) for name, array in bundle.weights.items()}
    other = Detector(**bundle.config.to_settings())
    other.bundle_, other._reconstruct = replace(bundle, weights=weights), None
    with pytest.raises(ConfigError, match="Received: another detector "):
        resumed(other, folder / "in.csv", target)
    assert kept_in(target.parent) == left


def test_other_versions_are_refused(folder, tiny, unfinished, monkeypatch):
    monkeypatch.setattr(journal, "library_versions", lambda: {"anomaly": "9", "numpy": np.__version__})
    with pytest.raises(ConfigError, match="Received: another version of anomaly, version of onnxruntime "):
        resumed(tiny, folder / "in.csv", unfinished[0])


def read_by(target):
    """Return how many rows of the input the run has read that was left."""
    return json.loads((target.parent / ".out.csv.progress").read_bytes().splitlines()[-1].split(b" ", 1)[1])["read"]


def test_a_changed_row_among_those_that_were_read_is_refused_and_one_behind_them_is_not(folder, tiny, unfinished, tmp_path):
    target, left = unfinished
    read = read_by(target)
    lines, data = made_lines(), tmp_path / "in.csv"
    for row in (1, read // 2, read):
        changed = [*lines[:row], lines[row] + "1", *lines[row + 1 :]]
        data.write_text("\n".join(changed) + "\n", "utf-8")
        with pytest.raises(DataError, match=f"the first {read:,}. Received: others \\(in.csv\\)"):
            resumed(tiny, data, target)
        # Rows may have been added behind the recorded ones: they do not count.
        kept = kept_in(target.parent)
        assert kept[".out.csv.progress"] == left[".out.csv.progress"]
        assert kept[".out.csv.partial"].startswith(left[".out.csv.partial"][: json_size(left)])
    for changed in (
        [*lines[: read + 1], lines[read + 1] + "1", *lines[read + 2 :]],
        [*lines, *later_lines(lines)],
        lines[: read + 1],
    ):
        put_back(target.parent, left)
        data.write_text("\n".join(changed) + "\n", "utf-8")
        notes = []
        same(resumed(tiny, data, target, notes.append), straight(tiny, data, str(changed))[1])
        assert target.read_bytes() == straight(tiny, data, str(changed))[0]
        assert notes[0].startswith("Going on after")


def test_another_way_to_read_is_refused_only_if_it_gives_other_rows(folder, tiny, unfinished, tmp_path):
    target, _ = unfinished
    lines, data = made_lines(), tmp_path / "in.csv"
    lines.insert(read_by(target) + 80, "no,record")
    data.write_text("\n".join(lines) + "\n", "utf-8")
    with pytest.raises(DataError, match="as many fields"):
        resumed(tiny, data, target)
    notes = []
    summary = resumed(tiny, data, target, notes.append, on_bad_rows="skip")
    assert notes[0].startswith("Going on after")
    assert target.read_bytes() == straight(tiny, folder / "in.csv")[0]
    assert summary.n_rows == len(lines) - 2

    put_back(target.parent, {})
    data.write_text((folder / "in.csv").read_text("utf-8").replace("Z,", ","), "utf-8")
    hit(tiny, data, target, 60, kill=True)
    with pytest.raises(DataError, match="Received: others"):
        resumed(tiny, data, target, timezone="Asia/Kolkata")


def json_size(left):
    return json.loads(left[".out.csv.progress"].splitlines()[-1].split(b" ", 1)[1])["size"]


def later_lines(lines):
    return [f"{format_time(FIRST_TIME + (9 * N + i) * HOUR, 'when')},1.5,{i / 50}" for i in range(300)]


def test_an_input_that_has_shrunk_is_refused(folder, tiny, unfinished, tmp_path):
    read, data = read_by(unfinished[0]), tmp_path / "in.csv"
    data.write_text("\n".join(made_lines()[:read]) + "\n", "utf-8")
    with pytest.raises(DataError, match=f"the first {read:,}. Received: {read - 1:,} rows"):
        resumed(tiny, data, unfinished[0])


def test_an_input_that_grew_after_the_last_row_gets_the_scores_of_the_longer_one(folder, tiny, tmp_path):
    target, data = tmp_path / "out" / "out.csv", tmp_path / "in.csv"
    target.parent.mkdir()
    lines = made_lines()
    data.write_text("\n".join(lines[:400]) + "\n", "utf-8")
    with pytest.raises(KeyboardInterrupt), journalled(target, seconds=0) as run:
        score_file(tiny, data, output=run)
        raise KeyboardInterrupt  # all is written, even the last rows, which know of no rows behind them
    data.write_text("\n".join(lines) + "\n", "utf-8")
    resumed(tiny, data, target)
    assert target.read_bytes() == straight(tiny, data)[0]


# The command


def score(folder, *options):
    """Run the command in this process; return its exit code and what it said."""
    named = {"--model": "tiny.anomaly", "--output": "out.csv"}
    paths = [str(part) for name, file in named.items() for part in (name, folder / file)]
    result = CliRunner().invoke(cli, ["score", str(folder / "in.csv"), *paths, *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr


# A fork for each line that is read: importing everything takes longer than scoring. Every row is made sure of at once.
SCORING = """
import os, signal, sys
from anomaly.files import journal
from anomaly.cli import cli
journal.SECONDS = 0.0
journal.journalled.__wrapped__.__kwdefaults__["seconds"] = 0.0
journal._PIECE_ROWS = 400
import anomaly.files.one_file, anomaly.report.tables
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        cli(line.split(), prog_name="anomaly")
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
RESULTS = ("out.csv", "events.csv", "read.json")
COMMAND = "score in.csv --model tiny.anomaly --output out.csv --events events.csv --report-json read.json --threshold 3"


@pytest.fixture
def long(folder, tmp_path):
    """A folder with a file that takes a second or two."""
    (tmp_path / "in.csv").write_text("\n".join(made_lines(13_000, seed=1)) + "\n", "utf-8")
    (tmp_path / "tiny.anomaly").write_bytes((folder / "tiny.anomaly").read_bytes())
    return tmp_path


def size_of(path):
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kills_and_signals_at_random_moments_and_a_resume_give_the_same_files_as_none(long):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    scorer = subprocess.Popen(heeding([sys.executable, "-c", SCORING]), cwd=long, **pipes, text=True)

    def begin(options=""):
        scorer.stdin.write(f"{COMMAND} {options}\n")
        scorer.stdin.flush()
        return int(scorer.stdout.readline())

    begin()
    assert scorer.stdout.readline() == "0\n"
    expected = [(long / name).read_bytes() for name in RESULTS]
    for name in RESULTS:
        (long / name).unlink()
    log, draw, ended = long / ".out.csv.progress", random.Random(0), []
    for number in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        seen = max(size_of(log), 600)  # the first line alone is shorter
        child = begin("--resume")
        while size_of(log) <= seen and is_running(child):  # some progress each time
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.02))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)
        ended.append(int(scorer.stdout.readline()))
    assert ended == [-9, -9, 143, -9, 130, -9], "the file is too short to be killed so often"
    assert not (long / "out.csv").exists()
    begin("--resume")
    assert scorer.stdout.readline() == "0\n"
    _, said = scorer.communicate()
    assert said.count("Going on after ") == 6
    assert said.count(" scored rows are kept; the same command with --resume goes on.\n") == 2
    assert said.count("Interrupted.\n") == 1 and "Traceback" not in said
    assert [(long / name).read_bytes() for name in RESULTS] == expected
    assert sorted(os.listdir(long)) == sorted([*RESULTS, "in.csv", "tiny.anomaly"])


@pytest.fixture
def small(folder, tmp_path, tiny):
    """A folder with an unfinished run of the command."""
    for name in ("in.csv", "tiny.anomaly"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    hit(tiny, tmp_path / "in.csv", tmp_path / "out.csv", 60, kill=True)
    return tmp_path


def test_an_unfinished_run_is_not_lost_without_a_word(small, folder, tiny):
    left = kept_in(small)
    code, said = score(small)
    assert (code, kept_in(small)) == (2, left)
    partial = small / ".out.csv.partial"
    assert said == (
        f"Error: Scored rows must not be lost. Received: no word on those of an unfinished run ({partial}). "
        "Use --resume to go on with it, or --no-resume to begin anew.\n"
    )
    code, said = score(small, "--resume", "--format", "jsonl")
    assert (code, kept_in(small)) == (2, left)
    assert "Received: another format (" in said
    assert score(small, "--no-resume", "--quiet") == (0, "")
    assert sorted(os.listdir(small)) == ["in.csv", "out.csv", "tiny.anomaly"]
    assert (small / "out.csv").read_bytes() == straight(tiny, folder / "in.csv")[0]


def test_a_run_goes_on_under_quiet_without_a_word(small, folder, tiny):
    with exclusive(small / "out.csv"):
        for option in ("--resume", "--no-resume"):
            code, said = score(small, option)
            assert code == 5 and f"which process {os.getpid()} is writing" in said
    assert score(small, "--resume", "--quiet") == (0, "")
    assert (small / "out.csv").read_bytes() == straight(tiny, folder / "in.csv")[0]
    assert sorted(os.listdir(small)) == ["in.csv", "out.csv", "tiny.anomaly"]


@pytest.mark.parametrize(
    ("data", "output", "received"),
    [("-", "out.csv", "DATA to be a file, so that it can be read again. Received: -."),
     ("in.csv", "-", "--output to be a file, so that it can be read again. Received: -."),
     ("in.csv", os.devnull, f"--output to be a file, so that it can be read again. Received: {os.devnull}.")],
)  # fmt: skip
def test_streams_cannot_be_resumed(folder, tmp_path, data, output, received):
    data = folder / data if data != "-" else data
    result = CliRunner().invoke(cli, ["score", str(data), "--model", str(folder / "tiny.anomaly"), "-o", output, "--resume"])
    assert result.exit_code == 2
    assert result.stderr == f"Error: --resume needs {received} Name a file.\n"


def test_the_output_appears_after_the_report(small):
    report = small / "read.json"
    with exclusive(report):
        code, said = score(small, "--resume", "--report-json", str(report))
    assert code == 5 and "scored rows are kept; the same command with --resume goes on." in said
    assert not (small / "out.csv").exists()
    assert score(small, "--resume", "--report-json", str(report))[0] == 0
    assert json.loads(report.read_text())["rows"] == len(made_lines()) - 1
