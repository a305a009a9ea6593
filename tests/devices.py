"""What devices tests have, what they need, and how exactly those compute."""

# The environment of processes that must not take a GPU: several of one training on one machine,
# logical devices of the CPU, and what is compared with numbers that a CPU made.
WITHOUT_GPUS = {"CUDA_VISIBLE_DEVICES": ""}
# How closely numbers agree that products in TensorFloat-32 made: it keeps ten bits of a factor, and
# single products were 3e-4 off.
_TF32 = 1e-3


def has_gpu():
    """Whether TensorFlow sees one."""
    from tfprune.backend import tf

    return bool(tf.config.list_physical_devices("GPU"))


def tolerance(ieee, matmul="tf32"):
    """How closely numbers agree that steps of training made, by the products in force.

    Everything else is IEEE float32 on every device: what evaluates, measures and scores by itself,
    what a test multiplies because `conftest.py` says so.

    Args:
      ieee: how closely on a CPU.
      matmul: as the setting; trainings that do not say otherwise round where a GPU can.
    """
    return max(ieee, _TF32) if matmul == "tf32" and has_gpu() else ieee
