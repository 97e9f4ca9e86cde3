"""`anomaly export`: what it writes, what it says, what it refuses."""

import json
import subprocess
import sys

import onnx
import pytest
from click.testing import CliRunner
from conftest import TINY

from anomaly import Detector
from anomaly.cli import cli


def export(*words):
    return CliRunner().invoke(cli, ["export", *map(str, words)])


def about(content):
    return {item.key: json.loads(item.value) for item in onnx.load_from_string(content).metadata_props}


def test_a_file_is_written_and_its_size_said(bundle_path, tmp_path):
    output = tmp_path / "d.onnx"
    result = export(bundle_path, "--output", output, "--data-licence", "CC0-1.0")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"Saved {output} ({output.stat().st_size:,} bytes).\n"
    assert about(output.read_bytes())["training_data"]["licence"] == "CC0-1.0"


def test_terms_that_are_not_in_the_file_are_told(series, tmp_path):
    model, output = tmp_path / "d.anomaly", tmp_path / "d.onnx"
    quick = {"epochs": 1, "steps_per_epoch": 2, "penalty": "none", "nearest_windows": 50}
    Detector(**TINY | quick).fit(series[:400]).save(model)
    result = export(model, "--output", output)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[1:] == [
        "The score of this detector also has the terms shape, course, change, odd_level, odd_shape, which are not in the file: its "
        "thresholds are not those of the file's scores. Train with --nearest-windows 0 for a detector whose score is all in "
        "its file."
    ]


def test_a_file_can_go_to_standard_output(bundle_path):
    result = export(bundle_path, "--output", "-", "--quiet")
    assert result.exit_code == 0
    assert about(result.stdout_bytes)["training_data"]["licence"] == "not stated"
    assert result.stderr == ""


def test_onnx_does_without_tensorflow(bundle_path, tmp_path):
    code = (
        "import sys; from anomaly.cli import cli\n"
        f"cli(['export', {str(bundle_path)!r}, '-q', '-o', {str(tmp_path / 'd.onnx')!r}], standalone_mode=False)\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["{fleet}", "-o", "d.onnx"], 2, "One detector must be named here, by its file. Received: the folder {fleet}. Name one "
         "of its files, such as {fleet}/pump.anomaly."),
        (["{empty}", "-o", "d.onnx"], 2, "One detector must be named here, by its file. Received: the folder {empty}. "
         "Name a file that `anomaly train` made."),
        (["{bundle}", "-o", "{bundle}"], 2, "Files must differ. Received: {bundle} for both model and output. Name another file."),
        (["{bundle}", "--format", "keras", "-o", "d.h5"], 2, "Keras reads files whose names end in .keras. Received: --output "
         "d.h5. Use such a name."),
        (["{bundle}", "-o", "d.keras"], 2, "Names of ONNX files must not end as Keras' do. Received: --output d.keras. Add "
         "--format keras, or use another name."),
        (["{bundle}", "--format", "keras", "-o", "d.keras", "--data-licence", "MIT"], 2, "--data-licence must go with "
         "--format onnx: a Keras file has no room for it. Leave it out."),
        (["{csv}", "-o", "d.onnx"], 4, "The file must be a detector saved by `anomaly train` in format "),
        (["{bundle}", "-o", "d.onnx", "--expect-sha256", "0" * 64], 4,
         "The detector must be the one that was pinned. Received: sha256 "),
    ],
)  # fmt: skip
def test_what_is_refused(bundle_path, csv_path, tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    fleet, empty = tmp_path / "pumps.fleet", tmp_path / "empty"
    fleet.mkdir()
    empty.mkdir()
    (fleet / "pump.anomaly").write_bytes(bundle_path.read_bytes())
    places = {"fleet": fleet, "empty": empty, "bundle": bundle_path, "csv": csv_path}
    before = bundle_path.read_bytes()
    result = export(*(word.format(**places) for word in words))
    assert result.exit_code == code
    assert message.format(**places) in result.stderr
    assert result.stdout == ""
    assert {path.name for path in tmp_path.iterdir()} == {"pumps.fleet", "empty"}
    assert bundle_path.read_bytes() == before


def test_a_keras_file_is_written(bundle_path, tmp_path):
    output = tmp_path / "d.keras"
    assert export(bundle_path, "--format", "keras", "-o", output, "-q").exit_code == 0
    assert output.read_bytes()[:2] == b"PK"
