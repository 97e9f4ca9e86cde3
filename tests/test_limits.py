"""Least deviations as a person writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly import ConfigError
from anomaly.config import DetectorConfig
from anomaly.limits import Limit, are_limits, limits_from, limits_text


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("flow=0.5", {"flow": Limit(0.5, False)}),
        ("flow=0.5,temp=2%", {"flow": Limit(0.5, False), "temp": Limit(0.02, True)}),
        (" flow = 1e3 , temp = 2 % ", {"flow": Limit(1000.0, False), "temp": Limit(0.02, True)}),
        ('"a, b"=3,c=d=4', {"a, b": Limit(3.0, False), "c=d": Limit(4.0, False)}),
    ],
)
def test_limits_are_numbers_in_the_unit_of_the_column_or_shares(text, limits):
    assert limits_from(text) == limits
    assert limits_from(limits_text(limits)) == limits


@pytest.mark.parametrize(
    "text", ["", "flow", "flow=", "=1", "flow=0", "flow=-1", "flow=nan", "flow=inf", "a=1,a=2", "a=1,,b=2", "a=x%", 5]
)
def test_what_is_no_limit_is_refused(text):
    assert not are_limits(text)
    with pytest.raises(ConfigError) as caught:
        DetectorConfig.from_settings({"min_deviation": text})
    assert str(caught.value) == (
        "`min_deviation` must be features with a number above 0, or a share such as 2%, each: flow=0.5,temp=2%. "
        f"Received: min_deviation={text!r}."
    )


def test_python_may_give_limits_by_feature():
    config = DetectorConfig.from_settings({"min_deviation": {"flow": 0.5, "a, b": "2%"}})
    assert config.scoring.min_deviation == 'flow=0.5,"a, b"=2%'


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=5)


@given(st.dictionaries(NAMES, st.tuples(st.floats(1e-6, 1e6), st.booleans()), min_size=1, max_size=4))
def test_limits_are_read_as_they_are_written(values):
    limits = {name: Limit(float(f"{amount:.6g}"), is_share) for name, (amount, is_share) in values.items()}
    found = limits_from(limits_text(limits))
    assert found.keys() == limits.keys()
    for name, limit in limits.items():
        assert found[name].is_share == limit.is_share and found[name].amount == pytest.approx(limit.amount, rel=1e-8)
