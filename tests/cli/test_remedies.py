"""What a refusal recommends exists: every option that a message names is one of the command that gave it."""

import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from anomaly.cli import cli

N = 120
TIMES = pd.date_range("2024-01-03", periods=N, freq="h")
DAYS = pd.date_range("2024-01-03", periods=N, freq="D")
BOTH = np.arange(2 * N)
X = np.round(10 + np.sin(np.arange(N)), 2)


def lines(header, *columns, sep=","):
    """Return a file; time, a and b in its header are the columns that the detector reads."""
    header = re.sub(r"\b(time|a|b)\b", lambda match: {"time": "timestamp", "a": "s1", "b": "s2"}[match[1]], header)
    return "\n".join([header, *(sep.join(map(str, row)) for row in zip(*columns, strict=True))]) + "\n"


# Each is refused by some of the commands at least.
FILES = {
    "nothing": "",
    "no records": lines("time,a,b"),
    "no header": lines(f"{TIMES[0]},1.5,2.5", TIMES, X, X),
    "other columns": lines("time,flow,b", TIMES, X, X),
    "another name of the time": lines("clock,a,b", TIMES, X, X),
    "no time": lines("a,b", X, X),
    "a column twice": lines("time,a,a", TIMES, X, X),
    "text": lines("time,a,b", TIMES, ["off"] * N, X),
    "a text now and then": lines("time,a,b", TIMES, ["off" if i == 60 else x for i, x in enumerate(X)], X),
    "a state beside": lines("time,a,b,state", TIMES, X, X, ["on", "off"] * (N // 2)),
    "classes": lines("time,a,b,label", TIMES, X, X, np.arange(N) % 3),
    "two series": lines("time,host,a,b", np.repeat(TIMES, 2), ["p", "q"] * N, np.repeat(X, 2), np.arange(2 * N)),
    "two series without a name": lines("time,a,b", np.repeat(TIMES, 2), np.repeat(X, 2), np.arange(2 * N)),
    "woven series": lines(
        "time,sensor,a,b", np.c_[TIMES, TIMES + pd.Timedelta("7s")].ravel(), [1, 2] * N, np.repeat(X, 2), BOTH
    ),
    "either order": lines("time,a,b", TIMES[:20].strftime("%d/%m/%Y %H:%M"), X[:20], X[:20]),
    "exchanged days": lines("time,a,b", [f"{t:%Y-%d-%m}" if t.day <= 12 else t.date() for t in DAYS], X, X),
    "no times": lines("time,a,b", ["soon"] * N, X, X),
    "days": lines("time,a,b", 45_000 + np.arange(N), X, X),
    "another century": lines("time,a,b", 99_000_000 + np.arange(N), X, X),
    "two times": lines("begun,a,b,ended", TIMES, X, X, TIMES),
    "shuffled": lines("time,a,b", TIMES[np.random.default_rng(0).permutation(N)], X, X),
    "another step": lines("time,a,b", pd.date_range("2024-01-03", periods=N, freq="D"), X, X),
    "short": lines("time,a,b", TIMES[:3], X[:3], X[:3]),
    "thousands or fractions": lines("time;a;b", TIMES, [f"{x:.3f}" for x in X + 0.001], X.astype(int), sep=";"),
    "a comma that may be either": lines("time;a;b", TIMES, [f"{int(x)},250" for x in X], X.astype(int), sep=";"),
    "a field too many": lines("time,a,b", TIMES, X, X, X),
    "a rare separator": lines("time^a^b", TIMES, X, X, sep="^"),
    "lines above": "Report\n\n" + lines("time,a,b", TIMES, X, X).replace("s1,s2", "1,2"),
    "a sentinel": lines("time,a,b", TIMES, [-9999 if i % 10 == 5 else x for i, x in enumerate(X)], X),
    "nothing in a column": lines("time,a,b", TIMES, [""] * N, X),
    "infinite": lines("time,a,b", TIMES, ["inf" if i == 50 else x for i, x in enumerate(X)], X),
    "wrong labels": lines("time,a,b,label", TIMES, X, X, [0.5] * N),
    "bytes": lines("time,a,b") + "2024-01-03,\x00,1\n",
    "mixed offsets": lines("time,a,b", [f"{t}Z" if i % 2 else str(t) for i, t in enumerate(TIMES)], X, X),
}  # fmt: skip
COMMANDS = {
    "train": ["--model", "OUT"],
    "check": [],
    "check with a detector": ["--model", "MODEL"],
    "score": ["--model", "MODEL", "--output", "OUT"],
    "detect": ["--model", "MODEL"],
    "explain": ["--model", "MODEL"],
    "evaluate": ["--model", "MODEL", "--label-column", "label"],
    "report": ["--model", "MODEL", "--output", "OUT"],
    "threshold": ["MODEL", "--labels", "DATA", "--dry-run"],
}


def options_of(command):
    return {flag for option in cli.commands[command].params for flag in (*option.opts, *option.secondary_opts)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_that_a_refusal_names_is_one_of_its_command(tmp_path, bundle_path, name):
    command, n_refused = name.split()[0], 0
    for kind, content in FILES.items():
        data, out = tmp_path / "data.csv", tmp_path / "out"
        data.write_text(content)
        known = {"MODEL": str(bundle_path), "OUT": str(out), "DATA": str(data)}
        arguments = [known.get(word, word) for word in COMMANDS[name]]
        arguments = arguments if command == "threshold" else [str(data), *arguments]
        if command == "train":
            arguments += ["--epochs", "1", "--steps-per-epoch", "1", "--units", "2", "--window-size", "8"]
        result = CliRunner().invoke(cli, [command, *arguments])
        assert result.exit_code in (0, 2, 3), (kind, result.output, result.exception)
        refused = [line for line in result.output.splitlines() if line.startswith(("Error:", "Fault:"))]
        n_refused += bool(refused)
        named = {option for line in refused for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]", line)}
        assert named <= options_of(command), (kind, refused)
        out.unlink(missing_ok=True)
    assert n_refused > len(FILES) / 2
