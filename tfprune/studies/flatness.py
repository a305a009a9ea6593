"""How flat the minima are that trainings end in, as measurements beside the stages (GST 3.4)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from etils import epath

from tfprune.files import csv_text, write_text_atomic
from tfprune.studies.filter_trainings import check_layers
from tfprune.studies.landscapes import check_in_memory, splits
from tfprune.studies.procedure import Measurement, Passes
from tfprune.studies.settings import FlatnessConfig
from tfprune.studies.trial import Row, Stage

if TYPE_CHECKING:
    import numpy as np

    from tfprune.measures.curvature import Flatness
    from tfprune.studies.iterative import PruneRetrain


def flatness(options: FlatnessConfig) -> Measurement:
    """Hessian spectrum and trace, gradient covariance, TIC proxy and epsilon (GST 3.4, E).

    The table has the eigenvalues. Two more are beside it, named by the same options:
    `perturbations-*.csv`, how the test loss rises along the eigenvectors, and `examples-*.csv`,
    the indices of the test examples that derivatives are taken on.
    """
    # A Hessian-vector product is about three gradients, a gradient three forward passes; Lanczos
    # takes some three products for each eigenvalue. The loss is taken at 81 distances.
    products = 3 * options.eigenvalues + options.trace_probes
    vectors = min(options.perturbed_eigenvectors, options.eigenvalues)
    passes = Passes(test=81 * vectors, examples=(9 * products + 3) * options.flatness_examples)
    measure = partial(_measure, options=options)
    return Measurement("flatness", options.identity(), measure, passes=passes)


def check_flatness(loop: PruneRetrain, options: tuple[Any, ...]) -> None:
    """As `filter_trainings.check_layers`; also refuses streamed data."""
    check_layers(loop, options)
    check_in_memory(loop)


def _measure(loop: PruneRetrain, stage: Stage, table: epath.Path, options: FlatnessConfig) -> Row:
    import dataclasses

    import numpy as np

    from tfprune.measures.curvature import flatness
    from tfprune.measures.hessian import Curvature

    trainer = loop.trainer
    masks = stage.masks()
    trainer.load(stage.end(), masks)
    test = splits(loop)["test"]
    labels = np.asarray(test.labels)
    rows = _examples(labels, options.flatness_examples)
    some = dataclasses.replace(test, images=test.images[rows], labels=labels[rows])
    found = flatness(
        trainer.once("curvature", lambda: Curvature(trainer.model)),
        some,
        test,
        masks if options.unpruned_only else {},  # None would be the network's own.
        k=options.eigenvalues,
        probes=options.trace_probes,
        vectors=options.perturbed_eigenvectors,
        seed=stage.seed,
    )
    perturbations = _beside(table, "perturbations")
    values = [
        {"index": index, "eigenvalue": float(value)}
        for index, value in enumerate(found.eigenpairs.values)
    ]
    write_text_atomic(table, csv_text(values))
    write_text_atomic(_beside(table, "examples"), csv_text([{"test_index": int(n)} for n in rows]))
    write_text_atomic(perturbations, csv_text(_rises(found)))
    return {
        "hessian_trace_top": found.eigenpairs.trace,
        "hessian_trace": found.hessian_trace.value,
        "hessian_trace_error": found.hessian_trace.standard_error,
        "gradient_covariance_trace": found.gradient_covariance_trace,
        "tic_proxy": found.tic_proxy,
        "tic_proxy_hutchinson": found.tic_proxy_hutchinson,
        "epsilon": found.epsilon,
        "top_eigenvalue": float(found.eigenpairs.values[0]),
        "flatness_examples": len(rows),
        "perturbations": f"{stage.relative}/{perturbations.name}",
    }


def _examples(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of the test examples that derivatives are taken on: the first ones (GST's code).

    Where classes come one after the other, as those of a folder do, the first ones would be of a
    class or two: then they are drawn, the same for every network.
    """
    import numpy as np

    from tfprune.measures.curvature import curvature_examples

    changes = np.count_nonzero(labels[1:] != labels[:-1])
    is_grouped = changes < len(np.unique(labels))
    return curvature_examples(len(labels), count, seed=0 if is_grouped else None)


def _beside(table: epath.Path, name: str) -> epath.Path:
    return table.parent / table.name.replace("flatness", name)


def _rises(found: Flatness) -> list[Row]:
    perturbed = found.perturbations
    return [
        {"direction": direction, "step": float(step), "test_loss_rise": float(rise)}
        for direction, rises in enumerate(perturbed.rises)
        for step, rise in zip(perturbed.distances, rises, strict=True)
    ]
