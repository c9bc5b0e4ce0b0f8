from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ragcore.answers import Answerer, check_form
from ragcore.answers.structured.values import choices_in, dates, day_first, decimal_comma, numbers
from ragcore.errors import UsageError
from ragcore.models import LLM
from ragcore.settings import Settings
from ragcore.types import Answer, SearchResult

from ..shared_models import models_of
from .conftest import hit

INVOICE = """Brandt Metalworks Ltd

Invoice no. BM-20871
Date: 14 March 2025
Due date: 13 April 2025
Bill to: Harbour Kitchens

Description | Quantity | Amount
Steel bracket, 40 mm | 120 | 1,258.00
Powder coating | 1 | 95.00

~~Total due: GBP 1,400.00~~
Total due: GBP 1,353.00
Status: unpaid"""
SHEET = """Model: AquaLift 75
Net weight	12,4 kg
Gross weight	14,1 kg
Rated voltage	230 V
Operating temperature	5 to 40 °C
Storage temperature	-20 to 70 °C
Guarantee	24 months

The pump is not waterproof. A cable is included. Delivery on 03/04/2025."""


def ask(
    llm: LLM, fields: Mapping[str, Any], *texts: str, required: Sequence[str] = (), **how: Any
) -> Answer:
    """What a schema with these fields is answered from the passages of one document."""
    hits, start = [], 0
    for n, text in enumerate(texts, 1):
        hits.append(replace(hit(n, text), document_id=1, span=(start, start + len(text))))
        start += len(text) + 2
    found = SearchResult(tuple(hits))
    schema = {"type": "object", "properties": fields, "required": list(required)}
    asker = Answerer(llm, lambda _: found, settings=Settings(), models=models_of())
    answer = asker.ask("What does the document say?", schema=schema, **how)
    for one in answer.fields:
        if one.citation is not None:
            passage = next(h for h in hits if h.id == one.citation.passage_id)
            assert passage.span is not None
            assert one.citation.span is not None
            begin = one.citation.span[0] - passage.span[0]
            assert passage.text[begin : begin + len(one.citation.quote)] == one.citation.quote
            if isinstance(one.value, str) and not one.value[:4].isdigit():
                assert one.value.lower() in one.citation.quote.lower()
    return answer


def value(llm: LLM, fields: Mapping[str, Any], *texts: str) -> dict[str, Any]:
    found = json.loads(ask(llm, fields, *texts).text)
    assert isinstance(found, dict)
    return found


TEXT, NUMBER, DATE = {"type": "string"}, {"type": "number"}, {"type": "string", "format": "date"}
YES_NO = {"type": "boolean"}


def test_labels_tables_and_what_is_struck_out(llm: LLM) -> None:
    row = {"type": "object", "properties": {"description": TEXT, "amount": NUMBER}}
    fields = {
        "invoice_number": TEXT,
        "issue_date": DATE,
        "due_date": DATE,
        "customer": {"type": "object", "properties": {"name": TEXT}},
        "currency": {"enum": ["EUR", "GBP"]},
        "total": NUMBER,
        "paid": YES_NO,
        "items": {"type": "array", "items": row},
    }
    answer = ask(llm, fields, INVOICE)
    assert json.loads(answer.text) == {
        "invoice_number": "BM-20871",
        "issue_date": "2025-03-14",
        "due_date": "2025-04-13",
        "customer": {"name": "Harbour Kitchens"},
        "currency": "GBP",
        "total": 1353,
        "paid": False,
        "items": [
            {"description": "Steel bracket, 40 mm", "amount": 1258},
            {"description": "Powder coating", "amount": 95},
        ],
    }
    quotes = {field.path: field.citation.quote for field in answer.fields if field.citation}
    assert quotes["total"] == "Total due: GBP 1,353.00"
    assert quotes["items[1].amount"] == "Powder coating | 1 | 95.00"
    assert all(0.5 <= field.confidence <= 1 for field in answer.fields if field.citation)
    assert (answer.composed, answer.abstained) == (True, False)


def test_units_ranges_and_negations(llm: LLM) -> None:
    side = {"type": "number"}
    fields = {
        "product": TEXT,
        "weight_kg": NUMBER,
        "supply_voltage_v": NUMBER,
        "temperature": {
            "type": "object",
            "properties": {
                "min": {**side, "description": "Lowest operating temperature in °C"},
                "max": {**side, "description": "Highest operating temperature in °C"},
            },
        },
        "warranty_years": {"type": "integer"},
        "waterproof": YES_NO,
        "cable_included": YES_NO,
        "battery_included": YES_NO,
        "delivery_date": DATE,
    }
    assert value(llm, fields, SHEET) == {
        "product": "AquaLift 75",
        "weight_kg": 12.4,
        "supply_voltage_v": 230,
        "temperature": {"min": 5, "max": 40},
        "waterproof": False,
        "cable_included": True,
    }  # no years of warranty, nothing of a battery, and a date that could be April or March
    shown = SHEET + "\n\nDelivered again on 23/04/2025."
    assert value(llm, {"delivery_date": DATE}, shown) == {"delivery_date": "2025-04-03"}


def test_nothing_is_made_up(llm: LLM) -> None:
    nullable = {"type": ["string", "null"], "format": "date"}
    fields = {"start_date": nullable, "deadline": nullable}
    text = "Published on 2 May 2025. Apply by 30 May 2025."
    answer = ask(llm, fields, text, required=["start_date", "deadline"])
    assert json.loads(answer.text) == {"start_date": None, "deadline": "2025-05-30"}
    assert [(f.path, f.citation is None, f.confidence > 0) for f in answer.fields] == [
        ("start_date", True, False), ("deadline", False, True),
    ]  # fmt: skip
    answer = ask(llm, {"start_date": DATE, "deadline": DATE}, text, required=["start_date"])
    assert answer.abstained
    assert answer.text == "Not found in the documents: start_date"
    none = ask(llm, {"fee": {"type": ["number", "null"]}}, text)
    assert (none.abstained, json.loads(none.text), none.citations) == (True, {"fee": None}, ())
    bounded = {"deadline": {**DATE, "pattern": "^2030"}}
    broken = ask(llm, bounded, text)
    assert broken.abstained
    assert "does not follow the schema" in broken.text


def test_lists_and_who_has_to_do_what(llm: LLM) -> None:
    person = {"type": "string", "description": "Person responsible"}
    action = {"type": "object", "properties": {"owner": person, "task": TEXT, "due": DATE}}
    fields = {
        "chair": {"type": "string", "description": "Who chaired the meeting"},
        "attendees": {"type": "array", "items": TEXT},
        "actions": {"type": "array", "items": action},
    }
    listed = "Chair: Ruth Adeyemi\nPresent: Ruth Adeyemi, Paul Kerr and Mina Shah"
    actions = "Actions\n- Mina Shah: order compost (by 1 March 2025)\n- Paul Kerr: mend the gate"
    assert value(llm, fields, listed, actions) == {
        "chair": "Ruth Adeyemi",
        "attendees": ["Ruth Adeyemi", "Paul Kerr", "Mina Shah"],
        "actions": [
            {"owner": "Mina Shah", "task": "order compost", "due": "2025-03-01"},
            {"owner": "Paul Kerr", "task": "mend the gate"},
        ],
    }
    prose = (
        "Irene Voss chaired the meeting; Daniel Kim took the minutes. "
        "Sofia Marin will book the hall by 20 March 2025."
    )
    assert value(llm, fields, prose) == {
        "chair": "Irene Voss",
        "attendees": [],
        "actions": [{"owner": "Sofia Marin", "task": "book the hall", "due": "2025-03-20"}],
    }


def test_a_table_goes_on_in_the_next_passage(llm: LLM) -> None:
    row = {"type": "object", "properties": {"article": TEXT, "price": NUMBER}}
    fields = {"parts": {"type": "array", "items": row}}
    first = "Article\tStock\tPrice\nBattery pack\t3\t24.50"
    second = "Seal set\t5\t4.80"
    assert value(llm, fields, first, second) == {
        "parts": [
            {"article": "Battery pack", "price": 24.5},
            {"article": "Seal set", "price": 4.8},
        ]
    }


def test_the_threshold_is_the_dial(llm: LLM) -> None:
    fields = {"weight_kg": NUMBER, "model": TEXT}
    assert json.loads(ask(llm, fields, SHEET, threshold=0.5).text)["weight_kg"] == 12.4
    sure = json.loads(ask(llm, fields, SHEET, threshold=0.95).text)
    assert sure == {"model": "AquaLift 75"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("EUR 1,204.50", [1204.5]),
        ("1 204,50 €", [1204.5]),
        ("1.204,50 EUR and 12,5 %", [1204.5, 12.5]),
        ("CHF 1'204.50", [1204.5]),
        ("from -20 to 60 °C", [-20, 60]),
        ("1,250 units, 3.5 kg, two boxes", [1250, 3.5, 2]),
        ("on 3 May 2025 at 14:30, RS-485, INV-12, 2025-0093", []),
    ],
)
def test_numbers_as_they_are_written(text: str, expected: list[float]) -> None:
    assert [one.value for one in numbers(text, comma=decimal_comma(text))] == expected


def test_one_mark_is_read_as_the_document_writes_numbers() -> None:
    assert [one.value for one in numbers("1.204 km")] == [1.204]
    assert [one.value for one in numbers("1.204 km", comma=True)] == [1204]
    assert [one.value for one in numbers("1,204 km", comma=True)] == [1.204]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-05-03", ["2025-05-03"]),
        ("3rd of May 2025, May 4th, 2025", ["2025-05-03", "2025-05-04"]),
        ("05.09.2024 or 5. September 2024", ["2024-09-05", "2024-09-05"]),
        ("13/04/2025 and 04/05/2025", ["2025-04-13", "2025-05-04"]),
        ("04/13/2025 and 04/05/2025", ["2025-04-13", "2025-04-05"]),
        ("04/05/2025", []),
        ("31/02/2025, 1.13.2025", []),
    ],
)
def test_dates_as_they_are_written(text: str, expected: list[str]) -> None:
    assert [one.value for one in dates(text, day_first=day_first(text))] == expected


def test_choices_stand_in_the_text_and_are_not_denied() -> None:
    kinds = ["full_time", "part_time", "freelance"]
    assert [v.value for v in choices_in("Full-time, not freelance", kinds)] == ["full_time"]
    assert choices_in("a permanent position", kinds) == []


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "object"}, "without properties"),
        ({"type": ["string", "number"]}, "one type"),
        ({"properties": {"a": {}}}, "field a must have one type"),
        ({"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "number"}]}}}, "choose one"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "string"}}}, "flat"),
        ({"$defs": {"a": {"properties": {"b": {"$ref": "#/$defs/a"}}}}, "$ref": "#/$defs/a"}, "re"),
    ],
)
def test_what_cannot_be_answered_by_fields_is_refused(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        check_form(schema)


def test_references_nulls_and_constants_are_understood(llm: LLM) -> None:
    money = {"anyOf": [{"type": "number"}, {"type": "null"}]}
    assert value(llm, {"total": money, "kind": {"const": "invoice"}}, INVOICE) == {
        "total": 1353,
        "kind": "invoice",
    }
