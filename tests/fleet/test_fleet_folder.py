"""A folder of detectors: names of any kind, an index that nobody has to trust, the old fleet or the new one."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly import Detector
from anomaly.bundle.container import RefusedError
from anomaly.errors import BundleError, ConfigError, DataError, StorageError
from anomaly.fleet.folder import INDEX_NAME, Fleet, Index, Member, open_model, replaced_fleet, series_name, write_member
from anomaly.network import inference

NAMES = ["web-1", "a/b", "..", "CON", "x" * 300, "Ünïcode ☃", "日本", "../../etc/passwd", "A", "a", "=1+1", "web-1.anomaly", "-"]


def make_fleet(folder, detector, names, **changes):
    """A fleet of copies; the fingerprint in each bundle makes them different."""
    with replaced_fleet(folder) as new:
        bundle = detector.bundle_
        members = {name: write_member(folder, name, replace(bundle, fingerprint=f"{n:064x}")) for n, name in enumerate(names)}
        new.finish(replace(Index("host", bundle.time_column, bundle.columns, members), **changes))
    return Fleet.load(folder)


@pytest.fixture(scope="module")
def folder(detector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleets") / "fleet"
    make_fleet(folder, detector, NAMES)
    return folder


def test_names_of_any_kind_lead_to_their_own_detector(folder):
    fleet = Fleet.load(folder)
    assert fleet.ids == tuple(sorted(NAMES)) and len(fleet) == len(NAMES) and "a/b" in fleet and "b" not in fleet
    assert [int(fleet.detector(name).bundle_.fingerprint, 16) for name in NAMES] == list(range(len(NAMES)))
    assert (fleet.index.id_column, fleet.index.time_column, fleet.index.columns) == ("host", "timestamp", ("s1", "s2"))


def test_files_have_short_plain_names_directly_in_the_folder(folder):
    files = sorted(path.name for path in folder.iterdir())
    assert len(files) == len({name.lower() for name in files}) == len(NAMES) + 1
    assert all(len(name) < 80 and name.isascii() and name.lower() == name for name in files)
    assert sorted(m.file for m in Fleet.load(folder).index.series.values()) == sorted(set(files) - {INDEX_NAME})


def test_a_detector_of_a_fleet_scores_like_its_bundle(folder, series):
    fleet = Fleet.load(folder)
    alone = Detector.load(fleet.path("a/b"))
    np.testing.assert_array_equal(fleet.detector("a/b").score(series).score, alone.score(series).score)


def test_an_unknown_series_is_refused_with_the_nearest_names(folder):
    with pytest.raises(DataError, match=r"one of the 13 that the fleet was trained on. Received: 'web-2' \(fleet\). .*'web-1'"):
        Fleet.load(folder).detector("web-2")
    with pytest.raises(DataError, match=r"Received: 'qqqqqq' \(fleet\). They are .* and 8 more. Call it as in training, "):
        Fleet.load(folder).detector("qqqqqq")


def test_no_more_detectors_are_held_than_allowed_and_the_oldest_goes_first(folder):
    fleet = Fleet.load(folder, most_loaded=2)
    first = fleet.detector("a")
    second = fleet.detector("A")
    assert fleet.detector("a") is first
    fleet.detector("CON")
    assert fleet.detector("a") is first
    assert fleet.detector("A") is not second


def test_detectors_with_the_same_weights_share_one_network(folder, series):
    fleet = Fleet.load(folder)
    one, other = fleet.detector("a"), fleet.detector("A")
    one.score(series), other.score(series)
    assert one._reconstruct is other._reconstruct
    changed = {name: array * 1.5 for name, array in one.bundle_.weights.items()}
    args = one.bundle_.config.network, one.bundle_.window_size, 2
    different = inference.shared_reconstructor(args[0], changed, *args[1:])
    assert different is not one._reconstruct
    assert inference.shared_reconstructor(args[0], dict(one.bundle_.weights), *args[1:]) is one._reconstruct


def test_a_network_goes_when_nobody_holds_it(folder, series):
    before = len(inference._running)
    detector = Fleet.load(folder).detector("a")
    weights = {name: array * 0.5 for name, array in detector.bundle_.weights.items()}
    network = inference.shared_reconstructor(detector.bundle_.config.network, weights, 12, 2)
    assert len(inference._running) == before + 1
    del network
    assert len(inference._running) == before


def test_open_model_tells_a_folder_from_a_file(folder, bundle_path):
    assert isinstance(open_model(folder), Fleet)
    assert isinstance(open_model(bundle_path), Detector)
    sha256 = Fleet.load(folder).sha256
    assert open_model(folder, expect_sha256=sha256).sha256 == sha256
    with pytest.raises(BundleError, match="The detector must be the one that was pinned"):
        open_model(folder, expect_sha256="0" * 64)
    with pytest.raises(BundleError, match=f"must hold the {INDEX_NAME} of detectors.* Received: none"):
        open_model(bundle_path.parent)


# --- an index is not to be trusted -----------------------------------------------------------------------------


def described(folder):
    return json.loads((folder / INDEX_NAME).read_text())


def first(index):
    return next(iter(index["series"].values()))


HOSTILE = {
    "a path": lambda x: first(x).update(file="../evil.anomaly"),
    "another file": lambda x: first(x).update(file=list(x["series"].values())[1]["file"]),
    "an absolute path": lambda x: first(x).update(file="/etc/passwd"),
    "no text": lambda x: first(x).update(file=3),
    "no digest": lambda x: first(x).update(sha256="0"),
    "another digest": lambda x: first(x).update(sha256="0" * 64),
    "further words": lambda x: first(x).update(size=3),
    "a list": lambda x: x["series"].update(more=[]),
    "no series": lambda x: x.update(series={}),
    "series in a list": lambda x: x.update(series=[]),
    "another version": lambda x: x.update(format_version=2),
    "a version that is a truth": lambda x: x.update(format_version=True),
    "an unknown key": lambda x: x.update(more=1),
    "no columns": lambda x: x.update(columns=[]),
    "columns in a text": lambda x: x.update(columns="ab"),
    "the same column twice": lambda x: x.update(columns=["s1", "s1"]),
    "time among the features": lambda x: x.update(time_column="s1"),
    "names among the features": lambda x: x.update(id_column="s1"),
    "names that are the time": lambda x: x.update(id_column="timestamp"),
    "a number for a name": lambda x: x.update(id_column=7),
    "a control character": lambda x: x["series"].update({"a\x1b[2J": first(x)}),
    "an empty name": lambda x: x["series"].update({"": first(x)}),
    "a long name": lambda x: x["series"].update({"a" * 1025: first(x)}),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_index_is_refused(folder, tmp_path, change):
    index = described(folder)
    change(index)
    (tmp_path / INDEX_NAME).write_text(json.dumps(index, sort_keys=True, indent=1) + "\n")
    with pytest.raises(BundleError, match="The index must be one that `anomaly train` wrote, in format 1. Received: "):
        Fleet.load(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"[" * 100_000, b"\xff", b'{"a": 1, "a": 1}', b"null", b"x" * ((1 << 26) + 1)], ids=range(8)
)
def test_what_is_no_index_is_refused(tmp_path, content):
    (tmp_path / INDEX_NAME).write_bytes(content)
    with pytest.raises(BundleError, match="The index must be one"):
        Fleet.load(tmp_path)


@settings(max_examples=40)
@given(st.data())
def test_no_damage_to_an_index_is_taken_for_an_index(folder, data):
    content = (folder / INDEX_NAME).read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    changed = content[:place] + data.draw(st.binary(max_size=3)) + content[place + data.draw(st.integers(0, 3)) :]
    try:
        index = Index.from_bytes(changed)
    except RefusedError:
        return
    # Another name of a column cannot be told from a true one here; the bundle will say so.
    assert changed == index.to_bytes()
    assert all("/" not in member.file for member in index.series.values())


def test_an_index_that_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / INDEX_NAME)
    with pytest.raises(BundleError, match="must be a regular file"):
        Fleet.load(tmp_path)


def test_a_bundle_that_was_exchanged_damaged_or_removed_is_refused(detector, tmp_path):
    fleet = make_fleet(tmp_path / "fleet", detector, ["a", "b", "c"])
    fleet.path("a").write_bytes(fleet.path("b").read_bytes())
    with pytest.raises(BundleError, match="must be the one that was pinned"):
        fleet.detector("a")
    content = bytearray(fleet.path("b").read_bytes())
    content[-1] ^= 1
    fleet.path("b").write_bytes(content)
    with pytest.raises(BundleError, match="must be the one that was pinned"):
        fleet.detector("b")
    fleet.path("c").unlink()
    with pytest.raises(StorageError, match="No such file"):
        fleet.detector("c")


def test_bundles_with_other_columns_than_the_index_are_refused(detector, tmp_path):
    fleet = make_fleet(tmp_path / "fleet", detector, ["a"], columns=("s2", "s1"))
    with pytest.raises(BundleError, match="must have the columns of its index. Received: 's1', 's2'"):
        fleet.detector("a")


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[2J", "a" * 1025, "\ud800"])
def test_a_name_that_could_not_be_read_again_is_refused(name):
    with pytest.raises(ValueError, match="series name"):
        series_name(name)


def test_too_many_series_are_refused(monkeypatch):
    monkeypatch.setattr("anomaly.fleet.folder.MOST_SERIES", 1)
    members = {name: Member("x", "0" * 64) for name in "ab"}
    with pytest.raises(DataError, match="A fleet must have at most 1 series, an index of at most 64 MiB"):
        Index(None, None, ("v",), members).to_bytes()


# --- the old fleet or the new one ------------------------------------------------------------------------------


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_fleet_is_replaced_by_the_next_one_and_its_bundles_go(detector, tmp_path):
    folder = tmp_path / "fleet"
    old = make_fleet(folder, detector, ["a", "b"])
    (folder / "notes.txt").write_text("mine")
    (folder / "mine.anomaly").write_text("mine")
    new = make_fleet(folder, detector, ["b", "c", "d"])
    assert new.ids == ("b", "c", "d")
    assert not old.path("a").exists()
    assert len(list(folder.iterdir())) == 4 + 2


def test_a_failing_training_leaves_the_old_fleet(detector, tmp_path):
    folder = tmp_path / "fleet"
    make_fleet(folder, detector, ["a", "b"])
    before = content_of(folder)
    with pytest.raises(ZeroDivisionError), replaced_fleet(folder):
        write_member(folder, "c", detector.bundle_)
        1 / 0  # noqa: B018
    assert content_of(folder) == before


def test_a_failing_training_leaves_nothing_of_a_new_folder(detector, tmp_path):
    folder = tmp_path / "fleet"
    with pytest.raises(ZeroDivisionError), replaced_fleet(folder):
        write_member(folder, "c", detector.bundle_)
        1 / 0  # noqa: B018
    assert not folder.exists()


@pytest.mark.parametrize("before_index", [True, False])
def test_a_killed_training_leaves_the_old_fleet_and_the_next_one_cleans_up(detector, tmp_path, before_index):
    folder, bundle = tmp_path / "fleet", tmp_path / "one.anomaly"
    make_fleet(folder, detector, ["a", "b"])
    detector.save(bundle)
    code = (
        "import os, sys; from anomaly import Detector; from anomaly.fleet import folder as fleet\n"
        "bundle = Detector.load(sys.argv[2]).bundle_\n"
        "with fleet.replaced_fleet(sys.argv[1]) as new:\n"
        "    member = fleet.write_member(sys.argv[1], 'c', bundle)\n"
        f"    if not {before_index}: new.finish(fleet.Index(None, bundle.time_column, bundle.columns, {{'c': member}}))\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, folder, bundle], capture_output=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    fleet = Fleet.load(folder)
    assert fleet.ids == (("a", "b") if before_index else ("c",))
    for name in fleet.ids:
        fleet.detector(name)
    make_fleet(folder, detector, ["d"])
    assert len(list(folder.iterdir())) == 2


def test_only_one_training_at_a_time(detector, tmp_path):
    with replaced_fleet(tmp_path / "fleet"), pytest.raises(StorageError, match="Only one run"), replaced_fleet(tmp_path / "fleet"):
        pass


def test_a_folder_with_other_things_is_left_alone(detector, tmp_path):
    (tmp_path / "index.json").write_text('{"mine": 1}')
    with pytest.raises(BundleError), replaced_fleet(tmp_path):
        pass
    (tmp_path / "index.json").rename(tmp_path / "other.json")
    with pytest.raises(ConfigError, match="new or empty folder, .* which holds 'other.json'"), replaced_fleet(tmp_path):
        pass
    with pytest.raises(ConfigError, match="which is a file"), replaced_fleet(tmp_path / "other.json"):
        pass
    with pytest.raises(StorageError, match="its folder does not exist"), replaced_fleet(tmp_path / "no" / "fleet"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["other.json"]
