"""Every rule of every setting, and the ways settings come in."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.config import (
    DEFAULTS,
    SETTINGS,
    THRESHOLD_METHODS,
    DetectorConfig,
    NetworkConfig,
    PenaltyConfig,
    Setting,
    WindowConfig,
    read_toml,
    refuse_unknown,
)
from anomaly.errors import (
    AnomalyError,
    BundleError,
    ConfigError,
    DataError,
    DivergedError,
    NotFittedError,
    StorageError,
    shorten,
)

NUMERIC = {name: setting for name, setting in SETTINGS.items() if setting.kind in (int, float)}
CHOICES = {name: setting for name, setting in SETTINGS.items() if setting.choices}
TEXTS = {
    "timezone": ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "EST5EDT"],
    "time_format": ["%d/%m/%Y %H:%M", "%Y%m%d", "excel"],
    "delimiter": [";", "tab", "|"],
    "missing_values": ["-9999", "none", "off,-1"],
    "min_deviation": ["flow=0.5", "flow=0.5,temp=2%"],
}


def one(name, value):
    """Build a configuration from one setting and return what became of it."""
    extra = {"direction": (1.0, -1.0)} if isinstance(value, str) and value == "directional" else {}
    return DetectorConfig.from_settings({name: value} | extra).to_settings()[name]


def step(setting):
    return 1 if setting.kind is int else 1e-9


def limits(which):
    return [pytest.param(n, getattr(s, which), id=n) for n, s in NUMERIC.items() if getattr(s, which) is not None]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_default_obeys_its_own_rule(name):
    assert SETTINGS[name].allows(DEFAULTS[name])


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_help_that_is_one_sentence(name):
    text = SETTINGS[name].help
    assert text.endswith(".")
    assert "\n" not in text


def test_setting_names_are_unique_across_groups():
    assert set(SETTINGS) == set(DEFAULTS) == set(DetectorConfig().to_settings())


@pytest.mark.parametrize(("name", "low"), limits("low"))
def test_the_smallest_allowed_value_is_allowed(name, low):
    assert one(name, low) == low


@pytest.mark.parametrize(("name", "low"), limits("low"))
def test_a_value_below_the_smallest_is_refused(name, low):
    with pytest.raises(ConfigError, match=f"`{name}` must be an? (integer|number) at least {low:g}.*Received: {name}="):
        one(name, low - step(SETTINGS[name]))


@pytest.mark.parametrize(("name", "high"), limits("high"))
def test_the_largest_allowed_value_is_allowed(name, high):
    assert one(name, high) == high


@pytest.mark.parametrize(("name", "high"), limits("high"))
def test_a_value_above_the_largest_is_refused(name, high):
    with pytest.raises(ConfigError, match=f"`{name}` must be .* at most "):
        one(name, high + step(SETTINGS[name]))


@pytest.mark.parametrize(("name", "above"), limits("above"))
def test_an_open_lower_limit_is_itself_refused(name, above):
    with pytest.raises(ConfigError, match=f"`{name}` must be a number above {above:g}"):
        one(name, above)


@pytest.mark.parametrize(("name", "above"), limits("above"))
def test_a_value_just_above_an_open_lower_limit_is_allowed(name, above):
    assert one(name, above + 1e-9) == above + 1e-9


@pytest.mark.parametrize(("name", "below"), limits("below"))
def test_an_open_upper_limit_is_itself_refused(name, below):
    with pytest.raises(ConfigError, match=f"`{name}` must be .* below {below:g}"):
        one(name, below)


@pytest.mark.parametrize("name", NUMERIC)
@pytest.mark.parametrize("value", [True, False, "3", [3], math.nan, math.inf, -math.inf, 10**400])
def test_a_number_setting_refuses_what_is_not_a_finite_number(name, value):
    with pytest.raises(ConfigError, match=f"`{name}` must be"):
        one(name, value)


@pytest.mark.parametrize("name", [name for name, setting in NUMERIC.items() if setting.kind is int])
def test_an_integer_setting_refuses_a_fraction(name):
    with pytest.raises(ConfigError, match="must be an integer"):
        one(name, 2.5)


@pytest.mark.parametrize("name", SETTINGS)
def test_auto_is_allowed_only_where_the_setting_has_it(name):
    assert SETTINGS[name].allows("auto") is SETTINGS[name].auto


@pytest.mark.parametrize("name", SETTINGS)
def test_none_is_allowed_only_where_the_setting_is_optional(name):
    assert SETTINGS[name].allows(None) is SETTINGS[name].optional


def test_a_rule_says_that_auto_is_allowed():
    assert SETTINGS["window_size"].rule().endswith("or 'auto'")


@pytest.mark.parametrize(("name", "choice"), [(n, choice) for n, s in CHOICES.items() for choice in s.choices])
def test_each_choice_is_allowed(name, choice):
    assert one(name, choice) == choice


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["", "no such choice", 1, ["l2"]])
def test_anything_but_a_choice_is_refused_with_the_list(name, value):
    allowed = ", ".join((*["auto"][: SETTINGS[name].auto], *SETTINGS[name].choices))
    with pytest.raises(ConfigError, match=f"`{name}` must be one of {allowed}. Received: {name}="):
        one(name, value)


@pytest.mark.parametrize(
    "value", [5, "", "Berlin", "europe", "Europe", "../etc", "localtime", "right/UTC", "UTC\0", "CEST", ["UTC"], "auto"]
)
def test_a_zone_that_there_is_not_is_refused_in_one_sentence(value):
    with pytest.raises(
        ConfigError, match="^`timezone` must be the name of a time zone, such as Europe/Berlin. Received: timezone="
    ):
        one("timezone", value)


@pytest.mark.parametrize(
    ("value", "near"), [("Europe/Berln", "Europe/Berlin"), ("new york", "America/New_York"), ("europe/berlin", "Europe/Berlin")]
)
def test_a_zone_that_there_is_not_is_refused_with_a_near_name(value, near):
    with pytest.raises(ConfigError, match=rf"Received: timezone='{value}'. Did you mean .*{near}.*\?$"):
        one("timezone", value)


@pytest.mark.parametrize(
    "value",
    ["", "%H:%M", "%Y", "%d/%m %H", "ISO8601", "mixed", "%s", "%Y-%m-%d %Z", "%Y%m%d %", "%Y\n%m%d", "%Y%m%d" * 20, 5, "auto"],
)
def test_a_format_without_a_date_is_refused_in_one_sentence(value):
    with pytest.raises(
        ConfigError, match="^`time_format` must be a strptime format with year, month and day, such as %d/%m/%Y %H:%M"
    ):
        one("time_format", value)


@pytest.mark.parametrize("name", [name for name, setting in SETTINGS.items() if setting.kind is bool])
@pytest.mark.parametrize("value", [0, 1, 1.0, "true", "yes"])
def test_a_true_or_false_setting_refuses_stand_ins(name, value):
    with pytest.raises(ConfigError, match=f"`{name}` must be true or false"):
        one(name, value)


@pytest.mark.parametrize("value", [3, "1,2", [], [[]], [[1], 2], [[1, 2], [3]], [[[1]]], ["1"], [["a", 1]], [True], [math.nan]])
def test_a_direction_that_is_not_a_vector_or_a_matrix_is_refused(value):
    with pytest.raises(ConfigError, match="`direction` must be a list of finite numbers"):
        one("direction", value)


@pytest.mark.parametrize("value", [[1, 0, -1], (1.0, 0.0, -1.0), np.array([1, 0, -1])])
def test_a_direction_becomes_a_tuple_of_floats(value):
    read = one("direction", value)
    assert read == (1.0, 0.0, -1.0)
    assert all(type(x) is float for x in read)


def test_a_direction_with_a_row_a_timestep_becomes_a_tuple_of_tuples():
    assert one("direction", [[1, 0], [0, 1]]) == ((1.0, 0.0), (0.0, 1.0))


@pytest.mark.parametrize("direction", [(0.0,), (0.0, 0.0), ((0.0, 0.0), (0.0, 0.0))])
def test_a_direction_of_zeros_is_refused(direction):
    with pytest.raises(ConfigError, match="must have a number other than 0"):
        PenaltyConfig(penalty="directional", direction=direction)


def test_a_directional_penalty_needs_a_direction():
    with pytest.raises(ConfigError, match="`direction` must be given with penalty='directional'.*Use --direction"):
        PenaltyConfig(penalty="directional")


def test_a_directional_penalty_with_a_direction_is_allowed():
    assert PenaltyConfig(penalty="directional", direction=(1.0,)).direction == (1.0,)


def test_a_group_checks_its_values_when_it_is_built_directly():
    with pytest.raises(ConfigError, match="`units` must be"):
        NetworkConfig(units=0)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(AttributeError):
        WindowConfig().window_size = 3


def test_a_whole_float_becomes_an_integer():
    assert type(one("units", 16.0)) is int


def test_an_integer_becomes_a_float_where_a_number_is_meant():
    assert type(one("penalty_weight", 1)) is float


def test_a_numpy_number_becomes_a_plain_one():
    assert type(one("units", np.int64(16))) is int


def test_what_is_not_named_keeps_its_default():
    assert DetectorConfig.from_settings({"units": 5}).to_settings() == DEFAULTS | {"units": 5}


def values_of(name, setting):
    special = [st.just("auto")] * setting.auto + [st.none()] * setting.optional
    if setting.kind is bool:
        plain = st.booleans()
    elif setting.kind is str:
        plain = st.sampled_from(setting.choices or TEXTS[name])
    elif name == "context_columns":
        plain = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3, unique=True).map(tuple)
    elif setting.kind is tuple:
        number = st.floats(-1e6, 1e6)
        row = st.lists(number, min_size=2, max_size=2).map(tuple)
        plain = st.lists(number, min_size=1, max_size=4).map(tuple) | st.lists(row, min_size=1, max_size=3).map(tuple)
    elif setting.kind is int:
        plain = st.integers(int(setting.low), int(setting.high))
    else:
        low = setting.low if setting.low is not None else setting.above
        high = next(limit for limit in (setting.below, setting.high, 1e9) if limit is not None)
        plain = st.floats(low, high, exclude_min=setting.low is None, exclude_max=setting.below is not None)
    return st.one_of(plain, *special)


def consistent(settings):
    points_somewhere = settings["direction"] is None or bool(np.any(settings["direction"]))
    if settings["deterministic"] and settings["max_minutes"] is not None:
        return False
    if (settings["alarms_per_day"] != "auto") + sum(settings[f"alarms_per_{of}"] is not None for of in ("week", "1000_rows")) > 1:
        return False
    if settings["alarm_direction"] is not None and isinstance(settings["alarm_direction"][0], tuple):
        return False
    return points_somewhere and (settings["penalty"] != "directional" or settings["direction"] is not None)


all_settings = st.fixed_dictionaries({n: values_of(n, s) for n, s in SETTINGS.items()}).filter(consistent)


@given(all_settings)
def test_to_settings_is_the_inverse_of_from_settings(settings):
    assert DetectorConfig.from_settings(settings).to_settings() == settings


@given(all_settings)
def test_a_configuration_rebuilt_from_its_settings_is_equal(settings):
    config = DetectorConfig.from_settings(settings)
    assert DetectorConfig.from_settings(config.to_settings()) == config


@given(st.sampled_from(sorted(NUMERIC)), st.floats() | st.integers())
def test_a_number_is_taken_unchanged_or_refused_with_a_config_error(name, value):
    try:
        taken = one(name, value)
    except ConfigError:
        return
    assert taken == value


def test_an_unknown_name_is_answered_with_the_nearest_known_one():
    with pytest.raises(ConfigError, match="Unknown setting. Received: 'window_sise'. Did you mean 'window_size'?"):
        DetectorConfig.from_settings({"window_sise": 3})


def test_an_unknown_name_without_a_near_one_points_to_help():
    with pytest.raises(ConfigError, match="Received: 'zzzz'. See --help for the names"):
        refuse_unknown(["zzzz"], SETTINGS, "setting")


def test_known_names_are_not_refused():
    refuse_unknown(["units", "layers"], SETTINGS, "setting")


def test_a_rule_states_both_limits():
    assert Setting(int, "A count.", low=1, high=9).rule() == "an integer at least 1 and at most 9"


def test_read_toml_returns_flat_settings(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('window_size = 48\npenalty = "l1"\ndirection = [1, 0]\n')
    assert read_toml(path) == {"window_size": 48, "penalty": "l1", "direction": [1, 0]}


def test_a_toml_file_gives_a_configuration(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('max_gap = 2\npenalty = "directional"\ndirection = [[1, 0], [0, -1]]\n')
    assert DetectorConfig.from_settings(read_toml(path)).penalty.direction == ((1.0, 0.0), (0.0, -1.0))


def test_read_toml_names_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"must be readable. Received: .*none\.toml \(No such file or directory\)"):
        read_toml(tmp_path / "none.toml")


def test_read_toml_refuses_a_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"must be readable"):
        read_toml(tmp_path)


def test_read_toml_refuses_text_that_is_not_toml(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("window_size: 48\n")
    with pytest.raises(ConfigError, match=r"must be TOML. Received: .*bad\.toml \(.*line 1"):
        read_toml(path)


def test_read_toml_refuses_bytes_that_are_not_utf8(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_bytes(b"a = '\xff'\n")
    with pytest.raises(ConfigError, match="must be TOML"):
        read_toml(path)


def test_read_toml_refuses_a_table_by_name(tmp_path):
    path = tmp_path / "nested.toml"
    path.write_text("units = 3\n[penalty]\npenalty_weight = 1\n")
    with pytest.raises(ConfigError, match=r"flat keys and no tables. Received: \[penalty\]"):
        read_toml(path)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AnomalyError, 1),
        (ConfigError, 2),
        (DataError, 3),
        (BundleError, 4),
        (StorageError, 5),
        (DivergedError, 6),
        (NotFittedError, 1),
    ],
)
def test_each_error_carries_its_exit_code(error, code):
    assert error.exit_code == code


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (ConfigError, ValueError),
        (DataError, ValueError),
        (BundleError, ValueError),
        (StorageError, OSError),
        (DivergedError, ArithmeticError),
        (NotFittedError, ValueError),
        (NotFittedError, AttributeError),
    ],
)
def test_each_error_is_also_the_builtin_that_callers_expect(error, base):
    assert issubclass(error, base)
    assert issubclass(error, AnomalyError)


def test_shorten_lists_up_to_five_names():
    assert shorten(list("abcde")) == "'a', 'b', 'c', 'd', 'e'"


def test_shorten_counts_the_names_beyond_five():
    assert shorten(list("abcdefg")) == "'a', 'b', 'c', 'd', 'e' and 2 more"


UNHEARD = [
    ({"threshold_method": "quantile", "alarms_per_day": 1}, "`alarms_per_day` must go with the threshold method alarm_budget."),
    ({"threshold_method": "pot", "alarms_per_week": 1}, "`alarms_per_week` must go with the threshold method alarm_budget."),
    ({"threshold_method": "mad", "alarm_rate": 0.1}, "`alarm_rate` must go with the threshold method quantile or conformal"),
    ({"sigmas": 3}, "`sigmas` must go with the threshold method k_sigma or mad. Received: sigmas=3 with alarm_budget. "
     "Choose another method, or leave `sigmas` out."),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "said"), UNHEARD)
def test_what_says_nothing_to_the_threshold_method_is_refused_where_it_is_chosen(settings, said):
    with pytest.raises(ConfigError) as refused:
        DetectorConfig.chosen(settings)
    assert str(refused.value).startswith(said)
    assert DetectorConfig.from_settings(settings)  # as in a file of another time


@pytest.mark.parametrize("method", THRESHOLD_METHODS)
def test_defaults_say_nothing_wrong_to_any_method(method):
    names = ("alarms_per_day", "alarms_per_week", "alarms_per_1000_rows", "alarm_rate", "sigmas")
    assert DetectorConfig.chosen({name: DEFAULTS[name] for name in names} | {"threshold_method": method})
