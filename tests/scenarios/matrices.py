"""Accuracy matrices that numbers are worked out on by hand."""

import numpy as np

from evermap.scenarios.against import Visit
from evermap.scenarios.metrics import AccuracyMatrix

# Three tasks with the same classes; the accuracy on the first rises before it falls.
GOLDEN = AccuracyMatrix(
    values=np.array(
        [
            [0.10, 0.20, 0.30],
            [0.70, 0.25, 0.35],
            [0.90, 0.80, 0.60],
            [0.60, 0.85, 0.95],
        ]
    ),
    columns=("a", "b", "c"),
    row_tasks=(None, 0, 1, 2),
    learned_at=(1, 2, 3),
    class_sets=((0, 1), (0, 1), (0, 1)),
    own_labels=(False, False, False),
)

# a, b, a again: two concepts, three tasks
RUN = AccuracyMatrix(
    values=np.array([[0.5, 0.5], [0.80, 0.52], [0.70, 0.60], [0.90, 0.55]]),
    columns=("a", "b"),
    row_tasks=(None, 0, 1, 2),
    learned_at=(1, 2),
    class_sets=((0, 1), (0, 1)),
    own_labels=(False, False),
)
VISITS = (Visit(0, "a", 0), Visit(1, "b", 1), Visit(2, "a again", 0))
