"""A person signs in by the link that the server printed."""

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect
from report_page import generate, wait_for_status
from serving import Serve, Server
from watching import Complaints, MakeContext

COOKIE = "rowfall_session"


@pytest.fixture
def server(serve: Serve, demo_file: Path, complaints: Complaints) -> Server:
    """One whose link was not used yet."""
    complaints.allow("401")
    return serve(f"noise={demo_file}", auth="accounts")


@pytest.fixture(scope="session")
def shared(serve_all: Serve, demo: Server) -> Server:
    return serve_all(f"noise={demo.folder / 'rowfall-demo.db'}", auth="accounts")


@pytest.fixture(scope="session")
def session_key(shared: Server) -> str:
    """What the cookie of a person holds who signed in at the shared server."""
    return httpx.get(shared.link).cookies[COOKIE]


@pytest.fixture
def signed_in(page: Page, shared: Server, session_key: str) -> Page:
    page.context.add_cookies([{"name": COOKIE, "value": session_key, "url": shared.url, "sameSite": "Lax"}])
    return page


def test_without_the_link_there_is_a_sign_in_page_and_nothing_else(
    page: Page, shared: Server, complaints: Complaints
) -> None:
    complaints.allow("401")
    for path in ("/", "/reports", "/datasets/noise.about", "/datasets/noise.nothing"):
        answer = page.goto(f"{shared.url}{path}")
        assert answer
        assert answer.status == 401
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        expect(page.get_by_label("Token")).to_be_visible()
        assert "recordings" not in page.content()
    assert shared.get("/api/v1/datasets").status_code == 401
    assert shared.post("/api/v1/reports", {"dataset": "noise.about"}).status_code == 401


def test_the_printed_link_opens_signed_in_and_works_once(
    page: Page, server: Server, new_context: MakeContext
) -> None:
    assert re.fullmatch(rf"{server.url}/\?token=[\w-]{{20,}}", server.link)
    page.goto(server.link)
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()
    assert page.url == f"{server.url}/"  # the secret leaves the address bar
    cookie = next(each for each in page.context.cookies() if each["name"] == COOKIE)
    assert cookie["httpOnly"]  # scripts cannot read it
    assert cookie["sameSite"] == "Lax"
    generate(page, server, "noise.about")
    wait_for_status(page, "done")
    page.goto(server.link)  # the same person presses it again
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()

    other = new_context().new_page()
    answer = other.goto(server.link)
    assert answer
    assert answer.status == 401
    expect(other.get_by_role("alert")).to_have_text(
        "This link was used already, or is too old. Start the server again for a new one."
    )
    other.goto(f"{server.url}/")
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_token_can_be_pasted(page: Page, server: Server) -> None:
    page.goto(server.url)
    page.get_by_label("Token").fill("not-the-token")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Token").fill(f" {server.link.partition('=')[2]} ")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()


def test_a_page_of_another_site_cannot_act_in_this_persons_name(shared: Server, session_key: str) -> None:
    with httpx.Client(cookies={COOKIE: session_key}, base_url=shared.url) as person:
        for headers in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "https://elsewhere.example"},
        ):
            answer = person.post("/reports", data={"dataset": "noise.about"}, headers=headers)
            assert answer.status_code == 403
            assert "came from another site" in answer.text
            answer = person.post("/api/v1/reports", json={"dataset": "noise.about"}, headers=headers)
            assert answer.status_code == 403
        assert person.get("/api/v1/reports").json() == []
        assert person.post("/reports", data={"dataset": "noise.nothing"}).status_code == 404  # it may ask


def test_a_form_on_another_site_is_refused_by_the_server(
    signed_in: Page, shared: Server, complaints: Complaints
) -> None:
    complaints.allow("403")
    page = signed_in
    page.goto(f"{shared.url}/")
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()
    form = (
        f'<form method="post" action="{shared.url}/reports"><button>Win</button>'
        '<input name="dataset" value="noise.about"></form>'
    )
    page.route("http://elsewhere.example/", lambda route: route.fulfill(content_type="text/html", body=form))
    page.goto("http://elsewhere.example/")
    with page.expect_response(f"{shared.url}/reports") as answer:
        page.get_by_role("button", name="Win").click()
    assert answer.value.status == 403
    expect(page.locator("main")).to_contain_text("This request came from another site")
    page.goto(f"{shared.url}/reports")
    expect(page.get_by_text("No report yet")).to_be_visible()
