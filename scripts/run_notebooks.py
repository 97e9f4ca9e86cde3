"""Run the notebooks from top to bottom and keep their outputs, small enough to commit: pictures, tables and text.

    scripts/notebook --run [NAME.ipynb ...]

A slider lives only while its program does, so what is kept of it is the picture that stands in its place. The notebook
remembers which code its outputs are of; a test compares.
"""

import base64
import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
PARAMETERS = "parameters"  # tag of the cell whose numbers say how long a notebook takes
_COLORS = 64  # of a kept picture: lines on white need no more, and it is a third of the size


def code_cells(notebook: Any) -> list[Any]:
    """Return the cells of code, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def digest(notebook: Any) -> str:
    """Return the SHA-256 of a notebook's code, cell by cell."""
    return hashlib.sha256("\0".join(cell.source for cell in code_cells(notebook)).encode()).hexdigest()


def with_parameters(notebook: Any, parameters: dict[str, Any]) -> Any:
    """Return a copy whose cell of parameters is followed by one with others, which it must have too."""
    copy = nbformat.from_dict(notebook)
    (place,) = [i for i, cell in enumerate(copy.cells) if PARAMETERS in cell.metadata.get("tags", [])] or [None]
    if place is None or any(f"{name} = " not in copy.cells[place].source for name in parameters):
        raise ValueError(f"No cell with the tag {PARAMETERS!r} sets all of {', '.join(parameters)}.")
    source = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    copy.cells.insert(place + 1, nbformat.v4.new_code_cell(source))
    return copy


def run(notebook: Any, folder: Path = FOLDER, **options: Any) -> None:
    """Run a notebook in place; options are those of `NotebookClient`."""
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}, **options).execute()


def shown(cell: Any) -> list[Any]:
    """Return the outputs of a cell without standard error; what is printed in one piece, however it came."""
    found: list[Any] = []
    for output in cell.outputs:
        if output.output_type != "stream":
            found.append(output)
        elif output.name == "stdout":
            if found and found[-1].output_type == "stream":
                found[-1].text += output.text
            else:
                found.append(nbformat.from_dict(output))
    return found


def tidy(notebook: Any) -> None:
    """Keep of the outputs what a reader sees without a program, and say which code they are of."""
    for cell in code_cells(notebook):
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        cell.outputs = shown(cell)
        for output in cell.outputs:
            if "data" in output:
                output.data, output.metadata = _kept(output.data), {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "outputs_of": digest(notebook),
    }


def _kept(data: dict[str, Any]) -> dict[str, Any]:
    if "image/png" in data:
        return {"image/png": _small(data["image/png"]), "text/plain": data["text/plain"]}
    return {kind: data[kind] for kind in ("text/html", "text/plain") if kind in data}


def _small(png: str) -> str:
    """Return a picture with fewer colours, in base64."""
    from PIL import Image

    file = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        image.convert("RGB").quantize(_COLORS).save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def main(names: list[str]) -> None:
    """Run the notebooks of these names, or all."""
    paths = [FOLDER / Path(name).name for name in names] or sorted(FOLDER.glob("*.ipynb"))
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        run(notebook)
        tidy(notebook)
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
