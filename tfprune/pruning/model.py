"""Whole models: wrap their prunable layers, read and set their masks, strip them again."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tfprune.backend import keras, tf
from tfprune.errors import InputError, arguments_from, unknown_name
from tfprune.models.kernel_table import kernels_of
from tfprune.pruning.averaging import mask_averages
from tfprune.pruning.channel_masks import (
    has_masks,
    own_variables,
    plain_copy,
    with_channel_masks,
)
from tfprune.pruning.copies import copy_of, of_keras
from tfprune.pruning.kernels import counted_kernels, kernel_name, kernels_by_name, layers_by_name
from tfprune.pruning.masks import Masks
from tfprune.pruning.wrapper import (
    MaskedKernel,
    MaskedLayer,
    PruneLowMagnitude,
    inner,
    mask_of,
)

Layers = str | Sequence[str] | Callable[[keras.layers.Layer], bool]


def prune_model(
    model: keras.Model, layers: Layers = "default", filters: bool = False
) -> keras.Model:
    """A copy of a model whose prunable layers are wrapped, so that masks can be set.

    The copy has its own layers and weights, computes the same function, and is not compiled;
    the model that is given stays as it is. All masks are dense at first.

    `tfprune.models.kernel_table` says which kernels there are: of convolutions (transposed,
    depthwise and separable ones too), `Dense`, `EinsumDense`, `LSTM`, `GRU`, `SimpleRNN`,
    `ConvLSTM`, `MultiHeadAttention` and `Embedding`, inside `TimeDistributed` and `Bidirectional`
    too, and of subclasses. A mask goes by the layer's name, and by `LAYER/KERNEL` if the layer has
    several, as `lstm/recurrent_kernel`; layers of nested models whose names are equal go by
    `MODEL/LAYER`.

    Args:
      model: a built functional or sequential `tf_keras` model; layers may be shared and models
        nested. Its class is kept if it has no `__init__` of its own.
      layers: which layers' kernels are pruned. `default`, every kernel except depthwise ones and
        embeddings, which have to be named; a name that
        `tfprune.pruning.prunable.prunable_kernels` knows; a list of names of layers or of single
        kernels; or a function of a layer. What a name or a function chooses and cannot be pruned
        is left out.
      filters: whether whole filters are to be pruned: scale and shift of batch norms and biases
        get masks too, and are zero where a filter has no weight left.

    Raises:
      InputError: if the model is not a built functional or sequential `tf_keras` model, is pruned
        already, has methods of its own that the copy would not have, or a layer that is named
        cannot be pruned.

    Warns:
      UserWarning: of layers with weights that cannot be pruned, and of further kernels of a
        subclass, and how much of the network they are. `sparsity` does not count them.

    Example:
      >>> model = keras.Sequential([keras.layers.Dense(3, input_shape=(2,), name="output")])
      >>> pruned = prune_model(model)
      >>> set_masks(pruned, Masks({"output": [[1, 0, 1], [1, 1, 0]]}))
      >>> sparsity(pruned)
      0.3333333333333333
    """
    _check_model(model)
    _check_class(model)
    layers_in_it = layers_by_name(model).values()
    if any(isinstance(layer, MaskedLayer) for layer in layers_in_it):
        raise InputError(f"model {model.name!r} is wrapped already: use set_masks to prune it")
    if any(isinstance(layer, PruneLowMagnitude) for layer in layers_in_it):
        raise InputError(
            f"model {model.name!r} is wrapped by tensorflow-model-optimization: prune what its "
            "strip_pruning makes of it, whose zeros tfprune.masks_of reads"
        )
    chosen = _chosen_kernels(model, layers)

    def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        copy = with_channel_masks(layer) if filters else plain_copy(layer)
        return MaskedLayer(copy, chosen[id(layer)]) if id(layer) in chosen else copy

    return copy_model(model, copy_layer)


def strip(model: keras.Model) -> keras.Model:
    """The plain model inside a wrapped one: same function, layer names and sparse weights.

    It has its own weights and nothing of tfprune or tfmot in it; it is not compiled, and its
    pruned weights would move if it was trained.

    Raises:
      InputError: if the model is not a built functional or sequential `tf_keras` model.

    Warns:
      UserWarning: of pruned weights that are not 0, since something assigned them past the masks.
    """
    _check_model(model)
    _warn_of_returned(model)
    return copy_model(model, lambda layer: plain_copy(inner(layer)))


def _warn_of_returned(model: keras.Model) -> None:
    if not masked_layers(model):
        return
    masks, weights = get_masks(model), prunable_weights(model)
    counts = {name: np.count_nonzero(weights[name][~mask]) for name, mask in masks.items()}
    returned = {name: count for name, count in counts.items() if count}
    if returned:
        warnings.warn(
            f"{sum(returned.values())} pruned weights of {', '.join(returned)} are not 0, as a "
            "training loop without an optimizer of tf_keras leaves them: "
            "tfprune.set_masks(model, tfprune.get_masks(model)) zeroes them",
            stacklevel=3,
        )


def masked_layers(model: keras.Model) -> dict[str, MaskedLayer]:
    """The wrapped layers by the name of the layer inside, nested models included, in order."""
    layers = layers_by_name(model)
    return {name: layer for name, layer in layers.items() if isinstance(layer, MaskedLayer)}


def masked_kernels(model: keras.Model) -> dict[str, MaskedKernel]:
    """The kernels under masks of a wrapped model, by name, in the order of its `Masks`.

    Raises:
      InputError: if no layer is wrapped.
    """
    layers = masked_layers(model)
    if not layers:
        raise InputError(f"model {model.name!r} has no wrapped layer: call prune_model first")
    return {
        kernel_name(name, layer.layer, kernel): masked
        for name, layer in layers.items()
        for kernel, masked in layer.masked_kernels.items()
    }


def get_masks(model: keras.Model) -> Masks:
    """The masks of a wrapped model, with the number of weights in its other kernels.

    Raises:
      InputError: if no layer is wrapped.
    """
    masks = {name: kernel.mask.numpy() for name, kernel in masked_kernels(model).items()}
    return Masks(masks, never_pruned_weights(model))


def dense_masks(model: keras.Model) -> Masks:
    """The masks of a wrapped model of which nothing is pruned.

    Raises:
      InputError: if no layer is wrapped.
    """
    kernels = masked_kernels(model)
    shapes = {name: tuple(kernel.variable.shape) for name, kernel in kernels.items()}
    return Masks.dense(shapes, never_pruned_weights(model))


def never_pruned_weights(model: keras.Model) -> int:
    """Number of weights in a wrapped model's kernels that have no mask, embeddings left out."""
    masked = {id(kernel.variable) for kernel in masked_kernels(model).values()}
    return sum(
        math.prod(kernel.variable.shape)
        for kernel in counted_kernels(model).values()
        if id(kernel.variable) not in masked
    )


def set_masks(model: keras.Model, masks: Masks) -> None:
    """Sets all masks of a wrapped model and zeroes the weights they prune.

    Nothing is compiled anew. The optimizer keeps its slots; where weights are zero, so are the
    averages of them that it may keep (`use_ema`). In a model of `prune_model(..., filters=True)`,
    what belongs to filters follows: it is dead where a filter has no weight left, and trains again
    where it has. A shortcut that was cut stays so as long as its filter is dead.

    Raises:
      InputError: if no layer is wrapped, or the masks are of other layers or shapes.
    """
    set_kernel_masks(model, masks)
    if has_masks(model):
        from tfprune.pruning.dead_filters import follow_kernels  # It needs this module.

        follow_kernels(model, masks)


def set_kernel_masks(model: keras.Model, masks: Masks) -> None:
    """As `set_masks`, but nothing follows the kernels.

    Raises:
      InputError: as `set_masks`.
    """
    kernels = masked_kernels(model)
    shapes = {name: tuple(kernel.variable.shape) for name, kernel in kernels.items()}
    if masks.shapes != shapes:
        raise InputError(f"masks of {masks.shapes} do not fit the model's kernels {shapes}")
    optimizer = getattr(model, "optimizer", None)
    mask_averages(optimizer, model.variables, mask_of)  # Where a mask is lifted, from 0 on.
    for name, mask in masks.items():
        kernels[name].set_mask(mask)
    mask_averages(optimizer, model.variables, mask_of)


def apply_masks(model: keras.Model) -> None:
    """Zeroes the pruned weights, for when weights were assigned from elsewhere.

    Raises:
      InputError: if no layer is wrapped.
    """
    masked_kernels(model)  # It says what a model without any is.
    for variable in model.variables:
        if (mask := mask_of(variable)) is not None:
            variable.assign(variable * tf.cast(mask, variable.dtype))


def prunable_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """Name of the mask -> value of the kernel under it (a copy), in the order of the masks.

    Raises:
      InputError: if no layer is wrapped.
    """
    kernels = masked_kernels(model)
    return {name: np.array(kernel.variable.numpy()) for name, kernel in kernels.items()}


def sparsity(model: keras.Model) -> float:
    """The fraction of a wrapped model's convolution and dense kernel weights that is pruned.

    In [0, 1]; kernels that are not wrapped, and so never pruned, count (SDD 3.2).

    Raises:
      InputError: if no layer is wrapped.
    """
    return get_masks(model).sparsity


def kernels(model: keras.Model, names: Iterable[str]) -> dict[str, tf.Variable]:
    """The kernel variables of a wrapped or a plain model that masks of these names are on.

    Raises:
      InputError: if the model has no such layer, or the layer has no kernel.
    """
    known = kernels_by_name(model)
    found: dict[str, tf.Variable] = {}
    for name in names:
        if name not in known:
            raise InputError(f"model {model.name!r} has no layer {name!r} with a kernel")
        found[name] = known[name].variable
    return found


def copy_model(
    model: keras.Model, copy_layer: Callable[[keras.layers.Layer], keras.layers.Layer]
) -> keras.Model:
    """A copy of a model with each layer replaced by `copy_layer(layer)`, weights included.

    A layer that is used twice is copied once, in nested models too.

    Args:
      model: a built functional or sequential model.
      copy_layer: returns a new layer, not built, with weights of the same number and shapes (a
        `MaskedLayer` counts as the layer inside).

    Raises:
      InputError: a model has a `call` of its own, so that its layers are not its function.
    """
    new_model, copies = _copied(model, copy_layer)
    for old, new in copies:
        if not isinstance(old, keras.Model):
            values = keras.backend.batch_get_value(own_variables(inner(old)))
            keras.backend.batch_set_value(zip(own_variables(inner(new)), values, strict=True))
    return new_model


def copy_layers(
    model: keras.Model, copy_layer: Callable[[keras.layers.Layer], keras.layers.Layer]
) -> keras.Model:
    """As `copy_model`, with the weights that the new layers have, which may be of other shapes."""
    return _copied(model, copy_layer)[0]


def _copied(
    model: keras.Model, copy_layer: Callable[[keras.layers.Layer], keras.layers.Layer]
) -> tuple[keras.Model, list[tuple[keras.layers.Layer, keras.layers.Layer]]]:
    """The copy, and each layer with its copy."""
    copies: dict[int, tuple[keras.layers.Layer, keras.layers.Layer]] = {}

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if id(layer) not in copies:
            new = clone(layer) if isinstance(layer, keras.Model) else copy_layer(layer)
            copies[id(layer)] = (layer, new)
        return copies[id(layer)][1]

    def clone(part: keras.Model) -> keras.Model:
        if "call" in _own_methods(part):
            raise InputError(
                f"model {part.name!r} ({type(part).__name__}) has a call of its own, which a copy "
                "of its layers would not have: build it with the functional API"
            )
        new = keras.models.clone_model(part, clone_function=copy)
        if isinstance(part, keras.Sequential) and _keeps_class(part):
            object.__setattr__(new, "__class__", type(part))  # As Keras does for functional ones.
        if not new.built:  # A Sequential that was built by its first call.
            new.build(part.input_shape)
        name_outputs(new)
        return new

    return clone(model), list(copies.values())


def name_outputs(model: keras.Model) -> None:
    """Names the outputs of a wrapped model by the layers inside, as the plain model's are.

    Losses, metrics, labels and logs go by them where there are several. Keras names outputs by
    their layers, wrappers here, whenever it makes a model.
    """
    taken: list[str] = []
    for layer in getattr(model, "_output_layers", ()):
        name = inner(layer).name
        more = (f"{name}_{number}" for number in itertools.count(1))  # As Keras has it.
        taken.append(name if name not in taken else next(n for n in more if n not in taken))
    if not taken or taken == list(model.output_names):
        return
    object.__setattr__(model, "output_names", taken)  # Checkpoints know nothing of it, as Keras's.
    for container in (model.compiled_loss, model.compiled_metrics):
        if container is not None:
            container._output_names = taken
            container._built = False  # The first batch builds it, as that of a new model.


def with_dtype(model: keras.Model, dtype: str) -> keras.Model:
    """A plain copy of a wrapped or plain model that computes and stores in this dtype."""

    return copy_model(model, lambda layer: plain_copy(inner(layer), dtype=dtype))


def _chosen_kernels(model: keras.Model, layers: Layers) -> dict[int, list[str]]:
    """For the id of each layer to wrap, the names of its kernels that get masks."""
    by_name, kernels = layers_by_name(model), kernels_by_name(model)
    if callable(layers):
        names = [name for name, layer in by_name.items() if kernels_of(layer) and layers(layer)]
    elif isinstance(layers, str):
        names = _kernels_named(model, layers)
    else:
        names = list(layers)
        for name in names:
            if name not in by_name and name not in kernels:
                raise unknown_name("layers", name, by_name)
            if name not in kernels and not kernels_of(by_name[name]):
                raise InputError(
                    f"layer {name!r} ({type(by_name[name]).__name__}) has no kernel that can be "
                    "pruned: list the names of the layers to prune without it"
                )
    chosen: dict[int, list[str]] = {}
    for layer_name, layer in by_name.items():
        found = [
            kernel.name
            for kernel in kernels_of(layer)
            if layer_name in names or kernel_name(layer_name, layer, kernel.name) in names
        ]
        if found:
            chosen[id(layer)] = found
    if callable(layers) or isinstance(layers, str):
        left_out = [layer for layer in by_name.values() if not _can_mask(layer)]
        chosen = {key: found for key, found in chosen.items() if key not in map(id, left_out)}
        if not callable(layers):
            _warn_of(model, left_out)
    if not chosen:
        raise InputError(f"model {model.name!r} has no prunable layer among {', '.join(by_name)}")
    return chosen


def _kernels_named(model: keras.Model, which: str) -> list[str]:
    from tfprune.pruning.prunable import prunable_kernels

    with arguments_from(which="layers"):
        return prunable_kernels(model, which="conv_dense" if which == "default" else which)


def _can_mask(layer: keras.layers.Layer) -> bool:
    """Whether a layer of a built model can be pruned, or has nothing that people would prune."""
    kernels = kernels_of(layer)
    if not kernels:
        return not unknown_kernels(layer)
    if all(of_keras(type(kernel.owner)) for kernel in kernels) and of_keras(type(layer)):
        return True
    # A class of one's own may not apply its constraints: the wrapper sees when it is built.
    try:
        MaskedLayer(copy_of(layer)).build(layer.get_input_shape_at(0))
    except InputError:
        return False
    return True


def unknown_kernels(layer: keras.layers.Layer) -> list[tf.Variable]:
    """The weights of a built layer that people would prune, and that the table does not know."""
    kinds = keras.layers
    norms = (kinds.BatchNormalization, kinds.LayerNormalization, kinds.GroupNormalization)
    known = {id(kernel.variable) for kernel in kernels_of(layer)}
    if isinstance(layer, (*norms, kinds.PReLU)) or (known and of_keras(type(layer))):
        return []
    return [
        weight
        for weight in layer.trainable_weights
        if weight.shape.rank >= 2
        and id(weight) not in known
        and not (known and "bias" in _own_name(weight))  # Attention's have two axes.
    ]


def _own_name(weight: tf.Variable) -> str:
    return str(weight.name.split("/")[-1].split(":")[0])


def _warn_of(model: keras.Model, left_out: Sequence[keras.layers.Layer]) -> None:
    """Says which layers, and which kernels of the others, are neither pruned nor counted."""
    whole = model.count_params()
    if left_out:
        weights = sum(layer.count_params() for layer in left_out)
        named = ", ".join(f"{layer.name!r} ({type(layer).__name__})" for layer in left_out)
        warnings.warn(
            f"prune_model leaves out {len(left_out)} of the {len(layers_by_name(model))} layers of "
            f"{model.name!r} that tfprune cannot prune, {weights} of {whole} weights "
            f"({weights / whole:.0%}): {named}",
            stacklevel=4,
        )
    others = (layer for layer in layers_by_name(model).values() if layer not in left_out)
    unknown = {layer: found for layer in others if (found := unknown_kernels(layer))}
    if unknown:
        weights = sum(math.prod(weight.shape) for found in unknown.values() for weight in found)
        named = ", ".join(
            f"{', '.join(map(_own_name, found))} of {layer.name!r} ({type(layer).__name__})"
            for layer, found in unknown.items()
        )
        warnings.warn(
            f"prune_model leaves out kernels of {model.name!r} that tfprune does not know, "
            f"{weights} of {whole} weights ({weights / whole:.0%}): {named}",
            stacklevel=4,
        )


def _own_methods(model: keras.Model) -> list[str]:
    """What a model's class has of its own that Keras's models have too, but for configs."""
    classes = itertools.takewhile(lambda kind: not of_keras(kind), type(model).__mro__)
    own = [name for kind in classes for name in vars(kind)]
    known = {*dir(keras.Model)} - {"get_config", "from_config", "build"}
    return sorted(name for name in known & {*own} if not name.startswith("__"))


def _keeps_class(model: keras.Model) -> bool:
    """Whether a copy has the model's class: it is not made as others are made."""
    for kind in type(model).__mro__:
        if "__init__" in vars(kind):
            return of_keras(kind)
    return True


def _check_class(model: keras.Model) -> None:
    own = _own_methods(model)
    if own and not _keeps_class(model):
        name = type(model).__name__
        raise InputError(
            f"model {model.name!r} is a {name}, with {', '.join(own)} and __init__ of its own, so "
            "that a copy would not be one: prune keras.Model(model.inputs, model.outputs), and "
            f"make a {name} of the pruned model's inputs and outputs"
        )


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        if any(kind.__module__.split(".")[0] == "keras" for kind in type(model).__mro__):
            raise InputError(
                "a Keras 3 model cannot be pruned: build it with tf_keras, or with tf.keras after "
                "`import tfprune`; `import keras` is Keras 3"
            )
        raise InputError(f"a tf_keras model is needed, not {type(model).__name__}")
    if not isinstance(model, keras.Sequential) and not model._is_graph_network:
        raise InputError(
            f"model {model.name!r} is a subclassed model, whose layers cannot be replaced: "
            "build it with the functional API"
        )
    if not model.built:
        raise InputError(
            f"model {model.name!r} has no weights yet: give it an Input or call it on a batch"
        )
