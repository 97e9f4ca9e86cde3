"""TensorFlow is imported without a word, unless it is a real error."""

import os
import subprocess
import sys

import pytest

NOTICES = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1795830604.271292    5911 port.cc:153] oneDNN custom operations are on.\n"
    "E0000 00:00:1795830604.271292    5911 cuda_fft.cc:467] Unable to register cuFFT factory.\n"
    "2026-11-28 01:50:04.660615: W tensorflow/core/platform/x.cc:1] An older form.\n"
)
OTHER = "A module that was compiled with another NumPy\nI0000 is how a sentence can begin\n"
LOAD = "import sys; from anomaly.tensorflow_start import load_keras, load_tensorflow\n"


def run(code, folder=None, **variables):
    """Run a program in a bare environment; with a folder, TensorFlow is what lies there."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    if folder is not None:
        inherited["PYTHONPATH"] = str(folder)
    return subprocess.run([sys.executable, "-c", LOAD + code], env=inherited | variables, capture_output=True, text=True)


def pretend(folder, body):
    """Make a TensorFlow that writes all sorts of lines to file descriptor 2, and then does something."""
    (folder / "tensorflow.py").write_text(f"import os, sys\nos.write(2, {NOTICES + OTHER!r}.encode())\n{body}\n")
    return folder


def test_a_network_runs_without_a_word_where_onednn_is_on():
    code = (
        "tf, keras = load_tensorflow(), load_keras()\n"
        "tf.function(lambda a: a @ a, jit_compile=True)(tf.ones((4, 4)))\n"
        "keras.layers.Dense(3)(tf.ones((2, 2)))"
    )
    assert run(code, TF_ENABLE_ONEDNN_OPTS="1").stderr == ""


def test_what_is_no_notice_is_handed_on_in_its_order(tmp_path):
    code = "sys.stderr.write('before\\n'); load_tensorflow(); sys.stderr.write('after\\n')"
    assert run(code, pretend(tmp_path, "sys.stderr.write('by python\\n')")).stderr == f"before\n{OTHER}by python\nafter\n"


def test_after_an_error_everything_is_shown(tmp_path):
    found = run("load_tensorflow()", pretend(tmp_path, "raise ImportError('a library is missing')"))
    assert found.stderr.startswith(NOTICES + OTHER + "Traceback")
    assert found.stderr.endswith("ImportError: a library is missing\n")


def test_an_interruption_puts_standard_error_back(tmp_path):
    code = "try: load_tensorflow()\nexcept KeyboardInterrupt: sys.stderr.write('Interrupted.\\n')"
    assert run(code, pretend(tmp_path, "raise KeyboardInterrupt")).stderr == f"{OTHER}Interrupted.\n"


@pytest.mark.parametrize(("level", "shown"), [("0", NOTICES + OTHER), ("1", NOTICES + OTHER), ("2", OTHER), ("3", OTHER)])
def test_who_asks_for_the_log_gets_it(tmp_path, level, shown):
    assert run("load_tensorflow()", pretend(tmp_path, ""), TF_CPP_MIN_LOG_LEVEL=level).stderr == shown


@pytest.mark.parametrize(
    ("given", "chosen"), [({}, "0"), ({"TF_ENABLE_ONEDNN_OPTS": "1"}, "1"), ({"TF_ENABLE_ONEDNN_OPTS": ""}, "")]
)
def test_onednn_is_off_unless_the_user_has_a_word_on_it(tmp_path, given, chosen):
    seen = pretend(tmp_path, "print(repr(os.environ['TF_ENABLE_ONEDNN_OPTS']))")
    assert run("load_tensorflow()", seen, **given).stdout == f"{chosen!r}\n"


def test_threads_get_the_whole_module(tmp_path):
    code = (
        "import threading\n"
        "def use(): sys.stdout.write(load_tensorflow().done)\n"
        "threads = [threading.Thread(target=use) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "sys.stderr.write('after\\n')"
    )
    found = run(code, pretend(tmp_path, "import time; time.sleep(0.3); done = 'whole.'"))
    assert (found.stdout, found.stderr) == ("whole." * 8, f"{OTHER}after\n")


def test_in_a_process_of_ours_keras_comes_without_what_it_needs_for_nothing_here():
    code = (
        "from anomaly import quick_start\n"
        "quick_start.quick_pandas(); load_keras()\n"
        "print([name in sys.modules for name in ('keras', 'sklearn', 'matplotlib', 'PIL')])\n"
        "import sklearn.metrics, matplotlib.figure, PIL\n"
        "print(sklearn.metrics.f1_score([1], [1]))"
    )
    found = run(code)
    assert (found.stdout, found.stderr) == ("[True, False, False, False]\n1.0\n", "")


def test_in_a_process_of_ours_tensorflow_comes_without_keras_which_can_follow():
    code = (
        "from anomaly import quick_start\n"
        "quick_start.quick_pandas(); tf = load_tensorflow()\n"
        "print([name in sys.modules for name in ('tensorflow', 'keras', 'sklearn')])\n"
        "keras = load_keras()\n"
        "print(keras.layers.Dense(3)(tf.ones((2, 2))).shape, tf.keras.layers.Dense is keras.layers.Dense)"
    )
    found = run(code)
    assert (found.stdout, found.stderr) == ("[True, False, False]\n(2, 3) True\n", "")


@pytest.mark.parametrize(("ours", "seen"), [(True, "None"), (False, "sklearn")])
def test_a_program_of_others_keeps_the_keras_it_has(tmp_path, ours, seen):
    (tmp_path / "sklearn.py").write_text("")
    folder = pretend(tmp_path, "try: import sklearn\nexcept ImportError: sklearn = None\nprint(sklearn and sklearn.__name__)")
    code = f"from anomaly import quick_start\nif {ours}: quick_start.quick_pandas()\nload_tensorflow(); import sklearn"
    assert run(code, folder).stdout == f"{seen}\n"


FORKED = """
import multiprocessing, sys
import numpy as np
from anomaly import ConfigError, Detector

def fit(n):
    try:
        return len(Detector(window_size=8, units=2, epochs=1, steps_per_epoch=1, seed=0).fit(np.sin(np.arange(200) / 5)).columns_)
    except ConfigError as error:
        return str(error)

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.map(fit, [0]))
    print(fit(0))
    for way in ("fork", "spawn"):
        with multiprocessing.get_context(way).Pool(1) as pool:
            print(pool.map_async(fit, [0]).get(timeout=100))
"""


def test_a_training_in_a_process_that_was_forked_after_one_is_refused(tmp_path):
    script = tmp_path / "forked.py"
    script.write_text(FORKED)
    found = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=200)
    before, own, forked, fresh = found.stdout.splitlines()
    assert before == fresh == "[1]" and own == "1", found.stderr
    assert 'Make the pool with multiprocessing.get_context("spawn").' in forked
