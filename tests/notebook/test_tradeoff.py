"""What a cut gives and costs, against counting by hand."""

import numpy as np
import pytest

from anomaly.errors import ConfigError
from anomaly.events.alarms import EventRules
from anomaly.limits import Limit
from anomaly.notebook.tradeoff import Tradeoff
from anomaly.scoring.row_scores import OK
from anomaly.scoring.scores import Scores
from anomaly.thresholds.calibration import Calibration, expected_alarms
from anomaly.windowing.scaling import Scaler

#                 known          known              false
SCORE = np.array([1.0, 5.0, 4.0, 1.0, 1.0, 3.0, 1.0, np.nan, 1.0, 2.0, 1.0, 1.0])
KNOWN = [(1, 3), (5, 6)]


def tradeoff(known=KNOWN, score=SCORE, **rules):
    n = len(SCORE)
    scores = Scores(
        score=score,
        by_feature=score[:, None],
        deviation=np.where(np.arange(n) == 5, 0.8, 0.1)[:, None],
        status=np.full(n, OK, np.uint8),
        threshold=2.5,
        aggregation="window_mean",
        times=np.arange(n),
        columns=("a",),
        time_column=None,
        measured=np.zeros((n, 1)),
        scaler=Scaler(np.zeros(1), np.ones(1)),
    )
    held_out = np.random.default_rng(0).exponential(size=200)
    return Tradeoff(scores, Calibration(held_out, np.arange(200), 200, 5, None, EventRules(**rules)), known)


@pytest.mark.parametrize(
    ("cut", "n_flagged", "n_alarms", "n_hit", "n_false"),
    [(1.5, 4, 3, 2, 1), (2.0, 3, 2, 2, 0), (3.0, 2, 1, 1, 0), (5.0, 0, 0, 0, 0)],
)
def test_an_outcome_counts_rows_alarms_and_known_events(cut, n_flagged, n_alarms, n_hit, n_false):
    outcome = tradeoff().at(cut)
    assert (outcome.n_flagged, outcome.n_alarms, outcome.n_hit, outcome.n_false) == (n_flagged, n_alarms, n_hit, n_false)
    assert (outcome.n_known, outcome.recall) == (2, n_hit / 2)
    if n_alarms:
        assert outcome.precision == pytest.approx(1 - n_false / n_alarms)


def test_an_outcome_is_a_line_that_people_read():
    assert repr(tradeoff().at(1.5)).startswith("Outcome: threshold 1.5, 4 rows flagged, 3 alarms, expect ")
    assert repr(tradeoff().at(1.5)).endswith("2 of 2 known events found, 1 of the alarms false (precision 0.67, recall 1.00)")
    assert "known" not in repr(tradeoff(known=None).at(1.5))


def test_expected_alarms_are_those_of_the_calibration_scores():
    made = tradeoff()
    assert made.at(2.0).expected == expected_alarms(made._calibration, 2.0)


def test_without_labels_nothing_is_said_about_them():
    outcome = tradeoff(known=None).at(2.0)
    assert (outcome.n_known, outcome.n_hit, outcome.precision, outcome.recall) == (None, None, None, None)


@pytest.mark.parametrize(
    "rules",
    [
        {"merge_gap": 2, "min_length": 2},
        {"cool_down": 4},
        {"min_severity": 1.5},
        {"direction": (1.0,)},
        {"min_deviation": (("a", Limit(0.5, False)),)},
    ],
)
def test_alarms_at_every_cut_are_those_of_each(rules):
    made = tradeoff(**rules)
    assert made.alarms().tolist() == [made.at(cut).n_alarms for cut in made.cuts.tolist()]


def test_cuts_reach_from_where_most_rows_are_flagged_to_where_none_is():
    made = tradeoff()
    assert (np.diff(made.cuts) > 0).all()
    assert made.at(made.cuts[-1]).n_flagged == 0
    assert made.cuts[0] < 2.5 < made.cuts[-1]


def test_costs_are_alarms_and_missed_events():
    made = tradeoff()
    cuts = made.cuts.tolist()
    expected = [10 * made.at(cut).n_alarms + 100 * (2 - made.at(cut).n_hit) for cut in cuts]
    assert made.costs(10, 100).tolist() == expected


def test_the_cheapest_cut_misses_nothing_where_misses_are_dear_and_flags_nothing_where_alarms_are():
    made = tradeoff()
    assert 2.0 <= made.cheapest(1, 100) < 3.0
    assert made.at(made.cheapest(100, 1)).n_alarms == 0


@pytest.mark.parametrize("costs", [(-1, 1), (1, -1), (np.nan, 1)])
def test_costs_must_not_be_negative(costs):
    with pytest.raises(ConfigError, match="Costs must be at least 0"):
        tradeoff().costs(*costs)


def test_costs_without_labels_are_refused():
    with pytest.raises(ConfigError, match="Costs need the known events"):
        tradeoff(known=None).costs(1, 1)


def test_events_beyond_the_reach_of_another_are_counted_as_they_are_found():
    made = tradeoff(score=np.where(np.isin(np.arange(len(SCORE)), (1, 9)), 9.0, 1.0), merge_gap=12, halo=2)
    counts = made.alarms().tolist()
    assert counts == [made.at(cut).n_alarms for cut in made.cuts.tolist()]
    assert set(counts) == {0, 1, 2}
