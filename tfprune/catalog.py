"""Everything that has a name: data, label noise, models, criteria, retrainings, measures.

Add one: a line here. A name goes with a function, which is imported when it is first used, and a
line of help. What an entry must be is said above each table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfprune.registry import Registry


def _add_functions(registry: Registry, package: str, functions: dict[str, str]) -> None:
    """Adds functions, `"module:name"` and a line of help each, under their own names."""
    for function, summary in functions.items():
        registry.add(function.split(":")[1], f"tfprune.{package}.{function}", summary)


# A source is a function (name, data_dir) -> tfprune.data.sources.Source. Names that are not here
# are looked for among the image classification sets of TensorFlow Datasets.
DATASETS = Registry("dataset")
DATASETS.add(
    "digits",
    "tfprune.data.sources:digits",
    "scikit-learn's 1,797 images of 8x8 pixels, no download",
)
DATASETS.add("mnist", "tfprune.data.sources:tfds_images", "28x28 digits, from TFDS")
DATASETS.add("fashion_mnist", "tfprune.data.sources:tfds_images", "28x28 clothes, from TFDS")
DATASETS.add("cifar10", "tfprune.data.sources:tfds_images", "32x32 colour, 10 classes, from TFDS")
DATASETS.add("cifar100", "tfprune.data.sources:tfds_images", "32x32 colour, 100 classes, from TFDS")
DATASETS.add("imagenet2012", "tfprune.data.sources:tfds_images", "ImageNet, streamed from TFDS")

# Sources that take a path after the colon.
PATH_DATASETS = Registry("dataset")
PATH_DATASETS.add(
    "npz",
    "tfprune.data.sources:npz_arrays",
    "npz:PATH, arrays train_images, train_labels, test_images, test_labels",
)
PATH_DATASETS.add(
    "folder",
    "tfprune.data.sources:image_folder",
    "folder:PATH, SPLIT/CLASS/*.png|jpg (tfds.ImageFolder)",
)

# A noise kind is a function of labels (see tfprune.data.label_noise).
LABEL_NOISE = Registry("label_noise")
_add_functions(
    LABEL_NOISE,
    "data",
    {
        "label_noise:none": "labels as they are",
        "label_noise:symmetric": "uniform over all classes (SDD 3.1)",
        "label_noise:uniform_other": "uniform over the other classes (PEG 2)",
        "label_noise:asymmetric": "each class's usual confusion",
        "label_noise:pairflip": "class c becomes c+1 modulo classes",
    },
)

# A normalization is a function of a source to mean and standard deviation per channel, of pixels
# in [0, 1], see tfprune.data.normalization.
NORMALIZATIONS = Registry("normalization")
_add_functions(
    NORMALIZATIONS,
    "data",
    {
        "normalization:dataset": "the training images' own",
        "normalization:open_lth": "ImageNet's for images in colour (SDD, PEG)",
        "normalization:pytorch_cifar": "kuangliu/pytorch-cifar's for CIFAR-10 and CIFAR-100 (GST)",
    },
)

# `prunable` names the kernels that `prunable=default` prunes: `conv_dense` every convolution and
# dense kernel, `conv` every convolution, `hidden` all but the output layer's. `units` are the sizes
# of layers that `width` multiplies, each once.
#
# A model is a function (input_shape, num_classes, width, **options) -> a functional keras.Model
# that maps normalized images to logits.
MODELS = Registry("model")
MODELS.add(
    "lenet_300_100",
    "tfprune.models.lenet:lenet_300_100",
    "two hidden layers, 300 and 100 units (SDD, PEG)",
    prunable="hidden",
    units=(300, 100),
    lacks=("batch norm", "shortcuts"),
)
MODELS.add(
    "vanilla_cnn",
    "tfprune.models.vanilla_cnn:vanilla_cnn",
    "seven 3x3 convolutions, no batch norm (PM A.2.1)",
    prunable="conv",
    units=(16, 32, 64),
    lacks=("batch norm", "shortcuts"),
)
MODELS.add(
    "vanilla_cnn_bn",
    "tfprune.models.vanilla_cnn:vanilla_cnn_bn",
    "vanilla_cnn with batch norm",
    prunable="conv",
    units=(16, 32, 64),
    lacks=("shortcuts",),
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
    lacks=("shortcuts",),
)
MODELS.add(
    "vgg16",
    "tfprune.models.vgg:vgg16",
    "VGG-16 with batch norm and one dense layer (PEG)",
    prunable="hidden",
    units=(64, 128, 256, 512),
    lacks=("shortcuts",),
)

# An initialization is a function of a kernel or bias to how it is drawn, see
# tfprune.models.initialize.
INITIALIZATIONS = Registry("initialization")
_add_functions(
    INITIALIZATIONS,
    "models",
    {
        "initialize:kaiming_normal": "kernels N(0, 2/fan_in), biases 0",
        "initialize:open_lth": "kernels N(0, 2/fan_in), biases in ±1/sqrt(fan_in)",
        "initialize:pytorch": "kernels and biases uniform in ±1/sqrt(fan_in)",
        "initialize:kaiming_fan_out": "convolutions N(0, 2/fan_out), biases 0; dense layers as "
        "pytorch",
    },
)

# A criterion is a function of tfprune.pruning.criteria.ScoringInputs that returns a float64 score
# per weight; the lowest scores are pruned first. One that scores by no batch or by one, whatever
# `criterion_batches` is, says how many with `batches`.
CRITERIA = Registry("criterion")
CRITERIA.add("magnitude", "tfprune.pruning.criteria:magnitude", "|w|", batches=0)
CRITERIA.add(
    "gradient", "tfprune.pruning.criteria:gradient", "|w dL/dw| on one random batch", batches=1
)
CRITERIA.add("snip", "tfprune.pruning.criteria:snip", "|w g|, g averaged over training batches")
CRITERIA.add(
    "synflow", "tfprune.pruning.criteria:synflow", "|w dR/dw| of the absolute network", batches=0
)
CRITERIA.add("random", "tfprune.pruning.criteria:random", "uniform in [0, 1)", batches=0)

# A criterion of filters is a function of ScoringInputs that returns a float64 score per filter.
FILTER_CRITERIA = Registry("criterion")
_MODULE = "tfprune.pruning.filter_criteria"
FILTER_CRITERIA.add("filter_l1", f"{_MODULE}:filter_l1", "L1 norm of the kernel", batches=0)
FILTER_CRITERIA.add("filter_l2", f"{_MODULE}:filter_l2", "L2 norm of the kernel", batches=0)
FILTER_CRITERIA.add(
    "filter_activation",
    f"{_MODULE}:filter_activation",
    "moving average of |activation|, after the shortcut",
)
FILTER_CRITERIA.add("filter_gamma", f"{_MODULE}:filter_gamma", "|batch-norm scale|", batches=0)
FILTER_CRITERIA.add(
    "filter_ebn",
    f"{_MODULE}:filter_ebn",
    "E[max(0, N(shift, scale^2))] of the batch norm",
    batches=0,
)
FILTER_CRITERIA.add(
    "filter_ebn_signed",
    f"{_MODULE}:filter_ebn_signed",
    "the same with the scale's sign",
    batches=0,
)
FILTER_CRITERIA.add("filter_random", f"{_MODULE}:filter_random", "uniform in [0, 1)", batches=0)


@dataclass(frozen=True)
class Retraining:
    """How a network is trained on after a pruning; without arguments, learning-rate rewinding.

    A function may be given as `"package.module:function"`, to be imported when it is first used.

    Attributes:
      weights: the weights that a level starts from, before its mask is applied: a function of
        `tfprune.studies.starting_weights.RetrainingInputs` that returns arrays by name. None: the
        trained ones of the level before.
      start: the moment of the schedule to start at, as `0ep` or `100it`. None: `rewind_to`.
      schedule: the learning rates of a whole training: a function of `TrainingConfig` and
        `PruningConfig` that returns a `tfprune.training.schedules.Schedule`, and raises
        SettingError where these settings have none. None: the training's own.
      prunes: whether a level removes weights.
      new_initialization: whether each level has a random initialization of its own, which
        distances are measured from.
    """

    weights: str | Callable[..., Any] | None = None
    start: str | None = None
    schedule: str | Callable[..., Any] | None = None
    prunes: bool = True
    new_initialization: bool = False


RETRAINING = Registry("retrain", Retraining)
_MODULE = "tfprune.studies.starting_weights"
RETRAINING.add(
    "weight_rewind",
    Retraining(weights=f"{_MODULE}:rewound"),
    "weights and schedule back to the rewind point",
)
RETRAINING.add(
    "lr_rewind", Retraining(), "final weights kept, schedule replayed from the rewind point"
)
RETRAINING.add(
    "finetune",
    Retraining(start="0ep", schedule="tfprune.training.schedules:finetuning"),
    "final weights kept, fixed learning rate",
)
RETRAINING.add(
    "scratch",
    Retraining(weights=f"{_MODULE}:initial", start="0ep", new_initialization=True),
    "a new random initialization, whole schedule",
)
RETRAINING.add("extended_dense", Retraining(prunes=False), "as lr_rewind, nothing removed")

# A measure is a function of weights or a model, data and explicit arguments that returns plain
# arrays and leaves the model as it found it.
MEASURES = Registry("measure")
_add_functions(
    MEASURES,
    "measures",
    {
        "distance:distance": "L2 distance between two sets of weights, per layer and total (SDD 5)",
        "landscape:interpolate": "loss and accuracy on the segment between two solutions (SDD 3.3)",
        "landscape:line": "loss along filter-normalized random directions (SDD 3.3)",
        "landscape:surface": "loss on the plane of two directions (Li et al. 2018)",
        "plane:plane_grid": "loss and accuracy on the plane through three networks (PM 3)",
        "curvature:flatness": "Hessian spectrum and trace, gradient covariance, "
        "perturbations withstood (GST 3.4)",
        "curvature:top_eigenpairs": "the dominant eigenvalues and eigenvectors of the Hessian "
        "(GST 3.4)",
        "curvature:hessian_trace": "the trace of the Hessian by random probes (GST 3.4)",
        "curvature:gradient_covariance_trace": "mean squared norm of per-example gradients "
        "(GST 3.4)",
        "curvature:perturb": "how the loss rises along the dominant eigenvectors (GST 3.4)",
        "stability:instability": "the fraction of its accuracy that a pruning event costs "
        "a network (GST 2)",
        "loss_change:linear_loss_change": "what pruning does to the loss, to first order "
        "(SDD equation 1)",
        "ablation:utility": "how far outputs move when random weights are zeroed "
        "(PM definitions 1-3)",
        "el2n:el2n": "how far partly trained models are from each label (PEG B.3)",
        "example_groups:group_loss_change": "change of the loss of groups of examples, over seeds "
        "(PEG 3)",
        "statistics:match_or_differ": "whether two results match or differ, seed by seed (PEG 2)",
    },
)
