"""Times without an offset, in the zones they are meant in: the exact instant, or a refusal that names the remedy."""

import datetime as dt
import json
from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import to_csv
from hypothesis import given
from hypothesis import strategies as st

from anomaly import ConfigError, DataError, Detector
from anomaly.bundle.file import read_bundle, to_bytes
from anomaly.cli import cli
from anomaly.config import CLOCK_SHIFTS, DetectorConfig
from anomaly.files.one_file import score_file
from anomaly.ingest.reading import read_csv

# Zone, local time that never occurs or occurs twice, its instants with the offset before and after the shift of the clocks.
# Lord Howe shifts by half an hour, in April and October; in Dublin winter is the exception and not summer.
SHIFTS = [
    ("Europe/Berlin", "never", "2022-03-27T02:30:00", "2022-03-27T01:30:00", "2022-03-27T00:30:00"),
    ("Europe/Berlin", "twice", "2022-10-30T02:30:00", "2022-10-30T00:30:00", "2022-10-30T01:30:00"),
    ("America/New_York", "never", "2022-03-13T02:30:00", "2022-03-13T07:30:00", "2022-03-13T06:30:00"),
    ("America/New_York", "twice", "2022-11-06T01:30:00", "2022-11-06T05:30:00", "2022-11-06T06:30:00"),
    ("Australia/Lord_Howe", "never", "2022-10-02T02:15:00", "2022-10-01T15:45:00", "2022-10-01T15:15:00"),
    ("Australia/Lord_Howe", "twice", "2022-04-03T01:45:00", "2022-04-02T14:45:00", "2022-04-02T15:15:00"),
    ("Europe/Dublin", "never", "2022-03-27T01:30:00", "2022-03-27T01:30:00", "2022-03-27T00:30:00"),
    ("Europe/Dublin", "twice", "2022-10-30T01:30:00", "2022-10-30T00:30:00", "2022-10-30T01:30:00"),
]
ZONES = [*dict.fromkeys(zone for zone, *_ in SHIFTS), "UTC", "America/St_Johns", "Pacific/Apia", "Africa/Casablanca", "EST5EDT"]
each_shift = pytest.mark.parametrize(("zone", "often", "wall", "before", "after"), SHIFTS)


def micros(text):
    return int(np.datetime64(text, "us").astype(np.int64))


@pytest.fixture
def read(tmp_path):
    """Read times as a CSV file and return their microseconds."""

    def reader(times, **options):
        path = tmp_path / "in.csv"
        path.write_text("time,a\n" + "".join(f"{time},1\n" for time in times))
        return read_csv(path, **options).times.tolist()

    return reader


# Shifts of the clocks: 4 zones, 2 shifts, with --dst refuse, first or last, or with an offset


@each_shift
def test_a_local_time_that_does_not_occur_once_is_refused_with_the_remedy(read, zone, often, wall, before, after):
    words = "never occurs" if often == "never" else "occurs twice"
    with pytest.raises(DataError) as refusal:
        read(["2022-01-01T00:00:00", wall], timezone=zone)
    assert str(refusal.value) == (
        f"A local time must occur once. Received: '{wall}', which {words} in {zone} (in.csv, line 3). Use --dst first or --dst "
        "last to read such times with the offset before or after the shift of the clocks, "
        f"{'--dst order if the rows stand in the order in which they came, ' * (often == 'twice')}or write times with an offset."
    )


@each_shift
def test_such_a_time_is_read_with_the_offset_before_or_after_the_shift(read, zone, often, wall, before, after):
    assert read([wall], timezone=zone, dst="first") == [micros(before)]
    assert read([wall], timezone=zone, dst="last") == [micros(after)]


@each_shift
@pytest.mark.parametrize("dst", CLOCK_SHIFTS)
def test_a_time_with_an_offset_needs_no_zone(read, zone, often, wall, before, after, dst):
    assert read([f"{before}Z", f"{after}+00:00"], timezone=zone, dst=dst) == [micros(before), micros(after)]


@each_shift
def test_an_hour_away_from_the_shift_a_time_occurs_once(read, zone, often, wall, before, after):
    local = [dt.datetime.fromisoformat(wall) + dt.timedelta(hours=hours) for hours in (-2, 2)]
    wanted = [micros(time.replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC).replace(tzinfo=None)) for time in local]
    assert read([time.isoformat() for time in local], timezone=zone) == wanted


walls = st.datetimes(dt.datetime(1890, 1, 1), dt.datetime(2130, 1, 1))
near_shifts = st.builds(
    lambda shift, minutes: dt.datetime.fromisoformat(shift[2]) + dt.timedelta(minutes=minutes),
    st.sampled_from(SHIFTS),
    st.integers(-180, 180),
)


@given(st.lists(walls | near_shifts, min_size=1, max_size=8), st.sampled_from(ZONES), st.sampled_from(["first", "last"]))
def test_every_local_time_is_what_the_standard_library_makes_of_it(tmp_path_factory, local, zone, dst):
    path = tmp_path_factory.mktemp("times") / "in.csv"
    path.write_text("time,a\n" + "".join(f"{time.isoformat()},1\n" for time in local))
    fold = 0 if dst == "first" else 1
    wanted = [time.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(dt.UTC) for time in local]
    found = read_csv(path, timezone=zone, dst=dst).times.tolist()
    assert found == [micros(time.replace(tzinfo=None)) for time in wanted]


@given(near_shifts, st.sampled_from(ZONES))
def test_what_is_refused_is_what_has_two_readings(tmp_path_factory, wall, zone):
    path = tmp_path_factory.mktemp("times") / "in.csv"
    path.write_text(f"time,a\n{wall.isoformat()},1\n")
    offsets = {wall.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset() for fold in (0, 1)}
    try:
        read_csv(path, timezone=zone)
    except DataError:
        assert len(offsets) == 2
    else:
        assert len(offsets) == 1


def test_epoch_numbers_need_no_zone(read):
    assert read(["1651406400"], timezone="Europe/Berlin") == [1_651_406_400_000_000]


def test_a_number_that_overflows_as_an_epoch_is_no_time(read):
    with pytest.raises(DataError, match="must hold ISO 8601 times or epoch numbers. Received: '1.7e\\+303'"):
        read(["0", "1.7e+303"])


def test_a_time_beyond_all_calendars_is_refused_in_a_zone(read):
    assert read(["9999-12-31T12:00"]) == [micros("9999-12-31T12:00")]
    with pytest.raises(DataError, match="must hold ISO 8601 times or epoch numbers. Received: '9999-12-31T12:00'"):
        read(["9999-12-31T12:00"], timezone="Europe/Berlin")


def test_times_with_and_without_an_offset_are_still_refused_together(read):
    with pytest.raises(DataError, match="Times must all have an offset from UTC, or none of them. Received: '2022-05-01' after"):
        read(["2022-05-01T00:00Z", "2022-05-01"], timezone="Europe/Berlin")


@pytest.mark.parametrize("chunk_bytes", [1, 40, 1 << 20])
def test_pieces_of_a_file_are_read_as_the_whole(tmp_path, chunk_bytes):
    from anomaly.ingest.csv_rows import CsvReader

    path = tmp_path / "in.csv"
    path.write_text("time,a\n" + "".join(f"2022-10-30T0{hour}:30,1\n" for hour in range(6)))
    with CsvReader(path, timezone="Europe/Berlin", dst="last", chunk_bytes=chunk_bytes) as reader:
        times = [time for chunk in reader for time in chunk.times.tolist()]
    assert times == [
        micros(f"2022-10-{day}T{hour}:30") for day, hour in [("29", 22), ("29", 23), (30, "01"), (30, "02"), (30, "03"), (30, "04")]
    ]


@pytest.mark.parametrize("options", [{"timezone": "Mars/Olympus"}, {"dst": "second"}, {"time_format": "%H"}])
def test_options_are_checked_before_the_file_is_opened(options):
    with pytest.raises(ConfigError, match=f"`{next(iter(options))}` must be"):
        read_csv("there is no such file", **options)


# Formats


def test_days_before_months_are_refused_without_a_format(read):
    with pytest.raises(DataError, match="must have one meaning. Received: 01/02/2022 10:00"):
        read(["01/02/2022 10:00", "02/02/2022 10:00"])


@pytest.mark.parametrize(
    ("time_format", "text"),
    [
        ("%d/%m/%Y %H:%M", "01/02/2022 10:00"),
        ("%m/%d/%y %I:%M %p", "02/01/22 10:00 AM"),
        ("%Y%m%d%H%M", "202202011000"),
        ("%d.%m.%Y %H:%M:%S.%f", "01.02.2022 10:00:00.0"),
        ("%d %b %Y %H:%M %z", "01 Feb 2022 05:00 -0500"),
        ("%H:%M on day %j of %Y", "10:00 on day 032 of 2022"),
    ],
)
def test_a_format_says_what_is_what(read, time_format, text):
    assert read([text], time_format=time_format) == [micros("2022-02-01T10:00")]


def test_a_format_and_a_zone_go_together(read):
    options = {"time_format": "%d/%m/%Y %H:%M", "timezone": "America/New_York"}
    assert read(["01/02/2022 05:00"], **options) == [micros("2022-02-01T10:00")]
    assert read(["01/02/2022 05:00 +0000"], **(options | {"time_format": "%d/%m/%Y %H:%M %z"})) == [micros("2022-02-01T05:00")]


@pytest.mark.parametrize(
    "text", ["2022-02-01T10:00", "31/02/2022 10:00", "01/13/2022 10:00", "", "now", "today", "1651406400", "nan"]
)
def test_what_is_not_of_the_format_is_refused(read, text):
    rule = "a time on every record" if text in ("", "nan") else "times of the format '%d/%m/%Y %H:%M'"
    with pytest.raises(DataError, match=f"Column 'time' must hold {rule}. Received: .*line 3"):
        read(["01/02/2022 10:00", text], time_format="%d/%m/%Y %H:%M")


def test_a_first_column_of_the_format_is_the_time_column(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("Zeit,a\n01.02.2022,5\n")
    series = read_csv(path, time_format="%d.%m.%Y")
    assert (series.time_column, series.columns) == ("Zeit", ("a",))


# What a detector remembers


@pytest.fixture(scope="module")
def local(detector, series, tmp_path_factory):
    """A detector whose files have local times of Berlin, and such a file, with the same rows as another one in UTC."""
    folder = tmp_path_factory.mktemp("local")
    utc = to_csv(series[:80], folder / "utc.csv")
    header, *lines = utc.read_text().splitlines()
    rows = [line.split(",", 1) for line in lines]
    berlin = ZoneInfo("Europe/Berlin")
    moved = [dt.datetime.fromisoformat(time).astimezone(berlin).strftime("%d/%m/%Y %H:%M") for time, _ in rows]
    path = folder / "local.csv"
    path.write_text("\n".join([header, *(f"{time},{rest}" for time, (_, rest) in zip(moved, rows, strict=True)), ""]))
    settings = {name: x for name, x in detector.get_params().items() if name != "network"} | {
        "timezone": "Europe/Berlin",
        "time_format": "%d/%m/%Y %H:%M",
    }
    made = Detector(**settings)
    config = DetectorConfig.from_settings(settings)
    made.bundle_ = replace(detector.bundle_, config=config)
    made.save(folder / "local.anomaly")
    return folder


def run(command, *arguments, **environment):
    return CliRunner().invoke(cli, [command, *map(str, arguments)], env=environment)


def test_the_settings_survive_the_file(local):
    made = read_bundle(local / "local.anomaly")
    assert (made.config.reading.timezone, made.config.reading.time_format) == ("Europe/Berlin", "%d/%m/%Y %H:%M")
    assert to_bytes(made) == (local / "local.anomaly").read_bytes()


def test_a_detector_reads_new_files_as_that_of_its_training(detector, local):
    plain = score_file(detector, local / "utc.csv", threshold=0.1)
    made = Detector.load(local / "local.anomaly")
    assert score_file(made, local / "local.csv", threshold=0.1).events == plain.events != []


def test_an_option_wins_over_what_the_detector_remembers(local):
    made = Detector.load(local / "local.anomaly")
    with pytest.raises(DataError, match="must hold times of the format"):
        score_file(made, local / "utc.csv")
    shifted = score_file(made, local / "local.csv", threshold=0.1, timezone="UTC").events
    meant = score_file(made, local / "local.csv", threshold=0.1).events
    assert shifted[0].first_time - meant[0].first_time == 2 * 3_600_000_000


@pytest.mark.parametrize("command", ["score", "detect", "evaluate", "check"])
def test_every_command_reads_the_times_of_a_detector_as_it_remembers(local, command):
    extra = ["--events-file", local / "events.csv", "--count-training"] if command == "evaluate" else []
    (local / "events.csv").write_text("start,end\n2022-04-16T00:00Z,2022-04-16T10:00Z\n")
    done = run(command, local / "local.csv", "--model", local / "local.anomaly", *extra)
    assert done.exit_code == 0, done.stderr
    other = run(command, local / "local.csv", "--model", local / "local.anomaly", *extra, ANOMALY_TIME_FORMAT="%Y-%m-%d")
    assert other.exit_code == 3
    assert "times of the format '%Y-%m-%d'" in other.stderr + other.stdout


def test_the_command_line_refuses_a_zone_that_there_is_not_with_a_near_name(local):
    done = run("score", local / "local.csv", "--model", local / "local.anomaly", "--tz", "Europe/Berln")
    assert done.exit_code == 2
    assert "must be the name of a time zone" in done.stderr.replace("\n", " ")
    assert "Did you mean Europe/Berlin" in done.stderr


def test_check_tells_of_local_times_that_occur_twice(local):
    (local / "fold.csv").write_text(
        "timestamp,s1,s2\n" + "".join(f"2022-10-30T0{h}:{m},{m},{h}\n" for h in range(5) for m in range(30, 60))
    )
    done = run("check", local / "fold.csv", "--tz", "Europe/Berlin", "--format", "json")
    assert done.exit_code == 3
    assert "occurs twice in Europe/Berlin (fold.csv, line 62)" in json.loads(done.stdout)["faults"][0]
    assert run("check", local / "fold.csv", "--tz", "Europe/Berlin", "--dst", "first").exit_code == 0
