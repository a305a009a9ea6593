"""Which networks every test of networks builds: the deep ones wait for `test-slow`.

Their blocks are those of shallower ones, or bottlenecks, made of the same layers. Where a test
needs shortcuts and no depth, it takes `three_blocks`, or bottlenecks, `two_bottlenecks`.
"""

import contextlib
import math
from unittest import mock

import numpy as np
import pytest

from tfprune.backend import keras
from tfprune.catalog import MODELS
from tfprune.measures.evaluation import evaluator_of
from tfprune.models import resnet
from tfprune.models.blocks import conv_bn_relu, image_input, pooled_logits
from tfprune.models.kernel_table import kernels_of
from tfprune.models.widths import scaled
from tfprune.pruning.kernels import layers_by_name
from tfprune.pruning.weights import read_weights
from tfprune.pruning.wrapper import inner

DEEPER = ("resnet18", "resnet32", "resnet50", "resnet56", "resnet101", "vgg16")


def case(name, *values):
    """A pytest parameter set of a network."""
    return pytest.param(name, *values, marks=pytest.mark.slow if name in DEEPER else ())


EVERY_MODEL = [case(name) for name in MODELS]


def channels(model):
    """The filters or units of each layer with a kernel, by its name."""
    kernels = {name: kernels_of(inner(layer))[-1:] for name, layer in layers_by_name(model).items()}
    return {
        name: math.prod(kernel.variable.shape[axis] for axis in kernel.axes.outputs)
        for name, own in kernels.items()
        for kernel in own
    }


def evaluate(model, splits):
    """Loss and accuracy of a model, or of its `Evaluator`, as it is: `Metrics` by split."""
    evaluator = evaluator_of(model)
    return evaluator.at_points([read_weights(evaluator.model)], np.ones((1, 1)), splits)


def three_blocks(input_shape, num_classes, width=1.0, shortcut="projection"):
    """ResNet-20's blocks, three of nine: the second changes the shape, the others do not."""
    images = image_input(input_shape)
    filters = [scaled(base, width) for base in (16, 32)]
    x = conv_bn_relu(images, filters[0], 3, "conv1")
    x = resnet._stages(x, filters, (1, 2), resnet._basic_block, shortcut)
    return keras.Model(images, pooled_logits(x, num_classes), name="three_blocks")


def two_bottlenecks(input_shape, num_classes, width=1.0, shortcut="projection"):
    """ResNet-50's blocks, two of sixteen: the first has a projection, the second an identity."""
    images = image_input(input_shape)
    filters = [scaled(64, width)]
    x = conv_bn_relu(images, filters[0], 7, "conv1", strides=2)
    x = resnet._stages(x, filters, (2,), resnet._bottleneck_block, shortcut)
    return keras.Model(images, pooled_logits(x, num_classes), name="two_bottlenecks")


@contextlib.contextmanager
def three_blocks_added():
    """Inside, runs may name it."""
    with mock.patch.dict(MODELS._entries):
        MODELS.add("three_blocks", three_blocks, "", prunable="conv_dense", units=(16, 32))
        yield
