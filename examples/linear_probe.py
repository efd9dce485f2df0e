"""A strategy of one's own: the best stored encoder as it is, under a new head."""

from evermap.agent.strategy import Strategy
from evermap.strategies.training import Sgd, train


class LinearProbe(Strategy):
    """Trains a new head on a stored encoder that stays frozen."""

    name = "linear-probe"
    Settings = Sgd  # steps, batch size, learning rate, …

    def applies(self, task, known):
        return None if known.sources else "the store holds no trained encoder yet"

    def learn(self, task, known, rng):
        model = known.best_source().copy(head_for=task, rng=rng)
        model.encoder.requires_grad_(False)
        yield from train(model, task, self.settings, rng)  # yields the model after every gradient step
