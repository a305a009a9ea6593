"""What works with which parts of Keras: parameters of tests, and the page made of them.

`python tests/compatibility.py` writes docs/compatibility.md; tests/test_compatibility.py checks
that the page is up to date. A table of other parts: a list of rows and a line in `tables`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from functools import partial
from typing import Any

import tfprune

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "compatibility.md"
HEADING = """# What works with what

Made by `python tests/compatibility.py` from the parameters of the tests that show it, and checked
by a test. What is not in a table is refused in one line, or left out with a warning that says how
much of the network it is.
"""


@dataclasses.dataclass(frozen=True)
class Layer:
    """A kind of layer.

    Attributes:
      kernels: what its masks are called behind the layer's name; one that is alone has the
        layer's name.
      shape: of one example that it takes.
      make: makes it, given `keras.layers`.
      fan_in, outputs: how many inputs one output of each kernel sums over, and how many there are.
      flops: operations of one example's forward pass, two for each product with a kernel.
      default: the kernels that `prune_model` prunes unasked; None for all of them.
      filters: whether its filters are pruned and shrunk.
    """

    kernels: tuple[str, ...]
    shape: tuple[int, ...]
    make: Callable[[Any], Any]
    fan_in: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    flops: int = 0
    default: tuple[str, ...] | None = None
    filters: str = "-"

    @property
    def drawn(self) -> bool:
        """Whether `initialize` draws its kernels."""
        return not {"recurrent_kernel", "embeddings"} & {k.split("/")[-1] for k in self.kernels}


_ONE = ("kernel",)
_RECURRENT = ("kernel", "recurrent_kernel")
_HEADS = ("query/kernel", "key/kernel", "value/kernel", "output/kernel")
_BOTH = tuple(f"{way}/{kernel}" for way in ("forward", "backward") for kernel in _RECURRENT)

# Numbers by hand: a 3x3 window over 2 channels sums 18 inputs, and so on.
LAYERS = {
    "Dense": Layer(_ONE, (5,), lambda k: k.Dense(4), (5,), (4,), filters="yes", flops=2 * 5 * 4),
    "EinsumDense": Layer(
        _ONE,
        (3, 5),
        lambda k: k.EinsumDense("abc,cd->abd", (3, 4)),
        (5,),
        (4,),
        flops=2 * 3 * 5 * 4,
    ),
    "Conv1D": Layer(
        _ONE, (8, 2), lambda k: k.Conv1D(4, 3), (6,), (4,), filters="yes", flops=2 * 6 * 6 * 4
    ),
    "Conv2D": Layer(
        _ONE, (6, 6, 2), lambda k: k.Conv2D(4, 3), (18,), (4,), filters="yes", flops=2 * 16 * 18 * 4
    ),
    "Conv3D": Layer(
        _ONE,
        (4, 4, 4, 2),
        lambda k: k.Conv3D(3, 2),
        (16,),
        (3,),
        filters="yes",
        flops=2 * 27 * 16 * 3,
    ),
    "Conv1DTranspose": Layer(
        _ONE,
        (8, 2),
        lambda k: k.Conv1DTranspose(5, 3),
        (6,),
        (5,),
        filters="yes",
        flops=2 * 8 * 6 * 5,
    ),
    "Conv2DTranspose": Layer(
        _ONE,
        (6, 6, 2),
        lambda k: k.Conv2DTranspose(5, 3),
        (18,),
        (5,),
        filters="yes",
        flops=2 * 36 * 18 * 5,
    ),
    "Conv3DTranspose": Layer(
        _ONE,
        (4, 4, 4, 2),
        lambda k: k.Conv3DTranspose(3, 2),
        (16,),
        (3,),
        filters="yes",
        flops=2 * 64 * 16 * 3,
    ),
    "DepthwiseConv1D": Layer(
        ("depthwise_kernel",),
        (8, 2),
        lambda k: k.DepthwiseConv1D(3),
        (3,),
        (2,),
        default=(),
        flops=2 * 6 * 3 * 2,
    ),
    "DepthwiseConv2D": Layer(
        ("depthwise_kernel",),
        (6, 6, 2),
        lambda k: k.DepthwiseConv2D(3, depth_multiplier=2),
        (9,),
        (4,),
        filters="carried",
        default=(),
        flops=2 * 16 * 9 * 4,
    ),
    "SeparableConv1D": Layer(
        ("depthwise_kernel", "pointwise_kernel"),
        (8, 2),
        lambda k: k.SeparableConv1D(4, 3),
        (3, 2),
        (2, 4),
        default=("pointwise_kernel",),
        filters="yes",
        flops=2 * 6 * (3 * 2 + 2 * 4),
    ),
    "SeparableConv2D": Layer(
        ("depthwise_kernel", "pointwise_kernel"),
        (6, 6, 2),
        lambda k: k.SeparableConv2D(4, 3),
        (9, 2),
        (2, 4),
        default=("pointwise_kernel",),
        filters="yes",
        flops=2 * 16 * (9 * 2 + 2 * 4),
    ),
    "LocallyConnected1D": Layer(
        _ONE, (6, 2), lambda k: k.LocallyConnected1D(3, 3), (6,), (12,), flops=2 * 4 * 6 * 3
    ),
    "LocallyConnected2D": Layer(
        _ONE, (4, 4, 2), lambda k: k.LocallyConnected2D(3, 3), (18,), (12,), flops=2 * 4 * 18 * 3
    ),
    "SimpleRNN": Layer(
        _RECURRENT, (4, 3), lambda k: k.SimpleRNN(5), (3, 5), (5, 5), flops=2 * 4 * (3 + 5) * 5
    ),
    "GRU": Layer(
        _RECURRENT, (4, 3), lambda k: k.GRU(5), (3, 5), (15, 15), flops=2 * 4 * (3 + 5) * 15
    ),
    "LSTM": Layer(
        _RECURRENT, (4, 3), lambda k: k.LSTM(5), (3, 5), (20, 20), flops=2 * 4 * (3 + 5) * 20
    ),
    "ConvLSTM2D": Layer(
        _RECURRENT,
        (3, 4, 4, 2),
        lambda k: k.ConvLSTM2D(2, 2),
        (8, 8),
        (8, 8),
        flops=2 * 3 * 9 * (8 + 8) * 8,
    ),
    "RNN of stacked cells": Layer(
        tuple(f"cell{n}/{kernel}" for n in (0, 1) for kernel in _RECURRENT),
        (4, 3),
        lambda k: k.RNN([k.LSTMCell(5), k.GRUCell(2)]),
        (3, 5, 5, 2),
        (20, 20, 6, 6),
        flops=2 * 4 * ((3 + 5) * 20 + (5 + 2) * 6),
    ),
    "Bidirectional": Layer(
        _BOTH,
        (4, 3),
        lambda k: k.Bidirectional(k.LSTM(5)),
        (3, 5) * 2,
        (20,) * 4,
        flops=2 * 2 * 4 * (3 + 5) * 20,
    ),
    "TimeDistributed": Layer(
        _ONE, (4, 3), lambda k: k.TimeDistributed(k.Dense(5)), (3,), (5,), flops=2 * 4 * 3 * 5
    ),
    "MultiHeadAttention": Layer(
        _HEADS,
        (4, 6),
        lambda k: k.MultiHeadAttention(2, 3),
        (6, 6, 6, 6),
        (6, 6, 6, 6),
        flops=2 * (4 * 4 * 6 * 6 + 4 * 4 * 2 * (3 + 3)),
    ),
    "Embedding": Layer(
        ("embeddings",), (4,), lambda k: k.Embedding(9, 3), (9,), (3,), default=(), flops=0
    ),
}

# Why, in the words of the page.
LEFT_OUT = {
    "SpectralNormalization": "it rewrites its kernel in training",
    "TimeDistributed of a model": "its layers are inside a layer: apply the model step by step",
    "a layer of your own made of layers": "its layers are inside a layer: make it a function",
    "a subclass that ignores its constraint": "nothing would hold its zeros",
}


# --- Optimizers: what `keras` is given to makes one, with these settings.

_KINDS = {
    "SGD": lambda k, **more: k.optimizers.SGD(0.05, momentum=0.9, nesterov=True, **more),
    "Adam": lambda k, **more: k.optimizers.Adam(0.01, amsgrad=True, **more),
    "AdamW": lambda k, **more: k.optimizers.AdamW(0.01, **{"weight_decay": 0.1, **more}),
    "Adadelta": lambda k, **more: k.optimizers.Adadelta(1.0, **more),
    "Adafactor": lambda k, **more: k.optimizers.Adafactor(0.01, **more),
    "Adagrad": lambda k, **more: k.optimizers.Adagrad(0.05, **more),
    "Adamax": lambda k, **more: k.optimizers.Adamax(0.01, **more),
    "Ftrl": lambda k, **more: k.optimizers.Ftrl(0.05, **more),
    "Lion": lambda k, **more: k.optimizers.Lion(0.005, **more),
    "Nadam": lambda k, **more: k.optimizers.Nadam(0.01, **more),
    "RMSprop": lambda k, **more: k.optimizers.RMSprop(0.01, momentum=0.9, centered=True, **more),
    "tfprune.SGD": lambda k, **more: tfprune.SGD(0.05, momentum=0.9, l2=0.01, **more),
    "tfprune.Adam": lambda k, **more: tfprune.Adam(0.01, l2=0.01, **more),
}
_EMA = {"use_ema": True, "ema_momentum": 0.9}
_SETTINGS = {
    "use_ema": _EMA,
    "ema_overwrite_frequency": {**_EMA, "ema_overwrite_frequency": 3},
    "clipnorm": {"clipnorm": 0.1},
    "global_clipnorm": {"global_clipnorm": 0.1},
    "clipvalue": {"clipvalue": 0.01},
    "weight_decay": {"weight_decay": 0.1},
}


def _scaled(k: Any, **more: Any) -> Any:
    return k.mixed_precision.LossScaleOptimizer(_KINDS["SGD"](k, **more))


def _scheduled(k: Any) -> Any:
    return k.optimizers.SGD(k.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5), 0.9)


# (kind, setting) -> what makes it.
OPTIMIZERS: dict[tuple[str, str], Callable[[Any], Any]] = {
    **{(kind, ""): make for kind, make in _KINDS.items()},
    **{(kind, "use_ema"): partial(make, **_EMA) for kind, make in _KINDS.items()},
    **{("SGD", name): partial(_KINDS["SGD"], **more) for name, more in _SETTINGS.items()},
    ("SGD", "a schedule"): _scheduled,
    ("LossScaleOptimizer", ""): _scaled,
    ("LossScaleOptimizer", "use_ema"): partial(_scaled, **_EMA),
    ("legacy SGD", ""): lambda k: k.optimizers.legacy.SGD(0.05, momentum=0.9, nesterov=True),
    ("legacy Adam", ""): lambda k: k.optimizers.legacy.Adam(0.01, amsgrad=True),
    ("legacy Adadelta", ""): lambda k: k.optimizers.legacy.Adadelta(1.0),
    ("legacy Adagrad", ""): lambda k: k.optimizers.legacy.Adagrad(0.05),
    ("legacy Adamax", ""): lambda k: k.optimizers.legacy.Adamax(0.01),
    ("legacy Ftrl", ""): lambda k: k.optimizers.legacy.Ftrl(0.05),
    ("legacy Nadam", ""): lambda k: k.optimizers.legacy.Nadam(0.01),
    ("legacy RMSprop", ""): lambda k: k.optimizers.legacy.RMSprop(0.01, 0.9, 0.9, centered=True),
}  # fmt: skip

# What the error says.
OPTIMIZERS_REFUSED = {
    "one that its `get_config` does not make again": "cannot start afresh",
    "one that was built for two models": "variables that are not the model's",
}


# --- Outputs and labels.

CLASSES = 3


@dataclasses.dataclass(frozen=True)
class Task:
    """Outputs, a loss and the labels that it takes.

    Attributes:
      outputs: the words of the page for the model's end.
      width, end: how many outputs there are; their activation, or what makes a layer of `keras`.
      loss: what makes it, given `keras`; None for a model that is not compiled.
      loss_name: as the page calls it.
      labels: a key of `LABELS`.
      one_class: whether an example has one class.
      weight: of the loss.
    """

    outputs: str
    width: int
    end: Any
    loss: Callable[[Any], Any] | None
    loss_name: str
    labels: str
    one_class: bool = True
    weight: float | None = None


# The shapes on the page; test_task.py draws them.
LABELS = {
    "index": "classes, `[N]`",
    "column": "classes, `[N, 1]`",
    "one_hot": "one-hot, `[N, C]`",
    "binary": "0 or 1, `[N]`",
    "binary_column": "0 or 1, `[N, 1]`",
    "binary_float": "0.0 or 1.0, `[N]`",
    "many": "0 or 1 for each, `[N, C]`",
    "number": "numbers, `[N]`",
    "numbers": "numbers, `[N, C]`",
}


def softmax_focal(labels: Any, probabilities: Any) -> Any:
    """A loss of one's own, of one-hot labels."""
    import tensorflow as tf

    return -tf.reduce_sum(labels * (1 - probabilities) ** 2 * tf.math.log(probabilities), axis=-1)


def own_entropy(k: Any) -> Callable[[Any, Any], Any]:
    """A loss of one's own, of class numbers and logits."""
    entropy = k.losses.sparse_categorical_crossentropy
    return lambda labels, logits: 2 * entropy(labels, logits, from_logits=True)


def _softmax_lambda(k: Any) -> Any:
    import tensorflow as tf

    return k.layers.Lambda(tf.nn.softmax)


def _named(loss: str) -> Callable[[Any], str]:
    return lambda k: loss


def _logits(loss: str, **more: Any) -> Callable[[Any], Any]:
    return lambda k: getattr(k.losses, loss)(from_logits=True, **more)


_SPARSE, _ONE_HOT = "sparse_categorical_crossentropy", "categorical_crossentropy"
_BINARY = "binary_crossentropy"
_OF_LOGITS = "`from_logits=True`"
TASKS = {
    "uncompiled_logits": Task("logits", CLASSES, None, None, "not compiled", "index"),
    "sparse_logits": Task("logits", CLASSES, None, _logits("SparseCategoricalCrossentropy"),
                          f"`SparseCategoricalCrossentropy`, {_OF_LOGITS}", "index"),
    "sparse_column": Task("logits", CLASSES, None, _logits("SparseCategoricalCrossentropy"),
                          f"`SparseCategoricalCrossentropy`, {_OF_LOGITS}", "column"),
    "sparse_softmax": Task("softmax", CLASSES, "softmax", _named(_SPARSE), f"`{_SPARSE}`", "index"),
    "softmax_layer": Task("a `Softmax` layer", CLASSES, lambda k: k.layers.Softmax(),
                          _named(_SPARSE), f"`{_SPARSE}`", "index"),
    "softmax_lambda": Task("a `Lambda` of softmax", CLASSES, _softmax_lambda, _named(_SPARSE),
                           f"`{_SPARSE}`", "index"),
    "weighted": Task("softmax", CLASSES, "softmax", _named(_SPARSE),
                     f"`{_SPARSE}` with `loss_weights`", "index", weight=3.0),
    "one_hot_softmax": Task("softmax", CLASSES, "softmax", _named(_ONE_HOT), f"`{_ONE_HOT}`",
                            "one_hot"),
    "one_hot_logits_smoothed": Task(
        "logits", CLASSES, None, _logits("CategoricalCrossentropy", label_smoothing=0.1),
        f"`CategoricalCrossentropy`, {_OF_LOGITS}, `label_smoothing`", "one_hot"),
    "divergence": Task("softmax", CLASSES, "softmax", _named("kl_divergence"), "`kl_divergence`",
                       "one_hot"),
    "brier": Task("softmax", CLASSES, "softmax", _named("mse"), "`mse`", "one_hot"),
    "own_of_one_hot": Task("softmax", CLASSES, "softmax", lambda k: softmax_focal, "one's own",
                           "one_hot"),
    "own_of_classes": Task("logits", CLASSES, None, own_entropy, "one's own", "index"),
    "sigmoid": Task("one sigmoid", 1, "sigmoid", _named(_BINARY), f"`{_BINARY}`", "binary"),
    "sigmoid_column": Task("one sigmoid", 1, "sigmoid", _named(_BINARY), f"`{_BINARY}`",
                           "binary_column"),
    "sigmoid_float": Task("one sigmoid", 1, "sigmoid", lambda k: k.losses.BinaryCrossentropy(),
                          "`BinaryCrossentropy`", "binary_float"),
    "one_logit": Task("one logit", 1, None, _logits("BinaryCrossentropy"),
                      f"`BinaryCrossentropy`, {_OF_LOGITS}", "binary"),
    "sigmoid_squared": Task("one sigmoid", 1, "sigmoid", _named("mse"), "`mse`", "binary_column"),
    "multi_label": Task("sigmoids", CLASSES, "sigmoid", _named(_BINARY), f"`{_BINARY}`", "many",
                        False),
    "multi_label_logits": Task("logits", CLASSES, None, _logits("BinaryCrossentropy"),
                               f"`BinaryCrossentropy`, {_OF_LOGITS}", "many", False),
    "regression": Task("one number", 1, None, _named("mse"), "`mse`", "number", False),
    "regression_of_many": Task("numbers", CLASSES, None, lambda k: k.losses.Huber(), "`Huber`",
                               "numbers", False),
}  # fmt: skip

# Width, activation and loss of outputs that nothing gives a meaning, and what the error says.
OUTPUTS_REFUSED: list[tuple[int, str | None, str | None, str]] = [
    (1, None, None, "one output, which may be logits or any numbers: compile"),
    (1, "softmax", None, "may be logits"),
    (3, "relu", None, "ends in neither logits"),
    (1, "softmax", "categorical_crossentropy", "is 0 always"),
    (1, None, "sparse_categorical_crossentropy", "compile it with binary_crossentropy"),
]

# A task, labels that do not fit it, and what the error says.
LABELS_REFUSED: list[tuple[str, list[Any], str]] = [
    ("sparse_logits", [0, 3], "labels go from 0 to 3"),
    ("sparse_logits", [1, -1], "labels go from -1"),
    ("sparse_logits", [0.5, 1], "not fractions"),
    ("sparse_logits", [[0.5, 0.5, 0], [1, 0, 0]], "not one-hot"),
    ("sparse_logits", [[0, 0], [0, 0]], "shape (2, 2)"),
    ("own_of_classes", [0, 3], "classes 0 to 2"),
    ("sigmoid", [0, 2], "classes 0 to 1 apart, by one output"),
    ("sigmoid", [[1, 0], [0, 1]], "it has one output"),
    ("multi_label", [0, 1], "of shape [N, 3]"),
    ("multi_label", [[0], [1]], "of shape (2, 1)"),
    ("regression_of_many", [0, 0], "of shape [N, 3]"),
    ("brier", [0, 1], "of shape (2,)"),
    ("uncompiled_logits", ["cat", "dog"], "must be numbers"),
]


# --- Saving and loading.


@dataclasses.dataclass(frozen=True)
class Format:
    """A way in which a model goes to a file, or to another model.

    Attributes:
      file: where it is saved to; None where there is no file of one's own.
      state: what becomes of the optimizer's state, as the page says it.
      alike: of two models inside one, with layers of equal names, which only files tell apart.
      alike_deeper: of two models inside a model inside one.
      unknown: what it says of layers of one's own that are neither registered nor given as
        `custom_objects`; None where they are not made anew.
    """

    file: str | None = None
    state: str = "-"
    alike: str = "yes"
    alike_deeper: str = "yes"
    unknown: str | None = None


_KEPT, _LEFT_OUT = "kept", "Keras leaves it out"
_BY_US = ".h5 cannot hold this model"
_BY_KERAS = "name already exists"
_UNKNOWN = "layers of classes that are not known"
FORMATS = {
    "`.keras`": Format("model.keras", _KEPT, unknown=_UNKNOWN),
    "`.h5`": Format("model.h5", _KEPT, _BY_US, _BY_US, "Unknown layer"),
    "SavedModel": Format("saved_model", _LEFT_OUT, unknown=_UNKNOWN),
    "`save_weights`, `.weights.h5`": Format("model.weights.h5", _KEPT),
    "`save_weights`, `.h5`": Format("weights.h5", _LEFT_OUT, alike_deeper=_BY_KERAS),
    "`save_weights`, TensorFlow's format": Format("weights", _KEPT),
    "`tf.train.Checkpoint`": Format(state=_KEPT),
    "`set_weights(get_weights())`": Format(),
    "`clone_model` and `set_weights`": Format(),
    "`BackupAndRestore`": Format(state=_KEPT),
}


# --- The page.


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def optimizer_table() -> str:
    settings: dict[str, list[str]] = {}
    for kind, setting in OPTIMIZERS:
        settings.setdefault(kind, []).extend([setting] if setting else [])
    lines = [
        "## Optimizers",
        "",
        "Pruned weights are exactly 0 after every step and after `fit`, and a level that was "
        "rewound is, to the bit, a new training of the pruned network.",
        "",
        _cells("optimizer", "also with"),
        _cells("---", "---"),
    ]
    for kind, names in settings.items():
        named = ", ".join(name if " " in name else f"`{name}`" for name in names)
        lines.append(_cells(f"`{kind}`", named or "-"))
    lines += ["", _cells("refused by `RewindWeights` and `ReDense`", "it says"), "| --- | --- |"]
    lines += [_cells(kind, f"`{said}`") for kind, said in OPTIMIZERS_REFUSED.items()]
    return "\n".join(lines)


def task_table() -> str:
    lines = [
        "## Outputs and labels",
        "",
        "The compiled loss says what they mean. Criteria, losses, gradients and curvatures take "
        "every row; *classes*: accuracies, `el2n`, `utility`, `SubsetAccuracy` and `test=(images, "
        "labels)` of events, which are refused (accuracies: NaN) where an example has no one "
        "class. `C` is the number of outputs.",
        "",
        _cells("outputs", "loss", "labels", "classes"),
        _cells("---", "---", "---", "---"),
    ]
    for task in TASKS.values():
        classes = "yes" if task.one_class else "refused"
        lines.append(_cells(task.outputs, task.loss_name, LABELS[task.labels], classes))
    lines += ["", _cells("refused outputs", "loss", "it says"), "| --- | --- | --- |"]
    for width, activation, loss, said in OUTPUTS_REFUSED:
        outputs = f"{width}, {activation or 'no'} activation"
        lines.append(_cells(outputs, f"`{loss}`" if loss else "not compiled", f"`{said}`"))
    lines += ["", _cells("refused labels", "of", "it says"), "| --- | --- | --- |"]
    for name, labels, said in LABELS_REFUSED:
        task = TASKS[name]
        of = f"{task.outputs}, {task.loss_name}"
        lines.append(_cells(f"`{labels}`", of, f"`{said}`"))
    return "\n".join(lines)


def format_table() -> str:
    def says(outcome: str) -> str:
        return outcome if outcome == "yes" else f"refused: `{outcome}`"

    lines = [
        "## Saving and loading",
        "",
        "Weights and masks, of kernels and of filters, are the same afterwards, and the model "
        "trains on and can be pruned further. *Equal names*: two models inside, each with a layer "
        "`conv`; compiled ones. `.h5` holds them where the model is not compiled. *Own layers*: "
        "that are not registered and not given as `custom_objects`; given, they work.",
        "",
        _cells("way", "optimizer's state", "equal names", "and deeper inside", "own layers"),
        _cells("---", "---", "---", "---", "---"),
    ]
    for name, way in FORMATS.items():
        unknown = "-" if way.unknown is None else f"refused: `{way.unknown}`"
        alike = [says(way.alike), says(way.alike_deeper)] if way.file else ["-", "-"]
        lines.append(_cells(name, way.state, *alike, unknown))
    return "\n".join(lines)


def layer_table() -> str:
    lines = [
        "## Layers",
        "",
        "Exact zeros after every step, in `.keras`, `.h5` and SavedModel, stripped and copied; "
        "subclasses are like their class. *Default*: what `prune_model(model)` prunes unasked. "
        "*Filters*: `FilterPruning` and `FilterNoise` take them, by the name of the last mask, and "
        "`shrink` removes their dead filters (*carried*: those of the layer before). *Drawn*: the "
        "studies' initialization, `initialize`, draws its kernels; it refuses a model with others, "
        "by name. `flops` counts the products with all kernels of the table, but those of "
        "embeddings, which are looked up.",
        "",
        "| layer | masks of a layer `x` | default | filters | drawn |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, layer in LAYERS.items():
        alone = len(layer.kernels) == 1
        masks = "`x`" if alone else ", ".join(f"`x/{kernel}`" for kernel in layer.kernels)
        default = "yes" if layer.default is None else ", ".join(f"`{k}`" for k in layer.default)
        drawn = "yes" if layer.drawn else "refused"
        lines.append(
            f"| {name} | {masks} | {default or 'when named'} | {layer.filters} | {drawn} |"
        )
    lines += ["", "| left out, with a warning | why |", "| --- | --- |"]
    lines += [f"| {name} | {why} |" for name, why in LEFT_OUT.items()]
    return "\n".join(lines)


def page() -> str:
    tables = (layer_table, optimizer_table, task_table, format_table)
    return "\n".join([HEADING, *(f"{table()}\n" for table in tables)])


if __name__ == "__main__":
    PAGE.write_text(page())
