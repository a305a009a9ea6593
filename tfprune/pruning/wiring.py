"""How the layers of a network are connected: batch norms, branches and shortcuts."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from tfprune.backend import keras, tf
from tfprune.errors import InputError
from tfprune.pruning.channel_flow import inner, is_batch_norm, keeps_channels, mixes, nodes


class Wiring:
    """Who takes whose output in a model, wrapped or plain; models inside it are single layers."""

    def __init__(self, model: keras.Model) -> None:
        self.nodes = list(nodes(model))
        self.makers: dict[int, Any] = {}
        self.takers: dict[int, list[Any]] = defaultdict(list)
        for node in self.nodes:
            for tensor in tf.nest.flatten(node.outputs):
                self.makers[id(tensor)] = node
            for tensor in node.keras_inputs:
                self.takers[id(tensor)].append(node)

    @property
    def sums(self) -> list[Any]:
        """The nodes that add tensors of the network: `Add` layers, and operators as `a + b`."""
        return [node for node in self.nodes if _is_sum(node)]

    @property
    def adds(self) -> list[Any]:
        """The nodes of `Add` layers, by which shortcuts are found.

        Raises:
          InputError: the model adds tensors with an operator too.
        """
        self.refuse_operators()
        return self.sums

    def refuse_operators(self) -> None:
        """Refuses a model that adds tensors with an operator, where an `Add` layer is needed.

        Raises:
          InputError: it does.
        """
        for node in self.sums:
            if not _is_add(node.layer):
                raise InputError(
                    f"layer {node.layer.name!r} adds tensors with an operator, and shortcuts are "
                    "found by keras.layers.Add(): write keras.layers.Add()([a, b]) for a + b"
                )

    def batch_norms(self) -> dict[str, Any]:
        """Name of a convolution or dense layer -> the batch norm that alone takes its output."""
        found: dict[str, Any] = {}
        for node in self.nodes:
            taker = self._only_taker(node)
            if mixes(inner(node.layer)) and taker is not None and is_batch_norm(taker.layer):
                found[inner(node.layer).name] = taker.layer
        return found

    def shortcut_layers(self, name: str) -> list[str]:
        """The layers that make the channels which are added to those of this layer.

        Of two branches into a sum, that with fewer convolutions is the shortcut.
        """
        node = next(node for node in self.nodes if inner(node.layer).name == name)
        branch_end, add = self.to_add(node)
        if add is None:
            return []
        own = self.branch(branch_end)
        found: list[str] = []
        for tensor in add.keras_inputs:
            other = self.branch(tensor)
            if tensor is not branch_end and _convolutions(other) < _convolutions(own):
                found += _makers_of_channels(other)
        return found

    def identity_shortcuts(self) -> dict[str, int]:
        """`Add` layer name -> which of its inputs is an identity beside a convolution."""
        found: dict[str, int] = {}
        uses = Counter(id(node.layer) for node in self.nodes)
        for node in self.adds:
            if uses[id(node.layer)] > 1 or node.outputs.shape.rank != 4:
                continue
            branches = [self.branch(tensor) for tensor in node.keras_inputs]
            bare = [n for n, branch in enumerate(branches) if not any(x.weights for x in branch)]
            if len(bare) == 1 and any(_convolutions(branch) for branch in branches):
                found[node.layer.name] = bare[0]
        return found

    def _only_taker(self, node: Any) -> Any | None:
        takers = [t for tensor in tf.nest.flatten(node.outputs) for t in self.takers[id(tensor)]]
        return takers[0] if len(takers) == 1 else None

    def to_add(self, node: Any) -> tuple[Any, Any | None]:
        """The sum that a layer's output alone leads to, without a convolution between."""
        while True:
            taker = self._only_taker(node)
            if taker is not None and _is_sum(taker):
                return node.outputs, taker
            if taker is None or not keeps_channels(inner(taker.layer)):
                return node.outputs, None
            node = taker

    def branch(self, tensor: Any) -> list[Any]:
        """The layers that made a tensor, last first, back to where others take from too."""
        layers: list[Any] = []
        while len(self.takers[id(tensor)]) == 1:
            maker = self.makers[id(tensor)]
            if maker.is_input or len(maker.keras_inputs) != 1:
                break
            layers.append(inner(maker.layer))
            (tensor,) = maker.keras_inputs
        return layers


def _is_add(layer: Any) -> bool:
    return type(layer) is keras.layers.Add


def _is_sum(node: Any) -> bool:
    """Whether it adds tensors: an `Add`, or an operator of one shape; not that of a bias, say."""
    if _is_add(node.layer):
        return True
    if str(getattr(node.layer, "symbol", "")).split(".")[-1] != "add" or len(node.keras_inputs) < 2:
        return False
    return len({str(tensor.shape) for tensor in (*node.keras_inputs, node.outputs)}) == 1


def _convolutions(layers: list[Any]) -> int:
    return sum(mixes(layer) for layer in layers)


def _makers_of_channels(branch: list[Any]) -> list[str]:
    """The layers with weights on a branch, up to the convolution that made its channels."""
    found: list[str] = []
    for layer in branch:
        if mixes(layer) or (layer.weights and keeps_channels(layer)):
            found.append(layer.name)
        if not keeps_channels(layer):
            break
    return found
