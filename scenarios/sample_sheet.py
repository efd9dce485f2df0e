"""A picture of a stream: a few samples of every task, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OutputError, UserError
from ..streams.stream import Stream

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

    from ..streams.task import Task

FORMATS = (".png", ".svg", ".pdf")
# Tasks that are shown, spread over the stream, and samples of each.
MOST_TASKS, SAMPLES = 40, 10


def sample_sheet(stream: Stream, path: Path) -> int:
    """Draw some training samples of every task, class by class.

    Images are shown as they are; of functions, the samples are drawn over their first input; of anything else, every
    sample is a strip with one cell per input value.

    Args:
        stream: The stream.
        path: Where; its ending decides the format: .png, .svg or .pdf. The same stream gives the same bytes.

    Returns:
        Tasks shown: all up to 40, of more a selection that is spread evenly.

    Raises:
        UserError: If the format is none of these.
        OutputError: If the file cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"--figure {path}: the name must end in {', '.join(FORMATS)}.")
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n = len(stream)
    shown = sorted({round(k * (n - 1) / max(min(n, MOST_TASKS) - 1, 1)) for k in range(min(n, MOST_TASKS))})
    functions = stream.concepts[0].kind == "regression"
    figure = Figure(figsize=(8, (1.1 if functions else 0.62) * len(shown) + 0.2))
    FigureCanvasAgg(figure)
    for i, axis in zip(shown, figure.subplots(len(shown), 1, squeeze=False)[:, 0], strict=True):
        task = stream.task(i)
        if functions:
            _function(axis, task)
        else:
            axis.imshow(
                strip(task).numpy(), cmap="gray", vmin=0, vmax=1, aspect="auto" if task.support.x.dim() < 4 else None
            )
            axis.axis("off")
        title = task.name if len(task.name) <= 30 else task.name[:29] + "…"
        axis.text(-0.015, 0.5, title, transform=axis.transAxes, ha="right", va="center", fontsize=7)
    figure.subplots_adjust(left=0.25, right=0.99, top=0.99, bottom=0.01, hspace=0.12)
    metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    try:
        with mpl.rc_context({"svg.hashsalt": "evermap"}):
            figure.savefig(path, dpi=120, metadata=metadata[path.suffix.lower()])
    except OSError as error:
        raise OutputError(f"--figure {path}: cannot be written: {error.strerror}.") from None
    return len(shown)


def strip(task: Task) -> Tensor:
    """Put samples of a task side by side, class by class: as many of each as there is room for.

    Args:
        task: A classification task.

    Returns:
        Grey `(h, w)` or coloured `(h, w, 3)`, values in [0, 1], white where nothing is; `SAMPLES` places two pixels
        apart. What is no image takes one row of cells, scaled from its smallest to its largest value.
    """
    import torch

    y, outputs = task.support.y, task.outputs
    each = max(1, SAMPLES // outputs)
    chosen = torch.cat([(y == c).nonzero().flatten()[:each] for c in range(outputs)])[:SAMPLES]
    x = task.support.x[chosen]
    if x.dim() != 4:
        x = x.flatten(1)[:, None, None]
        x = (x - x.min()) / (x.max() - x.min()).clamp(min=1e-12)
    _, channels, h, w = x.shape
    paper = torch.ones(channels, h, SAMPLES * (w + 2) - 2)
    for place, sample in enumerate(x):
        paper[:, :, place * (w + 2) :][:, :, :w] = sample
    return paper.permute(1, 2, 0).squeeze(-1)


def _function(axis: Axes, task: Task) -> None:
    x, y = task.support.x.flatten(1)[:, 0].numpy(), task.support.y[:, 0].numpy()
    axis.plot(x, y, ".", color="black", markersize=3)
    axis.axhline(0, color="0.8", linewidth=0.5)
    axis.set(xticks=[], yticks=[])
