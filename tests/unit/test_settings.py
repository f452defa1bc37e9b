from pathlib import Path

import pytest
from pydantic import ValidationError

from app.errors import InvalidRequest
from app.settings import SavedQuery, Settings, load


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "rowfall.toml"


def test_without_any_source_the_defaults_of_the_contract_hold(config: Path) -> None:
    settings = load(config)
    assert (settings.host, settings.port, settings.state) == ("127.0.0.1", 8000, "rowfall-state.db")
    assert (settings.auth, settings.chunk_rows, settings.page_chunks) == ("accounts", 1000, 20)
    assert (settings.reports_per_user, settings.report_timeout) == (5, 300)
    assert (settings.lease_seconds, settings.ping_seconds) == (8, 15)
    assert settings.query == ()


def test_the_environment_wins_over_the_file_and_a_flag_over_both(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("port = 1001\nchunk_rows = 11\npage_chunks = 7\n")
    assert load(config).port == 1001
    monkeypatch.setenv("ROWFALL_PORT", "1002")
    monkeypatch.setenv("ROWFALL_CHUNK_ROWS", "12")
    settings = load(config, port=1003, chunk_rows=None)
    assert (settings.port, settings.chunk_rows, settings.page_chunks) == (1003, 12, 7)


def test_a_flag_that_was_not_given_changes_nothing(config: Path) -> None:
    config.write_text('host = "localhost"\n')
    assert load(config, host=None, port=None, state=None, auth=None).host == "localhost"


def test_the_configuration_of_one_call_is_not_that_of_the_next(config: Path, tmp_path: Path) -> None:
    config.write_text("port = 1001\n")
    assert load(config).port == 1001
    assert load(tmp_path / "other.toml").port == 8000
    assert load(None).port == 8000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("chunk_rws = 5", "chunk_rws"),
        ('port = "many"', "port"),
        ("port = 70000", "65535"),
        ("report_timeout = 0", "report_timeout"),
        ('auth = "proxy"', "auth"),
        ("port = ", "cannot be read"),
        ('[[query]]\nsource = "s"\nname = "n"', "sql"),
        ('[[query]]\nsource = "s"\nname = "n"\nsql = "SELECT 1"\nlimit = 5', "limit"),
    ],
)
def test_what_does_not_fit_is_a_sentence_that_names_it(config: Path, text: str, words: str) -> None:
    config.write_text(text)
    with pytest.raises(InvalidRequest) as caught:
        load(config)
    assert words in caught.value.sentence
    assert caught.value.sentence.endswith(".")
    assert "Traceback" not in caught.value.sentence


def test_all_that_does_not_fit_is_said_at_once(config: Path) -> None:
    config.write_text("port = -1\nchunk_rows = 0\nunknown = 1\n")
    with pytest.raises(InvalidRequest) as caught:
        load(config)
    for name in ("port", "chunk_rows", "unknown"):
        assert name in caught.value.sentence


def test_a_configuration_that_is_no_text_is_a_sentence(config: Path) -> None:
    config.write_bytes(b'host = "\xff"')
    with pytest.raises(InvalidRequest, match=r"rowfall\.toml cannot be read"):
        load(config)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_without_sign_in_this_computer_may_be_served(config: Path, host: str) -> None:
    assert load(config, auth="none", host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "127.0.0.1.example.org", ""])
def test_without_sign_in_no_other_computer_is_served(config: Path, host: str) -> None:
    with pytest.raises(InvalidRequest, match="--auth none"):
        load(config, auth="none", host=host)
    assert load(config, auth="accounts", host=host).host == host


def test_the_host_of_the_file_is_checked_against_the_flag(config: Path) -> None:
    config.write_text('host = "0.0.0.0"\n')
    with pytest.raises(InvalidRequest, match="--auth none"):
        load(config, auth="none")


def test_saved_queries_come_from_the_file_in_order(config: Path) -> None:
    config.write_text(
        '[[query]]\nsource = "shop"\nname = "late"\nsql = """\nSELECT *\nFROM orders\n"""\n'
        '[[query]]\nsource = "shop"\nname = "early"\nsql = "SELECT 1"\n'
    )
    late = SavedQuery(source="shop", name="late", sql="SELECT *\nFROM orders\n")
    assert load(config).query == (late, SavedQuery(source="shop", name="early", sql="SELECT 1"))


def test_settings_do_not_change_while_the_server_runs(config: Path) -> None:
    settings = load(config)
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
