"""The README and the guides are a promise: their commands and code blocks run, and show what they say they show."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from commands import here, place
from forked import CODE
from heeding import heeding
from object_server import ObjectServer
from test_architecture import GROUND, WINGS

from anomaly import Detector

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
GUIDES = sorted(path.relative_to(ROOT) for path in (ROOT / "anomaly").rglob("*.md") if path.parent.name != "keras")
PAGES = [Path("README.md"), *GUIDES]
DOCUMENTS = sorted(path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts))
MOST_LINES = 220  # of the README: what else there is to say belongs into a guide
SETUP = ("scripts/demo", "scripts/test")
DETECTOR = "models/demo/water_flow.anomaly"
HASTE = {"ANOMALY_EPOCHS": "2", "ANOMALY_STEPS_PER_EPOCH": "5"}
NUMBER = re.compile(r"(\d[\d,]*(?:\.\d+)?)")
ASSIGNED = re.compile(r"(\w+)=(.*)")  # what stands before a command for its environment
PLACES = []  # of commands that stand before others on the path


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def examples(page):
    """Return the commands of each block of the shell, with the block of text right behind it: what they print, or empty."""
    found = re.findall(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    split = [([line.split("  #")[0].strip() for line in commands.splitlines()], shown) for commands, shown in found]
    return [(commands, shown) for commands, shown in split if tuple(commands) != SETUP]


@pytest.fixture
def folder(tmp_path):
    """A folder as a reader has it: the checkout, the history and the newer rows that the README cuts, and a detector."""
    for name in ("anomaly", "models", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for commands, _ in examples(Path("README.md")):
        for command in commands:
            if command.startswith("cut"):
                run_command(command, tmp_path)
    shutil.copy(ROOT / DETECTOR, tmp_path / "pipeline.anomaly")
    return tmp_path


@contextmanager
def object_store(folder):
    """The object store of a reader, with the same history and newer rows."""
    with ObjectServer("plant") as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        server.put("pumps/north.csv", (folder / "history.csv").read_bytes())
        server.put("pumps/south.csv", (folder / "new.csv").read_bytes().replace(b"\n2022", b"\n2021"))
        yield server


@pytest.fixture(scope="module", autouse=True)
def forks():
    """The commands of a page run in processes of their own that need not import TensorFlow anew."""
    PLACES.append(str(place()))
    yield
    PLACES.clear()


def environment(*places):
    """The commands come from the environment that runs the tests; epochs and steps keep the training short, except where given."""
    path = os.pathsep.join([*places, str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | HASTE | {"PATH": path}


def without_haste():
    """The same, and trained as long as the page says."""
    return {name: value for name, value in environment(*PLACES).items() if name not in HASTE}


def run(arguments, folder):
    return subprocess.run(arguments, cwd=folder, env=environment(*PLACES), capture_output=True, text=True)


def run_command(command, folder):
    """Run a command as it stands on a page, and return its output and what it says beside it."""
    if "--follow" in command and "|" not in command:
        follow(command, folder)
        return "", ""
    if (words := alone(command)) is not None:
        assigned = [ASSIGNED.fullmatch(word).groups() for word in words[: words.index("anomaly")]]
        result = here(*words[len(assigned) + 1 :], env=HASTE | dict(assigned), cwd=folder)
        return result.stdout, result.stderr
    result = run(["bash", "-euc", command], folder)
    assert result.returncode == 0, f"{command}\n{result.stderr}"
    if "|| echo" in command:
        assert re.search("exit code (10|3)\n", result.stdout)
    return result.stdout, result.stderr


def alone(command):
    """Return the words of a command that asks nothing of the shell but to run `anomaly`: it may run in this process."""
    split = shlex.shlex(command, posix=True, punctuation_chars=True)
    split.whitespace_split = True
    words = list(split)
    of_the_shell = set("$`") & set(command) or any(set(word) <= set("();<>|&") for word in words)
    return words if not of_the_shell and [word for word in words if not ASSIGNED.fullmatch(word)][:1] == ["anomaly"] else None


def follow(command, folder):
    """Run a command that does not end by itself until it has answered all rows."""
    (folder / "live.csv").unlink()
    with subprocess.Popen(heeding(["bash", "-euc", f"exec {command}"]), cwd=folder, env=environment()) as process:
        for _ in range(600):
            if (folder / "live.csv").exists() and len((folder / "live.csv").read_text().splitlines()) == 409:
                break
            time.sleep(0.1)
        process.terminate()
    assert process.returncode == 143
    assert len((folder / "live.csv").read_text().splitlines()) == 409


def agrees(shown, found, words_only):
    """Tell whether a line is what was shown: fractions may differ in the last digit between processors."""
    ours, theirs = NUMBER.split(" ".join(shown.split())), NUMBER.split(" ".join(found.split()))
    if len(ours) != len(theirs) or ours[::2] != theirs[::2]:
        return False
    for one, other in zip(ours[1::2], theirs[1::2], strict=True):
        decimals = len(one.partition(".")[2])
        near = pytest.approx(float(one.replace(",", "")), rel=1e-3, abs=1.5 * 10.0**-decimals)
        if not words_only and (one != other if not decimals else float(other.replace(",", "")) != near):
            return False
    return True


def assert_shown(shown, printed, words_only=False):
    """Hold what a page shows to what is printed: line by line, where "..." stands for any lines."""
    left = printed.splitlines()
    skipping = False
    for line in shown.splitlines():
        if line == "...":
            skipping = True
            continue
        while skipping and left and not agrees(line, left[0], words_only):
            del left[0]
        assert left, f"not printed: {line}\n{printed}"
        assert agrees(line, left[0], words_only), f"{line}\n{left[0]}"
        del left[0]
        skipping = False
    assert skipping or left == []


@pytest.mark.parametrize(
    ("shown", "printed", "holds"),
    [
        ("a 1\nb 2\n", "a 1\nb 2\n", True),
        ("a 1\n", "a 1\nb 2\n", False),
        ("a 1\n...\n", "a 1\nb 2\n", True),
        ("...\nb 2\n", "a 1\nb 2\n", True),
        ("...\nc\n", "a 1\nb 2\n", False),
        ("b 2\na 1\n", "a 1\nb 2\n", False),
        ("a  1.02", "a 1.03", True),
        ("a 1.02", "a 1.04", False),
        ("a 13355.72", "a 13351.1", True),
        ("a 13355.72", "a 13300.1", False),
        ("a 2", "a 3", False),
        ("a 2022-04-27", "a 2022-04-28", False),
    ],
)
def test_what_is_shown_is_compared_line_by_line(shown, printed, holds):
    if holds:
        assert_shown(shown, printed)
    else:
        with pytest.raises(AssertionError):
            assert_shown(shown, printed)


def run_examples(page, folder):
    """Run the commands of a page in order, and hold what they print to what it shows."""
    for commands, shown in examples(page):
        # What is trained here is trained for two epochs: where a page shows figures, the detector in the repository says them.
        trains = any("anomaly train" in command for command in commands)
        if shown and not trains:
            commands = [command.replace("pipeline.anomaly", DETECTOR) for command in commands]
        output, said = zip(*[run_command(command, folder) for command in commands], strict=True)
        if shown:
            assert_shown(shown, "".join(output) or "".join(said), words_only=trains)


# `tests/bundle/test_bundle_guide.py` runs the commands and the code of that guide, and looks at what they leave.
each_page_but_the_bundles = pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent.name != "bundle"], ids=lambda page: page.parent.name or "readme"
)


@each_page_but_the_bundles
def test_every_command_runs_and_prints_what_is_shown(page, folder):
    remote = "s3://" in (ROOT / page).read_text()
    if page.parent == Path():  # the README trains it
        (folder / "pipeline.anomaly").unlink()
    with object_store(folder) if remote else nullcontext() as plant:
        run_examples(page, folder)
        if remote:
            assert plant.below("scored/").keys() == {path.name for path in (folder / "scored").iterdir()}


def test_the_readme_shows_what_its_training_makes(folder):
    """The shipped detector stands for it in the other tests: it has the same settings, and finds as many events."""
    found = examples(Path("README.md"))
    (training,) = [commands for commands, _ in found if commands[0].startswith("anomaly train")]
    (folder / "pipeline.anomaly").unlink()
    result = subprocess.run(["bash", "-euc", training[0]], cwd=folder, env=without_haste(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    made, shipped = (Detector.load(path).bundle_ for path in (folder / "pipeline.anomaly", ROOT / DETECTOR))
    assert (made.config, made.columns, made.window_size) == (shipped.config, shipped.columns, shipped.window_size)
    (shown,) = [shown for commands, shown in found if commands[0].startswith("anomaly detect")]
    assert_shown(shown, run_command("anomaly detect new.csv --model pipeline.anomaly", folder)[0], words_only=True)


@each_page_but_the_bundles
def test_python_blocks_run(page, folder):
    code = "\n".join(blocks((ROOT / page).read_text(), "python"))
    result = run(["anomaly", CODE, code], folder) if code else None
    assert result is None or result.returncode == 0, result.stderr


def test_the_readme_stays_short():
    assert len(TEXT.splitlines()) <= MOST_LINES


def test_setup_commands_are_the_first_ones_and_exist():
    first = [line.split()[0] for line in blocks(TEXT, "sh")[0].splitlines()]
    assert tuple(first) == SETUP
    assert all(os.access(ROOT / command, os.X_OK) for command in (*SETUP, "scripts/check", ".ci/run"))


def prose(path):
    """Return a document without its blocks and spans of code, in which brackets are no links."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`(?!\])", "", text)


def anchors(path):
    """Return the anchors of a document's headings, as GitHub makes them: lower case, hyphens for spaces, no punctuation."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    slugs = []
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        slugs.append(slug if slug not in slugs else f"{slug}-{slugs.count(slug)}")
    return slugs


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or not file.is_relative_to(ROOT) or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_the_readme_leads_to_every_guide_and_shows_its_picture():
    targets = {target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", TEXT)}
    assert targets >= {str(guide) for guide in GUIDES} | {"models/demo/heartbeats.png"}


@pytest.mark.parametrize("guide", GUIDES, ids=str)
def test_a_guide_opens_with_an_example(guide):
    text = (ROOT / guide).read_text()
    assert text.count("\n", 0, text.index("```")) <= 8


def test_every_command_and_exit_code_is_documented():
    from anomaly.cli import cli

    for name in cli.commands:
        assert f"`anomaly {name}" in TEXT
    for code in (0, 1, 2, 3, 4, 5, 6, 10, 130, 141, 143):
        assert re.search(rf"\b{code} \w", TEXT)


def test_contributing_lists_every_module_in_the_order_of_imports():
    """And no other: a line for the ground, a line for each wing."""
    table = CONTRIBUTING[CONTRIBUTING.index("| wing |") : CONTRIBUTING.index("From the shell")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:] if line.startswith("|")]
    listed = {wing.strip("`/"): re.findall(r"`(\w+)`", modules) for wing, _, modules in rows}
    assert listed == {"": GROUND.split()} | {wing: modules.split() for wing, modules in WINGS.items()}
    assert list(listed) == ["", *WINGS]


def test_contributing_names_files_that_exist():
    for name in re.findall(r"`((?:anomaly|tests|scripts|models)/[\w./]+)`", CONTRIBUTING):
        assert (ROOT / name).exists(), name


def test_every_dependency_has_its_reason():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = CONTRIBUTING[CONTRIBUTING.index("## Why each dependency") :]
    assert len(project["dependencies"]) <= 12
    for requirement in project["dependencies"]:
        assert re.match(r"[\w-]+", requirement).group() in table


def test_locks_hold_hashes_and_no_addresses():
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        requirements = re.findall(r"^[a-z][\w.-]*==.*(?:\n    --hash=\S+.*)*", text, flags=re.MULTILINE)
        assert len(requirements) > 40
        assert all("--hash=sha256:" in requirement for requirement in requirements)
        assert "://" not in text and "scripts/lock" in text
