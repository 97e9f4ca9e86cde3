"""What the folder promises: one direction of imports, a light start, no code in files, short functions, true docstrings."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import anomaly

# The architecture: a module imports from its own wing only modules that stand before it, and of other wings those before its own.
GROUND = "errors extras quick_start tensorflow_start zones limits config arguments words drawing series ranges"
WINGS = {
    "storage": "writing addresses object_store folders snapshot manifest",
    "engines": "pool ray_cluster",
    "windowing": "scaling windows missing silence missing_rows split",
    "meaning": "written moments roles several heading marks dialect sentinels footers clock_shifts interpretation decisions",
    "ingest": (
        "tolerance inputs growing arriving lines parquet rejects faults timestamps header chunks cells csv_rows "
        "reading order "
        "known_events"
    ),
    "frames": "values tables clocks taking files",
    "network": "model recurrence passes inference program",
    "training": "penalty gradients step checkpoint loop progress",
    "keras": "forms losses selection forward abilities differentiation gradient model own_network onnx_program",
    "scoring": "bands row_scores scores window_sums overlaps incomplete_windows neighbours recipe segment scorer dismissed "
    "alarms not_raised events event_list drift",
    "thresholds": "conformal tail calibration borrowed tuning",
    "evaluation": "metrics affiliation baselines evaluate",
    "bundle": "container dismissals header file probe onnx_graph export",
    "explaining": "nearest_slope score_slope attribution",
    "report": "tables detector_text findings pictures sparkline chart event_table page",
    "detector": "left_out continuation shortcomings terms fitting training_rows intake face estimator detector dismissing "
    "first_rows lookup comparison",
    "notebook": "tradeoff stability tuner_chart tuner",
    "files": "scored_rows series_drift journal asked_rows one_file checking demo",
    "live": "records networks stream stream_state learning interleaved metrics run",
    "fleet": "folder listing pieces progress detectors results training long_files new_file scoring tuning",
    "cli": "streams waiting help options terminal shared leaving many training live scoring tuning showing plotting dismissing "
    "exporting",
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
    "rich",
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


def dotted(path):
    """Return a module's name below the package: "series", "cli.shared"; a folder's own module has the folder's name."""
    return ".".join(path.relative_to(FOLDER).with_suffix("").parts).removesuffix(".__init__")


TREES = {dotted(path): ast.parse(path.read_text(encoding="utf-8")) for path in PATHS}
FUNCTIONS = [
    pytest.param(node, id=f"{stem}.{node.name}:{node.lineno}")
    for stem, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]
each_module = pytest.mark.parametrize("stem", TREES)


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
    parts = [name.split(".") for name in imported_names(ast.walk(TREES[stem]))]
    names = {name for part in parts if part[0] == "anomaly" for name in (".".join(part[1:2]), ".".join(part[1:3]))}
    return {name for name in names if name in TREES and not any(other.startswith(f"{name}.") for other in names)}


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
    assert set(ORDER) == set(TREES) - {"__init__", "__main__"} - (set(WINGS) - {"cli"})


@pytest.mark.parametrize("stem", ORDER)
def test_a_module_imports_only_modules_before_it(stem):
    assert own_modules(stem) <= set(ORDER[: ORDER.index(stem)])


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_says_what_it_is_for_and_imports_nothing(wing):
    tree = TREES[wing]
    assert ast.get_docstring(tree)
    assert wing in HAND_ON or not any(isinstance(node, ast.Import | ast.ImportFrom) for node in run_on_import(tree))


def test_no_folder_holds_more_modules_than_one_can_survey():
    for folder in {path.parent for path in PATHS}:
        assert len(list(folder.glob("*.py"))) <= MOST_MODULES


@pytest.mark.parametrize("module", WINGS["thresholds"].split())
def test_the_threshold_knows_nothing_of_the_network(module):
    assert not any(name.startswith(NETWORK) for name in own_modules(f"thresholds.{module}"))


@each_module
def test_no_slow_library_is_imported_at_the_top_of_a_module(stem):
    tops = {name.split(".")[0] for name in imported_names(run_on_import(TREES[stem]))}
    assert tops.isdisjoint(HEAVY)


@pytest.mark.parametrize("path", [*PATHS, *sorted(Path(__file__).parent.rglob("*.py"))], ids=lambda path: path.name)
def test_tensorflow_and_keras_are_loaded_in_one_place_only(path):
    """Anywhere else they would write to standard error, and choose oneDNN by the processor."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checked = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    unseen = {id(inner) for node in checked for inner in ast.walk(node)}
    names = imported_names(node for node in ast.walk(tree) if id(node) not in unseen)
    assert {name.split(".")[0] for name in names}.isdisjoint({"tensorflow", "keras"})


def test_importing_every_module_loads_no_slow_library():
    modules = ", ".join(f"anomaly.{stem}" for stem in ("keras", *ORDER) if stem not in KERAS_CLASSES)
    code = f"import sys, {modules}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


@pytest.mark.parametrize("command", ["score", "detect", "check"])
def test_scoring_does_without_pyarrow_where_it_is_installed(command, bundle_path, csv_path):
    """It would cost each start .2 s and 40 MB; a Parquet file still loads it."""
    pytest.importorskip("pyarrow")
    code = (
        "import sys, contextlib, io; from anomaly.cli import cli\n"
        "with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):\n"
        f"    cli([{command!r}, {str(csv_path)!r}, '--model', {str(bundle_path)!r}], standalone_mode=False)\n"
        "print('pandas' in sys.modules, 'pyarrow' in sys.modules)\n"
        "import pyarrow, pyarrow.parquet"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "False"]


def test_importing_the_package_loads_none_of_its_modules():
    code = "import sys, anomaly; print(*[name for name in sys.modules if name.startswith('anomaly.')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


@each_module
def test_nothing_that_loads_or_runs_code_is_named(stem):
    named = set()
    for node in ast.walk(TREES[stem]):
        if isinstance(node, ast.Name):
            named.add(node.id)
        elif isinstance(node, ast.Attribute):
            named.add(node.attr)
    named |= {part for name in imported_names(ast.walk(TREES[stem])) for part in name.split(".")}
    assert named.isdisjoint(BANNED)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_module_does_not_mention_what_is_banned_even_as_text(path):
    assert (
        re.findall(r"\b(?:(?:pickle|joblib|dill|marshal|h5py|load_model)\b|(?:eval|exec)\()", path.read_text(encoding="utf-8"))
        == []
    )


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_module_is_not_too_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_not_too_long(function):
    assert function.end_lineno - function.lineno + 1 <= MAX_FUNCTION_LINES


@each_module
def test_a_module_has_a_docstring(stem):
    assert ast.get_docstring(TREES[stem])


def test_the_public_names_are_pinned():
    assert anomaly.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_can_be_imported(name):
    assert getattr(anomaly, name).__name__ == name


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


DOCUMENTED = [pytest.param(thing, id=name) for name, thing in public_objects()]


def documented_arguments(text):
    """Return the names in the `Args:` section of a docstring; None if it has no such section."""
    section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)+)", inspect.cleandoc(text or ""), re.MULTILINE)
    if section is None:
        return None
    names = re.findall(r"^ {4}(\S.*?):", section[1], re.MULTILINE)
    return [name.strip().lstrip("*") for joined in names for name in joined.split(",")]


@pytest.mark.parametrize("thing", DOCUMENTED)
def test_what_is_public_has_a_docstring(thing):
    own = thing.__doc__
    assert own
    assert not own.startswith(f"{thing.__name__}("), "a dataclass without a docstring gets its signature"


@pytest.mark.parametrize("thing", DOCUMENTED)
def test_an_args_section_names_exactly_the_parameters(thing):
    documented = documented_arguments(thing.__doc__)
    if documented is None:
        return
    parameters = [name for name in inspect.signature(thing).parameters if name not in ("self", "cls")]
    assert documented == parameters


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.rglob("test_*.py")), ids=lambda path: path.name)
def test_what_is_sent_a_signal_heeds_it_however_the_suite_was_started(path):
    text = path.read_text(encoding="utf-8")
    sends = re.search(r"send_signal\(|\.terminate\(\)|os\.kill\(os\.getpid\(\), signal\.SIGINT", text)
    assert not sends or path.name == Path(__file__).name or "from heeding import" in text
    assert "preexec_fn=" not in text or path.name == Path(__file__).name


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
