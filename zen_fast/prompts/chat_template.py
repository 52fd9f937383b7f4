"""The prompt template that a checkpoint carries as a chat template.

sentence-transformers renders a pair as messages of the roles "query" and "document", after one of
the role "system" where there is an instruction. The template is rendered once with marks in their
places, and is trusted only if it treats other texts as it treated the marks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from zen_fast.errors import CheckpointError, MissingDependencyError, UnsupportedModelError
from zen_fast.extras import install
from zen_fast.prompts.template import PromptTemplate, filled

_MARKS = {"query": "QUERYxMARK", "document": "DOCUMENTxMARK", "instruction": "INSTRUCTIONxMARK"}
_PROBES = (
    ("  leading and trailing \n", "\n\ttoo\n\n", " and {query} "),
    ("<b>&amp; \"quoted\" 'text'</b>", "", "É, 人工知能"),
)
"""Queries, documents and instructions that a template might treat in a way of its own."""

Render = Callable[[str, str, str | None], str]
"""(query, document, instruction or None) → prompt."""


def read_chat_template(folder: Path, tokenizer_config: Mapping[str, Any]) -> str | None:
    """Source of a checkpoint's default chat template; None where it has none."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    saved = tokenizer_config.get("chat_template")
    if isinstance(saved, list):
        saved = {entry.get("name"): entry.get("template") for entry in saved}.get("default")
    return saved if isinstance(saved, str) else None


def chat_prompt_template(
    source: str, variables: Mapping[str, Any], is_structured: bool
) -> PromptTemplate:
    """The template that a chat template amounts to, without answer tokens.

    Args:
        source: the chat template.
        variables: what else it may read, such as add_generation_prompt.
        is_structured: a message's content is a list of parts, not a text.

    Raises:
        MissingDependencyError: jinja2 is not installed.
        CheckpointError: the chat template cannot be rendered.
        UnsupportedModelError: it has no place for a query and a document, or changes texts.
    """
    render = _renderer(source, variables, is_structured)
    marked = render(_MARKS["query"], _MARKS["document"], _MARKS["instruction"])
    plain = render(_MARKS["query"], _MARKS["document"], None)
    if marked.count(_MARKS["document"]) != 1 or _MARKS["query"] not in marked:
        _refuse("has no place for a query and a document")
    text, default, instruction_format = _instruction_place(marked, plain)
    for name in ("query", "document"):
        text = text.replace(_MARKS[name], f"{{{name}}}")
    template = PromptTemplate(
        parts=(text,), default_instruction=default, instruction_format=instruction_format
    )
    _verify(template, render)
    return template


def _instruction_place(marked: str, plain: str) -> tuple[str, str | None, str]:
    """Prompt with {instruction} in its place, default instruction, and instruction format.

    `marked` is a rendering with an instruction, `plain` is one without.
    """
    mark = _MARKS["instruction"]
    if mark not in marked:
        return plain, None, "{instruction}"
    before, _, after = marked.partition(mark)
    rest = plain.removeprefix(before)
    if plain.startswith(before) and rest.endswith(after):
        return f"{before}{{instruction}}{after}", rest.removesuffix(after), "{instruction}"
    # Without an instruction, the words around it are left out as well.
    pairs = enumerate(zip(marked, plain, strict=False))
    start = next((i for i, (left, right) in pairs if left != right), len(plain))
    rest = plain[start:]
    instruction = marked[start : len(marked) - len(rest)]
    if not marked.endswith(rest) or _MARKS["query"] in instruction or mark not in instruction:
        _refuse("does more with an instruction than to put it in one place")
    return f"{plain[:start]}{{instruction}}{rest}", "", instruction.replace(mark, "{instruction}")


def _verify(template: PromptTemplate, render: Render) -> None:
    for query, document, instruction in _PROBES:
        for given in (None, instruction) if template.takes_instruction else (None,):
            texts = {
                "query": query,
                "document": document,
                "instruction": template.instruction_text(given),
            }
            if filled(template.parts[0], texts) != render(query, document, given):
                _refuse("changes the texts that it is given")


def _renderer(source: str, variables: Mapping[str, Any], is_structured: bool) -> Render:
    try:
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise MissingDependencyError(
            "this checkpoint's prompt is a chat template, which needs jinja2: "
            f"{install('chat')}, or pass template="
        ) from error

    def raise_exception(message: str) -> NoReturn:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = raise_exception

    def message(role: str, text: str) -> dict[str, Any]:
        return {
            "role": role,
            "content": [{"type": "text", "text": text}] if is_structured else text,
        }

    def render(query: str, document: str, instruction: str | None) -> str:
        messages = [message("query", query), message("document", document)]
        if instruction is not None:
            messages.insert(0, message("system", instruction))
        try:
            return template.render(messages=messages, tools=None, documents=None, **variables)
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"this checkpoint's chat template cannot be rendered for a query and a document "
                f"({error}); pass template="
            ) from error

    try:
        template = environment.from_string(source)
    except jinja2.TemplateError as error:
        raise CheckpointError(
            f"this checkpoint's chat template cannot be parsed ({error}); pass template="
        ) from error
    return render


def _refuse(reason: str) -> NoReturn:
    raise UnsupportedModelError(
        f"this checkpoint's chat template {reason}, so its prompt cannot be taken from it; pass "
        "template= to say what the model reads"
    )
