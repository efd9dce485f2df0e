"""The networks that Avalanche's strategies train: the agent's encoder with the heads that each needs, a generator."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..agent.encoder import Encoder
from ..streams.torchvision_guard import guard

guard()  # before Avalanche, which imports torchvision
from avalanche.models import BaseModel, MultiHeadClassifier, MultiTaskModule  # noqa: E402
from avalanche.models.generator import Generator as AvalancheGenerator  # noqa: E402


class OneHead(nn.Module):
    """The agent's encoder and one linear head for all classes."""

    def __init__(self, encoder: Encoder, n_classes: int, bias: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.feature_size, n_classes, bias)

    def forward(self, x: Tensor, task_labels: Any = None) -> Tensor:
        """Return logits, shape `(n, n_classes)`; `task_labels` change nothing."""
        logits: Tensor = self.classifier(self.encoder(x))
        return logits


class MultiHead(MultiTaskModule):
    """The agent's encoder and one linear head per task, as wide as all classes; those of other tasks are masked."""

    def __init__(self, encoder: Encoder, n_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = MultiHeadClassifier(encoder.feature_size, initial_out_features=n_classes)

    def forward(self, x: Tensor, task_labels: Any) -> Any:
        """Return logits of each sample's head, shape `(n, n_classes)`; of all heads by label where none is given."""
        if task_labels is None:  # LwF asks for all heads
            return self.heads(self.encoder(x), None)
        return self.heads(self.encoder(x), task_labels)


class WithFeatures(OneHead, BaseModel):
    """What LFL needs: features by a method."""

    def get_features(self, x: Tensor) -> Tensor:
        """Return what stands before the head."""
        features: Tensor = self.encoder(x)
        return features


class Dreamer(AvalancheGenerator, nn.Module):
    """A variational autoencoder of inputs of any range: two layers each way (Kingma 2014, arXiv 1312.6114)."""

    def __init__(self, shape: tuple[int, ...], latent: int, width: int = 128) -> None:
        super().__init__()
        self.shape, self.latent, size = shape, latent, math.prod(shape)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.ReLU(), nn.Linear(width, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, size))

    def get_features(self, x: Tensor) -> Tensor:
        """Return means and log-variances of the latent variables, shape `(n, 2 latent)`."""
        features: Tensor = self.encoder(x)
        return features

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return reconstructions, shape `(n, *shape)`, means and log-variances, shape `(n, latent)`."""
        mean, logvar = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * logvar)
        return self.decoder(z).view(-1, *self.shape), mean, logvar

    @torch.no_grad()
    def generate(self, batch_size: int | None = None, condition: Any = None) -> Tensor:
        """Dream up inputs, shape `(batch_size, *shape)`; one without the first extent where no number is given."""
        z = torch.randn(batch_size or 1, self.latent, device=next(self.parameters()).device)
        dreamt: Tensor = self.decoder(z).view(-1, *self.shape)
        return dreamt if batch_size else dreamt[0]


def dreaming_loss(x: Tensor, forward_output: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return the negative evidence bound of a batch, the noise of its pixels being what fits it best.

    Squared errors alone, as Avalanche adds them up, suit images of one size and range: on small ones the divergence
    outweighs them, and every dream is the mean image (Rybkin, Daniilidis & Levine 2021, arXiv 2006.13202).

    Args:
        x: Inputs, shape `(n, *shape)`.
        forward_output: Reconstructions, means and log-variances, as `Dreamer` gives them.
    """
    seen, mean, logvar = forward_output
    noise = nn.functional.mse_loss(seen, x).clamp(min=1e-6)  # the variance under which the batch is likeliest
    divergence = 0.5 * torch.sum(-1 - logvar + torch.exp(logvar) + mean**2)
    return 0.5 * x.numel() * torch.log(noise) + divergence
