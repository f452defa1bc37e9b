import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app import catalog as module
from app.catalog import Catalog
from app.errors import NotFound, SourceError
from app.model import Skipped
from app.settings import SavedQuery
from app.source.sqlite import SqliteSource


def make(path: Path, *statements: str) -> SqliteSource:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return SqliteSource(path.stem, path, timeout=0.1)


@pytest.fixture
def shop(tmp_path: Path) -> SqliteSource:
    return make(tmp_path / "shop.db", "CREATE TABLE orders (id INTEGER PRIMARY KEY, price REAL)")


@pytest.fixture
def bank(tmp_path: Path) -> SqliteSource:
    return make(
        tmp_path / "bank.db",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY)",
        "CREATE VIEW last AS SELECT 1 AS one",
        "CREATE VIEW broken AS SELECT * FROM no_table",
    )


@pytest.fixture
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "_FRESH_SECONDS", 0)
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0)
    return


async def test_every_source_is_listed_in_the_given_order(shop: SqliteSource, bank: SqliteSource) -> None:
    listings = await Catalog([shop, bank]).listings()
    assert [[dataset.id for dataset in listing.datasets] for listing in listings] == [
        ["shop.orders"],
        ["bank.last", "bank.orders"],
    ]
    assert [listing.source for listing in listings] == ["shop", "bank"]
    assert [listing.problem for listing in listings] == [None, None]
    assert [each.name for each in listings[1].skipped] == ["broken"]


async def test_a_dataset_is_found_in_its_own_source(shop: SqliteSource, bank: SqliteSource) -> None:
    catalog = Catalog([shop, bank])
    dataset = await catalog.dataset("bank.orders")
    assert (dataset.id, dataset.source, dataset.name) == ("bank.orders", "bank", "orders")
    assert catalog.source(dataset) is bank


@pytest.mark.parametrize(
    "dataset_id",
    ["shop.customers", "shop", "shop.", "", "orders", "nobody.orders", "SHOP.orders", "shop.Orders"],
)
async def test_an_unknown_dataset_is_not_found(shop: SqliteSource, dataset_id: str) -> None:
    with pytest.raises(NotFound, match="There is no dataset"):
        await Catalog([shop]).dataset(dataset_id)


async def test_a_source_whose_name_begins_like_another_keeps_its_own_datasets(
    shop: SqliteSource, tmp_path: Path
) -> None:
    dotted = SqliteSource("shop.old", make(tmp_path / "old.db", "CREATE TABLE orders (a)")._path)
    catalog = Catalog([shop, dotted])
    assert (await catalog.dataset("shop.old.orders")).source == "shop.old"
    assert (await catalog.dataset("shop.orders")).source == "shop"


async def test_a_source_that_cannot_be_read_is_a_problem_and_the_others_are_listed(
    shop: SqliteSource, tmp_path: Path
) -> None:
    (tmp_path / "noise.db").write_bytes(b"this is no database, only a file of some length " * 30)
    noise = SqliteSource("noise", tmp_path / "noise.db")
    missing = SqliteSource("missing", tmp_path / "missing.db")
    listings = await Catalog([noise, shop, missing]).listings()
    assert [[dataset.id for dataset in listing.datasets] for listing in listings] == [[], ["shop.orders"], []]
    assert "is not a SQLite database" in (listings[0].problem or "")
    assert listings[1].problem is None
    assert "There is no file" in (listings[2].problem or "")


async def test_a_dataset_of_a_source_that_cannot_be_read_tells_why(tmp_path: Path) -> None:
    missing = SqliteSource("missing", tmp_path / "missing.db")
    with pytest.raises(SourceError, match="There is no file"):
        await Catalog([missing]).dataset("missing.orders")


@pytest.mark.usefixtures("always_fresh")
async def test_a_source_that_comes_back_is_read_again(tmp_path: Path) -> None:
    catalog = Catalog([SqliteSource("late", tmp_path / "late.db")])
    assert (await catalog.listings())[0].problem
    make(tmp_path / "late.db", "CREATE TABLE orders (a)")
    assert (await catalog.dataset("late.orders")).name == "orders"


async def test_what_was_discovered_is_kept_for_a_moment(shop: SqliteSource) -> None:
    catalog = Catalog([shop])
    first = (await catalog.listings())[0]
    shop._path.unlink()
    assert (await catalog.listings())[0] is first


async def test_saved_queries_are_datasets_of_their_source(shop: SqliteSource, bank: SqliteSource) -> None:
    queries = [
        SavedQuery(source="shop", name="dear", sql="SELECT id, price * 2 FROM orders;"),
        SavedQuery(source="elsewhere", name="lost", sql="SELECT 1"),
    ]
    catalog = Catalog([shop, bank], queries)
    dear = await catalog.dataset("shop.dear")
    assert (dear.kind, dear.key, dear.sql) == ("query", (), "SELECT id, price * 2 FROM orders;")
    assert len(dear.columns) == 2
    with pytest.raises(NotFound):
        await catalog.dataset("bank.dear")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM no_table",
        "SELEKT 1",
        "",
        "SELECT ?",
        "DELETE FROM orders",
        "SELECT 1; SELECT 2",
        "SELECT no_such_function()",
    ],
)
async def test_a_bad_saved_query_is_skipped_with_a_reason_and_the_rest_is_listed(
    shop: SqliteSource, sql: str
) -> None:
    good = SavedQuery(source="shop", name="good", sql="SELECT 1 AS one")
    (listing,) = await Catalog([shop], [SavedQuery(source="shop", name="bad", sql=sql), good]).listings()
    assert listing.problem is None
    assert [dataset.id for dataset in listing.datasets] == ["shop.orders", "shop.good"]
    assert [skipped.name for skipped in listing.skipped] == ["bad"]
    assert isinstance(listing.skipped[0], Skipped)
    assert listing.skipped[0].reason.endswith(".")


async def test_a_saved_query_does_not_take_the_name_of_a_table_or_of_another_query(
    shop: SqliteSource,
) -> None:
    queries = [SavedQuery(source="shop", name=name, sql="SELECT 1 AS one") for name in ("orders", "q", "q")]
    (listing,) = await Catalog([shop], queries).listings()
    assert [(dataset.id, dataset.kind) for dataset in listing.datasets] == [
        ("shop.orders", "table"),
        ("shop.q", "query"),
    ]
    assert [each.name for each in listing.skipped] == ["orders", "q"]


async def test_no_source_is_an_empty_list() -> None:
    assert await Catalog([]).listings() == []
