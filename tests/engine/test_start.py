"""How a process imports TensorFlow: without what it does not need, and once and for all."""

import subprocess
import sys

CODE = """
import gc, sys
from tfprune.engine.start import import_tensorflow

import_tensorflow(0, "off")
frozen = gc.get_freeze_count()
import_tensorflow(0, "off")
assert gc.get_freeze_count() == frozen > 100_000 and gc.isenabled()
print(sorted({"keras", "matplotlib", "tensorflow"} & set(sys.modules)))
"""


def test_a_worker_imports_neither_keras_3_nor_what_draws_and_looks_for_no_garbage_in_it():
    process = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == "['tensorflow']"
