"""What a learner may know, while it learns and when it is asked."""

from __future__ import annotations

from enum import Enum


class Setting(Enum):
    """The continual-learning settings of van de Ven & Tolias (2019), arXiv 1904.07734."""

    TASK_INCREMENTAL = "task-incremental"
    DOMAIN_INCREMENTAL = "domain-incremental"
    CLASS_INCREMENTAL = "class-incremental"

    @property
    def label_when_asked(self) -> bool:
        """Whether the task label is given with a test sample."""
        return self is Setting.TASK_INCREMENTAL

    @property
    def shared_classes(self) -> bool:
        """Whether every task has the same classes."""
        return self is Setting.DOMAIN_INCREMENTAL
