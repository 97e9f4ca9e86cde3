"""Every notebook runs from top to bottom, and what it shows in the repository is of the code that stands there."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("run_notebooks", ROOT / "scripts" / "run_notebooks.py")
notebooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(notebooks)

PATHS = sorted(notebooks.FOLDER.glob("*.ipynb"))
# What makes a notebook short: the cells are the same, the trainings smaller.
QUICK = {
    "01_train_and_inspect": {"EPOCHS": 2},
    "02_tune_threshold": {},
    "03_what_the_penalty_does": {"EPOCHS": 1, "STEPS": 4, "ROWS": 2_000, "REPEATS": 1},
    "04_any_keras_model": {"EPOCHS": 2},
}
MOST_BYTES = 300_000
KEPT = {"image/png", "text/html", "text/plain"}
each_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def outputs_of(notebook):
    """Return for each cell of code the kinds of its outputs, in order: pictures, tables, values, what is printed."""
    return [[kinds_of(output) for output in notebooks.shown(cell)] for cell in notebooks.code_cells(notebook)]


def kinds_of(output):
    kinds = set(output.get("data", {})) & KEPT
    return output.output_type, ("picture" if "image/png" in kinds else "table" if "text/html" in kinds else "text")


@pytest.fixture(scope="module")
def kernel():
    """One process for all notebooks: what they import takes longer than what they do."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(notebooks.FOLDER))
    yield manager
    manager.shutdown_kernel(now=True)


def run(notebook, kernel):
    """Run a notebook in place, with no names from the one before."""
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    client = NotebookClient(notebook, km=kernel, timeout=300)
    try:
        client.execute()
    finally:
        client.kc.stop_channels()
        del notebook.cells[0]


def test_there_are_notebooks():
    assert [path.stem for path in PATHS] == list(QUICK)


@each_notebook
def test_notebook_runs_and_shows_what_it_shows_in_the_repository(path, kernel):
    committed, quick = read(path), QUICK[path.stem]
    notebook = notebooks.with_parameters(committed, quick) if quick else nbformat.from_dict(committed)
    run(notebook, kernel)
    if quick:  # the cell that made it so
        del notebook.cells[
            next(i for i, cell in enumerate(notebook.cells) if notebooks.PARAMETERS in cell.metadata.get("tags", [])) + 1
        ]
    assert outputs_of(notebook) == outputs_of(committed)
    if not quick:
        assert texts_of(notebook) == texts_of(committed)


def texts_of(notebook):
    """Return what is printed or shown as text, numbers with three digits: the last ones differ between processors."""
    return [re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.2e}", text) for text in whole_texts_of(notebook)]


def whole_texts_of(notebook):
    outputs = [output for cell in notebooks.code_cells(notebook) for output in notebooks.shown(cell)]
    return [output.get("text") or output.data["text/plain"] for output in outputs]


@each_notebook
def test_outputs_in_the_repository_are_of_the_code_beside_them(path):
    """After a change run `scripts/notebook --run`."""
    notebook = read(path)
    cells = notebooks.code_cells(notebook)
    assert notebook.metadata["outputs_of"] == notebooks.digest(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)


@each_notebook
def test_a_visitor_sees_pictures_and_a_small_file(path):
    notebook = read(path)
    outputs = [output for cell in notebooks.code_cells(notebook) for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert all(set(output.get("data", {})) <= KEPT and output.get("name") != "stderr" for output in outputs)
    assert path.stat().st_size < MOST_BYTES


@each_notebook
def test_a_notebook_says_how_it_is_opened(path):
    first = read(path).cells[0].source
    assert "`scripts/notebook`" in first and "`pip install -e '.[notebook]'`" in first


def test_a_change_of_the_code_is_noticed():
    notebook = read(PATHS[0])
    before = notebooks.digest(notebook)
    notebook.cells[0].source += " More text."
    assert notebooks.digest(notebook) == before
    notebooks.code_cells(notebook)[0].source += "\n"
    assert notebooks.digest(notebook) != before


def test_only_parameters_that_a_notebook_has_are_set():
    with pytest.raises(ValueError, match="sets all of NONE"):
        notebooks.with_parameters(read(PATHS[0]), {"NONE": 1})


def test_the_figures_that_the_third_notebook_sums_up_are_those_that_it_shows():
    """Prose is written once, outputs again and again; what is said of other measurements stands in the last paragraph."""
    notebook = read(notebooks.FOLDER / "03_what_the_penalty_does.ipynb")
    outputs = "\n".join(whole_texts_of(notebook))
    shown = [float(number) for number in re.findall(r"\d+\.\d+(?:e-?\d+)?", outputs)]
    said = notebook.cells[-1].source.rpartition("\n\n")[0]
    figures = re.findall(r"(?<![\w.])(\d*\.\d+)( to \d*\.\d+)?( %)?", said)
    numbers = [(number, percent) for first, second, percent in figures for number in (first, second.removeprefix(" to ")) if number]
    assert len(numbers) > 5
    for number, percent in numbers:
        digits = len(number.partition(".")[2])
        assert any(abs(x * (100 if percent else 1) - float(number)) < 0.501 * 10**-digits for x in shown), (number, percent)
