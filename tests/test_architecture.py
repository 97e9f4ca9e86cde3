"""What the folder promises: one direction of imports, a light start, no code in files, short functions, true docstrings."""

import ast
import functools
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import anomaly

# The architecture: a module imports from its own wing only modules that stand before it, and of other wings those before its own.
GROUND = (
    "errors extras quick_start tensorflow_start zones limits names setting config arguments words drawing series ranges leaving"
)
WINGS = {
    "storage": "writing addresses object_store folders snapshot manifest",
    "engines": "pool ray_cluster",
    "windowing": "scaling begun wild_cells context per_feature peaks windows missing unjudged silence missing_rows split "
    "incomplete_windows nearest farthest",
    "watches": "movement residuals relations settled extremes watch",
    "times": "plain_cells column calendar_parts clock_shifts exchanged_days twelve_hours other_words written spreadsheet_days "
    "epochs periods day_and_month moments time_parts blanks timestamps",
    "columns": "column_names joined_times other_clocks unnamed_times time_column labels label_values counters unread_times",
    "meaning": "several heading joined_names marks blanks dialect sentinels footers interpretation decisions",
    "sources": "tolerance inputs growing arriving lines parquet",
    "ingest": "rejects faults header chunks order unread thousands spelling fields few_rows cells csv_head csv_times csv_rows "
    "reading known_events",
    "frames": "values tables clocks taking files",
    "network": "model initial_weights recurrence passes onnx_bytes onnx_start inference program",
    "training": "penalty gradients weight_vector adam graph step checkpoint loop progress",
    "keras": "forms losses selection forward abilities differentiation gradient model own_network onnx_program",
    "scoring": "bands row_scores scores window_sums overlaps references neighbours recipe segment scorer drift",
    "events": "dismissed alarms not_raised event open_event finder event_list",
    "thresholds": "conformal tail calibration borrowed tuning",
    "evaluation": "metrics affiliation baselines evaluate",
    "bundle": "container dismissals header bundle arrays storable file pace probe onnx_graph export",
    "explaining": "nearest_slope score_slope attribution",
    "report": "tables detector_text findings pictures sparkline chart event_table page",
    "fitting": "left_out continuation cleaned set_aside held_out_aside kept_windows shortcomings terms ready error_units "
    "example recalibration trained measuring fit training_rows",
    "detector": "intake thresholding face estimator detector dismissing first_rows lookup comparison",
    "notebook": "tradeoff stability tuner_chart tuner",
    "files": "scored_rows series_drift journal asked_rows one_file checking demo",
    "live": "records networks stream stream_state learning interleaved metrics run",
    "fleet": "folder listing pieces progress detectors results outcomes plan one_series training long_files new_file scoring "
    "tuning",
    "cli": "streams waiting terminal help options shared many_options many training live scoring tuning showing plotting "
    "dismissing exporting",
}
ORDER = (*GROUND.split(), *(f"{wing}.{module}" for wing, modules in WINGS.items() for module in modules.split()), "cli")
MOST_MODULES = 17  # in a folder, its own included
PUBLIC = [
    "AnomalyError",
    "BundleError",
    "ConfigError",
    "DataError",
    "Detector",
    "DivergedError",
    "Event",
    "NotFittedError",
    "Scores",
    "StorageError",
    "Threshold",
    "TimeSeries",
    "read_csv",
]
# Slow to import or optional: only inside the functions that need them.
HEAVY = {
    "tensorflow",
    "keras",
    "sklearn",
    "matplotlib",
    "scipy",
    "onnx",
    "onnxruntime",
    "plotly",
    "ipywidgets",
    "tsdownsample",
    "ray",
    "narwhals",
    "polars",
    "prometheus_client",
}
# A Keras model of our own is a class that derives from one of Keras; its wing imports it when it is first used.
KERAS_CLASSES = {"keras.model"}
HAND_ON = {"cli", "keras"}  # wings with names of their own
NETWORK = ("network", "training", "windowing")
# A bundle carries numbers, never a program: nothing here may load or run one.
BANNED = {"pickle", "joblib", "dill", "marshal", "h5py", "load_model", "eval", "exec"}
MAX_FILE_LINES, MAX_FUNCTION_LINES = 500, 60

FOLDER = Path(anomaly.__file__).parent
PATHS = sorted(FOLDER.rglob("*.py"))
TESTS = sorted(Path(__file__).parent.rglob("*.py"))


def dotted(path):
    """Return a module's name below the package: "series", "cli.shared"; a folder's own module has the folder's name."""
    return ".".join(path.relative_to(FOLDER).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def trees():
    """Return what each module parses to."""
    return {stem: ast.parse(text) for stem, text in texts().items()}


@functools.cache
def texts():
    return {dotted(path): path.read_text(encoding="utf-8") for path in PATHS}


# A rule is one test, which lists all that breaks it: a test for each module and name would be thousands.


def imported_names(nodes):
    """Return the dotted names that the import statements among the nodes bring in."""
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def own_modules(stem):
    """Return the modules of the package that a module imports, wherever in it."""
    parts = [name.split(".") for name in imported_names(ast.walk(trees()[stem]))]
    names = {name for part in parts if part[0] == "anomaly" for name in (".".join(part[1:2]), ".".join(part[1:3]))}
    return {name for name in names if name in trees() and not any(other.startswith(f"{name}.") for other in names)}


def run_on_import(tree):
    """Yield the statements that run when a module is imported; those for type checkers do not."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


def test_the_documented_order_holds_every_module():
    assert set(ORDER) == set(trees()) - {"__init__", "__main__"} - (set(WINGS) - {"cli"})


def test_a_module_imports_only_modules_before_it():
    too_late = {stem: own_modules(stem) - set(ORDER[:place]) for place, stem in enumerate(ORDER)}
    assert {stem: names for stem, names in too_late.items() if names} == {}


def test_a_wing_imports_nothing():
    importing = {wing: imported_names(run_on_import(trees()[wing])) for wing in WINGS if wing not in HAND_ON}
    assert {wing: names for wing, names in importing.items() if names} == {}


def test_no_folder_holds_more_modules_than_one_can_survey():
    for folder in {path.parent for path in PATHS}:
        assert len(list(folder.glob("*.py"))) <= MOST_MODULES


def test_the_threshold_knows_nothing_of_the_network():
    names = {name for module in WINGS["thresholds"].split() for name in own_modules(f"thresholds.{module}")}
    assert names and not [name for name in names if name.startswith(NETWORK)]


def test_no_slow_library_is_imported_at_the_top_of_a_module():
    slow = [(stem, name) for stem, tree in trees().items() for name in imported_names(run_on_import(tree)) if top(name) in HEAVY]
    assert slow == []


def top(name):
    return name.split(".")[0]


# The module that alone imports each.
LOADED_IN = {"tensorflow": "tensorflow_start", "keras": "tensorflow_start", "onnxruntime": "network.onnx_start"}


def test_what_says_or_sends_more_than_it_should_is_loaded_in_one_place_only():
    """Anywhere else TensorFlow would write to standard error and choose oneDNN by the processor, ONNX Runtime send telemetry."""
    sources = texts() | {path.name: path.read_text(encoding="utf-8") for path in TESTS}
    loading = []
    for place in (place for place, text in sources.items() if any(name in text for name in LOADED_IN)):
        tree = ast.parse(sources[place])
        checked = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
        unseen = {id(inner) for node in checked for inner in ast.walk(node)}
        names = imported_names(node for node in ast.walk(tree) if id(node) not in unseen)
        loading += [(place, name) for name in names if LOADED_IN.get(top(name), place) != place]
    assert loading == []


def test_importing_every_module_loads_no_slow_library():
    modules = ", ".join(f"anomaly.{stem}" for stem in ("keras", *ORDER) if stem not in KERAS_CLASSES)
    code = f"import sys, {modules}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


@pytest.mark.parametrize(
    ("command", "is_plain", "needs_pandas"),
    [("score", True, False), ("detect", False, True), ("check", True, True)],
)
def test_scoring_does_without_pyarrow_and_without_pandas_where_nothing_needs_it(
    command, is_plain, needs_pandas, bundle_path, csv_path, tmp_path
):
    """They would cost each start .2 s each, as would what trains; another kind of file still loads them."""
    pytest.importorskip("pyarrow")
    lines = [
        ",".join(cell[:20] if cell[4:5] == "-" else cell[:9] for cell in row.split(",")) for row in csv_path.read_text().split()
    ]
    lines[50] = lines[50] if is_plain else re.sub(",[^,]*", ",NaN", lines[50], count=1)
    csv_path = tmp_path / "rounded.csv"
    csv_path.write_text("\n".join([*lines, ""]))
    code = (
        "import sys, contextlib, io; from anomaly.cli import cli\n"
        "with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):\n"
        f"    cli([{command!r}, {str(csv_path)!r}, '--model', {str(bundle_path)!r}], standalone_mode=False)\n"
        "print('pandas' in sys.modules, *sorted({'pyarrow', 'onnx', 'sklearn', 'anomaly.fitting.fit'} & set(sys.modules)))\n"
        "import pandas, pyarrow, pyarrow.parquet"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(needs_pandas)]


def test_importing_the_package_loads_none_of_its_modules():
    code = "import sys, anomaly; print(*[name for name in sys.modules if name.startswith('anomaly.')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_nothing_that_loads_or_runs_code_is_named():
    for stem, tree in trees().items():
        named = {part for name in imported_names(ast.walk(tree)) for part in name.split(".")}
        named |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        named |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert (stem, named & BANNED) == (stem, set())


def test_a_module_does_not_mention_what_is_banned_even_as_text():
    banned = re.compile(r"\b(?:(?:pickle|joblib|dill|marshal|h5py|load_model)\b|(?:eval|exec)\()")
    found = {stem: banned.findall(text) for stem, text in texts().items()}
    assert {stem: names for stem, names in found.items() if names} == {}


def test_a_module_is_not_too_long():
    lengths = {stem: len(text.splitlines()) for stem, text in texts().items()}
    assert {stem: length for stem, length in lengths.items() if length > MAX_FILE_LINES} == {}


def test_a_function_is_not_too_long():
    functions = [
        (f"{stem}.{node.name}", node.end_lineno - node.lineno + 1)
        for stem, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(functions) > len(trees())
    assert [(name, length) for name, length in functions if length > MAX_FUNCTION_LINES] == []


def test_a_module_has_a_docstring():
    assert [stem for stem, tree in trees().items() if not ast.get_docstring(tree)] == []


def test_the_public_names_are_pinned():
    assert anomaly.__all__ == PUBLIC


def test_a_public_name_can_be_imported():
    assert [getattr(anomaly, name).__name__ for name in PUBLIC] == PUBLIC


def test_dir_lists_the_public_names():
    assert set(PUBLIC) <= set(dir(anomaly))


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'anomaly' has no attribute 'nonsense'"):
        anomaly.nonsense  # noqa: B018


def public_objects():
    """Yield (name, object) of the public functions, classes and methods that the package defines."""
    for stem in ORDER:
        if stem in KERAS_CLASSES:
            continue  # tests/keras holds its docstrings to the same rules
        module = importlib.import_module(f"anomaly.{stem}")
        for name, thing in vars(module).items():
            if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(thing) or inspect.isclass(thing):
                yield f"{stem}.{name}", thing
            if inspect.isclass(thing):
                for method_name, method in vars(thing).items():
                    function = inspect.unwrap(getattr(method, "__func__", method))
                    if inspect.isfunction(function) and not method_name.startswith("_"):
                        yield f"{stem}.{name}.{method_name}", function


@functools.cache
def documented():
    """Return the public objects by their names; found once they are asked for, since that imports all modules."""
    return dict(public_objects())


def documented_arguments(text):
    """Return the names in the `Args:` section of a docstring; None if it has no such section."""
    section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)+)", inspect.cleandoc(text or ""), re.MULTILINE)
    if section is None:
        return None
    names = re.findall(r"^ {4}(\S.*?):", section[1], re.MULTILINE)
    return [name.strip().lstrip("*") for joined in names for name in joined.split(",")]


def test_what_is_public_has_a_docstring():
    """A dataclass without one gets its signature."""
    texts = {name: (thing.__name__, thing.__doc__ or "") for name, thing in documented().items()}
    assert texts
    assert [name for name, (short, text) in texts.items() if not text or text.startswith(f"{short}(")] == []


def test_an_args_section_names_exactly_the_parameters():
    n_sections = 0
    for name, thing in documented().items():
        arguments = documented_arguments(thing.__doc__)
        if arguments is not None:
            n_sections += 1
            parameters = [parameter for parameter in inspect.signature(thing).parameters if parameter not in ("self", "cls")]
            assert (name, arguments) == (name, parameters)
    assert n_sections


def test_what_is_sent_a_signal_heeds_it_however_the_suite_was_started():
    for path in TESTS:
        text = path.read_text(encoding="utf-8")
        sends = re.search(r"send_signal\(|\.terminate\(\)|os\.kill\(os\.getpid\(\), signal\.SIGINT", text)
        if path.name.startswith("test_") and path.name != Path(__file__).name:
            assert not sends or "from heeding import" in text, path.name
            assert "preexec_fn=" not in text, path.name


WRITTEN = [
    path
    for ending in ("md", "py", "toml")
    for path in sorted(Path(__file__).parents[1].rglob(f"*.{ending}"))
    if not any(part.startswith(".") for part in path.relative_to(Path(__file__).parents[1]).parts)
]


def test_no_file_holds_what_a_merge_left():
    marks = ("<" * 7 + " ", ">" * 7 + " ")
    assert WRITTEN
    assert not [path for path in WRITTEN for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(marks)]


def test_test_files_have_names_of_their_own():
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
