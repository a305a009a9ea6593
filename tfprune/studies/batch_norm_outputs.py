"""What batch norms put out before scale and shift, measured beside the dense training (GST B)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etils import epath

from tfprune.files import csv_text, write_text_atomic
from tfprune.studies.procedure import Measurement
from tfprune.studies.trial import Row, Stage

if TYPE_CHECKING:
    from tfprune.studies.iterative import PruneRetrain

# The table's bins: what lies beyond is in no bin, but in the density's total.
EDGES = (-5.0, 5.0, 101)


def normalized() -> Measurement:
    """Histograms of batch norms' outputs before scale and shift (GST figure B1).

    On one training batch, by the weights that a stage starts from and by those it ends with. A row
    for each bin: `trained` (0 or 1), `place` of the layer in the network, `layer`, its name, `low`,
    where the bin begins, and `density`.
    """
    return Measurement("batch_norm", {}, _measure)


def _measure(loop: PruneRetrain, stage: Stage, table: epath.Path) -> Row:
    import numpy as np

    from tfprune.measures.normalized import normalized_values
    from tfprune.training.scoring import example_batch

    masks, edges = stage.masks(), np.linspace(*EDGES)
    images = example_batch(loop.trainer, loop.data, stage.seed)
    rows = []
    for trained, weights in enumerate((stage.start(), stage.end())):
        loop.trainer.load(weights, masks)
        values = normalized_values(loop.trainer.model, images)
        for place, (layer, found) in enumerate(values.items()):
            density = np.histogram(found, edges)[0] / (len(found) * np.diff(edges))
            rows += [
                {"trained": trained, "place": place, "layer": layer, "low": low, "density": share}
                for low, share in zip(edges[:-1], density, strict=True)
            ]
    columns = ("trained", "place", "layer", "low", "density")
    write_text_atomic(table, csv_text(rows, columns))
    return {}
