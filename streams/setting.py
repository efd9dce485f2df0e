"""What a learner may know, while it learns and when it is asked."""

from __future__ import annotations

from enum import Enum


class Setting(Enum):
    """The continual-learning settings.

    The first three are those of van de Ven & Tolias (2019), arXiv 1904.07734. Blurry boundaries (Bang 2021, arXiv
    2103.17230): classes of one task go on in the next, and every sample comes once. Online (Lopez-Paz & Ranzato 2017):
    small batches one after another, each sample in one of them; where one task ends and the next begins is not told.
    """

    TASK_INCREMENTAL = "task-incremental"
    DOMAIN_INCREMENTAL = "domain-incremental"
    CLASS_INCREMENTAL = "class-incremental"
    BLURRY = "blurry"
    ONLINE = "online"

    @property
    def label_when_asked(self) -> bool:
        """Whether the task label is given with a test sample."""
        return self is Setting.TASK_INCREMENTAL

    @property
    def shared_classes(self) -> bool:
        """Whether every task has the same classes."""
        return self is Setting.DOMAIN_INCREMENTAL

    @property
    def one_pass(self) -> bool:
        """Whether every training sample comes in one task only, so that "all" of a class is shared out among them."""
        return self in (Setting.BLURRY, Setting.ONLINE)
