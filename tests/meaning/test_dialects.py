"""A random series in a random dialect is read as it was meant, or refused with an option that, once said, reads it."""

from hypothesis import HealthCheck, given, settings
from written_dialects import dialects, outcome, written


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(dialect=dialects())
def test_a_series_in_any_dialect_is_read_as_it_was_meant_or_once_the_option_is_said_that_the_refusal_names(
    tmp_path_factory, dialect
):
    path, meant = tmp_path_factory.getbasetemp() / "dialect.csv", written(dialect)
    path.write_bytes(meant.text)
    wrong, refusals = outcome(path, meant)
    assert not wrong, (wrong, refusals)
