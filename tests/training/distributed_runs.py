"""Trainings that test_distributed.py runs in processes of their own, and what it needs of them.

`python distributed_runs.py mirrored OUT`: on one device and on two CPU devices, all in one process.
`python distributed_runs.py worker OUT`: the training that two worker processes share.
"""

import dataclasses
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from synthetic import prepared_data, softmax_regression

from tfprune.backend import keras, tf
from tfprune.catalog import MODELS
from tfprune.config import from_settings
from tfprune.data.prepare import prepare
from tfprune.data.settings import DataConfig
from tfprune.data.sources import load_source
from tfprune.errors import InputError, SettingError
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import masked_layers
from tfprune.pruning.weights import read_weights, under_masks
from tfprune.training import runtime, schedules, strategies
from tfprune.training.distributed import DistributedProgram, DistributedStreamedProgram
from tfprune.training.epoch_program import Feeding
from tfprune.training.evaluating import evaluate
from tfprune.training.optimizers import SGD
from tfprune.training.resident import ResidentProgram
from tfprune.training.streamed import StreamedProgram
from tfprune.training.trainer import Trainer, TrainingOutputs, TrainingPlan

BATCH, EPOCHS = 16, 3
SETTINGS = {
    "width": 0.3,
    "dtype": "float64",
    "jit": "off",
    "train_epochs": EPOCHS,
    "batch_size": BATCH,
    "momentum": 0.9,
    "learning_rate": 0.05,
    "lr_drop_epochs": (2,),
    "weight_decay": 1e-3,
}
CONVOLUTIONS = {"model": "two_convolutions"}
DENSE = {"model": "lenet_300_100", "width": 0.1}


def two_convolutions(input_shape, num_classes, width):
    """Batch norm behind each; deeper networks only take longer to trace, once for each device."""
    layers = keras.layers
    x = inputs = keras.Input(input_shape, name="images")
    for name in ("conv1", "conv2"):
        x = layers.Conv2D(round(16 * width), 3, padding="same", use_bias=False, name=name)(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"{name}_bn")(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="logits")(x))


def add_model():
    """Registers it, which is for this process's trainings alone."""
    properties = {"prunable": "conv", "units": (16,)}
    MODELS.add("two_convolutions", two_convolutions, "with batch norm", **properties)


def data_of(examples):
    """3 full batches and a rest; the rest of 61 is odd, that of 49 less than the replicas."""
    return prepared_data(
        examples=examples, test_examples=21, val_examples=5, side=8, channels=3, seed=1
    )


def trainer_of(strategy, **changes):
    config = from_settings({**SETTINGS, "strategy": strategy, **changes})
    runtime.configure(config)
    return config, Trainer(config, (8, 8, 3), 3)


def plan_of(config, trainer, **changes):
    """Half of the weights pruned, flips and shifts on."""
    rng, initial = np.random.default_rng(2), trainer.initial_weights(3)
    halves = {name: rng.random(mask.shape) < 0.5 for name, mask in trainer.dense_masks.items()}
    values = {
        "seed": 3,
        "level": 1,
        "weights": initial,
        "masks": Masks(halves),
        "initial": initial,
        "schedule": schedules.training_schedule(config.training),
        "epochs": EPOCHS,
        "augment": "flip_shift",
    }
    return TrainingPlan(**{**values, **changes})


def outputs_of(folder, **changes):
    return TrainingOutputs(Path(folder), Path(folder) / "tensorboard", **changes)


def train(trainer, data, plan, folder=None, **changes):
    """Final weights and rows of metrics."""
    rows = trainer.train(data, plan, outputs_of(folder or tempfile.mkdtemp(), **changes))
    return read_weights(trainer.model), rows


class PowerCutError(Exception):
    pass


def cut_after(epochs):
    """What to call after every epoch, to be interrupted after this many."""
    done = []

    def advance(logs):
        done.append(logs)
        if len(done) == epochs:
            raise PowerCutError

    return advance


def interrupted(trainer, data, plan, folder):
    """Trains until the second epoch, with a checkpoint after the first."""
    try:
        train(trainer, data, plan, folder, checkpoint_seconds=0, advance=cut_after(2))
    except PowerCutError:
        return
    raise AssertionError("was not interrupted")


def difference(one, other):
    """The largest difference of any weight, and of any metric but the time."""
    weights = max(float(np.abs(one[0][name] - other[0][name]).max()) for name in one[0])
    metrics = max(
        abs((row[name] or 0) - (also[name] or 0))
        for row, also in zip(one[1], other[1], strict=True)
        for name in row
        if name != "wall_seconds"
    )
    return {"weights": weights, "metrics": float(metrics), "epochs": len(one[1])}


def pair_of(**changes):
    """What trains on one device, and on two."""
    return [trainer_of(strategy, **changes) for strategy in ("cpu", "mirrored")]


def compare(pair, data):
    """One device against two, everything else the same."""
    ends = [train(trainer, data, plan_of(config, trainer)) for config, trainer in pair]
    config, trainer = pair[-1]
    plan = plan_of(config, trainer)
    return {
        **difference(*ends),
        "moved": moved(ends[0], plan),
        "replicas": replicas(trainer, plan, ends[1][0]),
    }


def moved(end, plan):
    """How far training went: an agreement of networks that stayed put would say nothing."""
    start = under_masks(plan.weights, plan.masks)
    return max(float(np.abs(end[0][name] - start[name]).max()) for name in end[0])


def replicas(trainer, plan, end):
    """Every replica's copy of the kernels after a training with masks."""
    network = trainer.model.program._network
    wrapped = masked_layers(network.model)
    pruned, apart = 0.0, 0.0
    for name, mask in plan.masks.items():
        held = network.strategy.experimental_local_results(wrapped[name].kernel)
        copies = [copy.numpy() for copy in held]
        pruned = max(pruned, *(float(np.abs(copy[~mask]).max(initial=0)) for copy in copies))
        apart = max(apart, *(float(np.abs(copy - end[f"{name}/kernel"]).max()) for copy in copies))
    return {"pruned": pruned, "apart": apart, "copies": len(copies)}


def rewinding(pair, data):
    """To the middle of epoch 2 and on: on one device, and on two."""
    ends = []
    for config, trainer in pair:
        middle = trainer.train_to(data, plan_of(config, trainer), step=6)
        rest = plan_of(config, trainer, weights=middle, start_step=6)
        ends.append((middle, train(trainer, data, rest)))
    gap = max(float(np.abs(ends[0][0][name] - ends[1][0][name]).max()) for name in ends[0][0])
    return {"middle": gap, **difference(ends[0][1], ends[1][1])}


def moving_a_checkpoint(pair, data):
    """Interrupted on two devices, ended on one; against two devices all the way."""
    (_, one), (config, two) = pair
    plan = plan_of(config, two)
    whole = train(two, data, plan)
    folder = tempfile.mkdtemp()
    interrupted(two, data, plan, folder)
    return difference(whole, train(one, data, plan, folder))


def programs(data, plain, distributed, feeding, **options):
    """The weights and metrics of a softmax regression after an epoch of two programs."""
    ends, start = [], None
    for program, arguments in (
        (plain, {"jit": False}),
        (
            distributed,
            {
                "distribution": strategies.distribution_of(from_settings({"strategy": "mirrored"})),
                **options,
            },
        ),
    ):
        model = softmax_regression(data)
        start = start or model.get_weights()
        model.set_weights(start)
        model.compile(SGD(0.1, momentum=0.9, l2=0.01))
        made = program(model, 4, **arguments)
        made.attach(data, feeding)
        metrics = {name: float(value) for name, value in made.run(0).items()}
        ends.append((dict(enumerate(model.get_weights())), [metrics]))
    return ends


def streaming():
    """A folder of images of several sizes, in batches of 4 with a rest of 1, then of 3."""
    found = {}
    for each in (3, 5):
        data = streamed_data(each)
        feeding = Feeding(0, 1, schedules.fixed(0.1), "crop_flip")
        ends = programs(data, StreamedProgram, DistributedStreamedProgram, feeding)
        found[f"rest of {3 * each % 4}"] = difference(*ends)
    return found


def streamed_data(each):
    root, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog", "owl"):
            (root / split / name).mkdir(parents=True)
            for number in range(each):
                pixels = rng.integers(0, 255, (6 + number, 7, 3)).astype(np.uint8)
                encoded = tf.io.encode_png(pixels).numpy()
                (root / split / name / f"{number}.png").write_bytes(encoded)
    config = DataConfig(dataset=f"folder:{root}", augment="crop_flip")
    data = prepare(load_source(config), config, seed=0)
    small = dataclasses.replace(data.source, resize=5, crop=4)
    return dataclasses.replace(data, source=small)


def a_large_split():
    """More test examples than all replicas take at once, and an odd number."""
    data = prepared_data(examples=12, test_examples=4501)
    feeding = Feeding(0, 0, schedules.fixed(0.1))
    return difference(*programs(data, ResidentProgram, DistributedProgram, feeding))


def dropping():
    """As a TPU demands: the rest of 2 of 10 examples is left out, and said once."""
    data = prepared_data(examples=10)
    feeding = Feeding(0, 0, schedules.fixed(0.1), stop_step=2)
    ends = programs(data, ResidentProgram, DistributedProgram, feeding)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        whole = Feeding(0, 0, schedules.fixed(0.1))
        dropped = programs(data, ResidentProgram, DistributedProgram, whole, drop_remainder=True)[1]
    said = [str(w.message) for w in caught if "random order" in str(w.message)]
    model = softmax_regression(data)
    model.compile(SGD(0.1))
    mirrored = strategies.distribution_of(from_settings({"strategy": "mirrored"}))
    program = DistributedProgram(model, 16, mirrored, drop_remainder=True)
    try:
        program.attach(data, whole)
    except SettingError as error:
        refused = str(error)
    return {**difference(ends[0], dropped), "said": said, "refused": refused}


def too_late():
    """What TensorFlow cannot do once it has started."""
    messages = []
    task = {"type": "worker", "index": 0}
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": ["localhost:1", "localhost:2"]}, "task": task}
    )
    for attempt in (
        lambda: strategies.split_cpu(4),
        strategies._multi_worker_strategy,
    ):
        try:
            attempt()
        except InputError as error:
            messages.append(str(error))
    return messages


def mirrored(out):
    strategies.split_cpu(2)
    # Most of the time goes into building and tracing them.
    adam, few = pair_of(**DENSE, optimizer="adam"), data_of(49)
    found = {
        "convolutions": compare(pair_of(**CONVOLUTIONS, optimizer="nesterov"), data_of(61)),
        "float32": compare(pair_of(**CONVOLUTIONS, dtype="float32"), data_of(61)),
        "few": compare(adam, few),
        "rewinding": rewinding(adam, few),
        "checkpoint": moving_a_checkpoint(adam, few),
        "streaming": streaming(),
        "large": a_large_split(),
        "dropping": dropping(),
        "device": runtime.device_description(from_settings({"strategy": "mirrored"})),
        "too late": too_late(),
    }
    Path(out).write_text(json.dumps(found))


def shared(strategy, out):
    """One training, interrupted and taken up again; in each of its processes."""
    config, trainer = trainer_of(strategy, **CONVOLUTIONS)
    folder = tempfile.mkdtemp()
    data, plan = data_of(61), plan_of(config, trainer)
    if not trainer.distribution.is_chief:  # The chief's plan is what counts.
        plan = dataclasses.replace(
            plan, weights={name: 0 * value for name, value in plan.weights.items()}
        )
    interrupted(trainer, data, plan, folder)
    files = sorted(path.name for path in Path(folder).iterdir())
    weights, rows = train(trainer, data, plan, folder)
    told = trainer.distribution.from_chief({"from": trainer.distribution.worker.index, "x": [None]})
    trainer.distribution.from_chief(0)  # All have come here.
    evaluated = evaluate(trainer, data, weights, plan.masks)["test_loss"]
    np.savez(out, **weights)
    facts = {"rows": rows, "files": files, "told": told, "evaluated": evaluated}
    facts["device"] = runtime.device_description(config)
    Path(out).with_suffix(".json").write_text(json.dumps(facts))


if __name__ == "__main__":
    add_model()
    keras.utils.set_random_seed(0)
    if sys.argv[1] == "mirrored":
        mirrored(sys.argv[2])
    else:
        shared("multi_worker", sys.argv[2])
