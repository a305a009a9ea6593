"""What only a GPU shows; `make test-gpu` runs it, beside what `tests/conftest.py` names."""

import numpy as np
import pytest
from devices import has_gpu
from end_to_end.soak import assert_equal, end_group, start
from processes import output_of, wait_until
from synthetic import prepared_data, softmax_regression

from tfprune import layout
from tfprune.backend import tf
from tfprune.pruning.weights import read_weights, write_weights
from tfprune.training.epoch_program import Feeding
from tfprune.training.optimizers import SGD
from tfprune.training.resident import ResidentProgram
from tfprune.training.schedules import fixed

pytestmark = pytest.mark.skipif(not has_gpu(), reason="TensorFlow sees no GPU")
STUDY = (
    "sparse_double_descent", "--preset=smoke", "--levels=1", "--seeds=0", "--momentum=0.9",
    "--checkpoint_seconds=0",
)  # fmt: skip
NETWORKS = {
    "lenet": ("--train_epochs=60",),
    "resnet20": ("--model=resnet20", "--augment=flip_shift", "--train_epochs=15"),
}


def kill_in(level, command, folder):
    """kill -9 when the level has a checkpoint, or is done if that went unseen."""
    process = start(*command)
    saved = [f"trials/*/seed_0/{level}/{name}" for name in (layout.CHECKPOINTS[0], layout.RESULT)]
    wait_until(lambda: any(any(folder.glob(pattern)) for pattern in saved), process, level)
    end_group(process)


@pytest.mark.parametrize("flags", NETWORKS.values(), ids=NETWORKS)
def test_two_studies_and_a_killed_one_end_with_the_same_bits(flags, tmp_path):
    """All three at once: they share the card."""
    folders = whole, again, killed = [tmp_path / name for name in ("whole", "again", "killed")]
    commands = [(*STUDY, *flags, f"--output_dir={folder}") for folder in folders]
    both = [start(*command) for command in commands[:2]]
    for level in ("level_00", "level_01"):
        kill_in(level, commands[2], killed)
    for process in (*both, start(*commands[2])):
        _, text = output_of(process)
        assert process.returncode == 0, text
    assert_equal(again, whole)
    assert_equal(killed, whole)


def trained(matmul, dtype="float32"):
    """A kernel after an epoch, from weights that all start with."""
    data = prepared_data(examples=512, side=8)
    model = softmax_regression(data, dtype)
    start = read_weights(softmax_regression(data, "float32"))
    write_weights(model, {name: value.astype(dtype) for name, value in start.items()})
    model.compile(SGD(0.05))
    program = ResidentProgram(model, 64, jit=True, matmul=matmul)
    program.attach(data, Feeding(0, 0, fixed(0.05)))
    program.run_steps(0)
    return model.get_weights()[0]


def test_steps_round_products_where_they_may_and_nowhere_else():
    exact = trained("ieee", "float64")
    off = {kind: np.abs(trained(kind) - exact).max() for kind in ("ieee", "tf32")}
    assert off["ieee"] < 1e-5
    (gpu, *_) = tf.config.list_physical_devices("GPU")
    if tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) >= (8, 0):
        assert off["tf32"] > 3 * off["ieee"]
