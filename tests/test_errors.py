"""What is raised on purpose is the same in another process."""

import inspect
import pickle

import pytest

from anomaly import errors

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.AnomalyError)]


class Peculiar(errors.DataError):
    """An error with arguments that it does not show."""

    def __init__(self, *, column, place):
        super().__init__(f"{column}, {place}")
        self.column, self.place = column, place


def made(kind):
    """Return an error of a class, with a note and an attribute."""
    arguments = {errors.SeveralSeriesError: ("With an option.", "Alone.")}.get(kind, ("The rule.",))
    error = Peculiar(column="a", place=3) if kind is Peculiar else kind(*arguments)
    error.add_note("A note.")
    error.further = [1]
    return error


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [*CLASSES, Peculiar])
def test_every_error_survives_the_way_to_another_process(kind, protocol):
    error = made(kind)
    found = pickle.loads(pickle.dumps(error, protocol))
    assert type(found) is kind and found.exit_code == error.exit_code
    assert (str(found), found.args, vars(found)) == (str(error), error.args, vars(error))


def test_the_error_of_several_series_keeps_what_is_said_of_it_alone():
    found = pickle.loads(pickle.dumps(errors.SeveralSeriesError("With an option.", "Alone.")))
    assert (str(found), found.alone) == ("With an option.", "Alone.")
