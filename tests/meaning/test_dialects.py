"""A random series in a random dialect is read as it was meant, or refused with an option that, once said, reads it."""

from dataclasses import replace

from hypothesis import HealthCheck, example, given, settings
from written_dialects import Dialect, dialects, outcome, written

# Commas in so many of the numbers that commas seemed to separate them.
THOUSANDS_BETWEEN_SEMICOLONS = Dialect(
    time_name="timestamp", time_format="iso_z", time_place=1, start=820_000_000, step=1_000_000,
    n_rows=30, n_features=2, decimals=1, scale=1000.0, seed=0, delimiter=";", decimal=".", thousands=",",
    missing="", share_missing=0.0, sentinel="", order="sorted", ids="none", label="", counter="index", counts=False,
    status=False, titles=0, units=False, comments=0, sep_line=False, spare=False, quoted=True, mark=False, ends="\n",
)  # fmt: skip
# The first row has a name, no number, and a time that begins with the name of a day.
A_NAMED_DAY_ABOVE = Dialect(
    time_name="timestamp", time_format="mail", time_place=0, start=820_000_000, step=1_000_000,
    n_rows=51, n_features=1, decimals=0, scale=1.0, seed=20_000, delimiter=",", decimal=".", thousands="",
    missing="NA", share_missing=0.1, sentinel="", order="descending", ids="text", label="", counter="index", counts=False,
    status=False, titles=0, units=False, comments=0, sep_line=False, spare=False, quoted=False, mark=False, ends="\n",
)  # fmt: skip
COMMAS_IN_NAMES_AND_TIMES = replace(
    A_NAMED_DAY_ABOVE, n_rows=30, seed=129_127, delimiter=";", missing="", share_missing=0.0, order="sorted", ids="none",
    counter="index",
)  # fmt: skip


@settings(max_examples=3 * settings.get_profile("suite").max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(dialect=dialects())
@example(THOUSANDS_BETWEEN_SEMICOLONS)
@example(A_NAMED_DAY_ABOVE)
@example(COMMAS_IN_NAMES_AND_TIMES)
def test_a_series_in_any_dialect_is_read_as_it_was_meant_or_once_the_option_is_said_that_the_refusal_names(
    tmp_path_factory, dialect
):
    path, meant = tmp_path_factory.getbasetemp() / "dialect.csv", written(dialect)
    path.write_bytes(meant.text)
    wrong, refusals = outcome(path, meant)
    assert not wrong, (wrong, refusals)
