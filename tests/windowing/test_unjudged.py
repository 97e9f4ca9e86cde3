"""Features that could not be judged on rows that have a score."""

import numpy as np
import pytest

from anomaly.windowing.unjudged import Unjudged, too_few_known, unjudged_text

COLUMNS = ("flow", "level", "temp")


def counted(by_feature, usual=None, pieces=1):
    found = Unjudged(COLUMNS, usual or {})
    score = np.where(np.arange(len(by_feature)) < 10, np.nan, 1.0)  # the first ten rows have none
    for part in np.array_split(np.arange(len(by_feature)), pieces):
        found.take(score[part], by_feature[part])
    return found


@pytest.mark.parametrize("pieces", [1, 3, 110])
def test_a_feature_is_named_that_could_not_be_judged_on_more_rows_than_in_training(pieces):
    by_feature = np.ones((110, 3))
    by_feature[:40, 0] = by_feature[:20, 1] = np.nan
    assert counted(by_feature, pieces=pieces).shares() == {"flow": 0.3}, "and not level, of a tenth of the rows"
    assert counted(by_feature, {"flow": 0.2}, pieces).shares() == {}
    assert counted(by_feature, {"flow": 0.15}, pieces).text() == (
        "Not judged: 'flow' on 30% of the rows that have a score; in the windows about them more of its values are missing than "
        "`max_missing`."
    )
    assert counted(by_feature, pieces=pieces).text(["flow"]) == "", "of a feature without any value that is said already"


def test_without_a_score_and_without_a_row_nothing_is_said():
    assert counted(np.full((10, 3), np.nan)).text() == counted(np.ones((0, 3))).text() == ""


def test_of_many_features_the_worst_are_named():
    text = unjudged_text({f"c{i}" * 30: i / 10 for i in range(1, 6)})
    assert text.startswith(f"Not judged: {('c5' * 20)!r} on 50%, {('c4' * 20)!r} on 40%, {('c3' * 20)!r} on 30% and 2 more of the")


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ((0, 0, 1), "no value of 'flow', 'level', 2 of 3 features"),
        ((0, 0.5, 1), "no value of 'flow' and too few of 'level', 2 of 3 features"),
        ((0.79, 0.5, 0.1), "too few of 'flow', 'level', 'temp', 3 of 3 features"),
        ((0, 0.8, 1), None),
    ],
)
def test_too_little_of_more_than_half_of_the_features_is_told(known, told):
    rule = "A window needs half of the features, with 0.2 of their values missing at most (`max_missing`). Received: "
    assert too_few_known(COLUMNS, np.array(known, float), 0.2) == ("" if told is None else rule + told)
