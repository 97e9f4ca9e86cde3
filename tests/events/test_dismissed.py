"""How far an event is from a dismissed one: as the module says, slowly; and that rules mute what is near."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.events.alarms import EventRules
from anomaly.events.dismissed import Signatures
from anomaly.events.event import Event
from anomaly.events.finder import EventFinder

COLUMNS = ("a", "b", "c")


def event(shares=(0.8, 0.2, 0.0), deviations=(4.0, -2.0, 0.0), length=10, peak=5):
    order = sorted(range(len(shares)), key=lambda i: -shares[i])
    return Event(
        100, 100 + length, 0, length - 1, 100 + peak, peak, 9.0, 3.0, length,
        shares=tuple((COLUMNS[i], shares[i]) for i in order), deviations=tuple(deviations[i] for i in order),
    )  # fmt: skip


def naive(one, other):
    found = []
    for each in (one, other):
        shares = dict(each.shares)
        deviations = {name: x for (name, _), x in zip(each.shares, each.deviations, strict=True)}
        length = each.stop - each.start
        place = (each.peak - each.start) / (length - 1) if length > 1 else 0.5
        height = max(math.sqrt(sum(x * x for x in deviations.values())), 1e-12)
        found.append((shares, deviations, height, length, place))
    (s, d, h, n, p), (t, e, i, m, q) = found
    for name in COLUMNS:
        if max(s[name], t[name]) >= 0.2 and d[name] * e[name] < 0:
            return math.inf
    apart = sum(abs(s[name] - t[name]) for name in COLUMNS) / 2
    return max(apart / 0.25, abs(math.log2(h / i)), abs(math.log2(n / m)), abs(p - q) / 0.5)


parts = st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda x: sum(x) > 0.01).map(lambda x: [y / sum(x) for y in x])
events = st.integers(1, 40).flatmap(
    lambda length: st.builds(
        event, shares=parts, deviations=st.lists(st.floats(-9, 9), min_size=3, max_size=3), length=st.just(length),
        peak=st.integers(0, length - 1),
    )
)  # fmt: skip


@given(events, st.lists(events, min_size=1, max_size=4))
def test_distances_are_those_of_slow_code(one, others):
    found = Signatures.of(COLUMNS, others, 1.0).distances(one)
    for distance, other in zip(found, others, strict=True):
        expected = naive(one, other)
        assert distance == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert Signatures.of(COLUMNS, [one], 1.0).distances(other)[0] == pytest.approx(distance, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("other", "held"),
    [
        ({}, True),
        ({"deviations": (7.9, -3.9, 0.0)}, True),  # nearly twice as high
        ({"deviations": (8.1, -4.1, 0.0)}, False),
        ({"deviations": (-4.0, 2.0, 0.0)}, False),  # the other way
        ({"deviations": (4.0, 2.0, 0.0)}, False),  # its second feature the other way
        ({"length": 20, "peak": 10}, True),
        ({"length": 21, "peak": 11}, False),
        ({"shares": (0.6, 0.2, 0.2)}, True),
        ({"shares": (0.4, 0.2, 0.4), "deviations": (4.0, -2.0, 0.1)}, False),
        ({"peak": 0}, False),
    ],
)
def test_within_a_distance_of_one(other, held):
    assert Signatures.of(COLUMNS, [event()], 1.0).hold(event(**other)) is held


def test_nothing_holds_nothing():
    assert not Signatures.of(COLUMNS, [], 1.0).hold(event())
    assert not Signatures.of(COLUMNS, [event(length=40, peak=20)], 0.0).hold(event())


def found(score, rules, pieces=1):
    finder, n = EventFinder(1.0, ("a",), rules), len(score)
    events = []
    for part in np.array_split(np.arange(n), pieces):
        events += finder.push(part, score[part], score[part, None], score[part, None])
    return events + finder.finish()


@given(st.lists(st.sampled_from([0.0, 0.0, 2.0, 3.0, 30.0]), min_size=5, max_size=60), st.integers(1, 7))
def test_rules_raise_what_no_signature_holds_in_whatever_pieces(values, pieces):
    score, rules = np.array(values), EventRules(merge_gap=1)
    everything = found(score, rules)
    if not everything:
        return
    known = Signatures.of(("a",), everything[:1], 1.0)
    expected = [one for one in everything if not known.hold(one)]
    assert everything[0] not in expected
    assert found(score, replace(rules, dismissed=known), pieces) == expected
