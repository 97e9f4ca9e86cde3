"""Whatever file is passed for a detector: it is refused in one sentence, runs nothing, opens nothing else and costs little."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from closeness import assert_close
from hostile_bundles import CONTENT, HEADER, TEXT, padded, with_header, write_hostile_bundles
from made_bundles import DELETE, GOLDEN, description_of, forged, network_of

from anomaly import BundleError, Detector
from anomaly.bundle.container import RefusedError
from anomaly.bundle.file import from_bytes, read_bundle, to_bytes
from anomaly.bundle.probe import check_probe

N_MUTATIONS = int(os.environ.get("ANOMALY_HEADER_MUTATIONS", "500"))
EVERY_BIT = int(os.environ.get("ANOMALY_EVERY_BIT", "23"))

CHILD = """
import json, resource, sys, time, tracemalloc
from click.testing import CliRunner
from anomaly.bundle.file import read_bundle
from anomaly.cli import cli
from anomaly.errors import BundleError

good, bad, listing = sys.argv[1:]
paths = json.load(open(listing))
events, opened, watching = [], [], False
HARMLESS = ("object.__getattr__", "object.__setattr__", "sys._getframe", "builtins.id", "os.putenv", "os.unsetenv")

def watch(name, arguments):
    if watching:
        if name == "open":
            opened.append(str(arguments[0]))
        elif name not in HARMLESS:
            events.append(name)

def load(path):
    try:
        read_bundle(path)
    except BundleError as error:
        return [error.exit_code, str(error)]
    return [0, ""]

def inspect(path):
    done = CliRunner().invoke(cli, ["inspect", path])
    return [done.exit_code, done.output]

for path in (good, bad):  # what is imported at the first load and at the first refusal
    load(path), inspect(path)
sys.addaudithook(watch)
tracemalloc.start()
answers = {}
for name, path in paths.items():
    tracemalloc.reset_peak()
    before, begun = tracemalloc.get_traced_memory()[0], time.perf_counter()
    opened.clear(), events.clear()
    watching = True
    code, message = load(path)
    watching = False
    answers[name] = {
        "code": code, "message": message, "events": list(events), "opened": list(opened),
        "seconds": time.perf_counter() - begun, "bytes": tracemalloc.get_traced_memory()[1] - before,
    }
tracemalloc.stop()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name, path in paths.items():
    opened.clear(), events.clear()
    watching = True
    code, output = inspect(path)
    watching = False
    answers[name] |= {"command": code, "output": output, "command events": list(events), "command opened": list(opened)}
growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
events.clear()
watching = True
compile("1", "control", "eval")
watching = False
print(json.dumps([answers, growth, events]))
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Paths of all hostile files by name, what came of each, the growth of the process in KiB, and the canary."""
    folder = tmp_path_factory.mktemp("hostile")
    canary = folder / "canary"
    paths = write_hostile_bundles(folder, canary)
    good, bad, listing = folder / "good", folder / "bad", folder / "paths.json"
    good.write_bytes(CONTENT)
    bad.write_bytes(forged(settings__unit=3))
    listing.write_text(json.dumps({name: str(path) for name, path in {"the bundle": good, **paths}.items()}))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, good, bad, listing], capture_output=True, text=True, check=False, timeout=300, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    answers, growth, seen = json.loads(done.stdout)
    control = answers.pop("the bundle")
    assert (control["code"], control["command"], set(control["opened"])) == (0, 0, {str(good)}), "the control must load"
    assert seen == ["compile"], "the hook must see what it is for"
    return paths, answers, growth, canary


def each(answers, key):
    return {name: answer[key] for name, answer in answers.items()}


def test_there_are_hostile_files_enough(hostile):
    assert len(hostile[0]) >= 150


def test_every_hostile_file_is_refused_by_the_library(hostile):
    assert {name for name, code in each(hostile[1], "code").items() if code != 4} == set()


def test_every_hostile_file_is_refused_by_the_command_with_exit_code_4(hostile):
    assert {name for name, code in each(hostile[1], "command").items() if code != 4} == set()


def test_every_refusal_is_one_short_line_that_cannot_steer_a_terminal(hostile):
    for name, answer in hostile[1].items():
        line = answer["output"]
        assert line.startswith("Error: "), name
        assert line.endswith("\n"), name
        assert line[:-1].isprintable(), name
        assert len(line) < 500, name


def test_loading_runs_nothing_imports_nothing_and_connects_to_nothing(hostile):
    assert {name: events for name, events in each(hostile[1], "events").items() if events} == {}


def test_loading_opens_the_bundle_and_nothing_else(hostile):
    paths, answers, *_ = hostile
    for name, opened in each(answers, "opened").items():
        assert set(opened) == {str(paths[name])}, name


def test_the_command_runs_no_code_of_the_file_and_opens_nothing_else(hostile):
    paths, answers, *_ = hostile
    banned = ("exec", "compile", "import", "pickle", "marshal", "subprocess", "os.", "socket", "ctypes", "urllib", "shutil")
    for name, answer in answers.items():
        assert [event for event in answer["command events"] if event.startswith(banned)] == [], name
        assert set(answer["command opened"]) == {str(paths[name])}, name


def test_loading_takes_little_memory(hostile):
    _, answers, growth, _ = hostile
    assert max(each(answers, "bytes").values()) < 64 << 20
    assert growth < 64 << 10


def test_no_code_of_a_hostile_file_has_run(hostile):
    paths, _, _, canary = hostile
    assert not canary.exists()
    assert not (canary.parent.parent / "canary").exists()
    assert not any(Path(path).parent != canary.parent for path in paths.values())


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(BundleError, match="regular file"):
        Detector.load(tmp_path)


# Mutations


VALUES = [
    None, True, False, 0, -1, 1, 2, 3, 7, 2**31, 2**63, 2**64, 10**30, 0.0, -0.0, 0.5, 1e-320, 1e308, "", "x", "auto", "\x00",
    "\ud800", "é", [], [1.0], [[1.0, 2.0]], [[]], {}, {"a": 1}, [None], "os.system", "F64", "F32", 5, 8, 24.0, "2",
]  # fmt: skip


def mutate(rng, value):
    """Return a JSON value with one place changed: another value, none, one more, or two exchanged."""
    if isinstance(value, (dict, list)) and value and rng.random() < 0.9:
        changed = dict(value) if isinstance(value, dict) else list(value)
        key = rng.choice(list(changed)) if isinstance(value, dict) else rng.randrange(len(changed))
        kind = rng.random()
        if kind < 0.75:
            changed[key] = mutate(rng, changed[key])
        elif kind < 0.83:
            del changed[key]
        elif kind < 0.91:
            other = rng.choice(list(changed)) if isinstance(value, dict) else rng.randrange(len(changed))
            changed[key], changed[other] = changed[other], changed[key]
        elif isinstance(value, dict):
            changed[rng.choice(["more", "", "units", "value", "sha256", *value])] = rng.choice(VALUES)
        else:
            changed.insert(key, rng.choice(VALUES))
        return changed
    if isinstance(value, (int, float)) and not isinstance(value, bool) and rng.random() < 0.5:
        return rng.choice([value + 1, value - 1, value / 2, -value, float(value), int(value)])
    if isinstance(value, str) and rng.random() < 0.5:
        place = rng.randrange(len(value) + 1)
        return value[:place] + rng.choice("\x00\n\x1b/é0aZ-.") + value[place + rng.randrange(2) :]
    return rng.choice(VALUES)


def mutated_bytes(rng, text):
    changed = bytearray(text)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(changed))
        changed[place : place + rng.randrange(3)] = rng.choice(
            [b"", b"0", b"1", b'"', b"{", b"}", b"[", b",", b"-", b"e5", b"\\", b" "]
        )
    return bytes(changed)


def mutation(rng):
    """Return the bundle with a mutated description or header, signed anew where it can be."""
    kind = rng.random()
    if kind < 0.6:
        described = mutate(rng, {key: value for key, value in description_of(CONTENT).items() if key != "sha256"})
        for _ in range(rng.choice([0, 0, 1, 2])):
            described = mutate(rng, described)
        described = described if isinstance(described, dict) else {"format_version": 3}
        gone = dict.fromkeys(description_of(CONTENT).keys() - described.keys() - {"sha256"}, DELETE)
        return forged(**{key: value for key, value in described.items() if "__" not in key}, **gone)
    if kind < 0.8:
        return forged(text=mutated_bytes(rng, TEXT.encode()).decode("latin-1"))
    if kind < 0.9:
        return with_header(padded(mutate(rng, json.loads(HEADER))))
    return with_header(mutated_bytes(rng, HEADER))


def test_a_mutated_header_is_refused_or_is_what_would_be_written_for_it(tmp_path):
    rng = random.Random(20)
    path = tmp_path / "mutated.anomaly"
    outcomes = {"refused": 0, "read": 0}
    for _ in range(N_MUTATIONS):
        content = mutation(rng)
        path.write_bytes(content)
        try:
            found = read_bundle(path)
        except BundleError:
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        assert to_bytes(found) == content
    assert outcomes["refused"] > N_MUTATIONS / 2, outcomes
    assert outcomes["read"] > 0, outcomes


def test_a_flipped_bit_is_refused_wherever_it_is():
    for bit in range(0, 8 * len(CONTENT), EVERY_BIT):
        damaged = bytearray(CONTENT)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RefusedError):
            from_bytes(bytes(damaged))


# A detector of the first release of format 3: 80 rows of `golden_values`, window_size=6, units=2, epochs=3, seed=3


GOLDEN_ROWS = [0, 9, 14, 15, 16, 29]
GOLDEN_SCORES = [0.518386699, 0.814548359, 1.50792072, 3.81549086, 1.67726459, 0.890592626]
GOLDEN_THRESHOLD = 4.732919434620279


def golden_values(n):
    t = np.arange(n)
    values = np.column_stack([np.sin(t / 2) + 0.1 * (t * 7 % 5), np.cos(t / 3) * 4 + 0.1 * (t * 5 % 7)])
    values[n // 2, 0] += 5
    return values


def test_the_golden_detector_loads_and_scores_what_it_scored():
    detector = Detector.load(GOLDEN)
    scores = detector.score(golden_values(30))
    assert_close(scores.score[GOLDEN_ROWS], GOLDEN_SCORES, 1e-4)
    assert scores.threshold == GOLDEN_THRESHOLD
    assert detector.columns_ == ("feature_1", "feature_2")
    check_probe(detector.bundle_, network_of(detector.bundle_))
    assert detector.bundle_.probe is not None


def test_the_golden_detector_is_written_as_it_was():
    assert to_bytes(read_bundle(GOLDEN)) == GOLDEN.read_bytes()
