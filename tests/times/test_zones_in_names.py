"""A column of times whose name says a zone: what is told, and that it is a zone that can be asked for."""

import re

import pytest

from anomaly.sources.tolerance import Tolerance
from anomaly.zones import ABBREVIATIONS, is_zone, zone_above, zone_behind, zone_in
from tests.csv_text import read


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("Time (CET)", "Europe/Berlin"),
        ("MTU (CET/CEST)", "Europe/Berlin"),
        ("Uhrzeit MESZ", "Europe/Berlin"),
        ("Time_EST", "America/New_York"),
        ("time [America/Chicago]", "America/Chicago"),
        ("Time (UTC+1)", "Etc/GMT-1"),
        ("Date Time, GMT-05:00", "Etc/GMT+5"),
        ("Time (IST)", "Asia/Kolkata"),
        ("(PDH-CSV 4.0) (W. Europe Standard Time)(-60)", "Etc/GMT-1"),
        ("(PDH-CSV 4.0) (Eastern Daylight Time)(240)", "Etc/GMT+4"),
        ("time_local", "ZONE"),
        ("Local Time", "ZONE"),
    ],
)
def test_a_zone_in_a_name_is_told_with_the_option_that_reads_it(name, zone):
    assert f"The name {name!r} says" in zone_in(name) and f"--tz {zone}" in zone_in(name)


@pytest.mark.parametrize(
    "name",
    [
        "time",
        "Time (UTC)",
        "timestamp_utc",
        "Time (GMT)",
        "time_est",
        "Time (s)",
        "m/s",
        "Date/Time",
        "locale",
        "UTC+0",
        "(PDH-CSV 4.0) (GMT Standard Time)(0)",
    ],
)
def test_any_other_name_says_nothing(name):
    assert zone_in(name) is None


def test_the_zones_of_abbreviations_are_zones():
    assert all(is_zone(zone) for zone in ABBREVIATIONS.values())
    assert all(re.fullmatch("[A-Z]{3,4}", name) for name in ABBREVIATIONS)


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("2024-10-27 00:00:00 CEST", ("CEST", "+02:00")),
        ("'2024-10-27 00:00:00 CET'", ("CET", "+01:00")),
        ("10/27/2024 00:00 PDT", ("PDT", "-07:00")),
        ("2024-10-27 00:00:00 MESZ", ("MESZ", "+02:00")),
        ("2024-10-27 00:00:00 MEZ", ("MEZ", "+01:00")),
        ("2024-10-27 00:00:00 UTC", None),
        ("2024-10-27 12:00 PM", None),
        ("Total", None),
    ],
)
def test_a_zone_behind_a_time_has_an_offset(cell, found):
    assert zone_behind(cell) == found


@pytest.mark.parametrize(
    ("lines", "zone"),
    [
        (["Site: X", "Time zone: Europe/Berlin"], "Europe/Berlin"),
        (["latitude,timezone,timezone_abbreviation", "52.5,America/Chicago,CDT"], "America/Chicago"),
        (["# Timezone: UTC+1"], "Etc/GMT-1"),
        (["# created 2024-01-03 12:00 GMT-05:00"], "Etc/GMT+5"),
        (["Zeitzone;MEZ"], "Europe/Berlin"),
        (["Site: X", "", "Time zone: UTC"], None),
        (["Time zone,GMT+00:00"], None),
        (["Station EST 4, local", "N/A", "Pump/Motor"], None),
        (["# Timezone: UTC+05:30"], None),
        ([], None),
    ],
)
def test_a_zone_above_the_header_is_told(lines, zone, tmp_path):
    said = zone_above(lines)
    assert said is None if zone is None else f"say --tz {zone} if it is theirs" in said
    tolerance, rows = Tolerance(), [f"2024-01-{1 + i // 24:02} {i % 24:02}:00,{i % 7}" for i in range(50)]
    above = [line if line.count(",") != 1 else f"{line}," for line in lines]
    read(tmp_path, "\n".join([*above, "time,a", *rows, ""]), tolerance=tolerance)
    assert (said in tolerance.reading) if said else not tolerance.reading
    if said:
        tolerance = Tolerance()
        read(tmp_path, "\n".join([*above, "time,a", *rows, ""]), tolerance=tolerance, timezone=zone)
        assert said not in tolerance.reading
