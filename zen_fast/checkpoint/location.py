"""From a model's name to the folder that holds it."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from zen_fast.errors import (
    InvalidArgumentError,
    InvalidTypeError,
    MissingDependencyError,
    ModelNotFoundError,
)

EMBEDDED_MODELS_FOLDER = Path(__file__).parent.parent / "models"

_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")

# Weights in other formats and exports for other engines stay on the hub.
_HUB_FILES = (
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_bert_config.json",
    "*_LogitScore/config.json",
    "chat_template.jinja",
    "prompt_template.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    "[0-9]_*/*.json",  # a bi-encoder's modules
    "[0-9]_*/model.safetensors",
)


def locate(model: str | Path, revision: str | None = None, token: str | None = None) -> Path:
    """The folder of an embedded model, a local folder, or a downloaded snapshot of a hub id.

    Args:
        model: name of an embedded model such as "zen-mini", path of a folder, or hub id; a folder
            that happens to bear an embedded model's name is meant by "./zen-mini".
        revision: branch, tag or commit on the hub.
        token: access token of the hub, for private models.

    Raises:
        ModelNotFoundError: it is none of these, or the hub cannot be reached.
        InvalidArgumentError: a `revision` of what is not on the hub.
        InvalidTypeError: it is neither a text nor a path.
    """
    if not isinstance(model, str | Path):
        raise InvalidTypeError(f"model is a {type(model).__name__}; give {_accepted_names()}")
    folder = _local_folder(model)
    if folder is not None:
        if revision is not None:
            raise InvalidArgumentError(
                f"revision={revision!r} is of a model on the hub, but {str(model)!r} is the folder "
                f"{folder}; leave it out"
            )
        return folder
    path = Path(model).expanduser()
    if path.is_file():
        raise ModelNotFoundError(f"{str(model)!r} is a file; give its folder, {str(path.parent)!r}")
    if isinstance(model, Path) or not _HUB_ID.fullmatch(model):
        raise ModelNotFoundError(
            f"there is no folder {str(model)!r}; give {_accepted_names()}{_suggestion(model)}"
        )
    return _download(model, revision, token)


def _local_folder(model: str | Path) -> Path | None:
    if model in embedded_models():
        return EMBEDDED_MODELS_FOLDER / model
    folder = Path(model).expanduser()
    return folder if model != "" and folder.is_dir() else None


def embedded_models() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(path.parent.name for path in EMBEDDED_MODELS_FOLDER.glob("*/config.json"))


def _accepted_names() -> str:
    embedded = " or ".join(repr(name) for name in embedded_models())
    return f"a local folder, a hub id like 'owner/name'{f', or {embedded}' if embedded else ''}"


def _suggestion(model: str | Path) -> str:
    alike = difflib.get_close_matches(str(model), embedded_models(), n=1)
    return f": did you mean {alike[0]!r}?" if alike else ""


def _download(model: str, revision: str | None, token: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )
    except ImportError as error:
        raise MissingDependencyError(
            f"downloading {model!r} needs huggingface_hub: pip install huggingface_hub"
        ) from error
    try:
        snapshot = snapshot_download(
            model, revision=revision, token=token, allow_patterns=list(_HUB_FILES)
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelNotFoundError(
            f"{model!r} is no local folder and could not be had from the hub "
            f"({type(error).__name__}: {error}); check the name, the network, and for a private "
            f"model the token; accepted: {_accepted_names()}{_suggestion(model)}"
        ) from error
    return Path(snapshot)
