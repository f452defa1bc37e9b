import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

import pytest
from jinja2 import Environment, TemplateSyntaxError, UndefinedError
from markupsafe import Markup

from app.catalog import Listing
from app.cells import in_full
from app.errors import SourceError
from app.forms import Form, report_form
from app.model import Column, Dataset, Extent, Filter, Kind, Op, Report, Skipped, Spec, Status, StoredExport
from app.pages import Page as ReportPage
from app.permissions import LOCAL_USER
from app.settings import STATIC, TEMPLATES
from app.sse import Position
from app.templating import environment

FILES = sorted(path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*") if path.is_file())
ODD_NAMES = [
    "",
    " ",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "a/b?c#d&e=f;g",
    "😀 é \N{RIGHT-TO-LEFT OVERRIDE}evil",
    "a\r\nb\0c",
    "</title></script><hx-partial hx-target='#x'>",
    "x" * 3000,
]


@pytest.fixture(scope="module")
def jinja() -> Environment:
    return environment()


def make_report(name: str = "plain", status: Status = Status.RUNNING, **values: Any) -> Report:
    report = Report(
        id="0190-id",
        owner="ann",
        slot=None,
        dataset=f"s.{name}",
        spec=Spec((0, 1), filters_on(name)),
        columns=(Column(name, Kind.INTEGER, name, 80, True), Column(f"{name}2", Kind.TEXT)),
        status=status,
        error_code=None,
        error=name if status is Status.FAILED else None,
        lease_owner=None,
        epoch=1,
        lease_until=0,
        cancel_requested=False,
        attempts=0,
        generation=1,
        next_chunk=3,
        cursor=None,
        rows=2000,
        bytes=0,
        total=4000,
        total_kind="exact",
        notes=(name,),
        created_at=1_700_000_000,
        started_at=None if status is Status.QUEUED else 1_700_000_000,
        finished_at=1_700_000_003 if status.final else None,
        expires_at=None,
        read_at=1_700_000_002,
    )
    return replace(report, **values)


def show(name: str = "plain", status: Status = Status.RUNNING, **values: Any) -> dict[str, Any]:
    report = make_report(name, status, **values)
    return {
        "user": LOCAL_USER,
        "section": "reports",
        "report": report,
        "page": ReportPage(1, 500_000),
        "row": 1,
        "marked": 1,
        "q": "",
        "found": None,
        "shown": Extent(1, 1, 1000),
        "chunks": Markup(""),
        "position": Position(1, 2),
        "streams": not status.final,
        "summary": None,
        "summary_hidden": False,
    }


def make_file(status: Status, **values: Any) -> StoredExport:
    file = StoredExport(
        id="0190-file",
        report="0190-id",
        generation=1,
        format="xlsx",
        options="",
        status=status,
        error=None,
        cancel_requested=False,
        rows=500,
        size=1_234_567 if status is Status.DONE else None,
        sha256="0a" * 32 if status is Status.DONE else None,
        manifest=b"{}" if status is Status.DONE else None,
        sizes=(),
        created_at=1_700_000_003,
        started_at=1_700_000_004 if status is Status.RUNNING else None,
        finished_at=1_700_000_004 if status.final else None,
        read_at=1_700_000_005,
    )
    return replace(file, **values)


def downloads(
    name: str = "plain",
    xlsx: StoredExport | None = None,
    parquet: StoredExport | None = None,
    status: Status = Status.DONE,
) -> dict[str, Any]:
    report = make_report(name, status)
    files = {"xlsx": xlsx, "parquet": parquet}
    return {"user": LOCAL_USER, "section": "reports", "report": report, "files": files}


def filters_on(name: str) -> tuple[Filter, ...]:
    return (Filter(0, name, name, Op.EQ, (name,)), Filter(0, name, name, Op.IN, (name, name)))


def pages(name: str) -> dict[str, dict[str, Any]]:
    """The context of every page, with `name` wherever the data may bring one."""
    columns = (Column(name, Kind.TEXT, name), Column("id", Kind.INTEGER))
    dataset = Dataset(f"s.{name}", "s", name, "table", columns, (name,))
    filters = filters_on(name)
    listing = Listing(name, (dataset,), (Skipped(name, name),))
    reports = [make_report(name, status) for status in Status]
    user = replace(LOCAL_USER, name=name)
    return {
        "datasets/index.html": {
            "user": user,
            "section": "datasets",
            "listings": [listing, Listing(name, error=SourceError(name)), Listing(name)],
            "reports": reports,
        },
        "datasets/show.html": {
            "user": user,
            "section": "datasets",
            "dataset": dataset,
            "form": report_form(dataset.id, [("col", name), (f"{name}__eq", name)]),
            "columns": [name, name],
            "filters": filters,
            "rows": Markup("<tr><td>1</td></tr>"),
            "problem": None,
        },
        "reports/index.html": {"user": user, "section": "reports", "reports": reports},
        "reports/show.html": show(name, Status.FAILED),
        "reports/downloads.html": downloads(
            name, make_file(Status.FAILED, error=name), make_file(Status.RUNNING), Status.FAILED
        ),
        "reports/found.html": {
            "user": user,
            "section": "reports",
            "report": reports[-1],
            "q": name,
            "problem": None,
            "back": True,
            "start": 2001,
            "found": None,
            "passed": 1001,
            "other_end": None,
        },
        "reports/row.html": {
            "user": user,
            "section": "reports",
            "report": reports[-1],
            "number": 2,
            "marked": 1,
            "cells": in_full(reports[-1].columns, (name, name.encode())),
            "problem": None,
        },
        "session/new.html": {"problem": name, "section": ""},
        "error.html": {
            "status": 404,
            "title": name,
            "sentence": name,
            "reports": reports,
            "again": Form("/reports", (("dataset", name), ("col", name))),
            "section": "error",
        },
    }


class Page(HTMLParser):
    """Refuses what the content security policy would, and remembers the elements."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, attrs)
        assert "style" not in names
        assert [name for name in names if name.startswith("on")] == []
        assert tag not in ("style", "iframe", "object", "base")
        if tag == "script":
            assert (dict(attrs)["src"] or "").startswith("/static/")
        for name, value in attrs:
            if name in ("href", "src", "action") and value:
                assert value.startswith(("/", "#")), value
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input", "img", "col", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}>"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]


def test_the_checks_on_pages_can_fail() -> None:
    for html in ("<p style='a'></p>", "<a onclick='x()'></a>", "<script>1</script>", "<p><b></p></b>", "<p>"):
        with pytest.raises((AssertionError, KeyError)):
            Page(html)


def test_every_template_compiles_at_the_start(jinja: Environment) -> None:
    assert len(FILES) > 15
    assert sorted(jinja.list_templates()) == FILES
    for name in FILES:
        assert jinja.get_template(name)


def test_a_broken_template_stops_the_start(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.html").write_text("{% if %}")
    monkeypatch.setattr("app.templating.TEMPLATES", tmp_path)
    with pytest.raises(TemplateSyntaxError):
        environment()


def test_a_name_that_is_missing_is_an_error_and_not_an_empty_string(jinja: Environment) -> None:
    with pytest.raises(UndefinedError):
        jinja.get_template("error.html").render(status=1)


@pytest.mark.parametrize("name", FILES)
def test_no_template_holds_an_inline_script_a_style_or_a_handler(name: str) -> None:
    text = (TEMPLATES / name).read_text()
    for tag in re.findall(r"<[a-zA-Z][^>]*>", text):
        assert not re.search(r"\s(style|on\w+)\s*=", tag), tag
        assert "javascript:" not in tag.lower()
    assert not re.search(r"<style|<script(?![^>]*\ssrc=)", text)
    assert "hx-on" not in text
    assert "js:" not in text


@pytest.mark.parametrize("name", FILES)
def test_no_template_escapes_less_than_all(name: str) -> None:
    assert not re.search(r"\|\s*safe\b|autoescape", (TEMPLATES / name).read_text())


def test_rows_and_cells_carry_no_instructions_for_htmx() -> None:
    for name in FILES:
        for tag in re.findall(r"<(?:tr|td|th|tbody|table)\b[^>]*>", (TEMPLATES / name).read_text()):
            assert "hx-" not in tag, (name, tag)


@pytest.mark.parametrize("page", pages(""))
@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_pages_render_odd_names_escaped(jinja: Environment, page: str, name: str) -> None:
    html = jinja.get_template(page).render(pages(name)[page])
    Page(html)
    assert "alert(1)</script>" not in html
    assert "<img src=x" not in html
    assert "<hx-partial" not in html
    assert ("{{ 7 * 7 }}" in html) is ("{{ 7 * 7 }}" in name)


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_the_link_of_a_dataset_leads_to_it_whatever_its_name(jinja: Environment, name: str) -> None:
    html = jinja.get_template("datasets/index.html").render(pages(name)["datasets/index.html"])
    links = [
        each["href"] or "" for each in Page(html).all("a") if (each["href"] or "").startswith("/datasets/")
    ]
    assert [unquote(link.removeprefix("/datasets/")) for link in links] == [f"s.{name}"]
    assert not set(links[0].removeprefix("/datasets/")) & set("/?#&\"'<> \r\n\0")


@pytest.mark.parametrize("name", ["<b>", "", '"', "&amp;", "é"])
def test_the_form_of_a_dataset_asks_for_it_by_its_exact_name(jinja: Environment, name: str) -> None:
    page = Page(jinja.get_template("datasets/show.html").render(pages(name)["datasets/show.html"]))
    assert [(each["name"], each["value"]) for each in page.all("input")] == [
        ("dataset", f"s.{name}"),
        ("col", name),
        (f"{name}__eq", name),
    ]


@pytest.mark.parametrize("with_error", [False, True])
@pytest.mark.parametrize("status", list(Status))
def test_the_page_of_a_report_fits_its_status(jinja: Environment, status: Status, with_error: bool) -> None:
    context = show(status=status, error="It failed." if with_error else None)
    html = jinja.get_template("reports/show.html").render(context)
    page = Page(html)
    streams = [each for each in page.all("div") if each.get("id") == "report-stream"]
    assert len(streams) == (0 if status.final else 1)
    assert ("/reports/0190-id/cancellation" in html) is not status.final
    assert (">Run again</button>" in html) is status.final
    for stream in streams:
        assert stream["hx-sse:connect"] == "/reports/0190-id/events?after=1.2&page=1"
        assert stream["hx-sse:close"] == "end"
    assert ("It failed." in html) is with_error


def test_the_table_of_a_report_is_one_table_to_assistive_technology(jinja: Environment) -> None:
    page = Page(jinja.get_template("reports/show.html").render(show()))
    (table,) = [attributes for _, attributes in page.elements if attributes.get("id") == "report-table"]
    assert (table["role"], table["aria-colcount"], table["aria-rowcount"]) == ("table", "2", "4001")
    assert len([each for each in page.all("th") if each.get("role") == "columnheader"]) == 2
    (status,) = [attributes for _, attributes in page.elements if attributes.get("id") == "report-status"]
    assert status["role"] == "status"


def test_without_a_total_the_number_of_rows_is_said_to_be_unknown(jinja: Environment) -> None:
    html = jinja.get_template("reports/show.html").render(show(total=None))
    assert 'aria-rowcount="-1"' in html


def test_a_list_of_reports_refreshes_itself_only_while_one_runs(jinja: Environment) -> None:
    template = jinja.get_template("reports/_table.html")
    running = [make_report(status=Status.DONE), make_report(status=Status.RUNNING)]
    assert 'hx-trigger="every 1s"' in template.render(reports=running, section="reports")
    assert "hx-" not in template.render(reports=running[:1], section="reports")


def test_the_files_of_a_report_refresh_themselves_only_while_one_is_made(jinja: Environment) -> None:
    template = jinja.get_template("reports/downloads.html")
    for status in Status:
        html = template.render(downloads(xlsx=make_file(status)))
        assert ('hx-trigger="every 1s"' in html) is ('http-equiv="refresh"' in html) is not status.final
        assert (">Cancel<" in html) is not status.final
    assert 'hx-trigger="every 1s"' not in template.render(downloads())


def test_a_file_that_is_made_tells_how_far_it_is(jinja: Environment) -> None:
    html = jinja.get_template("reports/downloads.html").render(downloads(xlsx=make_file(Status.RUNNING)))
    (bar,) = [each for each in Page(html).all("span") if each.get("role") == "progressbar"]
    assert (bar["aria-valuenow"], bar["aria-valuemax"]) == ("500", "2000")
    assert "500 of 2,000 rows" in html


def test_a_format_that_is_not_there_is_not_offered(jinja: Environment) -> None:
    context = downloads()
    template = jinja.get_template("reports/downloads.html")
    assert "Parquet" in template.render(context)
    del context["files"]["parquet"]
    assert "Parquet" not in template.render(context)


def test_ids_on_a_page_are_unique(jinja: Environment) -> None:
    for name, context in pages("plain").items():
        page = Page(jinja.get_template(name).render(context))
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids)), name


def test_times_are_given_for_people_and_for_machines(jinja: Environment) -> None:
    html = jinja.get_template("reports/_table.html").render(reports=[make_report()], section="reports")
    moment = datetime.fromtimestamp(1_700_000_000, UTC)
    assert f'<time datetime="{moment.isoformat()}">2023-11-14 22:13 UTC</time>' in html


def test_the_address_of_a_static_file_changes_with_the_file(jinja: Environment) -> None:
    age = int((STATIC / "app.css").stat().st_mtime)
    html = jinja.get_template("session/new.html").render(problem=None, section="")
    assert f'href="/static/app.css?v={age}"' in html
    for path in re.findall(r'"/static/([^"?]+)', html):
        assert (STATIC / path).is_file()
