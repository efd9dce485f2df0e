"""Lets Avalanche be imported where torchvision's native library does not fit the installed torch.

On a machine with a CPU-only torch the package registry's torchvision is a CUDA build. Its library cannot be loaded
there, and `import torchvision` ends with "operator torchvision::nms does not exist". Avalanche imports torchvision and
needs neither of its native operators, so declaring them is enough.

Avalanche also imports qpsolvers, which warns where no solver is installed; only GEM needs one, so nobody is told.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from pathlib import Path

import torch

# A library's definitions live as long as the object does.
_declared: list[torch.library.Library] = []


def guard() -> bool:
    """Prepare the import of Avalanche: declare torchvision's operators where its native library is missing.

    Returns:
        Whether they are declared by evermap: False where the library loads, torchvision is imported already, or is not
        installed.
    """
    _import_qpsolvers_quietly()
    if _declared:
        return True
    if "torchvision" in sys.modules or _native_library_loads():
        return False
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
    return True


def _import_qpsolvers_quietly() -> None:
    if "qpsolvers" not in sys.modules and importlib.util.find_spec("qpsolvers"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "no QP solver found", UserWarning)
            importlib.import_module("qpsolvers")


def _native_library_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True  # not installed: the import itself says so best
    found = [path for folder in spec.submodule_search_locations for path in Path(folder).glob("_C.*")]
    for path in found:
        try:
            torch.ops.load_library(str(path))
            return True
        except (ImportError, OSError):
            continue
    return False
