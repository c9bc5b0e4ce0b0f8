"""Answers in JSON: every field with its own evidence."""

from ragcore.answers.structured.fields import check_form, fields_of, has_rows
from ragcore.answers.structured.filling import Filled, Filler

__all__ = ["Filled", "Filler", "check_form", "fields_of", "has_rows"]
