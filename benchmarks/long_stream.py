"""Measures what it takes to build a long stream of few-shot tasks: CPU seconds, and memory as tasks pass.

    python -P benchmarks/long_stream.py --tasks 1000

Every task of five drawn characters, five samples each, is built with its test set and dropped again, as a run does it.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence

import torch

from evermap.streams.spec import stream_spec
from evermap.streams.stream import build_stream

MIB = 2**10  # `ru_maxrss` counts KiB


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the tasks, and print a line after each tenth of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1000)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    start = time.process_time()
    spec = stream_spec(
        source="glyphs", layout="few-shot", setting="task-incremental", tasks=given.tasks, ways=5, shots=5, query=5
    )
    stream = build_stream(spec, 0)
    for i in range(given.tasks):
        stream.task(i)
        stream.test(stream.concept_of(i))
        if (i + 1) % max(1, given.tasks // 10) == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
            print(f"{i + 1} tasks: {time.process_time() - start:.1f} CPU s, {peak:.0f} MiB at the peak", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
