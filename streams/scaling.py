"""A table's numbers brought to mean 0 and standard deviation 1, by the training samples alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .on_demand import OnDemand


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of some columns.

    Attributes:
        columns: The columns, int64, shape `(k,)`.
        mean: Mean of every column, float64, shape `(k,)`.
        sd: Standard deviation of every column (divisor n), 1 for a column that is constant; float64, shape `(k,)`.
    """

    columns: Tensor
    mean: Tensor
    sd: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """Standardise these columns; what is missing (NaN) takes the mean.

        Args:
            x: Rows, float32, shape `(n, d)`.

        Returns:
            New rows of the same shape; other columns as they were.
        """
        scaled = x.clone()
        part = (x[:, self.columns].double() - self.mean) / self.sd
        scaled[:, self.columns] = part.nan_to_num(nan=0.0).float()
        return scaled


def fit(x: Tensor | OnDemand, columns: tuple[int, ...], train: Tensor) -> Scaling:
    """Measure the columns on the training samples.

    Args:
        x: All rows, float32, shape `(n, d)`.
        columns: Which columns are numbers.
        train: Positions of the training samples, int64.

    Returns:
        What to standardise by.
    """
    index = torch.tensor(columns)
    part = x[train][:, index].double()
    mean = part.nanmean(dim=0).nan_to_num(nan=0.0)  # a column without a single value
    sd = (part - mean).square().nanmean(dim=0).sqrt().nan_to_num(nan=0.0)
    return Scaling(index, mean, sd.where(sd > 1e-12 * mean.abs().clamp_min(1e-30), torch.ones_like(sd)))
