"""The demo file: what it holds, that it comes out the same each time, that it never appears half made."""

import shutil
import sqlite3
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app import demo

TABLES = {
    "about": 6,
    "alarm": 6,
    "audio_feature": 5,
    "category": 3,
    "noise_analysis": 8,
    "recording": 12,
    "sensor_reading": 8,
    "unicode_character": 10,
}


@pytest.fixture(scope="module")
def demo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The folder's name holds what a file: address has to escape.
    folder = tmp_path_factory.mktemp("demo") / "50% of a?b#c é"
    folder.mkdir()
    demo.build(folder / "demo.sqlite")
    return folder / "demo.sqlite"


@pytest.fixture(scope="module")
def database(demo_file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(demo_file)) as connection:
        yield connection


def value(database: sqlite3.Connection, query: str, *parameters: object) -> Any:
    return database.execute(query, parameters).fetchone()[0]


def by_key(database: sqlite3.Connection, table: str) -> dict[int, dict[str, Any]]:
    """The rows of a table by their first column, each a dictionary by column."""
    cursor = database.execute(f"SELECT * FROM {table}")
    columns = [column[0] for column in cursor.description]
    return {row[0]: dict(zip(columns, row, strict=True)) for row in cursor}


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "RECORDINGS", 50)
    monkeypatch.setattr(demo, "HOURS", 5)


def test_the_tables_and_their_columns(database: sqlite3.Connection) -> None:
    names = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    assert {
        name: len(database.execute(f"PRAGMA table_info({name})").fetchall()) for (name,) in names
    } == TABLES


def test_the_view_has_23453_rows_and_16_columns_in_the_order_of_id(database: sqlite3.Connection) -> None:
    cursor = database.execute("SELECT * FROM recordings")
    columns = [column[0] for column in cursor.description]
    assert columns[0] == "id"
    assert len(columns) == len(set(columns)) == 16
    assert [row[0] for row in cursor] == list(range(1, 23_454))


def test_the_view_streams_without_sorting(database: sqlite3.Connection) -> None:
    plan = [row[3] for row in database.execute("EXPLAIN QUERY PLAN SELECT * FROM recordings")]
    assert plan[0] == "SCAN recording"
    assert not [step for step in plan if "TEMP B-TREE" in step]


def test_the_view_is_the_join_of_the_four_tables(database: sqlite3.Connection) -> None:
    recordings, categories = by_key(database, "recording"), by_key(database, "category")
    features, analyses = by_key(database, "audio_feature"), by_key(database, "noise_analysis")
    view = by_key(database, "recordings")
    assert view.keys() == recordings.keys() == features.keys() == analyses.keys()
    for key, row in view.items():
        category = {"category": categories[recordings[key]["category_id"]]["name"]}
        joined = features[key] | analyses[key] | recordings[key] | category
        assert row == {column: joined[column] for column in row}


def test_sound_levels_are_plausible(database: sqlite3.Connection) -> None:
    assert value(database, "SELECT count(*) FROM recordings WHERE laeq_db NOT BETWEEN 20 AND 110") == 0
    assert value(database, "SELECT count(*) FROM recordings WHERE lmax_db <= laeq_db") == 0
    assert value(database, "SELECT count(*) FROM noise_analysis WHERE NOT l10_db > laeq_db") == 0
    assert value(database, "SELECT count(*) FROM noise_analysis WHERE NOT l90_db < laeq_db") == 0
    levels = dict(database.execute("SELECT category, avg(laeq_db) FROM recordings GROUP BY category"))
    assert levels["Sirens"] > levels["Road traffic"] > levels["People"] > levels["Quiet"] + 10
    night = "substr(recorded_at, 12, 2) NOT BETWEEN '07' AND '22'"
    averages = "SELECT avg(laeq_db) FROM recordings WHERE category = 'Road traffic' AND "
    assert value(database, f"{averages} {night}") < value(database, f"{averages} NOT ({night})") - 3
    limit = f"CASE WHEN {night} THEN 55 ELSE 65 END"
    assert value(database, f"SELECT count(*) FROM recordings WHERE exceeds_limit <> (laeq_db > {limit})") == 0


def test_coordinates_are_in_the_city_and_numbers_are_rounded(database: sqlite3.Connection) -> None:
    rows = database.execute(
        "SELECT latitude, longitude, laeq_db, lmax_db, duration_s FROM recordings"
    ).fetchall()
    for latitude, longitude, *tenths in rows:
        assert 41.35 < latitude < 41.46
        assert 2.1 < longitude < 2.22
        assert (latitude, longitude) == (round(latitude, 5), round(longitude, 5))
        assert tenths == [round(number, 1) for number in tenths]


@pytest.mark.parametrize(
    "part",
    [
        *('"', "'", "\\", "<b>", "&", "&amp;", "\t", "\n", "\u00a0", "é", "e\u0301", "\u0335\u0321"),
        *("🚑", "👩\u200d👩\u200d👧", "🇪🇸", "👍🏽", "ضوضاء", "רעש", "交差点", "소음"),
    ],
)
def test_awkward_characters_are_there(database: sqlite3.Connection, part: str) -> None:
    count = "SELECT count(*) FROM recordings WHERE instr(title || coalesce(note, '') || contributor, ?)"
    assert value(database, count, part)


@pytest.mark.parametrize("text", ["", "NULL", "=SUM(A1)", "<b>not bold</b>", "Tom &amp; Jerry", "0"])
def test_awkward_notes_are_there_beside_missing_ones(database: sqlite3.Connection, text: str) -> None:
    assert value(database, "SELECT count(*) FROM recordings WHERE note = ?", text)
    assert value(database, "SELECT count(*) FROM recordings WHERE note IS NULL")


def test_most_notes_are_missing_or_plain(database: sqlite3.Connection) -> None:
    missing = value(database, "SELECT avg(note IS NULL) FROM recordings")
    awkward = value(database, "SELECT avg(note GLOB '*[<&=\\]*') FROM recordings WHERE note IS NOT NULL")
    assert 0.4 < missing < 0.6
    assert 0.01 < awkward < 0.2


def test_station_codes_are_texts_with_leading_zeros(database: sqlite3.Connection) -> None:
    assert value(database, "SELECT count(*) FROM recordings WHERE station_code = '00417'")
    assert (
        value(database, "SELECT count(*) FROM recordings WHERE station_code NOT GLOB '00[0-9][0-9][0-9]'")
        == 0
    )
    assert value(database, "SELECT group_concat(DISTINCT typeof(station_code)) FROM recording") == "text"


def test_some_features_are_missing(database: sqlite3.Connection) -> None:
    for column, table in (("spectral_centroid_hz", "audio_feature"), ("l10_db", "noise_analysis")):
        share = value(database, f"SELECT avg({column} IS NULL) FROM {table}")
        assert 0.01 < share < 0.3


def test_sensor_readings(database: sqlite3.Connection) -> None:
    assert value(database, "SELECT count(*) FROM sensor_reading") == 250_000
    assert value(database, "SELECT count(DISTINCT sensor_id || measured_at) FROM sensor_reading") == 250_000
    statuses = {row[0] for row in database.execute("SELECT DISTINCT status FROM sensor_reading")}
    assert statuses == {"ok", "low battery", "fault"}
    faults = "(status = 'fault') <> (temperature IS NULL) OR (temperature IS NULL) <> (humidity IS NULL)"
    assert value(database, f"SELECT count(*) FROM sensor_reading WHERE {faults}") == 0
    ranges = {"temperature": (-5, 40), "humidity": (20, 100), "pressure": (960, 1050), "battery": (3, 4.2)}
    for column, (lowest, highest) in ranges.items():
        outside = f"SELECT count(*) FROM sensor_reading WHERE {column} NOT BETWEEN ? AND ?"
        assert value(database, outside, lowest, highest) == 0


def test_afternoons_are_warmer_than_nights_and_summers_than_winters(database: sqlite3.Connection) -> None:
    def mean(start: int, part: str) -> float:
        query = "SELECT avg(temperature) FROM sensor_reading WHERE substr(measured_at, ?, 2) = ?"
        return float(value(database, query, start, part))

    hour, month = 12, 6
    assert mean(hour, "15") > mean(hour, "03") + 5
    assert mean(month, "08") > mean(month, "02") + 10


def test_unicode_characters(database: sqlite3.Connection) -> None:
    count = value(database, "SELECT count(*) FROM unicode_character")
    assert 130_000 < count < 160_000
    assert (
        value(database, "SELECT count(*) FROM unicode_character WHERE unicode(character) <> codepoint") == 0
    )
    assert value(database, "SELECT count(*) FROM unicode_character WHERE category IN ('Cn', 'Co', 'Cs')") == 0
    # None is missing: the ranges that are skipped hold none.
    skipped = ("Cn", "Cs", "Co")
    assert count == sum(unicodedata.category(chr(codepoint)) not in skipped for codepoint in range(0x110000))


@pytest.mark.parametrize(
    "row",
    [
        (0x00, "U+0000", "\0", None, "Cc", "BN", 0, "N", 0, None),
        (0x28, "U+0028", "(", "LEFT PARENTHESIS", "Ps", "ON", 0, "Na", 1, None),
        (0x41, "U+0041", "A", "LATIN CAPITAL LETTER A", "Lu", "L", 0, "Na", 0, None),
        (0xBD, "U+00BD", "½", "VULGAR FRACTION ONE HALF", "No", "ON", 0, "A", 0, 0.5),
        (0x301, "U+0301", "\u0301", "COMBINING ACUTE ACCENT", "Mn", "NSM", 230, "A", 0, None),
        (0x20AC, "U+20AC", "€", "EURO SIGN", "Sc", "ET", 0, "A", 0, None),
        (0x4E94, "U+4E94", "五", "CJK UNIFIED IDEOGRAPH-4E94", "Lo", "L", 0, "W", 0, 5.0),
        (0xD55C, "U+D55C", "한", "HANGUL SYLLABLE HAN", "Lo", "L", 0, "W", 0, None),
        (0x1F691, "U+1F691", "🚑", "AMBULANCE", "So", "ON", 0, "W", 0, None),
        (0xE0041, "U+E0041", "\U000e0041", "TAG LATIN CAPITAL LETTER A", "Cf", "BN", 0, "N", 0, None),
    ],
)
def test_known_characters(database: sqlite3.Connection, row: tuple[object, ...]) -> None:
    query = "SELECT * FROM unicode_character WHERE codepoint = ?"
    assert database.execute(query, row[:1]).fetchone() == row


def test_the_empty_table_is_empty_and_about_has_one_row(database: sqlite3.Connection) -> None:
    assert value(database, "SELECT count(*) FROM alarm") == 0
    query = "SELECT title, city, seed, format, unicode_version FROM about"
    expected = ("Rowfall demo", "Barcelona", 20_240_501, demo.FORMAT, unicodedata.unidata_version)
    assert database.execute(query).fetchall() == [expected]


def test_the_file_is_sound(database: sqlite3.Connection) -> None:
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    keys = [
        (table, row[2], row[3])
        for table in TABLES
        for row in database.execute(f"PRAGMA foreign_key_list({table})")
    ]
    assert keys == [
        ("audio_feature", "recording", "recording_id"),
        ("noise_analysis", "recording", "recording_id"),
        ("recording", "category", "category_id"),
    ]
    assert value(database, "PRAGMA journal_mode") == "delete"


def test_equal_seeds_give_equal_rows(demo_file: Path, tmp_path: Path) -> None:
    demo.build(tmp_path / "again.sqlite")
    with closing(sqlite3.connect(tmp_path / "again.sqlite")) as again:
        again.execute("ATTACH ? AS first", (str(demo_file),))
        for table in TABLES:
            pairs = zip(
                again.execute(f"SELECT * FROM main.{table}"),
                again.execute(f"SELECT * FROM first.{table}"),
                strict=True,
            )
            assert all(row == other for row, other in pairs), table


def test_another_seed_gives_other_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)
    demo.build(tmp_path / "one.sqlite", seed=1)
    demo.build(tmp_path / "two.sqlite", seed=2)
    one, two = contents(tmp_path / "one.sqlite"), contents(tmp_path / "two.sqlite")
    for table in ("recording", "audio_feature", "noise_analysis", "sensor_reading"):
        assert one[table] != two[table]
    assert one["unicode_character"] == two["unicode_character"]


def test_a_build_leaves_one_file(demo_file: Path) -> None:
    assert list(demo_file.parent.iterdir()) == [demo_file]


def test_a_build_replaces_an_older_file_and_its_journals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch)
    path = tmp_path / "demo.sqlite"
    for name in ("demo.sqlite", "demo.sqlite-journal", "demo.sqlite-wal", "demo.sqlite-shm"):
        (tmp_path / name).write_bytes(b"old")
    demo.build(path)
    assert list(tmp_path.iterdir()) == [path]
    assert len(contents(path)["recording"]) == 50


def test_a_build_swaps_the_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)
    # A draft elsewhere could be on another disk, and a file cannot be renamed to another disk.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    path = tmp_path / "demo.sqlite"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        demo.build(path)
        assert reader.read() == b"old"
    assert demo.is_current(path)


def test_a_build_that_fails_keeps_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Iterator[tuple[object, ...]]:
        raise MemoryError

    make_small(monkeypatch)
    monkeypatch.setattr(demo, "_unicode_characters", fail)
    path = tmp_path / "demo.sqlite"
    path.write_bytes(b"old")
    with pytest.raises(MemoryError):
        demo.build(path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


def test_a_file_of_this_version_is_current(demo_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert demo.is_current(demo_file)
    monkeypatch.chdir(demo_file.parent)
    assert demo.is_current(Path("demo.sqlite"))


@pytest.mark.parametrize(
    "change", [f"user_version = {demo.FORMAT - 1}", f"user_version = {demo.FORMAT + 1}", "application_id = 0"]
)
def test_a_file_of_another_version_or_program_is_not_current(
    demo_file: Path, tmp_path: Path, change: str
) -> None:
    other = tmp_path / "other.sqlite"
    shutil.copy(demo_file, other)
    with closing(sqlite3.connect(other)) as connection:
        connection.execute(f"PRAGMA {change}")
    assert not demo.is_current(other)


def test_what_is_no_database_is_not_current_and_stays_as_it_was(tmp_path: Path) -> None:
    assert not demo.is_current(tmp_path / "missing.sqlite")
    assert list(tmp_path.iterdir()) == []
    text = tmp_path / "text.sqlite"
    text.write_text("not a database " * 100)
    assert not demo.is_current(text)
    assert not demo.is_current(tmp_path)
