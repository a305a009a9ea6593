"""The layers and kernels of a whole network by name, wrapped or plain, nested models included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tfprune.backend import keras
from tfprune.models.blocks import is_gate
from tfprune.models.kernel_table import EMBEDDING, Kernel, kernels_of
from tfprune.pruning.wrapper import inner


def layers_by_name(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Every layer that is no model, once, in order; wrapped ones as they are.

    A layer goes by its own name, that of the layer inside the wrapper. Where two layers, in
    different nested models, share it, they go by their paths, `MODEL/LAYER`.
    """
    found = list(leaf_layers(model))
    counts = Counter(inner(layer).name for _, layer in found)
    return {
        path if counts[inner(layer).name] > 1 else inner(layer).name: layer for path, layer in found
    }


def names_of_layers(model: keras.Model) -> dict[int, str]:
    """The names of `layers_by_name`, by the id of the layer, of that inside the wrapper."""
    return {id(inner(layer)): name for name, layer in layers_by_name(model).items()}


def kernels_by_name(model: keras.Model) -> dict[str, Kernel]:
    """Every kernel that the table knows, in order, by the name that its mask has.

    That is the layer's name if the layer has one kernel only, as `conv1`, and else the layer's
    and the kernel's, as `lstm/recurrent_kernel`.
    """
    return {
        kernel_name(name, inner(layer), kernel.name): kernel
        for name, layer in layers_by_name(model).items()
        for kernel in kernels_of(inner(layer))
    }


def counted_kernels(model: keras.Model) -> dict[str, Kernel]:
    """The kernels whose weights sparsity counts: all but gates and tables of embeddings."""
    return {
        name: kernel
        for name, kernel in kernels_by_name(model).items()
        if kernel.axes.kind != EMBEDDING and not is_gate(kernel.owner)
    }


def kernel_name(layer_name: str, layer: keras.layers.Layer, kernel: str) -> str:
    """What a kernel is called among those of the whole network."""
    return layer_name if len(kernels_of(layer)) == 1 else f"{layer_name}/{kernel}"


def leaf_layers(
    model: keras.Model, prefix: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, keras.layers.Layer]]:
    """The walk over a network: its layers that are no models, in order, each once, wrapped or not.

    Args:
      model: a built model.
      prefix: what their paths begin with.
      seen: the ids of layers that are left out; those that come next are added.

    Yields:
      The path of the layer inside the wrapper, `LAYER` or `MODEL/LAYER`, and the layer as it is.
    """
    seen = set() if seen is None else seen
    for layer in model.layers:
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        if isinstance(inner(layer), keras.Model):
            yield from leaf_layers(inner(layer), f"{prefix}{inner(layer).name}/", seen)
        else:
            yield prefix + inner(layer).name, layer
