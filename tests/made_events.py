"""Events made by hand."""

from anomaly.events.event import Event

HOUR = 3_600_000_000
BEGIN = 1_650_000_000_000_000


# One short, one long with merged gaps and more features than a table shows, one with a name that CSV must quote.
EVENTS = [
    Event(
        start=7, stop=8, first_time=BEGIN, last_time=BEGIN, peak=7, peak_time=BEGIN, peak_score=0.123456789012,
        severity=1.0004, n_flagged=1, shares=(("flow", 1.0), ("pressure", 0.0)), deviations=(-3.25, 0.0),
    ),
    Event(
        start=1200, stop=3456, first_time=BEGIN + HOUR, last_time=BEGIN + 99 * HOUR, peak=2000,
        peak_time=BEGIN + 50 * HOUR + 500_000, peak_score=1e8, severity=123456.789, n_flagged=1999,
        shares=(("flow", 0.55555), ("pressure", 0.3), ("heat", 0.14445), ("noise", 0.0)), deviations=(12345.678, -0.004, 2.5, 0.0),
    ),
    Event(
        start=4000, stop=4010, first_time=BEGIN + 200 * HOUR, last_time=BEGIN + 209 * HOUR, peak=4001, peak_time=BEGIN + 201 * HOUR,
        peak_score=2.5, severity=2.5, n_flagged=10, shares=(('Drück, "cold"', 0.75), ("flow", 0.25)), deviations=(1.5, -1.5),
    ),
]  # fmt: skip
