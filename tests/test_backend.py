"""Keras 3 beside tfprune: refused when the program loaded it, harmless when TensorFlow did."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

import tfprune


def run(code, **environment):
    env = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    return subprocess.run(
        [sys.executable, "-c", f"import gc; gc.disable()\n{code}"],
        env={**env, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("loaded", "refused"),
    [
        (("keras", "tfprune"), True),
        (("tensorflow", "keras", "tfprune"), True),  # `import keras`, or `tf.keras` was used.
        (("keras", "tensorflow", "tfprune"), False),  # TensorFlow did it on its own.
        (("keras", "tensorflow", "tf_keras", "tfprune"), False),
        (("tensorflow_datasets", "tfprune", "keras", "tensorflow"), False),
        (("tfprune", "tensorflow", "keras"), False),
        (("tfprune",), False),
    ],
)
def test_keras_3_came_first_where_the_program_loaded_it_before_tfprune(
    loaded, refused, monkeypatch
):
    """Modules in the order in which their imports were finished."""
    from tfprune import backend

    modules = {name: SimpleNamespace(__version__="3.9.0") for name in loaded}
    monkeypatch.setattr(backend, "sys", SimpleNamespace(modules=modules))
    assert backend._keras_3_came_first() == refused


# The same in real processes, which take long to start. `import keras` before a command:
# end_to_end/test_sparse_double_descent.py.
@pytest.mark.slow
def test_keras_3_loaded_first_is_refused_in_one_sentence():
    process = run("import tensorflow as tf; tf.keras.layers.Dense\nimport tfprune.backend")
    assert process.returncode != 0
    assert process.stderr.splitlines()[-1].startswith("ImportError: Keras 3 was loaded before")


@pytest.mark.parametrize(
    "first",
    [
        "import tensorflow",
        pytest.param("import tf_keras", marks=pytest.mark.slow),
        pytest.param("import tensorflow_datasets", marks=pytest.mark.slow),
    ],
)
def test_anything_else_may_come_first(first):
    process = run(f"{first}\nfrom tfprune.backend import keras\nprint(keras.__version__)")
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("2.")


TWO_LAYERS = "L = {0}.layers\nm = {0}.Sequential([L.Dense(4, input_shape=(3,)), L.Dense(2)])\n"
IN_IT = (
    "i = {0}.Input((4, 4, 3))\n"
    "m = {0}.Model(i, {0}.layers.SpectralNormalization(L.Conv2D(4, 3))(i))\n"
)


def test_tf_keras_is_what_tf_dot_keras_is_once_tfprune_was_imported_and_keras_3_is_refused():
    """SpectralNormalization of tf_keras says tf.keras inside."""
    count = "print(len(tfprune.get_masks(tfprune.prune_model(m))))\n"
    mine = "".join(f"{TWO_LAYERS}{count}{IN_IT}".format(k) for k in ("tf.keras", "tf_keras"))
    other = f"{TWO_LAYERS}tfprune.prune_model(m)".format("keras")
    process = run(f"import tfprune\nimport tensorflow as tf, keras, tf_keras\n{mine}{other}")
    assert process.stdout.split() == ["2", "2"], process.stderr
    assert process.returncode != 0
    assert "build it with tf_keras, or with tf.keras" in process.stderr.splitlines()[-1]


def test_importing_tfprune_loads_nothing():
    process = run(
        "import sys, tfprune\nprint(sorted({'tensorflow', 'numpy', 'etils'} & set(sys.modules)))"
    )
    assert process.stdout.strip() == "[]"


def test_every_exported_name_exists():
    assert all(hasattr(tfprune, name) for name in tfprune.__all__)


def test_a_function_that_raises_while_it_is_mapped_leaves_nothing_behind():
    """TensorFlow's own `map_fn` leaves a caching device, and then no strategy begins any more."""
    from tfprune.backend import map_in_turn, tf

    @tf.function
    def program():
        def fails(element):
            raise RuntimeError("no such labels")

        return map_in_turn(fails, tf.range(3), tf.TensorSpec([], tf.int32))

    with pytest.raises(RuntimeError, match="no such labels"):
        program()
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        assert tf.Variable(1.0).numpy() == 1
    doubled = tf.function(
        lambda: map_in_turn(lambda x: 2 * x, tf.range(3), tf.TensorSpec([], tf.int32))
    )
    assert doubled().numpy().tolist() == [0, 2, 4]
