"""Every figure of a report as PDF, SVG and PNG, sized for a paper's column: `evermap report RUN --figures DIR`."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OutputError
from .palette import palette
from .units import known, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Json = Mapping[str, Any]
Drawing = Callable[[], "Figure | None"]
COLUMN, PAGE = 3.4, 7.0  # inches: one column, and both, of a two-column paper
DPI = 300
FORMATS = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}
DASHES = ((), (6, 2), (2, 2), (6, 2, 1.5, 2))


def draw(summary: Json, folder: Path) -> list[Path]:
    """Draw every figure that a report has.

    The same summary gives the same bytes. Fonts are embedded in the PDF as TrueType, and letters are outlines in the
    SVG, so no reader needs a font.

    Args:
        summary: What `summary.summarise` gave of one run, or `several.several` of several.
        folder: Where; it is made where it is missing, and files of the same names are replaced.

    Returns:
        The files, in the order of the report.

    Raises:
        OutputError: If they cannot be written.
    """
    if "comparison" in summary:
        from .paper_several import drawings
    else:
        from .paper_run import drawings
    made = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, drawing in drawings(summary).items():
            with _style():
                figure = drawing()
                if figure is None:
                    continue
                for ending, metadata in FORMATS.items():
                    made.append(folder / f"{name}.{ending}")
                    figure.savefig(made[-1], metadata=metadata)
    except OSError as error:
        raise OutputError(f"--figures {folder}: cannot be written ({error.strerror}).") from error
    return made


def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **more: Any) -> tuple[Figure, list[Axes]]:
    """Make an empty figure.

    Args:
        width: Inches.
        height: Inches.
        rows: Rows of axes.
        columns: Axes beside each other.
        more: For `Figure.subplots`.

    Returns:
        The figure and its axes, row by row.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **more).flat)


def colour(position: int) -> str:
    """Give the colour of an agent or strategy.

    Args:
        position: From 0; after eight they begin again.
    """
    return palette()[f"s{position % 8}"]


def label(name: object, most: int = 24) -> str:
    """Cut a name to a length that fits beside a figure.

    Args:
        name: Any name.
        most: Letters.

    Returns:
        The name, safe to print, with an ellipsis where it was cut.
    """
    text = plain(name)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def slug(name: str) -> str:
    """Make a name usable in a file's name.

    Args:
        name: Any name.
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "scenario"


def tidy(axes: Axes, grid: str = "y") -> None:
    """Take away what carries no information.

    Args:
        axes: What to tidy.
        grid: Which grid lines stay: "x", "y" or "".
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=2)
    if grid:
        axes.grid(axis=grid, color=palette()["faint"], linewidth=0.6)  # type: ignore[arg-type]
        axes.set_axisbelow(True)


def what(summary: Json) -> str:
    """Say what an axis of scores shows.

    Args:
        summary: Of a run, or one scenario of several.
    """
    return "R²" if summary["regression"] else "accuracy in %"


def scaled(values: Sequence[float | None], regression: bool) -> list[float]:
    """Turn scores into what an axis shows: percent, R² as it is.

    Args:
        values: Scores.
        regression: Whether they are R².

    Returns:
        Numbers; NaN, which leaves a gap, where one is undefined.
    """
    return [(value if regression else 100 * value) if known(value) else math.nan for value in values]


def full(axes: Axes, regression: bool) -> None:
    """Let an axis of accuracies go from 0 to 100 %; that of R² is left to what is drawn.

    Args:
        axes: What is drawn on.
        regression: Whether it is R².
    """
    if not regression:
        axes.set_ylim(-3, 103)


@contextmanager
def _style() -> Iterator[None]:
    """Set what matplotlib draws with, and no longer than for one figure."""
    import matplotlib as mpl

    ink, soft = palette()["ink"], palette()["soft"]
    style: Any = {  # matplotlib types its keys one by one
        "font.family": "DejaVu Sans",  # comes with matplotlib
        "font.size": 7,
        "axes.titlesize": 7,
        "axes.labelsize": 7,
        "xtick.labelsize": 6.5,
        "ytick.labelsize": 6.5,
        "legend.fontsize": 6.5,
        "legend.frameon": False,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": soft,
        "xtick.color": soft,
        "ytick.color": soft,
        "axes.linewidth": 0.6,
        "lines.linewidth": 1.2,
        "text.parse_math": False,  # a $ in a name is a $
        "savefig.dpi": DPI,
        "pdf.fonttype": 42,
        "svg.fonttype": "path",
        "svg.hashsalt": "evermap",
    }
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # of a name in another script: a box
        yield
