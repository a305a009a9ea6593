"""The measures by name. Add one: a function and a line here."""

from tfprune.registry import Registry

# A measure is a function of weights or a model, data and explicit arguments that returns plain
# arrays and leaves the model as it found it.
MEASURES = Registry("measure")
MEASURES.add(
    "distance",
    "tfprune.measures.distance:distance",
    "L2 distance between two sets of weights, per layer and total (SDD 5)",
)
MEASURES.add(
    "interpolate",
    "tfprune.measures.landscape:interpolate",
    "loss and accuracy on the segment between two solutions (SDD 3.3)",
)
MEASURES.add(
    "line",
    "tfprune.measures.landscape:line",
    "loss along filter-normalized random directions (SDD 3.3)",
)
MEASURES.add(
    "surface",
    "tfprune.measures.landscape:surface",
    "loss on the plane of two directions (Li et al. 2018)",
)
MEASURES.add(
    "plane_grid",
    "tfprune.measures.plane:plane_grid",
    "loss and accuracy on the plane through three networks (PM 3)",
)
MEASURES.add(
    "flatness",
    "tfprune.measures.curvature:flatness",
    "Hessian spectrum and trace, gradient covariance, perturbations withstood (GST 3.4)",
)
MEASURES.add(
    "top_eigenpairs",
    "tfprune.measures.curvature:top_eigenpairs",
    "the dominant eigenvalues and eigenvectors of the Hessian (GST 3.4)",
)
MEASURES.add(
    "hessian_trace",
    "tfprune.measures.curvature:hessian_trace",
    "the trace of the Hessian by random probes (GST 3.4)",
)
MEASURES.add(
    "gradient_covariance_trace",
    "tfprune.measures.curvature:gradient_covariance_trace",
    "mean squared norm of per-example gradients (GST 3.4)",
)
MEASURES.add(
    "perturb",
    "tfprune.measures.curvature:perturb",
    "how the loss rises along the dominant eigenvectors (GST 3.4)",
)
MEASURES.add(
    "instability",
    "tfprune.measures.stability:instability",
    "the fraction of its accuracy that a pruning event costs a network (GST 2)",
)
MEASURES.add(
    "linear_loss_change",
    "tfprune.measures.loss_change:linear_loss_change",
    "what pruning does to the loss, to first order (SDD equation 1)",
)
MEASURES.add(
    "utility",
    "tfprune.measures.utility:utility",
    "how far outputs move when random weights are zeroed (PM definitions 1-3)",
)
MEASURES.add(
    "el2n",
    "tfprune.measures.el2n:el2n",
    "how far partly trained models are from each label (PEG B.3)",
)
MEASURES.add(
    "group_loss_change",
    "tfprune.measures.example_groups:group_loss_change",
    "change of the loss of groups of examples, over seeds (PEG 3)",
)
MEASURES.add(
    "match_or_differ",
    "tfprune.measures.statistics:match_or_differ",
    "whether two results match or differ, seed by seed (PEG 2)",
)
