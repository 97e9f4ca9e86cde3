"""What is in a folder of detectors: a line for each, and a word on those that are refused."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from anomaly.bundle.header import Ancestry
from anomaly.cli import cli
from anomaly.fleet.folder import Fleet, Index, replaced_fleet, write_member
from anomaly.fleet.listing import HEAD, list_fleet


@pytest.fixture
def folder(detector, tmp_path):
    bundle = detector.bundle_
    ancestry = Ancestry(("ab" * 32, "cd" * 32), held_out_loss=0.5, scaler_kept=True)
    with replaced_fleet(tmp_path / "fleet") as new:
        members = {
            name: write_member(tmp_path / "fleet", name, replace(bundle, fingerprint=f"{n:064x}", ancestry=older))
            for n, (name, older) in enumerate({"web 1": None, "web 2": ancestry, "db": None}.items())
        }
        new.finish(Index("host", bundle.time_column, bundle.columns, members))
    return tmp_path / "fleet"


def inspect(*arguments):
    return CliRunner().invoke(cli, ["inspect", *map(str, arguments)])


def test_each_detector_has_a_line(folder, detector):
    result = inspect(folder)
    assert (result.exit_code, result.stderr) == (0, "")
    facts, _, table = result.stdout.partition("\n\n")
    assert [line.split(maxsplit=1) for line in facts.splitlines()] == [
        ["series", "3, told apart by the column host"],
        ["columns", "s1, s2"],
        ["time", "timestamp"],
        ["index.json", f"sha256 {Fleet.load(folder).sha256}"],
    ]
    head, *lines = table.splitlines()
    assert head.split("  ")[0] == HEAD[0] and head.endswith("continued from")
    training, threshold = detector.bundle_.training, detector.thresholds_["combined"].value
    cells = [
        "12",
        f"{threshold:.6g}",
        "400",
        training["first_time"],
        training["last_time"],
        f"{detector.bundle_.held_out_loss:.4g}",
    ]
    assert [line.split() for line in lines] == [
        ["db", *cells], ["web", "1", *cells], ["web", "2", *cells, "ab" * 8],
    ]  # fmt: skip


def test_json_has_of_each_what_it_has_of_one(folder):
    fleet = Fleet.load(folder)
    found = json.loads(inspect(folder, "--format", "json").stdout)
    assert {name: found[name] for name in ("columns", "time_column", "id_column", "sha256")} == {
        "columns": ["s1", "s2"], "time_column": "timestamp", "id_column": "host", "sha256": fleet.sha256,
    }  # fmt: skip
    for name in fleet.ids:
        assert found["series"][name] == json.loads(inspect(fleet.path(name), "--format", "json").stdout)


def test_one_that_is_damaged_is_told_and_the_others_are_listed(folder):
    path = Fleet.load(folder).path("db")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    result = inspect(folder)
    assert result.exit_code == 3
    assert result.stderr.startswith("Error: db: ") and result.stdout.count("\nweb ") == 2
    assert json.loads(inspect(folder, "--format", "json").stdout)["series"]["db"]["error"]
    assert list(list_fleet(folder).failed) == ["db"]


def test_a_name_that_would_steer_the_terminal_is_not_written_as_it_is(detector, folder):
    listing = replace(list_fleet(folder), lines={"\u202e": ("1",)})
    assert listing.rows()[1][0] == "'\\u202e'"


@pytest.mark.parametrize("damaged", ["db", "web 1"])
def test_one_that_is_damaged_ends_its_own_series_alone(detector, csv_path, tmp_path, damaged):
    folder, data, bundle = tmp_path / "fleet", tmp_path / "data", detector.bundle_
    with replaced_fleet(folder) as new:
        members = {name: write_member(folder, name, bundle) for name in ("db", "web 1", "web 2")}
        new.finish(Index(None, bundle.time_column, bundle.columns, members))
    data.mkdir()
    for name in ("db", "web 1", "web 2"):
        (data / f"{name}.csv").write_bytes(csv_path.read_bytes())
    path = Fleet.load(folder).path(damaged)
    path.write_bytes(path.read_bytes() + b"x")
    for arguments in (["detect", data, "--model", folder], ["score", data, "--model", folder, "--output", tmp_path / "out"]):
        result = CliRunner().invoke(cli, [*map(str, arguments)])
        assert result.exit_code == 3, result.output
        assert result.stderr.count(f"Error: {damaged}: ") == 1 and "2 of 3 series scored, 1 failed" in result.stderr


def test_a_fleet_of_damaged_detectors_says_so(folder, csv_path):
    for name in Fleet.load(folder).ids:
        Fleet.load(folder).path(name).write_bytes(b"x")
    result = CliRunner().invoke(cli, ["detect", str(csv_path.parent), "--model", str(folder)])
    assert result.exit_code in (3, 4) and "Traceback" not in result.output and result.stderr.startswith("Error: ")
