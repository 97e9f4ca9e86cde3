"""In Python a message names arguments; on the command line the same message names options."""

import numpy as np
import pytest
from commands import here
from conftest import make_series

from anomaly import ConfigError, DataError, Detector, read_csv
from anomaly.arguments import in_arguments


@pytest.mark.parametrize(
    ("message", "of", "told"),
    [
        ("Use a smaller --window-size.", "fit", "Use a smaller window_size."),
        ("Begin anew with --no-resume.", "fit", "Begin anew with resume=False."),
        ("Use --dst first or --tz.", "read_csv", "Use dst first or timezone."),
        ("Say --missing-values -9999.", "fit", "Say missing_values -9999."),
        ("Name it with --label-column.", "fit", "Name it with label_column of read_csv."),
        ("Name it with --label-column.", "read_csv", "Name it with label_column."),
        ("Leave it out with --value-columns.", "fit", "Leave it out with value_columns of read_csv, or with drop of a frame."),
        ("Name it with --time-column time.", "score", "Name it with read_csv(path, time_column='time')."),
        ("Name it with --time-column time.", "read_csv", "Name it with time_column='time'."),
        ("Name it with --time-column 'my time'.", "score", "Name it with read_csv(path, time_column='my time')."),
        ("Use --ignore-columns a,b.c to count.", "score", "Use read_csv(path, ignore_columns=('a', 'b.c')) to count."),
        ("Use --time-column none to count rows, or not.", "fit", "Use read_csv(path, time_column=None) to count rows, or not."),
        ("Use --time-column with another one.", "fit", "Use time_column of read_csv with another one."),
        ("--label-column leaves it out.", "read_csv", "label_column leaves it out."),
        ("Add --id-column host.", "read_csv", "Add groupby('host') of pandas, to give one series at a time."),
        (
            "Tell them apart with --id-column, or not.",
            "fit",
            "Tell them apart with groupby of pandas, to give one series at a time, or not.",
        ),
        ("Nothing - or -- to say, nor a--b.", "fit", "Nothing - or -- to say, nor a--b."),
    ],
)
def test_an_option_becomes_the_argument(message, of, told):
    assert in_arguments(message, of) == told


def test_python_names_arguments_and_the_command_its_options(detector, bundle_path, tmp_path):
    short = make_series(n=5, spike=None)
    with pytest.raises(DataError, match="or train with a smaller window.$"):
        detector.score(short)
    with pytest.raises(DataError, match="or train with a smaller window.$"):
        detector.predict(short)
    path = tmp_path / "short.csv"
    short.to_frame().to_csv(path)
    with pytest.raises(DataError, match="or train with a smaller window.$"):
        detector.detect(path)
    refused = here("score", path, "--model", bundle_path, "--output", tmp_path / "out.csv", code=3)
    assert "train with a smaller window." in refused.stderr


def test_reading_names_its_arguments(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("timestamp,a\n2024-01-01,1\n2024-01-02,2\n")
    with pytest.raises(DataError, match="Name an existing column with time_column."):
        read_csv(path, time_column="when")


def test_what_reads_a_file_is_named_with_its_argument():
    values = np.column_stack([np.arange(100.0), np.full(100, np.nan)])
    with pytest.raises(DataError, match="Leave it out with value_columns of read_csv, or with drop of a frame.$"):
        Detector(window_size=12).fit(values)


def test_a_setting_is_named_as_it_is_given():
    with pytest.raises(ConfigError, match="^`direction` must be given with penalty='directional'.* Use direction 1,0,-1 or"):
        Detector(penalty="directional").fit(np.zeros((100, 3)))


def test_the_remedy_for_another_column_of_times_can_be_written_as_it_stands(detector, tmp_path):
    path, frame = tmp_path / "new.csv", make_series(spike=None).to_frame()
    frame.rename_axis("time").to_csv(path)
    with pytest.raises(DataError, match=r"Name an existing column with read_csv\(path, time_column='time'\)\.$"):
        detector.score(path)
    assert len(detector.score(read_csv(path, time_column="time")).score) == len(frame)
