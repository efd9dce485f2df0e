"""How each of Avalanche's strategies is built of a network, an optimiser and its own arguments (see baselines.toml)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from ..agent.budget import counted
from ..agent.encoder import build_encoder
from ..streams.torchvision_guard import guard
from .baselines_networks import Dreamer, OneHead, WithFeatures, dreaming_loss
from .meter import Meter

guard()  # before Avalanche, which imports torchvision
import avalanche.training as every_strategy  # noqa: E402
from avalanche.benchmarks.utils import concat_datasets  # noqa: E402
from avalanche.models import PNN, SCRModel  # noqa: E402
from avalanche.models.packnet import PackNetModel, PackNetPlugin  # noqa: E402
from avalanche.training.plugins import GenerativeReplayPlugin, MIRPlugin, RWalkPlugin, SupervisedPlugin  # noqa: E402
from avalanche.training.supervised.icarl import _ICaRLPlugin  # noqa: E402
from avalanche.training.supervised.lamaml_v2 import LaMAML  # noqa: E402
from avalanche.training.supervised.strategy_wrappers import VAETraining  # noqa: E402

if TYPE_CHECKING:
    from .baselines import Materials

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Built:
    """A strategy, and what must be arranged before it learns.

    Attributes:
        strategy: Avalanche's object.
        share: Share of a task's budget that it spends outside its own steps (on a generator).
        prepare: Called before every task with its experience, its number of samples and its budget in FLOPs.
    """

    strategy: Any
    share: float = 0.0
    prepare: Callable[[Any, int, float], None] | None = None


def build(name: str, arguments: Arguments, m: Materials) -> Built:
    """Build a strategy by its name.

    Args:
        name: One of `baselines.toml`.
        arguments: Its arguments, all of them.
        m: What it is built of.

    Returns:
        The strategy; weights that are not given are drawn from torch's global generator.
    """
    special = {
        "EWC": _ewc,
        "RWalk": _rwalk,
        "LFL": _lfl,
        "ER_AML": _er_aml,
        "MIR": _mir,
        "LaMAML": _lamaml,
        "PNN": _pnn,
        "PackNet": _packnet,
        "CWRStar": _cwr,
        "SCR": _scr,
        "StreamingLDA": _slda,
        "ICaRL": _icarl,
        "GenerativeReplay": _generative,
    }
    own = {key: value for key, value in arguments.items() if key not in m.settings}
    if name in special:
        made = special[name](own, m)
        return made if isinstance(made, Built) else Built(made)
    return Built(getattr(every_strategy, name)(**m.common(m.network()), **own))


def _ewc(own: dict[str, Any], m: Materials) -> Any:
    if own["mode"] == "separate":
        own = {**own, "decay_factor": None}
    return every_strategy.EWC(**m.common(m.network()), **own)


def _rwalk(own: dict[str, Any], m: Materials) -> Any:
    return every_strategy.Naive(**m.common(m.network()), plugins=[RWalkPlugin(**own)])


def _lfl(own: dict[str, Any], m: Materials) -> Any:
    return every_strategy.LFL(**m.common(WithFeatures(m.encoder, m.n_classes).to(m.device)), **own)


def _er_aml(own: dict[str, Any], m: Materials) -> Any:
    return every_strategy.ER_AML(**m.common(m.network()), feature_extractor=m.encoder, **own)


def _mir(own: dict[str, Any], m: Materials) -> Built:
    """Replay of all kept classes but those of the task at hand, as the authors' code has it.

    Avalanche's plug-in, made for streams of tiny experiences, leaves out the classes of the last batch instead: those
    of the task just learned, which would be forgotten at once.
    """
    strategy = every_strategy.MIR(**m.common(m.network()), **own)
    plugin = next(each for each in strategy.plugins if isinstance(each, MIRPlugin))

    def prepare(experience: Any, samples: int, limit: float) -> None:
        groups = plugin.storage_policy.buffer_groups.items()
        kept = [group.buffer for k, group in groups if int(k) not in experience.classes_in_this_experience]
        plugin.replay_loader = None
        if sum(map(len, kept)) > plugin.batch_size_mem:
            loader = DataLoader(concat_datasets(kept), batch_size=plugin.subsample, shuffle=True)
            plugin.replay_loader = _endless(loader)

    return Built(strategy, prepare=prepare)


def _endless(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def _lamaml(own: dict[str, Any], m: Materials) -> Any:
    """One inner update: with more, Avalanche cuts batches into parts that may be empty, and breaks."""
    return LaMAML(**m.common(m.network()), n_inner_updates=1, **own)


def _pnn(own: dict[str, Any], m: Materials) -> Any:
    """Columns as deep as the encoder and as wide as its features: progressive networks are networks of their own."""
    layers = sum(isinstance(part, (nn.Linear, nn.Conv2d)) for part in m.encoder.modules())
    network = PNN(max(layers, 1), math.prod(m.shape), m.encoder.feature_size, **own).to(m.device)
    return every_strategy.PNNStrategy(**m.common(network))


def _packnet(own: dict[str, Any], m: Materials) -> Built:
    """Avalanche's strategy puts its plug-in into a list with None, so the plug-in stands by itself here.

    It must know the number of epochs beforehand: that which the budget allows, by the FLOPs of one step.
    """
    network = PackNetModel(nn.Sequential(m.encoder, nn.Linear(m.encoder.feature_size, m.n_classes))).to(m.device)
    plugin = PackNetPlugin(post_prune_epochs=1, prune_proportion=own["prune_proportion"])
    strategy = every_strategy.Naive(**m.common(network), plugins=[plugin])
    batch = m.settings["batch_size"]

    def prepare(experience: Any, samples: int, limit: float) -> None:
        size, steps = min(batch, samples), math.ceil(samples / batch)
        x = torch.zeros(size, *m.shape, device=m.device)
        task = torch.full((size,), int(network.wrappee[1].task_count), device=m.device)
        _, flops = counted(lambda: network(x, task).sum().backward())
        network.zero_grad()
        epochs = max(2, min(int(limit / max(flops * steps, 1.0)) - 1, m.settings["epochs"] or 10**9))
        strategy.train_epochs = epochs
        plugin.post_prune_epochs = min(max(1, round(own["post_prune_share"] * epochs)), epochs - 1)

    return Built(strategy, prepare=prepare)


def _cwr(own: dict[str, Any], m: Materials) -> Any:
    """A head without bias: Avalanche's plug-in keeps weights class by class, and would leave a bias to drift."""
    network = OneHead(m.encoder, m.n_classes, bias=False).to(m.device)
    return every_strategy.CWRStar(**m.common(network), cwr_layer_name="classifier")


def _scr(own: dict[str, Any], m: Materials) -> Any:
    """No augmentation: inputs may be features; the contrast is with samples of the class."""
    width = m.encoder.feature_size
    head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, min(width, 128)))
    common = m.common(SCRModel(m.encoder, head).to(m.device))
    common.pop("criterion")
    return every_strategy.SCR(**common, plugins=[], **own)


def _slda(own: dict[str, Any], m: Materials) -> Built:
    """One pass, all samples of a task as one batch: it fits sample by sample, and inverts once per batch."""
    name = "random" if own["features"] else "raw"
    given = {"features": own["features"]} if own["features"] else {}
    seed = int(torch.randint(2**62, ()))
    features = build_encoder(name, m.shape, given, seed).to(m.device)
    strategy = every_strategy.StreamingLDA(
        slda_model=features,
        criterion=nn.CrossEntropyLoss(),
        input_size=features.feature_size,
        num_classes=m.n_classes,
        shrinkage_param=own["shrinkage_param"],
        **{**m.quiet(), "train_epochs": 1},
    )

    def prepare(experience: Any, samples: int, limit: float) -> None:
        strategy.train_mb_size = samples
        strategy.prev_num_updates = strategy.num_updates  # else it inverts before the batch too, for a loss to show

    return Built(strategy, prepare=prepare)


class _StraightMeans(SupervisedPlugin):  # type: ignore[misc, type-arg, unused-ignore]
    """Class means of iCaRL over the kept images alone: Avalanche adds their mirror images, which nothing trained on."""

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Put means over kept samples in the place of those that ICaRL's plug-in has just made."""
        icarl = next(each for each in strategy.plugins if isinstance(each, _ICaRLPlugin))
        with torch.no_grad():
            for x, y in zip(icarl.x_memory, icarl.y_memory, strict=True):
                features = strategy.model.feature_extractor(x.to(strategy.device))
                mean = nn.functional.normalize(features, dim=1).mean(dim=0)
                icarl.class_means[y[0]] = nn.functional.normalize(mean, dim=0)
        strategy.model.eval_classifier.replace_class_means_dict(icarl.class_means)


def _icarl(own: dict[str, Any], m: Materials) -> Any:
    head = nn.Linear(m.encoder.feature_size, m.n_classes).to(m.device)
    optimiser = m.optimiser(nn.ModuleList([m.encoder, head]))
    parts = {"feature_extractor": m.encoder, "classifier": head, "optimizer": optimiser}
    made = every_strategy.ICaRL(**parts, buffer_transform=None, fixed_memory=True, **own, **m.quiet())
    made.plugins.append(_StraightMeans())
    return made


def _generative(own: dict[str, Any], m: Materials) -> Built:
    """A generator and a loss of our own for inputs of any range: Avalanche's are made for MNIST's pixels."""
    dreamer, meter = Dreamer(m.shape, own["latent"]).to(m.device), Meter()
    generator = VAETraining(
        model=dreamer,
        optimizer=torch.optim.Adam(dreamer.parameters(), lr=own["generator_lr"]),
        criterion=dreaming_loss,
        plugins=[meter.first, GenerativeReplayPlugin(), meter.last],
        **m.quiet(),
    )
    strategy = every_strategy.GenerativeReplay(**m.common(m.network()), generator_strategy=generator)
    train, share = generator.train, own["generator_share"]
    budget = {"limit": 0.0, "samples": 1}

    def within(experience: Any) -> None:
        meter.watch(lambda: train(experience, eval_streams=[]), budget["limit"], int(budget["samples"]), 1)

    generator.train = within

    def prepare(experience: Any, samples: int, limit: float) -> None:
        budget.update(limit=share * limit, samples=samples)

    return Built(strategy, share=share, prepare=prepare)
