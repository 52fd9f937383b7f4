"""Errors a user of the trainer can cause."""

from zen_fast.errors import InvalidArgumentError, ZenError


class RecipeError(InvalidArgumentError):
    """A recipe is missing, or its fields do not fit."""


class TrainingDataError(ZenError):
    """A collection's files are missing or cannot be read."""


class ResumeError(ZenError):
    """A work folder belongs to another recipe, so that its run cannot be continued."""
