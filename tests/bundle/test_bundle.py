"""A bundle comes back as it was, or is refused in one clear sentence."""

import hashlib
import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import example, given
from hypothesis import strategies as st
from made_bundles import CONTENT, DELETE, SETTINGS, description_of, forged, made_bundle, made_threshold, network_of, with_header

from anomaly import BundleError, ConfigError, DataError, Detector, StorageError
from anomaly.bundle import container, header
from anomaly.bundle import file as bundle
from anomaly.bundle.container import file_sha256
from anomaly.bundle.file import read_bundle, to_bytes, write_bundle
from anomaly.bundle.probe import check_probe, with_probe
from anomaly.bundle.storable import require_storable
from anomaly.config import AGGREGATIONS, DetectorConfig
from anomaly.fitting.recalibration import recalibrated
from anomaly.network.model import rows_of_timesteps, weight_shapes
from anomaly.scoring.references import FORMS
from anomaly.windowing.scaling import Scaler


def same(a, b):
    """Compare two bundles field by field, arrays to the last bit."""
    return a.describe() == b.describe() and arrays_of(a) == arrays_of(b)


def arrays_of(one):
    named = one.weights | {"center": one.scaler.center, "scale": one.scaler.scale, "times": one.calibration_times}
    named |= {f"calibration {name}": array for name, array in one.calibration_scores.items()}
    named |= {f"history {name}": array for name, array in one.history.items()}
    return {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in named.items()}


@pytest.fixture
def refused(tmp_path):
    """Read some content, and return the message with which it is refused."""

    def read(content):
        path = tmp_path / "some.anomaly"
        path.write_bytes(content)
        with pytest.raises(BundleError) as caught:
            read_bundle(path)
        assert caught.value.exit_code == 4
        return str(caught.value)

    return read


def test_a_bundle_comes_back_as_it_was(tmp_path):
    made = made_bundle()
    write_bundle(tmp_path / "made.anomaly", made)
    assert same(read_bundle(tmp_path / "made.anomaly"), made)


def test_a_trained_bundle_comes_back_as_it_was(detector, bundle_path):
    assert same(read_bundle(bundle_path), detector.bundle_)


def test_a_bundle_of_counted_rows_comes_back_as_it_was(tmp_path):
    made = made_bundle(time_column=None, step=1, longest_step=1, row_step=1)
    write_bundle(tmp_path / "made.anomaly", made)
    assert same(read_bundle(tmp_path / "made.anomaly"), made)


def test_settings_come_back_as_they_were(bundle_path, detector):
    assert read_bundle(bundle_path).config == detector.bundle_.config


def test_a_direction_comes_back_as_a_vector(tmp_path):
    write_bundle(tmp_path / "made.anomaly", made_bundle())
    assert read_bundle(tmp_path / "made.anomaly").config.penalty.direction == (1.0, -0.5)


def test_a_loaded_detector_gives_the_same_scores_to_the_last_bit(detector, bundle_path, series):
    loaded, fitted = Detector.load(bundle_path).score(series), detector.score(series)
    assert loaded.score.tobytes() == fitted.score.tobytes()
    assert loaded.threshold == fitted.threshold


def test_the_same_bundle_gives_the_same_bytes(detector, bundle_path):
    assert to_bytes(detector.bundle_) == bundle_path.read_bytes()


def test_a_bundle_that_was_read_gives_the_same_bytes(bundle_path):
    assert to_bytes(read_bundle(bundle_path)) == bundle_path.read_bytes()


def test_the_file_is_a_safetensors_file_with_one_metadata_key(bundle_path):
    with safetensors.safe_open(bundle_path, framework="np") as handle:
        assert set(handle.metadata()) == {"anomaly"}
        assert "weights/output/kernel" in handle.keys()  # noqa: SIM118 - not a dict


@pytest.mark.parametrize("shape", [{}, {"layers": 3}, {"bidirectional": True}, {"code_size": 2, "layers": 2}])
def test_the_file_is_what_the_safetensors_package_writes(shape):
    config = DetectorConfig.from_settings(SETTINGS | shape)
    shapes = weight_shapes(config.network, 2)
    content = to_bytes(made_bundle(config=config, weights={name: np.ones(size, np.float32) for name, size in shapes.items()}))
    described = json.dumps(description_of(content), sort_keys=True, separators=(",", ":"))
    assert safetensors.numpy.save(safetensors.numpy.load(content), metadata={"anomaly": described}) == content


def test_the_description_names_no_path_and_no_class(bundle_path):
    text = json.dumps(description_of(bundle_path.read_bytes()))
    assert "/" not in text
    assert "anomaly." not in text


def test_a_file_that_does_not_name_the_timesteps_has_64():
    settings = SETTINGS | {"window_size": 128, "penalty": "none", "timesteps": 64}
    content = to_bytes(made_bundle(config=DetectorConfig.from_settings(settings), window_size=128))
    assert "timesteps" not in description_of(content)["settings"], "as in files that do not know the setting"
    network = bundle.from_bytes(content).config.network
    assert (network.timesteps, rows_of_timesteps(network, 128)) == (64, 64 * [2])
    newer = to_bytes(made_bundle(config=DetectorConfig.from_settings(settings | {"timesteps": 32}), window_size=128))
    assert rows_of_timesteps(bundle.from_bytes(newer).config.network, 128) == 32 * [4]


def test_merge_gap_is_half_a_window_in_older_files_unless_it_is_set():
    assert made_bundle(window_size=9).rules.merge_gap == 4
    assert made_bundle(window_size=9, merge_gap=9).rules.merge_gap == 9
    assert made_bundle(config=DetectorConfig.from_settings({"merge_gap": 0})).rules.merge_gap == 0


def test_an_older_file_keeps_its_event_rules_until_others_are_asked_for():
    config = DetectorConfig.from_settings(SETTINGS | {"window_size": 64, "penalty": "none"})
    older = bundle.from_bytes(to_bytes(made_bundle(config=config, window_size=64)))
    assert "min_length" not in older.describe() and older.rules.min_length == 2
    kept = recalibrated(older, {"cool_down": 3}).rules
    assert (kept.min_length, kept.merge_gap) == (2, 32)
    asked = recalibrated(older, {"min_length": "auto"})
    assert asked.rules.min_length == 3 and asked.describe()["min_length"] == 3
    assert asked.rules.merge_gap == 32 and recalibrated(asked, {"merge_gap": "auto"}).rules.merge_gap == 64
    assert recalibrated(asked, {"min_length": 7}).describe().keys() == older.describe().keys()


def test_what_auto_came_to_is_in_the_file_whatever_the_rule_becomes(bundle_path, refused):
    assert description_of(bundle_path.read_bytes())["min_length"] == 1
    assert description_of(bundle_path.read_bytes())["merge_gap"] == 12
    assert bundle.from_bytes(forged(min_length=2)).rules.min_length == 2
    assert bundle.from_bytes(forged(merge_gap=0)).rules.merge_gap == 0
    assert "merge_gap=-1" in refused(forged(merge_gap=-1))
    assert "merge_gap=4 in the settings" in refused(forged(settings__merge_gap=4, merge_gap=2))
    assert "min_length=0" in refused(forged(min_length=0))
    assert "min_length=4 in the settings" in refused(forged(settings__min_length=4, min_length=2))


def test_writing_replaces_an_earlier_bundle(tmp_path):
    path = tmp_path / "made.anomaly"
    write_bundle(path, made_bundle(seed=11))
    write_bundle(path, made_bundle(fingerprint="cd" * 32))
    assert read_bundle(path).fingerprint == "cd" * 32
    assert [entry.name for entry in tmp_path.iterdir()] == ["made.anomaly"]


def test_a_value_that_json_cannot_hold_leaves_the_earlier_bundle(tmp_path):
    path = tmp_path / "made.anomaly"
    path.write_bytes(CONTENT)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_bundle(path, made_bundle(thresholds={name: made_threshold(float("nan")) for name in AGGREGATIONS}))
    assert path.read_bytes() == CONTENT


def test_loading_and_scoring_import_no_training_library(bundle_path):
    code = (
        "import sys, numpy as np\n"
        "from anomaly import Detector\n"
        f"detector = Detector.load({str(bundle_path)!r})\n"
        "detector.row_scorer().push(np.arange(40), np.ones((40, 2)))\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'tensorflow', 'keras', 'jax', 'torch'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 bytes"),
        (b"\x10\0\0", "3 bytes"),
        (np.random.default_rng(0).bytes(5000), "a file of another kind"),
        (b"timestamp,value\n2022-01-01,1\n" * 50, "a file of another kind"),
        (b"PK\x03\x04" + bytes(500), "a file of another kind"),
        (struct.pack("<Q", 2**63) + CONTENT[8:], "a file of another kind"),
        (struct.pack("<Q", len(CONTENT)) + CONTENT[8:], "a file that was cut off"),
        (bytes(5000), "a file whose header is not valid"),
        (struct.pack("<Q", 4) + b"null" + bytes(50), "a file whose header is not valid"),
        (safetensors.numpy.save({"x": np.zeros(3)}), "a file without this program's metadata"),
        (safetensors.numpy.save({"x": np.zeros(3)}, metadata={"format": "pt"}), "a file without this program's metadata"),
        (safetensors.numpy.save({}, metadata={"anomaly": "{}", "more": "x"}), "a file without this program's metadata"),
        (safetensors.numpy.save({}, metadata={"anomaly": "{}"}), "format version None"),
        (safetensors.numpy.save({}, metadata={"anomaly": "[1]"}), "a file whose metadata is not valid"),
        (safetensors.numpy.save({}, metadata={"anomaly": "{"}), "a file whose metadata is not valid"),
    ],
    ids=lambda value: "file" if isinstance(value, bytes) else value,
)
def test_a_file_of_another_kind_is_refused_in_one_sentence(refused, content, reason):
    assert refused(content) == (
        f"The file must be a detector saved by `anomaly train` in format 3. Received: {reason} (some.anomaly)."
    )


def test_a_header_beyond_its_limit_is_refused_before_it_is_parsed(refused, monkeypatch):
    monkeypatch.setattr(container, "LARGEST_HEADER", 100)
    monkeypatch.setattr(container.json, "loads", lambda *_, **__: pytest.fail("parsed"))
    assert "a file of another kind" in refused(CONTENT)


def test_a_file_beyond_its_limit_is_refused_before_it_is_read(refused, monkeypatch):
    monkeypatch.setattr(container, "LARGEST_FILE", len(CONTENT) - 1)
    assert "at most 1 GiB" in refused(CONTENT)


def test_a_bundle_cut_off_anywhere_is_refused(refused):
    for length in [*range(64), *range(64, len(CONTENT), 97), len(CONTENT) - 1]:
        refused(CONTENT[:length])


@pytest.mark.parametrize("more", [b"\0", b"{}", CONTENT], ids=["byte", "braces", "twice"])
def test_a_bundle_with_something_behind_it_is_refused(refused, more):
    assert "a damaged file" in refused(CONTENT + more)


def test_a_missing_file_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match=r"nowhere\.anomaly \(No such file") as caught:
        read_bundle(tmp_path / "nowhere.anomaly")
    assert caught.value.exit_code == 5


def test_a_folder_is_not_a_bundle(tmp_path):
    with pytest.raises(BundleError, match="regular file"):
        read_bundle(tmp_path)


def test_a_device_is_not_a_bundle():
    with pytest.raises(BundleError, match="regular file"):
        read_bundle("/dev/null")


@given(st.data())
def test_a_flipped_bit_in_the_arrays_is_refused(tmp_path_factory, data):
    (length,) = struct.unpack("<Q", CONTENT[:8])
    position = data.draw(st.integers(8 + length, len(CONTENT) - 1))
    damaged = bytearray(CONTENT)
    damaged[position] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "flipped.anomaly"
    path.write_bytes(damaged)
    with pytest.raises(BundleError, match="the checksum differs"):
        read_bundle(path)


# A digit of a threshold, of a setting, and of an array's name are among what a flip may hit.
@given(st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(1, 255)), min_size=1, max_size=4))
@example([(CONTENT.index(b"0.1},") + 2, 2)])
@example([(CONTENT.index(b'n_rows\\":40') + 9, 1)])
@example([(CONTENT.index(b"0.005") + 4, 1)])
@example([(CONTENT.index(b"weights/"), 32)])
def test_a_file_with_flipped_bytes_is_refused_or_means_the_same(tmp_path_factory, flips):
    damaged = bytearray(CONTENT)
    for position, mask in flips:
        damaged[position] ^= mask
    path = tmp_path_factory.getbasetemp() / "flipped.anomaly"
    path.write_bytes(damaged)
    try:
        found = read_bundle(path)
    except BundleError:
        return
    assert same(found, made_bundle())


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_and_never_crash(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "random.anomaly"
    path.write_bytes(content)
    with pytest.raises(BundleError):
        read_bundle(path)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


PATHS = sorted(
    [name for name in description_of(CONTENT) if name != "sha256"]
    + [f"{outer}__{name}" for outer in ("settings", "training", "thresholds") for name in description_of(CONTENT)[outer]]
    + [f"thresholds__trailing__{name}" for name in ("value", "method", "reached", "n_scores", "n_above", "expected")]
)


@given(st.sampled_from(PATHS), JSON)
def test_any_value_in_the_description_is_refused_or_gives_a_bundle_that_can_be_described(tmp_path_factory, path, value):
    from anomaly.report.detector_text import bundle_text

    file = tmp_path_factory.getbasetemp() / "forged.anomaly"
    file.write_bytes(forged(**{path: value}))
    try:
        found = read_bundle(file)
    except BundleError:
        return
    assert bundle_text(found, "text")


def test_a_forged_bundle_without_changes_is_the_bundle():
    assert forged() == CONTENT


@pytest.mark.parametrize("version", [0, 1, 2, 4, "3", None, [3]])
def test_another_format_version_is_refused_by_its_number(refused, version):
    assert f"format version {version!r}" in refused(forged(format_version=version))


def test_an_unknown_setting_is_refused_by_name(refused):
    assert "Unknown setting. Received: 'unit'. Did you mean 'units'?" in refused(forged(settings__unit=3))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("units", 0), ("units", "3"), ("layers", 4), ("penalty", "l3"), ("alarm_rate", 2), ("direction", [[1, 2], [3]])],
)
def test_a_setting_out_of_its_range_is_refused_by_name(refused, setting, value):
    assert f"`{setting}` must be" in refused(forged(**{f"settings__{setting}": value}))


def test_arrays_of_other_shapes_than_the_settings_call_for_are_refused_by_name(refused):
    assert "arrays that do not fit its settings, such as 'weights/decoder_1/forward/bias'" in refused(forged(settings__units=8))


def test_a_missing_array_is_refused_by_name(refused):
    assert "such as 'weights/output/bias'" in refused(forged(tensors={"weights/output/bias": DELETE}))


def test_an_extra_array_is_refused_by_name(refused):
    assert "such as 'weights/more'" in refused(forged(tensors={"weights/more": np.zeros(3, np.float32)}))


def test_an_array_of_another_type_is_refused_by_name(refused):
    assert "such as 'scaler/scale'" in refused(forged(tensors={"scaler/scale": np.ones(2, np.float32)}))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["weights/output/bias", "scaler/center", "scaler/scale"])
def test_weights_and_scales_that_are_not_finite_are_refused(refused, name, value):
    array = safetensors.numpy.load(CONTENT)[name].copy()
    array[-1] = value
    assert "weights and scales must be finite" in refused(forged(tensors={name: array}))


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_scale_that_is_not_positive_is_refused(refused, scale):
    assert "weights and scales" in refused(forged(tensors={"scaler/scale": np.array([1.0, scale])}))


@pytest.mark.parametrize("value", [0, 0.0, -0.5, "0.5", None, True])
def test_a_threshold_that_is_no_positive_number_is_refused(refused, value):
    assert f"threshold={value!r}" in refused(forged(thresholds__trailing__value=value))


def test_a_missing_threshold_is_refused(refused):
    assert "thresholds" in refused(forged(thresholds__trailing=DELETE))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("columns", "ab"),
        ("columns", ["flow", "flow"]),
        ("columns", ["flow", 3]),
        ("columns", {"flow": 1, "heat": 2}),
        ("time_column", 5),
        ("time_column", "flow"),
        ("window_size", 5.0),
        ("window_size", True),
        ("window_size", 1),
        ("stride", 0),
        ("step", -1),
        ("step", "3600"),
        ("longest_step", 2**63),
        ("longest_step", 36_000_000_001),
        ("longest_step", 0),
        ("row_step", 1),
        ("row_step", 1_800_000_000),
        ("row_step", 3_600_000_001),
        ("row_step", True),
        ("settings__max_gap", 2.0),
        ("seed", None),
        ("settings", []),
        ("settings__units", 10**400),
        ("settings", None),
        ("thresholds", []),
        ("thresholds__trailing", [1.0, 0.1, 3, 0]),
        ("thresholds__trailing__n_scores", "7"),
        ("thresholds__trailing__n_above", 8),
        ("thresholds__trailing__method", "magic"),
        ("thresholds__trailing__reached", 1),
        ("thresholds__trailing__asked", -1.5),
        ("thresholds__trailing__expected", float("1e300")),
        ("thresholds__trailing__rows_per_day", "24"),
        ("thresholds__trailing__n_held_out", 8),
        ("training__n_held_out_rows", 9),
        ("settings__alarm_direction", [1.0]),
        ("training", []),
        ("training__n_calibration_rows", 0),
        ("training__n_calibration_rows", 2**60),
        ("training__n_epochs", "2"),
        ("training__best_epoch", 3),
        ("training__n_rows", "40"),
        ("training__first_time", 0),
        ("fingerprint", 7),
        ("versions", "1.0"),
        ("versions", {"numpy": 2}),
        ("sha256", 0),
    ],
)
def test_a_wrong_value_in_the_description_is_refused(refused, path, value):
    refused(forged(**{path: value}))


@pytest.mark.parametrize(
    ("steps", "max_gap"),
    [
        ({"row_step": 60, "step": 60, "longest_step": 600}, "auto"),
        ({"row_step": 0, "step": 60, "longest_step": 600}, "auto"),
        ({"row_step": 0, "step": 60, "longest_step": 150}, 2.5),
        ({"row_step": 0, "step": 1, "longest_step": 1_000_000}, 1_000_000.0),
    ],
)
def test_steps_as_a_training_makes_them_are_read(steps, max_gap):
    made = made_bundle(**steps)
    made = replace(made, config=replace(made.config, windows=replace(made.config.windows, max_gap=max_gap)))
    assert same(bundle.from_bytes(to_bytes(made)), made)


@pytest.mark.parametrize("key", sorted(description_of(CONTENT)))
def test_a_missing_key_in_the_description_is_refused(refused, key):
    if key == "sha256":
        described = description_of(CONTENT)
        del described[key]
        content = forged(text=json.dumps(described))
    else:
        content = forged(**{key: DELETE})
    assert (
        "format version None" in refused(content)
        if key == "format_version"
        else f"no '{key}' in the description" in refused(content)
    )


@pytest.mark.parametrize(("name", "value"), [("window_size", 6), ("seed", 12)])
def test_a_value_that_contradicts_the_settings_is_refused(refused, name, value):
    assert f"{name}={value}, but {SETTINGS[name]} in the settings" in refused(forged(**{name: value}))


def test_a_bundle_without_features_is_refused(refused):
    empty = made_bundle(columns=(), scaler=Scaler(center=np.empty(0), scale=np.empty(0)))
    shapes = weight_shapes(empty.config.network, 0)
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    assert "columns" in refused(to_bytes(replace(empty, weights=weights)))


def test_repeated_keys_in_the_description_are_refused(refused):
    text = json.dumps(description_of(CONTENT))
    assert "metadata is not valid" in refused(forged(text=text.replace('"seed": 11', '"seed": 11, "seed": 12', 1)))


def test_repeated_keys_in_the_header_are_refused(refused):
    (length,) = struct.unpack("<Q", CONTENT[:8])
    header = CONTENT[8 : 8 + length].rstrip()
    again = json.dumps(json.loads(header)["weights/output/bias"])
    repeated = header[:-1] + b',"weights/output/bias":' + again.encode() + b"}"
    assert "header is not valid" in refused(with_header(repeated))


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("NaN", "metadata is not valid"),
        ("Infinity", "metadata is not valid"),
        ("-Infinity", "metadata is not valid"),
        ("1e999", "metadata is not valid"),
    ],
)
def test_numbers_that_are_not_finite_are_refused_in_the_description(refused, number, reason):
    text = json.dumps(description_of(CONTENT))
    assert reason in refused(forged(text=text.replace('"value": 0.1', f'"value": {number}', 1)))


def test_a_nested_description_is_refused_at_every_depth(refused):
    text = json.dumps(description_of(CONTENT))
    for depth in [100, *range(sys.getrecursionlimit() - 250, sys.getrecursionlimit()), 5_000, 200_000]:
        nested = '"fingerprint": ' + "[" * depth + "]" * depth
        refused(forged(text=text.replace(f'"fingerprint": "{"ab" * 32}"', nested, 1)))


def test_a_deeply_nested_header_is_refused(refused):
    assert "header is not valid" in refused(with_header(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"))


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 10**12]},
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
        {"dtype": "F32", "shape": [2]},
        {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]},
        {"dtype": 5, "shape": [2], "data_offsets": [0, 8]},
        [],
        None,
    ],
)
def test_a_nonsensical_array_entry_in_the_header_is_refused(refused, entry):
    (length,) = struct.unpack("<Q", CONTENT[:8])
    header = json.loads(CONTENT[8 : 8 + length])
    header["weights/output/bias"] = entry
    refused(with_header(json.dumps(header).encode()))


def test_a_refused_bundle_is_never_handed_to_the_network(refused, monkeypatch):
    monkeypatch.setattr(bundle, "arrays_in", lambda *_: pytest.fail("arrays were made"))
    refused(CONTENT.replace(b'\\"units\\":3', b'\\"units\\":4'))


def sha256_of(content):
    return hashlib.sha256(content).hexdigest()


def test_the_sha256_of_a_file_is_that_of_its_bytes(bundle_path):
    assert file_sha256(bundle_path) == sha256_of(bundle_path.read_bytes())


@pytest.mark.parametrize("change", [str, str.upper, " {} ".format])
def test_a_pinned_detector_loads(bundle_path, detector, change):
    pin = change(sha256_of(bundle_path.read_bytes()))
    assert same(Detector.load(bundle_path, expect_sha256=pin).bundle_, detector.bundle_)


def test_another_detector_than_the_pinned_one_is_refused(bundle_path):
    found = sha256_of(bundle_path.read_bytes())
    with pytest.raises(BundleError) as caught:
        Detector.load(bundle_path, expect_sha256="0" * 64)
    assert str(caught.value) == (
        f"The detector must be the one that was pinned. Received: sha256 {found} instead of {'0' * 64} (tiny.anomaly). "
        "Load the file that was meant, or pin this one if you trust it."
    )


def test_a_file_that_is_not_the_pinned_one_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "parse_json", lambda *_: pytest.fail("parsed"))
    (tmp_path / "some.anomaly").write_bytes(CONTENT)
    with pytest.raises(BundleError, match="pinned"):
        read_bundle(tmp_path / "some.anomaly", "f" * 64)


@pytest.mark.parametrize("pin", ["", "abc", "0" * 63, "g" * 64, "0x" + "0" * 62])
def test_a_pin_that_is_no_sha256_is_a_setting_error(bundle_path, pin):
    with pytest.raises(ConfigError, match="`expect_sha256` must be 64 hexadecimal digits"):
        read_bundle(bundle_path, pin)


def test_the_content_can_be_shown_with_the_sha256_of_the_file():
    from anomaly.report.detector_text import bundle_text

    assert f"\nfile                      sha256 {'0' * 64}\n" in bundle_text(made_bundle(), "text", sha256="0" * 64)
    assert json.loads(bundle_text(made_bundle(), "json", sha256="0" * 64))["sha256"] == "0" * 64


def test_a_probe_comes_back_and_holds_on_the_same_machine(tmp_path):
    made = with_probe(made_bundle(), network_of(made_bundle()))
    write_bundle(tmp_path / "made.anomaly", made)
    loaded = read_bundle(tmp_path / "made.anomaly")
    assert same(loaded, made)
    assert len(loaded.probe) == 4
    check_probe(loaded, network_of(loaded))


def test_a_detector_without_a_probe_passes():
    check_probe(made_bundle(), lambda _: pytest.fail("run"))


def test_a_network_that_does_something_else_is_refused_by_its_probe():
    made = with_probe(made_bundle(), network_of(made_bundle()))
    for other in (lambda windows: windows * np.float32(np.nan), lambda windows: network_of(made)(windows) + np.float32(0.01)):
        with pytest.raises(BundleError, match="must do here what it did where it was trained"):
            check_probe(made, other)


def test_the_windows_of_the_probe_are_the_same_everywhere():
    seen = []
    with_probe(made_bundle(), lambda windows: seen.append(windows) or windows)
    assert [(window.shape, window.dtype) for window in seen] == 4 * [((1, 5, 2), np.float32)]
    np.testing.assert_allclose(seen[0][0, :2], [[0.47444919, -0.79748219], [-1.5901144, -1.6747974]], rtol=1e-6)


def test_what_is_used_every_day_can_be_saved():
    require_storable(DetectorConfig(), tuple(f"sensor {i} [m\u00b3/s]" for i in range(4_096)), "time")


@pytest.mark.parametrize(
    ("columns", "time_column"),
    [
        ([str(i) for i in range(4_097)], None),
        (["a\nb"], None),
        (["a\x1b"], None),
        (["\ud800"], None),
        (["a" * 1_025], None),
        (["a"], "t\0"),
    ],
    ids=["too many", "line break", "escape", "surrogate", "too long", "time"],
)
def test_columns_that_could_not_be_saved_are_refused(columns, time_column):
    with pytest.raises(DataError, match="at most 4,096 columns, each with a name of at most 1,024 characters"):
        require_storable(DetectorConfig(), tuple(columns), time_column)


def test_a_network_that_could_not_be_saved_is_refused():
    with pytest.raises(ConfigError, match="at most 50,000,000 parameters. Received: 2"):
        require_storable(DetectorConfig.from_settings({"units": 4_096}), ("a",), None)


def test_settings_that_could_not_be_saved_are_refused():
    rows = [[1 / 3] * 100] * 1_000
    config = DetectorConfig.from_settings({"penalty": "directional", "direction": rows})
    with pytest.raises(ConfigError, match="must fit into 1 MiB"):
        require_storable(config, tuple(f"c{i}" for i in range(100)), None)


def test_a_file_from_before_whose_forms_share_their_windows_has_these_in_both(tmp_path):
    path, columns, size = tmp_path / "older.anomaly", len(description_of(CONTENT)["columns"]), 4
    windows = np.arange(3 * 4 * columns, dtype=np.float32).reshape(3, 4, columns) / 512
    aggregations = len(AGGREGATIONS)
    arrays = {
        "nearest/windows": windows,
        "nearest/unit": np.ones((2, columns)),
        "nearest/odd": np.ones((aggregations, 2, columns)),
        "nearest/scale": np.ones((aggregations, 5)),
    }
    path.write_bytes(forged(tensors=arrays, nearest={"window_size": size, "n_windows": 3}, settings__nearest_windows=3))
    found = read_bundle(path)
    assert [(of_form.form, of_form.window_size) for of_form in found.references] == [("shape", size), ("course", size)]
    assert all(of_form.windows.tobytes() == windows.tobytes() for of_form in found.references)
    write_bundle(tmp_path / "newer.anomaly", found)
    again = read_bundle(tmp_path / "newer.anomaly")
    assert again.describe()["nearest"] == {form: {"window_size": size, "n_windows": 3} for form in ("shape", "course")}
    assert [of_form.windows.tobytes() for of_form in again.references] == [windows.tobytes()] * 2


@pytest.mark.parametrize("name", ["models/demo/heartbeats.anomaly", "tests/golden/two_forms.anomaly"])
def test_detectors_of_today_are_read_when_a_further_form_is_there(name, monkeypatch):
    """A file says which forms it has by their names: one that came later is none of its own."""
    path = Path(__file__).parents[2] / name
    before = read_bundle(path)
    monkeypatch.setattr(header, "FORMS", (*FORMS, "further"))
    after = read_bundle(path)
    assert same(before, after)
    assert [x.form for x in after.recipe.references] == [x.form for x in before.recipe.references]


@pytest.mark.parametrize(
    ("gone", "added", "reason"),
    [("course", {}, "no 'course' in the nearest"), ("change", {"further": None}, "unknown 'further' in the nearest")],
)
def test_forms_that_nobody_knows_or_that_lack_are_refused(gone, added, reason):
    sizes = {"window_size": 2, "n_windows": 1}
    forms = {form: sizes for form in FORMS if form != gone} | dict.fromkeys(added, sizes)
    with pytest.raises(ValueError, match=reason):
        header._nearest(forms, DetectorConfig(), 2)
