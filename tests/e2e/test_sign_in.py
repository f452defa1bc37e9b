"""A person signs in by the link that the server printed."""

import re

import httpx
import pytest
from playwright.sync_api import Page, expect
from report_page import generate, wait_for_status
from serving import Serve, Server
from watching import Complaints, MakeContext


@pytest.fixture
def server(serve: Serve, demo_file: str, complaints: Complaints) -> Server:
    complaints.allow("401")
    return serve(f"noise={demo_file}", auth="accounts")


def test_without_the_link_there_is_a_sign_in_page_and_nothing_else(page: Page, server: Server) -> None:
    for path in ("/", "/reports", "/datasets/noise.about", "/datasets/noise.nothing"):
        answer = page.goto(f"{server.url}{path}")
        assert answer
        assert answer.status == 401
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        expect(page.get_by_label("Token")).to_be_visible()
        assert "recordings" not in page.content()
    assert server.get("/api/v1/datasets").status_code == 401
    assert server.post("/api/v1/reports", {"dataset": "noise.about"}).status_code == 401


def test_the_printed_link_opens_signed_in_and_works_once(
    page: Page, server: Server, new_context: MakeContext
) -> None:
    assert re.fullmatch(rf"{server.url}/\?token=[\w-]{{20,}}", server.link)
    page.goto(server.link)
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()
    assert page.url == f"{server.url}/"  # the secret leaves the address bar
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


def test_the_session_is_a_cookie_that_scripts_cannot_read(page: Page, server: Server) -> None:
    page.goto(server.link)
    cookie = next(each for each in page.context.cookies() if each["name"] == "rowfall_session")
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    assert page.evaluate("() => document.cookie") == ""


def test_a_page_of_another_site_cannot_act_in_this_persons_name(page: Page, server: Server) -> None:
    page.goto(server.link)
    cookie = next(each for each in page.context.cookies() if each["name"] == "rowfall_session")
    cookies = {cookie["name"]: cookie["value"]}
    foreign = (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
    )
    for headers in foreign:
        with httpx.Client(cookies=cookies, headers=headers) as client:
            answer = client.post(f"{server.url}/reports", data={"dataset": "noise.about"})
            assert answer.status_code == 403
            assert "came from another site" in answer.text
            api = client.post(f"{server.url}/api/v1/reports", json={"dataset": "noise.about"})
            assert api.status_code == 403
    with httpx.Client(cookies=cookies) as client:
        assert client.get(f"{server.url}/api/v1/reports").json() == []


def test_a_form_on_another_site_is_refused_by_the_server(
    page: Page, server: Server, complaints: Complaints
) -> None:
    complaints.allow("403")
    page.goto(server.link)
    form = (
        f'<form method="post" action="{server.url}/reports"><button>Win</button>'
        '<input name="dataset" value="noise.about"></form>'
    )
    page.route("http://elsewhere.example/", lambda route: route.fulfill(content_type="text/html", body=form))
    page.goto("http://elsewhere.example/")
    with page.expect_response(f"{server.url}/reports") as answer:
        page.get_by_role("button", name="Win").click()
    assert answer.value.status == 403
    expect(page.locator("main")).to_contain_text("This request came from another site")
    page.goto(f"{server.url}/reports")
    expect(page.get_by_text("No report yet")).to_be_visible()
