"""Tasks on a Ray cluster of two nodes: what this process alone would give, through the death of a node."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from cluster_tasks import fault, hang_on_one_node
from conftest import TINY, make_series, to_csv
from heeding import heeding
from object_server import ObjectServer

import anomaly.engines.ray_cluster
from anomaly import __version__
from anomaly.cli import cli
from anomaly.config import DetectorConfig
from anomaly.engines.pool import here
from anomaly.engines.ray_cluster import connected
from anomaly.errors import AnomalyError, ConfigError, DataError, StorageError
from anomaly.fleet.plan import Plan, Source
from anomaly.fleet.scoring import Model, Options, score_many
from anomaly.fleet.training import train_each
from anomaly.sources.inputs import find_inputs
from anomaly.storage.addresses import ObjectUri

# From Python 3.12 on, a warning that a process with threads forks, as Ray does to start its own.
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")]
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
N_INPUTS = 10


@pytest.fixture(scope="module")
def store():
    """An object store that the nodes can reach."""
    with ObjectServer() as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def python_path(tmp_path_factory):
    """Processes find the functions of `cluster_tasks`, and not what jsonschema takes seconds to import for one format."""
    folder = tmp_path_factory.mktemp("absent")
    (folder / "rfc3987_syntax.py").write_text("raise ImportError\n")
    with pytest.MonkeyPatch.context() as patch:
        tests = str(Path(__file__).parents[1])
        patch.setenv("PYTHONPATH", os.pathsep.join([tests, str(folder), os.environ.get("PYTHONPATH", "")]))
        yield


@pytest.fixture(scope="module")
def cluster(python_path, store):
    """Two nodes of one CPU each, a raylet for each; the workers find the object store."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # at 15 they hardly run beside other tests: minutes for what takes seconds
        patch.setenv("RAY_TMPDIR", folder)  # Ray notes the address there, in a folder that it does not make
        (Path(folder) / "ray").mkdir()
        for name, value in store.environment.items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        head = NODE | {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True, "temp_dir": folder}
        nodes = Cluster(initialize_head=True, head_node_args=head)
        try:
            nodes.second = nodes.add_node(**NODE)
            yield nodes
        finally:
            nodes.shutdown()


@pytest.fixture(scope="module")
def executor(cluster):
    """One connection for several tests, so that the workers are started once."""
    with connected(cluster.address) as found:
        yield found


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Files of a series each."""
    folder = tmp_path_factory.mktemp("inputs")
    for seed in range(N_INPUTS):
        to_csv(make_series(n=200, seed=seed, spike=slice(150, 153)), folder / f"pump{seed}.csv")
    return find_inputs([str(folder)])


def contents(folder):
    """Return the content of every file below a folder, by its path, but for times in the index of a fleet."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_errors_belong_to_their_task_and_tasks_are_taken_as_they_are_needed(executor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tasks = [*range(30), "refuse", "bug", "unsendable", "process", "folder"]
    taken, most_ahead, found = 0, 0, []

    def counted():
        nonlocal taken
        for task in tasks:
            taken += 1
            yield task

    for task, outcome in executor(fault, counted()):
        found.append((task, outcome))
        most_ahead = max(most_ahead, taken - len(found) + 1)
    with monkeypatch.context() as patch:
        patch.setattr(anomaly.engines.ray_cluster, "__version__", "0.0.1")
        [(_, other)] = executor(fault, [1])
    with monkeypatch.context() as patch:
        patch.setattr(anomaly.engines.ray_cluster.Path, "cwd", lambda: Path("/not/there"))
        [(_, elsewhere)] = executor(fault, [1])
    monkeypatch.setattr(anomaly.engines.ray_cluster, "MOST_RETRIES", 1)
    died = dict(executor(fault, ["die", 4]))
    assert sorted(str(task) for task, _ in found) == sorted(map(str, tasks))
    assert most_ahead <= 2
    outcomes = dict(found)
    assert all(outcomes[n] == 2 * n for n in range(30))
    assert type(outcomes["refuse"]) is DataError and str(outcomes["refuse"]) == "The rule. Received: refuse."
    assert str(outcomes["bug"]) == str(dict(here(fault, ["bug"]))["bug"])
    assert type(outcomes["unsendable"]) is AnomalyError and "Traceback" not in str(outcomes["unsendable"])
    pid, *threads = outcomes["process"]
    assert pid != os.getpid() and threads == ["1", "1"]
    assert outcomes["folder"] == tmp_path
    assert died[4] == 8 and type(died["die"]) is StorageError
    assert str(died["die"]).startswith("A task must end on one of 2 tries on the cluster. Received: WorkerCrashedError: ")
    assert type(other) is ConfigError
    assert str(other).startswith(f"Each node of a cluster must have the same version of anomaly. Received: {__version__} (")
    assert type(elsewhere) is StorageError
    assert str(elsewhere).startswith("Each node of a cluster must see the same folders. Received: /not/there (No such file or ")


def test_training_gives_the_same_detector_byte_for_byte(executor, series, bundle_path, tmp_path):
    plan = Plan(config=DetectorConfig.from_settings(TINY), reading={}, executor=executor)
    outcomes = train_each(tmp_path / "fleet", [Source("made", series[:400])], plan)
    [found] = (tmp_path / "fleet").glob("*.anomaly")
    assert outcomes.exit_code == 0
    assert found.read_bytes() == bundle_path.read_bytes()


def test_nodes_need_no_folder_in_common_where_all_is_in_an_object_store(
    executor, store, inputs, bundle_path, tmp_path, monkeypatch
):
    import ray

    score_many(inputs[:3], Model.of(bundle_path), tmp_path / "out", Options())
    for item in inputs[:3]:
        store.put(f"in/{item.name}.csv", Path(item.path).read_bytes())
    store.put("m.anomaly", bundle_path.read_bytes())
    monkeypatch.setattr(anomaly.engines.ray_cluster.Path, "cwd", lambda: Path("/not/there"))
    found = find_inputs([ObjectUri.parse("s3://bucket/in")])
    model, to = Model.of(ObjectUri.parse("s3://bucket/m.anomaly")), ObjectUri.parse("s3://bucket/out")
    on_cluster = partial(anomaly.engines.ray_cluster._run, ray, None, False)
    results = score_many(found, model, to, Options(), executor=on_cluster)
    again = score_many(found, model, to, Options())
    written = store.below("out/")
    assert not results.failed and all(result.unchanged for result in again.scored.values())
    assert written.keys() == contents(tmp_path / "out").keys() and len(written) == 4
    assert all(written[f"{item.name}.csv"] == (tmp_path / "out" / f"{item.name}.csv").read_bytes() for item in inputs[:3])


def test_the_command_scores_on_a_cluster_and_a_second_run_here_has_nothing_to_do(cluster, inputs, bundle_path, tmp_path):
    command = ["score", *(item.path for item in inputs[:3]), "--model", str(bundle_path), "--output", str(tmp_path / "out")]
    on_cluster = [sys.executable, "-m", "anomaly", *command, "--engine", "ray", "--ray-address", cluster.address]
    first = subprocess.run(on_cluster, capture_output=True, text=True)
    written = contents(tmp_path / "out")
    second = CliRunner().invoke(cli, command)
    assert (first.returncode, first.stdout) == (0, "")
    assert re.fullmatch(r"3 of 3 series scored; 600 rows, \d+ flagged, \d+ events?( \(.*\))?\.", first.stderr.splitlines()[-1])
    assert set(written) == {"manifest.json", "events.csv", *(f"{item.name}.csv" for item in inputs[:3])}
    assert second.stderr.startswith("3 of 3 series scored, 3 unchanged;")
    assert contents(tmp_path / "out") == written


def test_ctrl_c_ends_the_tasks_on_the_nodes(cluster, tmp_path):
    note = tmp_path / "note"
    code = f"""
from pathlib import Path
from cluster_tasks import note_and_sleep
from anomaly.engines.ray_cluster import connected
try:
    with connected({cluster.address!r}) as executor:
        list(executor(note_and_sleep, [Path({str(note)!r})]))
except KeyboardInterrupt:
    print("interrupted")
"""
    process = subprocess.Popen(
        heeding([sys.executable, "-c", code]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        while not (note.exists() and note.read_text()):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (out, process.returncode) == ("interrupted\n", 0)
    # A raylet may still have to say of the node of another test that it died.
    assert [line for line in err.splitlines() if line.strip() and "(raylet)" not in line and "raylet crashes" not in line] == []
    with contextlib.suppress(ProcessLookupError):  # gone, which is what the loop waits for
        while True:
            os.kill(int(note.read_text()), 0)
            time.sleep(0.05)


def test_a_node_dies_and_nothing_is_missing_or_done_twice(cluster, executor, inputs, bundle_path, tmp_path):
    model, ended, over = Model.of(str(bundle_path), None), [], threading.Event()
    (tmp_path / "doomed").write_text(cluster.second.node_id)

    def kill():
        while not (tmp_path / "caught").exists() and not over.is_set():
            time.sleep(0.05)
        cluster.remove_node(cluster.second, allow_graceful=False)

    killer = threading.Thread(target=kill)
    score_many(inputs, model, tmp_path / "here", Options())
    killer.start()
    try:
        results = score_many(
            inputs,
            model,
            tmp_path / "there",
            Options(),
            executor=lambda work, tasks: executor(hang_on_one_node, tasks),
            on_end=lambda name, outcome: ended.append(name),
        )
    finally:
        over.set()
        killer.join()
    assert (tmp_path / "caught").read_text() in ended
    assert sorted(ended) == sorted(item.name for item in inputs)
    assert not results.failed
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "ray://127.0.0.1:10001", "127.0.0.1:0", "127.0.0.1:65536", ":6379"])
def test_an_address_of_another_form_is_refused(address):
    with pytest.raises(ConfigError, match="The address of a Ray cluster must be HOST:PORT or auto. Received: "), connected(address):
        pass


def refusal(address, path, tmp_path):
    """Return what the command says to an address, when it is to train on a file."""
    run = CliRunner().invoke(
        cli, ["train", str(path), "--model", str(tmp_path / "m"), "--per-series", "--engine", "ray", "--ray-address", address]
    )
    assert not (tmp_path / "m").exists()
    return run.exit_code, run.stderr


def test_an_address_that_nothing_listens_at_exits_5(csv_path, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        code, said = refusal(address, csv_path, tmp_path)
    assert code == 5
    assert said.startswith(f"Error: A Ray cluster must answer within 10 seconds. Received: {address} (")
    assert "Traceback" not in said and said.count("\n") == 1


def test_an_address_that_something_else_listens_at_exits_5_and_does_not_wait_for_long(csv_path, tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        command = ["train", str(csv_path), "--model", str(tmp_path / "m"), "--per-series", "--engine", "ray"]
        less = (
            "from anomaly.engines.ray_cluster import _IMPATIENT; _IMPATIENT.update(dict.fromkeys(_IMPATIENT, '1')); "
            "from anomaly.cli import cli; cli()"
        )
        run = subprocess.run(
            [sys.executable, "-c", less, *command, "--ray-address", address], capture_output=True, text=True, timeout=120
        )
    assert run.returncode == 5
    said = run.stderr.splitlines()[-1]
    assert said.startswith(f"Error: A Ray cluster must answer within 10 seconds. Received: {address} (Failed to connect")
    assert run.stdout == "" and "Traceback" not in run.stderr


def test_without_ray_the_command_names_the_extra(csv_path, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert refusal("127.0.0.1:6379", csv_path, tmp_path) == (
        2,
        "Error: The engine ray needs ray. Received: --engine ray, and no ray. Run: pip install ray.\n",
    )


def test_an_address_without_the_engine_is_refused(csv_path, tmp_path):
    run = CliRunner().invoke(cli, ["train", str(csv_path), "--model", str(tmp_path / "m"), "--per-series", "--ray-address", "auto"])
    assert run.exit_code == 2
    assert run.stderr == (
        "Error: --ray-address must go with --engine ray. Received: --ray-address auto without it. "
        "Add --engine ray, or leave it out.\n"
    )
