"""Arguments to files, and files to names."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly.errors import ConfigError, StorageError
from anomaly.sources.inputs import Input, find_inputs, find_sound_inputs, stands_for_many, stem


@pytest.fixture
def data(tmp_path, monkeypatch):
    for name in ("b.csv", "a.csv.gz", "C.PARQUET", "notes.txt", ".hidden.csv", "x/b.csv", "x/y/d.csv", "z[1].csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("v\n1\n")
    (tmp_path / "folder.csv").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*arguments):
    return [(item.name, item.path) for item in find_inputs(arguments)]


def test_a_file_keeps_its_path_and_gives_its_stem(data):
    assert found("b.csv") == [("b", "b.csv")]
    assert find_inputs([str(data / "a.csv.gz")]) == [Input("a", str(data / "a.csv.gz"))]
    assert found("notes.txt") == [("notes.txt", "notes.txt")]


def test_a_folder_stands_for_the_data_in_it_sorted(data):
    assert [name for name, _ in found(".")] == ["C", "a", "b", "z[1]"]
    assert found("x") == [("b", "x/b.csv")]


def test_a_pattern_is_expanded_and_sorted(data):
    assert found("?.csv*") == [("a", "a.csv.gz"), ("b", "b.csv")]
    assert found("**/*.csv") == [("b", "b.csv"), ("x/b", "x/b.csv"), ("d", "x/y/d.csv"), ("z[1]", "z[1].csv")]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(data):
    assert found("z[1].csv") == [("z[1]", "z[1].csv")]
    assert not stands_for_many(["z[1].csv"])


def test_files_keep_the_order_of_the_arguments_and_come_once(data):
    assert [path for _, path in found("b.csv", "*.csv", "./b.csv", str(data / "b.csv"))] == ["b.csv", "z[1].csv"]


def test_names_that_repeat_become_paths_below_the_common_folder(data):
    assert found("b.csv", "x/b.csv", "x/y/d.csv") == [("b", "b.csv"), ("x/b", "x/b.csv"), ("d", "x/y/d.csv")]
    (data / "x/y/b.csv").write_text("v\n1\n")
    assert found("x/b.csv", "x/y/b.csv") == [("b", "x/b.csv"), ("y/b", "x/y/b.csv")]


def test_an_ending_stays_where_nothing_else_tells_files_apart(data):
    (data / "b.csv.gz").write_text("")
    assert [name for name, _ in found("b.csv", "b.csv.gz", "x/b.csv")] == ["b.csv", "b.csv.gz", "x/b"]


@pytest.mark.parametrize("argument", ["missing.csv", "*.none", "x/y/none"])
def test_an_argument_that_stands_for_nothing_is_refused(data, argument):
    with pytest.raises(ConfigError, match="Every input must .* Received: .* Check its spelling"):
        find_inputs(["b.csv", argument])


def test_an_empty_folder_is_refused(data):
    with pytest.raises(ConfigError, match=r"must hold a file that ends in .csv, .csv.gz, .parquet. Received: folder.csv"):
        find_inputs(["folder.csv"])


def test_no_argument_is_refused():
    with pytest.raises(ConfigError, match="at least one input"):
        find_inputs([])


def test_standard_input_is_alone(data):
    assert found("-") == [("stdin", "-")]
    with pytest.raises(ConfigError, match="Standard input must be the only input. Received: - beside 1 more"):
        find_inputs(["-", "b.csv"])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the owner of the machine may read everything")
def test_a_folder_that_cannot_be_read_is_a_storage_error(data):
    (data / "x").chmod(0)
    with pytest.raises(StorageError):
        find_inputs(["x"])
    (data / "x").chmod(0o700)


def test_the_form_tells_one_from_many(data):
    assert [stands_for_many([argument]) for argument in ("b.csv", "-", "x", "*.csv", "missing.csv")] == [
        False, False, True, True, False,
    ]  # fmt: skip
    assert stands_for_many(["b.csv", "b.csv"])


@pytest.mark.parametrize("name", ["x" * 300, f"{'x' * 300}.csv", "d/" * 3000, f"{'d/' * 3000}x.csv", "a\0b", "b.csv/x"])
def test_under_a_name_that_the_system_does_not_take_there_is_no_input(name, data):
    assert not stands_for_many([name])
    for arguments in ([name], ["b.csv", name]):
        with pytest.raises(ConfigError, match="Every input must exist. Received: "):
            find_inputs(arguments)
    with pytest.raises(ConfigError, match="Every input must match a file. Received: "):
        find_inputs([f"{name}*"])


@given(
    st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=9) | st.binary(min_size=1, max_size=9).map(os.fsdecode)
)
def test_a_name_that_nobody_could_read_is_the_fault_of_its_input_alone(tmp_path_factory, name):
    name = name.replace("/", "_").replace("\0", "_")
    folder = tmp_path_factory.mktemp("names")
    (folder / "sound.csv").write_text("")
    try:
        (folder / f"_{name}.csv").write_text("")
    except (OSError, UnicodeEncodeError):  # a file system of Unicode alone, or a surrogate that stands for no byte
        return
    odd, sound = find_inputs([str(folder)])
    assert sound == Input("sound", str(folder / "sound.csv"), "")
    assert odd.path == str(folder / f"_{name}.csv") and odd.name.encode()
    assert not {unicodedata.category(letter) for letter in odd.name} & {"Cc", "Cs", "Zl", "Zp"}
    assert (odd.name == f"_{name}") == (not odd.refusal)
    if odd.refusal:
        assert f"Received: {odd.path!a}. Rename it." in odd.refusal
        with pytest.raises(ConfigError, match="in UTF-8"):
            find_sound_inputs([str(folder)])


@given(st.lists(st.sampled_from(["a.csv", "a.csv.gz", "a.parquet", "b.csv", "a"]), min_size=1, max_size=5), st.data())
def test_names_are_always_different_and_stay_below_the_folder(tmp_path_factory, names, data):
    folder = tmp_path_factory.mktemp("names")
    paths = [folder / data.draw(st.sampled_from(["p", "q", "p/q", "."])) / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    inputs = find_inputs([str(path) for path in paths])
    assert len({item.name for item in inputs}) == len(inputs) == len(set(paths))
    assert all(not item.name.startswith("/") and ".." not in item.name.split("/") for item in inputs)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.csv", "a"), ("a.b.CSV.GZ", "a.b"), (".csv", ".csv"), ("a.csv.csv", "a.csv"), ("a", "a")]
)
def test_stem(name, expected):
    assert stem(name) == expected
