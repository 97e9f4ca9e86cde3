"""Inputs, outputs and detectors in an object store: what files would be, whole or not there, and no network unless it is asked for.

The store is a server of this process; see `object_server`.
"""

import contextlib
import gzip
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta

import pandas as pd
import pytest
from click.testing import CliRunner
from commands import PLAIN, run
from conftest import make_series, to_csv
from heeding import interrupts_heeded
from object_server import KEY_ID, SECRET, ObjectServer, RefusedError, _Handler

from anomaly.cli import cli
from anomaly.cli.shared import is_all_remote
from anomaly.errors import ConfigError, StorageError
from anomaly.sources.inputs import find_inputs, stands_for_many
from anomaly.sources.lines import open_bytes
from anomaly.storage import object_store
from anomaly.storage.addresses import ObjectUri, is_address
from anomaly.storage.folders import folder_at

pytest.importorskip("pyarrow")
QUICK = ["--window-size=12", "--units=4", "--epochs=1", "--steps-per-epoch=2", "--seed=1", "--penalty=none", "-q"]


@pytest.fixture(scope="module")
def address():
    """A server, and the environment in which it is found."""
    with ObjectServer() as server, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION"):
            patch.delenv(name, raising=False)
        for name, value in server.environment.items():
            patch.setenv(name, value)
        object_store._connected.cache_clear()
        yield server
        object_store._connected.cache_clear()


@pytest.fixture
def store(address):
    """The server, empty and undisturbed."""
    address.objects.clear()
    address.uploads.clear()
    address.requests.clear()
    address.disturb = lambda method, key, query: None
    return address


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Series of all kinds, in files."""
    folder = tmp_path_factory.mktemp("data")
    for n in range(2):
        to_csv(make_series(n=150, seed=n, spike=slice(100, 106)), folder / f"p{n}.csv", labels=True)
    (folder / "zipped.csv.gz").write_bytes(gzip.compress((folder / "p1.csv").read_bytes()))
    frame = pd.read_csv(folder / "p0.csv", parse_dates=["timestamp"])
    frame.to_parquet(folder / "table.parquet")
    return folder


@pytest.fixture
def filled(store, data):
    """The same series in the store, and what stands for nothing."""
    for path in data.iterdir():
        store.put(f"in/{path.name}", path.read_bytes())
    for key in ("in/", "in/readme.txt", "in/.hidden.csv", "in/deep/er/x.csv", "other.csv"):
        store.put(key, b"")
    return store


def here(*arguments, code=0):
    """Run a command in this process."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == code, f"{result.stderr}\n{result.exception}"
    assert SECRET not in result.output and KEY_ID not in result.output
    return result


def names(uri):
    return [item.name for item in find_inputs([ObjectUri.parse(uri)])]


def score(bundle_path, *options, code=0, data="s3://bucket/in", output="s3://bucket/out"):
    return here("score", data, "--allow-remote", "--model", bundle_path, "--output", output, *options, code=code)


def gets(store):
    """Return the names of the objects that were read."""
    return [key for method, key, query, span in store.requests if method == "GET" and span]


# Addresses


@pytest.mark.parametrize(
    "text",
    [
        f"s3://{KEY_ID}:{SECRET}@bucket/in", f"s3://{KEY_ID}:se/cret@bucket", f"s3://{KEY_ID}@bucket", f"gs://x?access_token={SECRET}",
        f"s3://bucket/in?secret_key={SECRET}", f"abfs://box:{SECRET}@account.dfs.core.windows.net/x", "s3://", "s3:///key",
        f"abfss://box@account.dfs.core.windows.net/x?sas_token={SECRET}", "s3://bucket/a\x1b[2J",
        "s3://bucket/../other/x", "s3://bucket/a/./x", "s3://..",
    ],
)  # fmt: skip
def test_an_address_with_credentials_or_parameters_is_refused_and_not_shown(text):
    with pytest.raises(ConfigError, match="without user, password, parameters and dots for parts") as refused:
        ObjectUri.parse(text)
    assert not any(part in str(refused.value) for part in (SECRET, KEY_ID, "se/cret", "\x1b"))


def test_an_address_is_text_that_keeps_its_kind():
    uri = ObjectUri.parse("S3://bucket/a b/c@d?.csv/")
    assert uri == "s3://bucket/a b/c@d?.csv" and type(str(uri)) is ObjectUri
    assert (uri.root, uri.key, uri.name, uri.below("x")) == ("s3://bucket", "a b/c@d?.csv", "c@d?.csv", f"{uri}/x")
    box = ObjectUri.parse("abfss://box@account.dfs.core.windows.net/x")
    assert (box.root, box.key) == ("abfss://box@account.dfs.core.windows.net", "x")
    assert not any(map(is_address, ["a.csv", "http://x/a", "file:///a", "ftp://x", "s3:/b", "/s3://b", "hdfs://x/y"]))


@pytest.mark.parametrize("command_name", ["score", "detect", "train", "evaluate"])
def test_without_the_option_an_address_is_refused_and_nothing_is_connected(filled, bundle_path, command_name):
    places = {"score": ["--model", bundle_path], "train": ["--model", "x"], "detect": ["--model", "s3://bucket/m"]}
    places["evaluate"] = ["--model", bundle_path, "--label-column", "label"]
    code = (
        "import sys\nseen = []\nsys.addaudithook(lambda event, _: seen.append(event) if event.startswith('socket.') else None)\n"
        "from anomaly.cli import cli\ntry:\n    cli()\nfinally:\n    print(seen, 'pyarrow._s3fs' in sys.modules)"
    )
    arguments = [command_name, "s3://bucket/in", *map(str, places[command_name])]
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (run.returncode, run.stdout, filled.requests) == (2, "[] False\n", [])
    assert run.stderr == (
        "Error: The network is only used where that is asked for. Received: s3://bucket/in without --allow-remote. "
        "Add --allow-remote, or name a file.\n"
    )


def test_the_library_takes_no_plain_text_for_an_address(filled, detector):
    from anomaly.files.one_file import score_file
    from anomaly.fleet.folder import open_model

    for attempt in (lambda: score_file(detector, "s3://bucket/in/p0.csv"), lambda: open_model("s3://bucket/m.anomaly")):
        with pytest.raises(StorageError):
            attempt()
    assert filled.requests == []


# Inputs


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/in/p0.csv", ["p0"]),
        ("s3://bucket/in", ["p0", "p1", "table", "zipped"]),
        ("s3://bucket/in/", ["p0", "p1", "table", "zipped"]),
        ("s3://bucket", ["other"]),
        ("s3://bucket/in/p*.csv", ["p0", "p1"]),
        ("s3://bucket/in/p[1-9].c?v", ["p1"]),
        ("s3://bucket/*/*.csv", ["p0", "p1"]),
        ("s3://bucket/**/*.csv", ["p0", "p1", "x", "other"]),
        ("s3://bucket/in/de**/er/*", ["x"]),
    ],
)
def test_an_address_stands_for_what_a_path_would(filled, uri, expected):
    assert sorted(names(uri)) == sorted(expected)
    assert stands_for_many([ObjectUri.parse(uri)]) == (uri != "s3://bucket/in/p0.csv")


def test_names_are_those_that_files_have(filled, data):
    filled.put("more/p0.csv", b"")
    filled.put("in/[1]?*.csv", b"")
    arguments = [ObjectUri.parse(uri) for uri in ("s3://bucket/in/p0.csv", "s3://bucket/more", "s3://bucket/in/p0.csv")]
    assert [item.name for item in find_inputs(arguments)] == ["in/p0", "more/p0"]
    assert names("s3://bucket/in/[1]?*.csv") == ["[1]?*"]
    assert len(find_inputs([str(data), *arguments])) == 6


@pytest.mark.parametrize(
    ("key", "uri"),
    [
        ("in/./x.csv", "s3://bucket/in/.*/*"),
        ("in/a//x.csv", "s3://bucket/in/**"),
        ("in/a\\..\\x.csv", "s3://bucket/in/**"),
        ("in/\x1b[2J/x.csv", "s3://bucket/in/**"),
    ],
)
def test_a_name_that_is_no_path_is_refused(filled, key, uri):
    filled.put(key, b"")
    with pytest.raises(ConfigError, match="without empty parts, dots for parts, backslashes and control characters") as refused:
        names(uri)
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize(
    ("uri", "kind", "sentence"),
    [
        (
            "s3://bucket/none.csv",
            ConfigError,
            "Every input must be an object, or a prefix with an object that ends in .csv, .csv.gz",
        ),
        ("s3://bucket/none*", ConfigError, "Every input must match an object. Received: s3://bucket/none*, which does not."),
        ("s3://nothing/x", StorageError, "A bucket must exist. Received: s3://nothing/x, whose bucket does not."),
        ("s3://nothing/x*", StorageError, "A bucket must exist. Received: s3://nothing/x*, whose bucket does not."),
    ],
)
def test_what_stands_for_nothing_is_told(filled, uri, kind, sentence):
    with pytest.raises(kind) as refused:
        find_inputs([ObjectUri.parse(uri)])
    assert str(refused.value).startswith(sentence)


# Reading


def test_any_place_of_an_object_can_be_read_and_not_all_of_it_is_held(store):
    content = bytes(range(255)) * 100_000  # without the byte that is asked for twice at the end of a block
    store.put("big", content)
    with contextlib.ExitStack() as open_files:
        source = open_bytes(ObjectUri.parse("s3://bucket/big"), open_files)
        read = b"".join(iter(lambda: source.read(100_000), b""))
        assert read == content and source.read(1) == b""
        for place in (0, 17_000_001, 300, len(content) - 5):
            assert source.seek(place) == place and source.read(10) == content[place : place + 10]
        assert source.seek(-4, io.SEEK_END) == len(content) - 4 and source.tell() == len(content) - 4
        assert source.read() == content[-4:] and source.seekable()
    spans = [span for method, key, query, span in store.requests if method == "GET"]
    sizes = [int(stop) - int(start) + 1 for start, stop in (span.removeprefix("bytes=").split("-") for span in spans)]
    assert max(sizes) == 4 << 20 and len(sizes) < 20


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda store: store.put("x", b"b" * 1_000_000),
            "The input must not change while it is read. Received: a replaced object (x).",
        ),
        (lambda store: store.put("x", b"a"), "The input must not change while it is read. Received: a replaced object (x)."),
        (lambda store: store.objects.clear(), "An object must be there. Received: s3://bucket/x, which is not."),
    ],
    ids=["replaced", "cut", "deleted"],
)
def test_an_object_that_changes_while_it_is_read_is_refused(store, change, sentence):
    store.put("x", b"a" * 1_000_000)
    with contextlib.ExitStack() as open_files, pytest.raises(StorageError) as refused:
        source = open_bytes(ObjectUri.parse("s3://bucket/x"), open_files)
        assert source.read(10) == b"a" * 10
        change(store)
        source.read()
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (403, "AccessDenied", "An object store must allow what is done there. Received: s3://bucket/in (ACCESS_DENIED during "),
        (503, "SlowDown", "Objects must be readable and writable. Received: s3://bucket/in ("),
    ],
)
def test_what_the_store_refuses_is_told_in_one_sentence(filled, bundle_path, status, code, sentence):
    def refuse(method, key, query):
        raise RefusedError(status, code)

    filled.disturb = refuse
    told = score(bundle_path, code=5).stderr
    assert told.startswith(f"Error: {sentence}") and told.count("\n") == 1 and "Traceback" not in told


def test_a_store_that_is_not_there_or_says_nothing_is_told_soon(bundle_path, address, monkeypatch):
    monkeypatch.setattr(object_store, "_SECONDS_TO_ANSWER", 1)
    monkeypatch.setattr(object_store, "_TRIES", 2)
    with socket.socket() as silent, socket.socket() as closed:
        for one in (silent, closed):
            one.bind(("127.0.0.1", 0))
        silent.listen(10)
        for one, reason in ((silent, "Timeout|too slow"), (closed, "connect")):
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{one.getsockname()[1]}")
            object_store._connected.cache_clear()
            told = score(bundle_path, code=5).stderr
            assert told.startswith(
                "Error: An object store must answer within 1 seconds on one of 2 tries. Received: s3://bucket/in ("
            )
            assert any(part in told for part in reason.split("|")) and "AWS_ENDPOINT_URL" in told
    monkeypatch.undo()
    object_store._connected.cache_clear()


def test_wrong_credentials_are_told_and_never_shown(filled, bundle_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
    object_store._connected.cache_clear()
    told = score(bundle_path, code=5).stderr
    monkeypatch.undo()
    object_store._connected.cache_clear()
    assert "An object store must allow what is done there." in told and "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in told
    assert "AKIAOTHER" not in told and "another-secret" not in told


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        (OSError("When listing: AWS Error SIGNATURE_DOES_NOT_MATCH during ListObjectsV2 operation: x"), "allow what is done there"),
        (
            OSError("For key 'permission': AWS Error NETWORK_CONNECTION during X operation: curlCode: 28, T; Details: slow"),
            "answer",
        ),
        (OSError("Failed to get token from DefaultAzureCredential.\nSee more"), "allow what is done there"),
        (OSError("google::cloud::Status(UNAVAILABLE: Could not create a OAuth2 access token to authenticate)"), "allow what is"),
        (OSError("When listing: AWS Error NO_SUCH_BUCKET during ListObjectsV2 operation: x"), "A bucket must exist"),
        (ValueError(f"Cannot connect to http://me:{SECRET}@host"), "Objects must be readable and writable"),
        (OSError(), "Objects must be readable and writable. Received: s3://bucket/x (OSError)."),
    ],
)
def test_what_pyarrow_says_becomes_a_rule(error, rule):
    with pytest.raises(StorageError) as told, object_store._errors(ObjectUri.parse("s3://bucket/x")):
        raise error
    assert rule in str(told.value) and "\n" not in str(told.value) and SECRET not in str(told.value)


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 1_000])
def test_an_answer_that_is_cut_is_never_taken_for_the_object(store, monkeypatch, size):
    """Pyarrow says then that all has come, and hands on what the memory held before."""
    uri, content, answer = ObjectUri("s3://bucket/a.bin"), b"\xff\0x" * size, _Handler._get
    content = content[:size]
    store.put("a.bin", content)
    assert object_store.open_object(uri).read() == content
    for sent in sorted({0, 1, size // 2, size - 1} - {size}):

        def cut(handler, key, query, body, sent=sent):
            status, content, *rest = answer(handler, key, query, body)
            return status, content[:sent], *rest

        monkeypatch.setattr(_Handler, "_get", cut)
        with pytest.raises(StorageError, match=rf"must have all of its bytes. Received: fewer of {size:,} \(s3://bucket/a.bin\)"):
            object_store.open_object(uri).read()


def test_bytes_that_are_those_that_stood_there_are_read_again(store):
    for byte, n_requests in ((b"\xff", 2), (b"\0", 1), (b"\n", 1)):
        store.put("a.bin", byte * 100)
        store.requests.clear()
        assert object_store.open_object(ObjectUri("s3://bucket/a.bin")).read() == byte * 100
        assert sum(method == "GET" for method, *_ in store.requests) == n_requests


def test_an_answer_that_only_leads_elsewhere_is_no_empty_object(store, monkeypatch):
    store.put("a.csv", b"time,x\n")
    store.put("empty.csv", b"")
    found = _Handler._head
    monkeypatch.setattr(_Handler, "_head", lambda *asked: (*found(*asked)[:3], 0))
    with pytest.raises(StorageError, match="must have the bytes that its ETag is of. Received: none .s3://bucket/a.csv."):
        object_store.open_object(ObjectUri("s3://bucket/a.csv"))
    assert object_store.open_object(ObjectUri("s3://bucket/empty.csv")).read() == b""


def test_a_bug_is_no_matter_of_the_store():
    with pytest.raises(KeyError), object_store._errors(ObjectUri.parse("s3://bucket/x")):
        raise KeyError("x")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("gs://bucket/a/b", "bucket/a/b"),
        ("abfss://box@account.dfs.core.windows.net/a/b", "box/a/b"),
        ("abfs://account.blob.core.windows.net/box/a", "box/a"),
    ],
)
def test_other_stores_are_found_by_their_addresses(text, path):  # nothing is asked yet
    filesystem, found = object_store._located(ObjectUri.parse(text))
    assert found == path and filesystem.type_name == {"g": "gcs", "a": "abfs"}[text[0]]


def test_a_missing_package_is_named(address, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    monkeypatch.delattr("pyarrow.fs", raising=False)
    object_store._connected.cache_clear()
    with pytest.raises(ConfigError, match="needs pyarrow. Received: s3://bucket, .*Run: pip install pyarrow"):
        find_inputs([ObjectUri.parse("s3://bucket/in")])
    object_store._connected.cache_clear()


# Writing


def test_a_new_object_is_whole_whatever_its_size(store):
    uri = ObjectUri.parse("s3://bucket/out/x.gz")
    for size in (0, 5, 40 << 20):
        content = os.urandom(size)
        with object_store.new_object(uri) as handle:
            handle.write(content)
        assert store.below("out/") == {"x.gz": content} and not store.uploads
        assert object_store.version(uri).size == size
    object_store.delete(uri)
    object_store.delete(uri)
    assert "out/x.gz" not in store.objects


@pytest.mark.parametrize("failing", ["part", "end", "block"])
def test_half_an_object_is_never_seen(store, failing, capfd):
    store.put("x", b"old")

    def refuse(method, key, query):
        if (query.get("partNumber") == "3" and failing == "part") or (
            method == "POST" and "uploadId" in query and failing == "end"
        ):
            raise RefusedError(403, "AccessDenied")

    store.disturb = refuse
    with pytest.raises((StorageError, ZeroDivisionError)), object_store.new_object(ObjectUri.parse("s3://bucket/x")) as handle:
        handle.write(bytes(40 << 20))
        if failing == "block":
            raise ZeroDivisionError
    assert store.below("") == {"x": b"old"}
    assert capfd.readouterr() == ("", "")


def test_a_temporary_file_that_cannot_be_read_again_leaves_nothing(store, monkeypatch):
    class Broken(io.BytesIO):
        def read(self, size):
            if self.tell() > 0:
                raise OSError(5, "Input/output error")
            return super().read(size)

    monkeypatch.setattr(object_store.tempfile, "TemporaryFile", Broken)
    with (
        pytest.raises(StorageError, match="Input/output error"),
        object_store.new_object(ObjectUri.parse("s3://bucket/x")) as handle,
    ):
        handle.write(bytes(40 << 20))
    assert "x" not in store.objects


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_waits_for_an_object_under_way(store):
    def interrupt(method, key, query):
        if query.get("partNumber") == "1":
            os.kill(os.getpid(), signal.SIGINT)

    store.disturb = interrupt
    with (
        interrupts_heeded(),
        pytest.raises(KeyboardInterrupt),
        object_store.new_object(ObjectUri.parse("s3://bucket/x")) as handle,
    ):
        handle.write(bytes(30 << 20))
    assert len(store.below("")["x"]) == 30 << 20


# Scoring


def test_outputs_are_those_of_files_byte_for_byte(filled, data, bundle_path, tmp_path):
    told = score(bundle_path).stderr
    assert told == here("score", data, "--model", bundle_path, "--output", tmp_path / "out").stderr
    local = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    remote = filled.below("out/")
    manifests = [json.loads(found.pop("manifest.json"))["inputs"] for found in (local, remote)]
    assert remote == local and set(local) == {"p0.csv", "p1.csv", "table.csv", "zipped.csv", "events.csv"}
    for name, entry in manifests[1].items():
        uri = entry["input"]["path"]
        assert entry["input"] == {"path": uri, **object_store.version(ObjectUri.parse(uri)).described()}
        assert entry["output_etag"] and entry["output_bytes"] == len(remote[f"{name}.csv"])
        assert {key: entry[key] for key in ("rows", "events", "found")} == {
            key: manifests[0][name][key] for key in ("rows", "events", "found")
        }
    assert SECRET not in json.dumps(manifests) and KEY_ID not in json.dumps(manifests)


def test_a_second_run_does_only_what_is_missing_or_changed(filled, bundle_path, data):
    score(bundle_path, "-q")
    whole = filled.below("out/")
    filled.requests.clear()
    assert "4 of 4 series scored, 4 unchanged" in score(bundle_path).stderr
    assert gets(filled) == ["out/manifest.json"] and not any(method == "PUT" and "p0" in key for method, key, *_ in filled.requests)
    del filled.objects["out/p1.csv"]
    filled.put("out/table.csv", b"damaged")
    assert "4 of 4 series scored, 2 unchanged" in score(bundle_path).stderr
    assert filled.below("out/").keys() == whole.keys() and filled.below("out/")["table.csv"] == whole["table.csv"]
    filled.put("in/p0.csv", (data / "p1.csv").read_bytes())
    assert "4 of 4 series scored, 3 unchanged" in score(bundle_path).stderr
    assert filled.below("out/")["p0.csv"] == whole["p1.csv"]
    assert "4 of 4 series scored; " in score(bundle_path, "--no-resume").stderr


def test_what_another_run_has_written_over_is_done_again(filled, bundle_path):
    score(bundle_path, "-q")
    mine = filled.below("out/")
    score(bundle_path, "-q", "--threshold", "9")  # as if it had run at the same time, and this manifest had come last
    assert filled.below("out/")["p0.csv"] != mine["p0.csv"]
    filled.put("out/manifest.json", mine["manifest.json"])
    assert "4 of 4 series scored; " in score(bundle_path).stderr
    again = filled.below("out/")
    assert {name: again[name] for name in again if name != "manifest.json"} == {
        name: mine[name] for name in mine if name != "manifest.json"
    }


def test_what_fails_is_reported_and_the_rest_goes_on(filled, bundle_path):
    filled.put("in/a.csv", b"timestamp,s1,s2\n2022-01-01T00:00:00Z,1,x\n")

    def vanish(method, key, query):
        if method == "GET" and key == "in/p0.csv":
            filled.objects.pop(key, None)

    filled.disturb = vanish
    told = score(bundle_path, code=3).stderr
    assert "Error: a: " in told and "line 2" in told
    assert "Error: p0: An object must be there. Received: s3://bucket/in/p0.csv, which is not." in told
    assert "3 of 5 series scored, 2 failed" in told
    entries = json.loads(filled.below("out/")["manifest.json"])["inputs"]
    assert (entries["a"]["exit_code"], entries["p0"]["exit_code"], entries["p1"]["error"]) == (3, 5, None)
    assert {"a.csv", "p0.csv"}.isdisjoint(filled.below("out/"))


def test_a_run_that_was_killed_leaves_no_half_object_and_the_next_one_goes_on(filled, bundle_path):
    reached = threading.Event()

    def hold(method, key, query):
        if method == "PUT" and key == "out/table.csv":
            reached.set()
            time.sleep(0.5)
            raise RefusedError(500, "InternalError")

    filled.disturb = hold
    arguments = ["score", "s3://bucket/in", "--allow-remote", "--model", bundle_path, "--output", "s3://bucket/out"]
    with subprocess.Popen([*PLAIN, *map(str, arguments)], stderr=subprocess.DEVNULL) as process:
        assert reached.wait(60)
        process.kill()
    filled.disturb = lambda method, key, query: None
    assert set(filled.below("out/")) == {"manifest.json", "p0.csv", "p1.csv"} or set(filled.below("out/")) == {"p0.csv", "p1.csv"}
    told = score(bundle_path).stderr
    assert told.startswith("4 of 4 series scored") and len(filled.below("out/")) == 6


def test_processes_write_the_same_objects(filled, bundle_path, tmp_path):
    score(bundle_path, "-q")
    places = ["--allow-remote", "--model", bundle_path, "--output", "s3://bucket/two"]
    ran = run("score", "s3://bucket/in", *places, "--jobs", 2)
    one, two = filled.below("out/"), filled.below("two/")
    assert ran.stderr.startswith("4 of 4 series scored; 600 rows")
    del one["manifest.json"], two["manifest.json"]
    assert one == two


def test_inputs_and_outputs_may_be_on_either_side(filled, data, bundle_path, tmp_path):
    score(bundle_path, "-q")
    score(bundle_path, "-q", output=tmp_path / "here")
    score(bundle_path, "-q", data=data, output="s3://bucket/there")
    for name in ("p0.csv", "zipped.csv", "events.csv"):
        assert (tmp_path / "here" / name).read_bytes() == filled.below("out/")[name] == filled.below("there/")[name]


def test_one_object_is_scored_as_one_file(filled, data, bundle_path, tmp_path):
    for name in ("p0.csv", "zipped.csv.gz", "table.parquet"):
        remote = here("score", f"s3://bucket/in/{name}", "--allow-remote", "--model", bundle_path)
        assert (remote.stdout, remote.stderr) == (lambda r: (r.stdout, r.stderr))(
            here("score", data / name, "--model", bundle_path)
        )
    kept = tmp_path / "kept.csv"
    here("score", "s3://bucket/in/p0.csv", "--allow-remote", "--model", bundle_path, "--resume", "--output", kept)
    assert kept.read_text() == here("score", data / "p0.csv", "--model", bundle_path).stdout
    options = ["--allow-remote", "--label-column", "label", "--model", bundle_path, "--count-training"]
    assert here("evaluate", "s3://bucket/in/p0.csv", *options).stdout == here("evaluate", data / "p0.csv", *options).stdout
    assert len(here("evaluate", "s3://bucket/in", *options).stdout.splitlines()) == 8


REFUSED = [
    (["score", "s3://bucket/in/p0.csv", "--model", "M", "--output", "s3://bucket/x"], 2, "--output must be a file of this machine"),
    (["score", "s3://bucket/in/p0.csv", "--model", "M", "--follow"], 2, "--follow must read a pipe or a file that grows."),
    (["score", "s3://bucket/in", "--model", "M"], 2, "must go to a folder. Received: --output -."),
    (["score", "s3://bucket/in", "--model", "M", "--output", "s3://bucket/in"], 2, "must not be written over inputs"),
    (
        ["score", "s3://bucket/in", "--model", "M", "--output", "s3://bucket/other.csv"],
        2,
        "must go to a folder. Received: --output s3",
    ),
    (["score", "s3://bucket/in", "--model", "M", "--output", "s3://nothing/x"], 5, "A bucket must exist. Received: s3://nothing/x"),
    (["detect", "s3://bucket/in", "--model", "s3://bucket/in"], 4, "A folder must hold the index.json"),
    (["detect", "s3://bucket/in", "--model", "s3://bucket/none"], 5, "An object must be there. Received: s3://bucket/none"),
    (["detect", "s3://bucket/in", "--model", "s3://bucket/other.csv"], 4, "The file must be a detector saved by `anomaly train`"),
    (
        ["train", "s3://bucket/in", "--model", "s3://bucket/in"],
        2,
        "new or empty folder, or replace those in one. Received: s3://buc",
    ),
    (
        ["train", "s3://bucket/in", "--model", "s3://bucket/other.csv"],
        2,
        "must go to a folder. Received: --model s3://bucket/other",
    ),
    (["train", "s3://bucket/in", "--model", "s3://nothing/x"], 5, "A bucket must exist."),
    (["train", "s3://bucket/in/p0.csv", "--model", "s3://bucket/x"], 2, "--model must be a file of this machine"),
]


@pytest.mark.parametrize(("arguments", "code", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_what_does_not_go_together_is_refused_before_any_work(filled, bundle_path, arguments, code, sentence):
    arguments = [bundle_path if argument == "M" else argument for argument in arguments]
    before = filled.below("")
    assert sentence in here(*arguments, "--allow-remote", code=code).stderr
    assert filled.below("") == before


def test_a_cluster_needs_no_common_folder_only_if_all_is_remote():
    there = ObjectUri.parse("s3://bucket/x")
    assert is_all_remote({"data": (there,), "model": there, "output": there}) and is_all_remote({"data": (there,), "model": there})
    for here_ in ({"data": (there, "a.csv")}, {"model": "m.fleet"}, {"output": "out"}):
        assert not is_all_remote({"data": (there,), "model": there, "output": there} | here_)


# Detectors


def test_detectors_are_trained_from_the_store_into_it_and_read_from_it(filled, data, tmp_path):
    training = ["--label-column", "label", "--per-series", "--train-end", "90", *QUICK]
    here("train", "s3://bucket/in/p*.csv", "--allow-remote", "--model", "s3://bucket/pumps", *training)
    here("train", data / "p*.csv", "--model", tmp_path / "pumps", *training)
    # The manifest names the inputs, and what tells their versions.
    stored, there = filled.below("pumps/"), {path.name: path.read_bytes() for path in (tmp_path / "pumps").iterdir()}
    assert json.loads(stored.pop("training.json")).keys() == json.loads(there.pop("training.json")).keys()
    assert stored == there
    writes = [key for method, key, *_ in filled.requests if method == "PUT" and key != "pumps/training.json"]
    assert writes[-1] == "pumps/index.json" and len(writes) == 3
    again = here("train", "s3://bucket/in/p*.csv", "--allow-remote", "--model", "s3://bucket/pumps", *training[:-1])
    assert "2 of 2 series trained, 2 unchanged." in again.stderr
    before = (data / "p1.csv").read_bytes()
    after = datetime.fromisoformat(before.decode().splitlines()[-1].split(",")[0]) + timedelta(hours=1)
    filled.put("in/p1.csv", before + f"{after:%Y-%m-%dT%H:%M:%SZ},1,2,0\n".encode())
    again = here("train", "s3://bucket/in/p*.csv", "--allow-remote", "--model", "s3://bucket/pumps", *training[:-1])
    assert "2 of 2 series trained, 1 unchanged." in again.stderr
    filled.put("in/p1.csv", (data / "p1.csv").read_bytes())
    here("train", "s3://bucket/in/p*.csv", "--allow-remote", "--model", "s3://bucket/pumps", *training)
    found = [
        here("detect", f"{where}/p*.csv", "--allow-remote", "--model", model, "--format", "csv", "-q").stdout
        for where, model in (("s3://bucket/in", "s3://bucket/pumps"), (data, tmp_path / "pumps"), (data, "s3://bucket/pumps"))
    ]
    assert found[0] == found[1] == found[2] and len(found[0].splitlines()) > 1
    pin = ["--expect-sha256", "0" * 64]
    assert "the one that was pinned" in here("detect", data, "--allow-remote", "--model", "s3://bucket/pumps", *pin, code=4).stderr
    one = next(name for name in filled.below("pumps/") if name.startswith("p0"))
    single = here(
        "detect", data / "p0.csv", "--allow-remote", "--model", f"s3://bucket/pumps/{one}", "--format", "csv", "-q"
    ).stdout
    assert single == here("detect", data / "p0.csv", "--model", tmp_path / "pumps" / one, "--format", "csv", "-q").stdout


def test_a_fleet_in_the_store_is_replaced_all_at_once(filled, bundle_path, detector, tmp_path):
    from anomaly.fleet.folder import Fleet, Index, replaced_fleet, write_member

    folder, bundle = ObjectUri.parse("s3://bucket/fleet"), detector.bundle_

    def made(new, name):
        new.finish(Index(None, bundle.time_column, bundle.columns, {name: write_member(folder, name, bundle)}))

    with replaced_fleet(folder) as new:
        made(new, "a")
    before = filled.below("fleet/")
    filled.put("fleet/0123456789abcdef0123.anomaly", b"of another run")
    with pytest.raises(ZeroDivisionError), replaced_fleet(folder):
        write_member(folder, "b", bundle)
        raise ZeroDivisionError
    assert Fleet.load(folder).ids == ("a",) and before.items() <= filled.below("fleet/").items()
    with replaced_fleet(folder) as new:
        made(new, "c")
    assert Fleet.load(folder).ids == ("c",) and Fleet.load(folder).detector("c").bundle_.columns == bundle.columns
    assert not any(name.startswith("a-") for name in filled.below("fleet/"))
    assert "0123456789abcdef0123.anomaly" in filled.below("fleet/")


def test_a_folder_in_the_store_is_one_as_on_disk(store, tmp_path):
    for folder in (folder_at(tmp_path / "new"), folder_at(ObjectUri.parse("s3://bucket/new"))):
        assert not folder.is_there() and folder.names() == []
        folder.make()
        with folder.only_run("x"), folder.output("b/c.txt") as handle:
            handle.write(b"1")
        with folder.output("a.txt") as handle:
            handle.write(b"2")
        assert folder.is_there() and folder.name == "new" and folder.names()[0] == "a.txt"
        assert folder.has("b/c.txt") and folder.read("b/c.txt") == b"1" and not folder.has("c.txt")
        seal = folder.seal("a.txt")
        with folder.output("a.txt") as handle:
            handle.write(b"3")
        assert folder.seal("a.txt") != seal and str(folder).endswith("new")
        folder.remove("a.txt")
        folder.remove("a.txt")
        assert not folder.has("a.txt")
        with pytest.raises(OSError):
            folder.seal("a.txt")
        folder.unmake()
        assert folder.has("b/c.txt")
    shutil.rmtree(tmp_path / "new")
