"""What an explanation says, word by word, of an event and a search made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from made_events import BEGIN, HOUR

from anomaly.events.event import Event
from anomaly.explaining.attribution import Explanation
from anomaly.report.findings import explanation_text, explanation_values, nearness
from anomaly.report.tables import events_text
from anomaly.series import TimeSeries
from anomaly.windowing.scaling import Scaler

SERIES = TimeSeries(BEGIN + np.arange(9) * HOUR, np.zeros((9, 2)), ("flow", "heat"), time_column="when")
SCALER = Scaler(np.array([10.0, 20.0]), np.array([4.0, 0.5]))
EVENT = Event(
    start=3, stop=6, first_time=int(SERIES.times[3]), last_time=int(SERIES.times[5]), peak=4, peak_time=int(SERIES.times[4]),
    peak_score=2.5, severity=1.25, n_flagged=3, shares=(("heat", 0.7), ("flow", 0.3)), deviations=(-3.0, 0.5),
    measured=(18.0, 12.0), expected=(20.25, 10.0),
).with_stamps(tuple(SERIES.stamps[[3, 5, 4]]))  # fmt: skip
FOUND = Explanation(
    first_row=2, sensitivity=np.array([[0.1, 0.5], [0.2, 3.0], [1.0, 0.0]]), gradient=np.zeros((3, 2)), noise_rms=0.25,
    noise_largest=1.5, linear_rms=0.3, changed=np.array([[0.0, 0.5], [-0.25, 1.5], [0.1, 0.0]]), changed_first_row=3,
    columns=("flow", "heat"), n_steps=7,
)  # fmt: skip


def test_an_explanation_is_in_words_and_units():
    assert explanation_text(2, EVENT, FOUND, SERIES, SCALER) == (
        "2. 2022-04-15 08:20 to 10:20 UTC, 3 rows, 2 h\n"
        "  driven by          heat down 70 %, flow up 30 %\n"
        "  furthest off       heat 18 where 20.25 was expected\n"
        "  on average         heat 1.5 below what was expected (3 training sigmas), "
        "flow 2 above what was expected (0.5 training sigmas)\n"
        "  above threshold    a little: at 2022-04-15 09:20 the score is 1.25 times the threshold\n"
        "  far from none      near: with values changed by 0.75 at most, in heat "
        "(0.25 training sigmas, root mean square) there is no event\n"
        "  most sensitive to  heat at 2022-04-15 08:20, flow at 2022-04-15 09:20, heat at 2022-04-15 07:20\n"
    )


def test_the_figures_behind_it_are_plain_values():
    values = explanation_values(2, EVENT, FOUND, SERIES, SCALER)
    assert values["mean_deviations"] == {"heat": -1.5, "flow": 2.0}
    assert values["sigmas"] == {"flow": 4.0, "heat": 0.5}
    assert values["largest_changes"] == [
        {"feature": "heat", "time": "2022-04-15T09:20:00Z", "change": 0.75},
        {"feature": "flow", "time": "2022-04-15T09:20:00Z", "change": -1.0},
    ]
    assert values["measured"] == {"heat": 18.0, "flow": 12.0}
    nothing = explanation_values(2, EVENT, replace(FOUND, noise_rms=np.inf), SERIES, SCALER)
    assert nothing["noise_rms"] is nothing["largest_changes"] is None


@pytest.mark.parametrize(
    ("rms", "words"), [(0.0, "very near"), (0.099, "very near"), (0.1, "near"), (0.5, "far"), (2.0, "very far"), (80.0, "very far")]
)
def test_how_far_from_none_an_event_is_has_two_words(rms, words):
    assert nearness(rms) == words


def test_shares_that_say_nothing_are_not_told():
    names = [f"s{i}" for i in range(19)]
    event = replace(
        EVENT, shares=tuple((name, 1 / 19) for name in names), deviations=(1.0,) * 19, measured=(2.0,) * 19, expected=(1.0,) * 19
    )
    assert event.drivers == "spread over all 19 features"
    assert event.against == "s0 2 where 1 was expected"
    assert events_text([event], "when", "table").splitlines()[1].endswith("  spread over all 19")
