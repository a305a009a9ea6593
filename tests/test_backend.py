"""Keras 3 beside tfprune: refused when the program loaded it, harmless when TensorFlow did."""

import os
import subprocess
import sys

import pytest


def run(code, **environment):
    env = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**env, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "first", ["import keras", "import tensorflow as tf; tf.keras.layers.Dense"]
)
def test_keras_3_loaded_first_is_refused_in_one_sentence(first):
    process = run(f"{first}\nimport tfprune.backend")
    assert process.returncode != 0
    assert process.stderr.splitlines()[-1].startswith("ImportError: Keras 3 was loaded before")


@pytest.mark.parametrize(
    "first", ["", "import tensorflow", "import tf_keras", "import tensorflow_datasets"]
)
def test_anything_else_may_come_first(first):
    process = run(f"{first}\nfrom tfprune.backend import keras\nprint(keras.__version__)")
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("2.")


def test_importing_tfprune_loads_nothing():
    process = run(
        "import sys, tfprune\nprint(sorted({'tensorflow', 'numpy', 'etils'} & set(sys.modules)))"
    )
    assert process.stdout.strip() == "[]"


def test_every_exported_name_exists():
    process = run("import tfprune\nfor name in tfprune.__all__: getattr(tfprune, name)")
    assert process.returncode == 0, process.stderr
