"""The data sources, label-noise kinds and normalizations by name: a function and a line each."""

from tfprune.registry import Registry

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
LABEL_NOISE.add("none", "tfprune.data.label_noise:none", "labels as they are")
LABEL_NOISE.add(
    "symmetric", "tfprune.data.label_noise:symmetric", "uniform over all classes (SDD 3.1)"
)
LABEL_NOISE.add(
    "uniform_other",
    "tfprune.data.label_noise:uniform_other",
    "uniform over the other classes (PEG 2)",
)
LABEL_NOISE.add("asymmetric", "tfprune.data.label_noise:asymmetric", "each class's usual confusion")
LABEL_NOISE.add(
    "pairflip", "tfprune.data.label_noise:pairflip", "class c becomes c+1 modulo classes"
)

# How training images are changed, fresh every epoch.
AUGMENTATIONS = ("none", "flip", "shift", "flip_shift", "crop_flip")

# A normalization is a function of a source to mean and standard deviation per channel, of pixels
# in [0, 1], see tfprune.data.normalization.
NORMALIZATIONS = Registry("normalization")
NORMALIZATIONS.add("dataset", "tfprune.data.normalization:dataset", "the training images' own")
NORMALIZATIONS.add(
    "open_lth", "tfprune.data.normalization:open_lth", "ImageNet's for images in colour (SDD, PEG)"
)
NORMALIZATIONS.add(
    "pytorch_cifar",
    "tfprune.data.normalization:pytorch_cifar",
    "kuangliu/pytorch-cifar's for CIFAR-10 and CIFAR-100 (GST)",
)
