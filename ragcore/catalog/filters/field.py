"""What one filter is: its values and operators, its SQL, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from ragcore.catalog.filters.values import Days, ValueType
from ragcore.catalog.models import Document, Image, Passage

Operator = Literal["=", ">=", "<="]
Item = type[Passage] | type[Image]
Given = Mapping[str, Any]  # parsed values by operator, and those of the field's parts by name
Condition = Callable[[Item, Given], ColumnElement[bool]]
Facet = Callable[[Session, int], dict[str, int]]
Widget = Literal["choice", "text", "dates", "minimum", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterField:
    """One filter field.

    `condition` is of documents, or of passages and images where `on` is "item". A field that is
    `part_of` another has no condition of its own: its value goes to the other's. `facet` counts
    a collection's documents or items by value, for the widget "choice"; `shown` names values
    that are not shown as they are. `renamed_from`: an earlier name, still accepted.
    """

    name: str
    type: ValueType
    help: str
    label: str
    operators: tuple[Operator, ...] = ("=",)
    condition: Condition | None = None
    on: Literal["document", "item"] = "document"
    part_of: str = ""
    widget: Widget = "none"
    facet: Facet | None = None
    shown: Mapping[str, str] = field(default_factory=dict)
    renamed_from: str = ""

    @property
    def keys(self) -> dict[str, Operator]:
        """The field with each of its operators, as in the string form: "size>="."""
        return {self.key(operator): operator for operator in self.operators}

    def key(self, operator: Operator, name: str = "") -> str:
        return f"{name or self.name}{'' if operator == '=' else operator}"

    def attribute(self, operator: Operator) -> str:
        """The argument of `Filter` for an operator: "size_min"."""
        if operator == "=" or len(self.operators) == 1:
            return self.name
        return f"{self.name}_{self.type.bounds[operator == '<=']}"

    @property
    def usage(self) -> str:
        """The keys and what they take, on one line."""
        return f"{', '.join(self.keys)}: {self.help}"


def matches(condition: Callable[[Any], ColumnElement[bool]]) -> Condition:
    """A condition on documents that needs nothing but the value."""
    return lambda _item, given: condition(given["="])


def within(column: Any, given: Given) -> ColumnElement[bool]:
    """A number or a time of a column that meets every operator given; times are `Days`."""
    here = []
    for operator, value in given.items():
        days = isinstance(value, Days)
        if operator == "=":
            here += [column >= value.first, column < value.end] if days else [column == value]
        elif operator == ">=":
            here.append(column >= (value.first if days else value))
        else:
            here.append(column < value.end if days else column <= value)
    return and_(*here)


def of_document(column: Any) -> Condition:
    """A document's number or time, with any operators."""
    return lambda _item, given: within(column, given)


def documents_by(column: Any) -> Facet:
    """Counts of a collection's documents that can be found, by a column; the commonest first."""

    def count(session: Session, collection_id: int) -> dict[str, int]:
        here = (Document.collection_id == collection_id, Document.state != "failed")
        query = select(column, func.count()).where(*here).group_by(column)
        rows = session.execute(query.order_by(func.count().desc(), column)).all()
        return {str(value): number for value, number in rows}

    return count
