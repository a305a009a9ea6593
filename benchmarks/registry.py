"""The rows of the benchmark by name. Add one: a function and a line here."""

from tfprune.registry import Registry

# A row is a function (Scale) -> list[benchmarks.findings.Finding].
ROWS = Registry("row")
ROWS.add(
    "lenet_epoch",
    "benchmarks.dense:lenet_epoch",
    "LeNet-300-100 training epoch against stock tfmot and a bare sgemm",
)
ROWS.add(
    "lenet_evaluation",
    "benchmarks.dense:lenet_evaluation",
    "the same with full evaluation against the bare training epoch",
)
ROWS.add("digits_epoch", "benchmarks.dense:digits_epoch", "fixed cost of an epoch")
ROWS.add(
    "stacked_epoch",
    "benchmarks.dense:stacked_epoch",
    "epochs of trainings in a stack against one after the other",
)
ROWS.add(
    "conv_step",
    "benchmarks.convolutional:conv_step",
    "resnet20 and vanilla_cnn step against plain fit with and without XLA",
)
ROWS.add(
    "bfloat16_step",
    "benchmarks.convolutional:bfloat16_step",
    "resnet20 and vanilla_cnn step in mixed_bfloat16 against float32",
)
ROWS.add(
    "another_stage",
    "benchmarks.reuse:another_stage",
    "one more level, branch and seed: compilations and set-up time",
)
ROWS.add("start_up", "benchmarks.commands:start_up", "run.py --list and errors, no TensorFlow")
ROWS.add(
    "shrinking",
    "benchmarks.shrinking:shrinking",
    "inference time against FLOPs after physical shrinking",
)
ROWS.add(
    "utility",
    "benchmarks.ablation:utility",
    "weight utility of ablated networks against a loop over predict",
)
ROWS.add("study", "benchmarks.commands:study", "a whole study: time outside training epochs")
