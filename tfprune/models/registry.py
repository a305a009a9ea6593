"""The models and their initializations by name. Add one: a function and a line here.

`prunable` names the kernels that `--prunable=default` prunes: `conv_dense` every convolution and
dense kernel, `conv` every convolution, `hidden` all but the output layer's. `units` are the sizes
of layers that `--width` multiplies, each once.
"""

from tfprune.registry import Registry

PRUNABLE_KERNELS = ("default", "conv", "conv_dense")

# A model is a function (input_shape, num_classes, width, **options) -> a functional keras.Model
# that maps normalized images to logits.
MODELS = Registry("model")
MODELS.add(
    "lenet_300_100",
    "tfprune.models.lenet:lenet_300_100",
    "two hidden layers, 300 and 100 units (SDD, PEG)",
    prunable="hidden",
    units=(300, 100),
)
MODELS.add(
    "vanilla_cnn",
    "tfprune.models.vanilla_cnn:vanilla_cnn",
    "seven 3x3 convolutions, no batch norm (PM A.2.1)",
    prunable="conv",
    units=(16, 32, 64),
)
MODELS.add(
    "vanilla_cnn_bn",
    "tfprune.models.vanilla_cnn:vanilla_cnn_bn",
    "vanilla_cnn with batch norm",
    prunable="conv",
    units=(16, 32, 64),
)
for _depth in (20, 32, 56):
    MODELS.add(
        f"resnet{_depth}",
        f"tfprune.models.resnet:resnet{_depth}",
        f"He et al.'s CIFAR ResNet of {_depth} layers",
        prunable="conv_dense",
        units=(16, 32, 64),
    )
MODELS.add(
    "resnet18",
    "tfprune.models.resnet:resnet18",
    "ResNet-18, 3x3 first convolution, no max-pool (SDD A.1)",
    prunable="conv_dense",
    units=(64, 128, 256, 512),
)
MODELS.add(
    "resnet101",
    "tfprune.models.resnet:resnet101",
    "ResNet-101, 3x3 first convolution, no max-pool (SDD's code, Tiny ImageNet)",
    prunable="conv_dense",
    units=(64, 128, 256, 512),
)
MODELS.add(
    "resnet50",
    "tfprune.models.resnet:resnet50",
    "ResNet-50 for ImageNet (PEG)",
    prunable="conv_dense",
    units=(64, 128, 256, 512),
)
MODELS.add(
    "vgg11",
    "tfprune.models.vgg:vgg11",
    "VGG-11 with batch norm, five max-pools and one dense layer (GST)",
    prunable="hidden",
    units=(64, 128, 256, 512),
)
MODELS.add(
    "vgg16",
    "tfprune.models.vgg:vgg16",
    "VGG-16 with batch norm and one dense layer (PEG)",
    prunable="hidden",
    units=(64, 128, 256, 512),
)

# An initialization is a function of a kernel or bias to how it is drawn, see
# tfprune.models.initialize.
INITIALIZATIONS = Registry("initialization")
INITIALIZATIONS.add(
    "kaiming_normal",
    "tfprune.models.initialize:kaiming_normal",
    "kernels N(0, 2/fan_in), biases 0",
)
INITIALIZATIONS.add(
    "open_lth",
    "tfprune.models.initialize:open_lth",
    "kernels N(0, 2/fan_in), biases in ±1/sqrt(fan_in)",
)
INITIALIZATIONS.add(
    "pytorch",
    "tfprune.models.initialize:pytorch",
    "kernels and biases uniform in ±1/sqrt(fan_in)",
)
INITIALIZATIONS.add(
    "kaiming_fan_out",
    "tfprune.models.initialize:kaiming_fan_out",
    "convolutions N(0, 2/fan_out), biases 0; dense layers as pytorch",
)
