"""Prompt templates: what a language model reads around a query and a document, as data."""

from zen_fast.prompts.known import TEMPLATES
from zen_fast.prompts.template import PromptTemplate

__all__ = ["TEMPLATES", "PromptTemplate"]
