"""A column of times whose name says a zone: what is told, and that it is a zone that can be asked for."""

import re

import pytest

from anomaly.zones import ABBREVIATIONS, is_zone, zone_behind, zone_in


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
        ("time_local", "ZONE"),
        ("Local Time", "ZONE"),
    ],
)
def test_a_zone_in_a_name_is_told_with_the_option_that_reads_it(name, zone):
    assert f"The name {name!r} says" in zone_in(name) and f"--tz {zone}" in zone_in(name)


@pytest.mark.parametrize(
    "name", ["time", "Time (UTC)", "timestamp_utc", "Time (GMT)", "time_est", "Time (s)", "m/s", "Date/Time", "locale", "UTC+0"]
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
