"""Messages about what was mistyped: the rule, what came, and a remedy that can be typed."""

import numpy as np
import pytest
from click.testing import CliRunner

from anomaly import Detector, read_csv
from anomaly.cli import cli
from anomaly.errors import BundleError, ConfigError

# The words of a command, and what is said.
SAID = {
    "rows with a dash": ("dismiss MODEL DATA --rows 4-8 --dry-run", "Received: 4-8. Write 4..8."),
    "one row": ("dismiss MODEL DATA --rows 5 --dry-run", "Received: 5. Write 5..5 for one row."),
    "rows without digits": ("dismiss MODEL DATA --rows all --dry-run", "Received: all. Write 120..125."),
    "a direction in words": (
        "threshold MODEL --alarm-direction up --dry-run",
        "`alarm_direction` must be numbers separated by commas, or a file of them. Received: 'up' (No such file or directory). "
        "Write one number a feature, such as 1,0,-1.",
    ),
    "a cut that is a row or all": ("train DATA --model new --train-end 1.0", "Received: 1.0, which may be either. Write 1 for"),
    "a cut in percent": ("train DATA --model new --train-end 50%", "Received: 50%. Write 0.5."),
    "a range backwards": ("score DATA --model MODEL --since 5 --until 2", "--since must not lie behind --until. Received"),
    "times backwards": (
        "detect DATA --model MODEL --since 2022-05-03 --until 2022-05-01",
        "--since must not lie behind --until. Received: --since 2022-05-03 --until 2022-05-01. Exchange them.",
    ),
    "a share in percent": (
        "score DATA --model MODEL --threshold 5%", "'--threshold': must be a number above 0. Received: '5%'. Write 0.05.",
    ),
    "a number out of its range": (
        "threshold MODEL --labels DATA --rate 2", "'--rate': must be a number above 0 and below 1. Received: '2'.",
    ),
    "an exponent": (
        "score - --model MODEL --follow --lag 1e3",
        "'--lag': must be a whole number at least 0. Received: '1e3'. Write 1000.",
    ),
    "no whole number": ("dismiss MODEL DATA --event two", "'--event': must be a whole number at least 1. Received: 'two'."),
}  # fmt: skip


@pytest.mark.parametrize(("words", "said"), SAID.values(), ids=SAID)
def test_the_message_has_rule_and_remedy(bundle_path, csv_path, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    names = {"MODEL": str(bundle_path), "DATA": str(csv_path)}
    result = CliRunner().invoke(cli, [names.get(word, word) for word in words.split()])
    assert result.exit_code == 2 and said in " ".join(result.stderr.split()), result.stderr
    assert result.stdout == "" and list(tmp_path.iterdir()) == []


CALLS = {
    "a size in words": (lambda _: read_csv("x.csv", max_bytes="5MB"), "`max_bytes` must be a whole number of bytes, at least 1. "
                        "Received: '5MB'. Write 5_000_000."),
    "no size": (lambda _: read_csv("x.csv", max_bytes=0), "Received: 0. Write 5_000_000."),
    "an unknown parameter": (lambda _: Detector().set_params(foo=1), "Received: 'foo'. See help(Detector) for the names."),
    "an unknown setting": (lambda path: Detector.load(path).calibrate(zzzz=1), "Received: 'zzzz'. The names are aggregation, "),
    "a share for nothing": (lambda _: read_csv("x.csv", max_bad_fraction=0.5), "must go with on_bad_rows='skip'."),
}  # fmt: skip


@pytest.mark.parametrize(("call", "said"), CALLS.values(), ids=CALLS)
def test_a_call_that_is_wrong_is_told_in_words_of_python(bundle_path, tmp_path, monkeypatch, call, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("a\n1\n2\n")
    with pytest.raises(ConfigError) as refused:
        call(bundle_path)
    assert said in str(refused.value) and "--" not in str(refused.value)


def test_a_size_of_numpy_is_one(csv_path):
    assert len(read_csv(csv_path, max_bytes=np.int64(10_000_000))) == len(read_csv(csv_path))


def test_a_folder_is_no_detector(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match=r"Received: a folder \(\.\)\. Name the file"):
        Detector.load(".")


# Words of a command that would do nothing, and what is said.
IDLE = {
    "how to read nothing": ("threshold MODEL --value 3 --dry-run --tz UTC", "--tz must go with --labels or --unlabelled."),
    "a size of nothing": ("threshold MODEL --dry-run --max-bytes 5MB", "--max-bytes must go with --labels or --unlabelled."),
    "labels of nothing": ("threshold MODEL --dry-run --label-column x", "--label-column must go with --labels."),
    "to undo": ("dismiss MODEL --undo 1 --decimal ,", "--decimal must go with rows to dismiss."),
    "one series": ("score - --model MODEL --follow --most-series 5", "--most-series must go with --id-column."),
    "two choices": ("explain DATA --model MODEL --event 1 --top 2", "Events must be chosen one way. Received: --event with --top."),
    "a contradiction": (
        "check DATA --model MODEL --ignore-columns s1", "A column of the detector must not be one to ignore. Received: 's1'.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("words", "said"), IDLE.values(), ids=IDLE)
def test_what_would_do_nothing_is_refused(bundle_path, csv_path, words, said):
    names = {"MODEL": str(bundle_path), "DATA": str(csv_path)}
    result = CliRunner().invoke(cli, [names.get(word, word) for word in words.split()])
    assert result.exit_code == 2 and said in " ".join(result.stderr.split()), result.stderr
