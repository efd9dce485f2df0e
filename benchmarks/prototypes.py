"""Prototypes and distances on digits, with right and with wrong labels.

    python -P benchmarks/prototypes.py --shots 3 5 --draws 12

All ten digits through the patch stem, a few images of each to learn from, 50 others of each to test on. Prints a
Markdown table: accuracy of class means in the Euclidean distance, then by how many points every other setting is better
(paired, ± one standard error over draws), with the log-loss on the test images at the temperature that the head brings.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping

import torch
from torch import Tensor

from evermap.agent.encoder import build_encoder
from evermap.strategies.prototype import Prototype, nearest_head
from evermap.streams.digits import Digits
from evermap.streams.transforms import noisy_labels

SETTINGS: tuple[dict[str, str], ...] = (
    {"prototypes": "shrunk"},
    {"prototypes": "median"},
    {"prototypes": "edited"},
    {"distance": "cosine"},
    {"distance": "diagonal"},
    {"distance": "low-rank"},
    {"prototypes": "edited", "distance": "cosine"},
    {"prototypes": "edited", "distance": "low-rank"},
)


def judged(
    features: Tensor, y: Tensor, shots: int, noise: float, seed: int, settings: Mapping[str, str]
) -> tuple[float, float]:
    """Learn from one draw; return accuracy in per cent and log-loss in nats on right labels."""
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y), generator=rng)
    mine = [order[y[order] == c] for c in range(10)]
    train, test = torch.cat([i[:shots] for i in mine]), torch.cat([i[100:150] for i in mine])
    labels = noisy_labels(y[train], noise, 10, rng)
    head = nearest_head(features[train], labels, 10, Prototype(**settings).settings)
    with torch.no_grad():
        outputs = head(features[test]) / head.temperature
    right = float((outputs.argmax(dim=1) == y[test]).float().mean())
    return 100 * right, float(torch.nn.functional.cross_entropy(outputs, y[test]))


def table(shots: list[int], noises: list[float], seeds: range) -> str:
    """Measure everything and write the table."""
    data = Digits().load(None)
    stem = build_encoder("patches", (1, 8, 8), {}, 0)
    stem.fit(data.x[:200], torch.Generator().manual_seed(0))
    features = stem(data.x)
    names = [" ".join(each.values()) for each in SETTINGS]
    lines = [f"| images of a digit | wrong labels | mean | {' | '.join(names)} |"]
    lines.append("| ---: | ---: |" + " ---: |" * (1 + len(names)))
    for n in shots:
        for noise in noises:
            plain = [judged(features, data.y, n, noise, seed, {}) for seed in seeds]
            cells = [f"{statistics.fmean(a for a, _ in plain):.1f} ({statistics.fmean(loss for _, loss in plain):.2f})"]
            for settings in SETTINGS:
                found = [judged(features, data.y, n, noise, seed, settings) for seed in seeds]
                gains = [ours - theirs for (ours, _), (theirs, _) in zip(found, plain, strict=True)]
                error = statistics.stdev(gains) / len(gains) ** 0.5
                loss = statistics.fmean(loss for _, loss in found)
                cells.append(f"{statistics.fmean(gains):+.1f} ± {error:.1f} ({loss:.2f})")
            lines.append(f"| {n} | {100 * noise:.0f} % | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(given: list[str] | None = None) -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 3, 5, 10, 20], help="images of each digit")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.3], help="shares of wrong labels")
    parser.add_argument("--draws", type=int, default=12, help="draws, two or more")
    parser.add_argument(
        "--first-seed", type=int, default=100, help="seed of the first draw; 100 and above are for tuning"
    )
    asked = parser.parse_args(given)
    torch.set_num_threads(1)
    print(table(asked.shots, asked.noise, range(asked.first_seed, asked.first_seed + asked.draws)))


if __name__ == "__main__":
    main()
