"""Typed errors: every mistake that a user can make has a class, and its text names the remedy."""


class ZenError(Exception):
    """Base of every error that zen_fast raises on purpose."""


class InvalidArgumentError(ZenError, ValueError):
    """An argument has a value that is not accepted."""


class InvalidTypeError(ZenError, TypeError):
    """An argument has a type that is not accepted."""


class ModelNotFoundError(ZenError, FileNotFoundError):
    """A model name is neither the embedded model, nor a local folder, nor a reachable hub id."""


class CheckpointError(ZenError):
    """A checkpoint's files do not form a model: a missing, leftover or wrongly shaped tensor."""


class UnsupportedModelError(ZenError):
    """A checkpoint is sound, but its architecture or one of its settings is not supported."""


class UnsupportedDeviceError(ZenError):
    """The device, instruction set or precision asked for cannot be had here."""


class OutOfDeviceMemoryError(ZenError, MemoryError):
    """A batch does not fit into a GPU's memory beside the model."""


class MissingDependencyError(ZenError, ImportError):
    """A feature needs an optional dependency that is not installed."""
