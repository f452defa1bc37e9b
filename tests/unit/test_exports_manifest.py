import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from nasty import about

from app.exports import EXPORTS
from app.exports.manifest import manifest
from app.exports.writing import Options, Preset
from app.model import Filter, Op, Report, Spec, Status


@pytest.mark.parametrize(
    ("status", "expected", "rows", "partial"),
    [
        ("done", 5, 5, False),
        ("done", None, 5, False),
        ("done", 5, 4, True),
        ("cancelled", 5, 5, True),
        ("running", None, 0, True),
    ],
)
def test_a_file_is_partial_unless_the_report_came_to_its_end_and_all_rows_are_there(
    status: str, expected: int | None, rows: int, partial: bool
) -> None:
    each = replace(about(), status=status, rows_expected=expected, rows_written=rows)
    assert each.partial is partial
    assert json.loads(each.to_json())["partial"] is partial
    assert dict(each.about())["Complete"] == ("no, rows are missing" if partial else "yes")


async def test_it_is_made_of_a_report(ask: Callable[[], Awaitable[Report | None]]) -> None:
    asked = await ask()
    assert asked is not None
    report = replace(asked, status=Status.DONE, started_at=1_767_323_045.0, rows=7, total=7)
    made = json.loads(manifest(report, ["id"], "csv", {"NULL": "nothing"}, "data").to_json())
    assert made["started"] == "2026-01-02T03:04:05.000Z"
    assert made["zone"] == "UTC"
    assert made["key"] == ["id"]
    assert [column["name"] for column in made["columns"]] == [column.name for column in report.columns]
    assert (made["rows_expected"], made["rows_written"], made["partial"]) == (7, 7, False)
    assert made["sha256"] is None
    assert made["filters"] == []


async def test_it_tells_the_filters_whole(ask: Callable[[], Awaitable[Report | None]]) -> None:
    asked = await ask()
    assert asked is not None
    cities = tuple(f"{number} " + "x" * 100 for number in range(20))
    filters = (
        Filter(1, "price", "REAL", Op.GT, ("10",)),
        Filter(2, "city", "TEXT", Op.IN, cities),
        Filter(3, "", "", Op.NOTNULL),
    )
    report = replace(asked, spec=Spec((0, 3), filters))
    found = manifest(report, ["id"], "csv", {"NULL": "nothing"}, "data")
    assert json.loads(found.to_json())["filters"] == [
        {"column": "price", "op": "gt", "value": "10"},
        {"column": "city", "op": "in", "value": list(cities)},
        {"column": "", "op": "notnull", "value": None},
    ]
    assert [value for label, value in found.about() if label == "Filter"] == [
        "price > 10",
        "city is one of " + ", ".join(f'"{city}"' for city in cities),
        "(no name) is not NULL",
    ]
    assert dict(about().about())["Filters"] == "none"


def test_each_format_says_how_it_writes_each_kind_of_value() -> None:
    for export in EXPORTS.values():
        for preset in Preset:
            said = export.values(Options(preset))
            assert {"NULL", "integer", "real", "text", "binary", "cut cell"} <= set(said)
            assert all(said.values())
