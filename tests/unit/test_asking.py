"""Filters as they are written, stored and said."""

import msgspec
import pytest

from app import asking, filters, forms
from app.asking import Asked
from app.errors import InvalidRequest
from app.model import Column, Dataset, Filter, Kind, Op, Spec

ORDERS = Dataset(
    "shop.orders",
    "shop",
    "orders",
    "table",
    (
        Column("id", Kind.INTEGER, "INTEGER"),
        Column("price", Kind.REAL, "REAL"),
        Column("unit__price", Kind.REAL, "REAL"),
        Column("a__eq", Kind.TEXT, "TEXT"),
        Column("", Kind.ANY),
        Column("id", Kind.TEXT, "TEXT"),
    ),
)


def asked_for(*pairs: tuple[str, str]) -> list[tuple[int, str, tuple[str, ...]]]:
    spec = asking.spec(ORDERS, (), asking.of_pairs(pairs))
    assert spec.columns == (0, 1, 2, 3, 4, 5)
    assert all((each.name, each.declared) == _told(each.column) for each in spec.filters)
    return [(each.column, each.op, each.values) for each in spec.filters]


def _told(position: int) -> tuple[str, str]:
    return ORDERS.columns[position].name, ORDERS.columns[position].declared


def refusal(*pairs: tuple[str, str]) -> str:
    with pytest.raises(InvalidRequest) as caught:
        asking.spec(ORDERS, (), asking.of_pairs(pairs))
    return caught.value.sentence


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (("price__gt", "10"), (1, "gt", ("10",))),
        (("unit__price__lte", " 10 "), (2, "lte", (" 10 ",))),
        (("a__eq__eq", ""), (3, "eq", ("",))),
        (("__contains", "a=b__gt"), (4, "contains", ("a=b__gt",))),
        (("price__isnull", ""), (1, "isnull", ())),
        (("price__notnull", "1"), (1, "notnull", ())),
        (("id__in", "1"), (0, "in", ("1",))),  # of two columns with one name the first
    ],
)
def test_a_filter_is_a_column_two_underscores_and_an_operator(
    pair: tuple[str, str], expected: tuple[int, str, tuple[str, ...]]
) -> None:
    assert asked_for(pair) == [expected]
    assert asking.of_texts(["=".join(pair)]) == asking.of_pairs([pair])


def test_one_column_may_be_filtered_several_times_and_in_takes_all_its_values() -> None:
    assert asked_for(
        ("id__in", "1"), ("id__gt", "0"), ("price__in", "5"), ("id__in", "2"), ("id__gt", "1")
    ) == [
        (0, "in", ("1", "2")),
        (0, "gt", ("0",)),
        (1, "in", ("5",)),
        (0, "gt", ("1",)),
    ]


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("prize__gt", "1"), "no column 'prize'. Its columns are 'id', 'price'"),
        (("price__above", "1"), "“above” in the filter on “price” is no operator. There are eq, ne, lt,"),
        (("a__eq", "1"), "no column 'a'"),
        (
            ("price", "1"),
            "“price” is not understood. A filter is column__operator=value, such as price__eq=10.",
        ),
        (("price__isnull", "0"), "“price” by isnull takes no value; its opposite is notnull."),
        (("price__eq", "\udc80"), "not Unicode"),
    ],
)
def test_what_does_not_fit_is_named_with_what_would(pair: tuple[str, str], said: str) -> None:
    assert said in refusal(pair)


def test_filters_and_values_are_limited() -> None:
    most = [("id__gt", "1")] * asking.MOST_FILTERS
    assert len(asked_for(*most)) == asking.MOST_FILTERS
    assert "101 filters are too many" in refusal(*most, ("id__gt", "1"))
    many = [("id__in", str(number)) for number in range(asking.MOST_VALUES)]
    assert len(asked_for(*many)[0][2]) == asking.MOST_VALUES
    assert "1,000" in refusal(*many, ("id__in", "x"))
    assert "100,000" in refusal(("id__eq", "x" * (asking.MOST_CHARACTERS + 1)))


def test_texts_of_the_command_line_need_a_value_unless_it_is_about_null() -> None:
    assert asking.of_texts(["price__isnull"]) == [Asked("price", "isnull", ("",))]
    for text in ("price__gt", "price", ""):
        with pytest.raises(InvalidRequest, match="price__gt=10"):
            asking.of_texts([text])


@pytest.mark.parametrize(
    ("op", "value", "values"),
    [
        ("gt", 10, ("10",)),
        ("gt", 2**70, (str(2**70),)),
        ("gt", 0.1, ("0.1",)),
        ("eq", "x", ("x",)),
        ("in", ["x", 1], ("x", "1")),
        ("isnull", None, ()),
        ("notnull", True, ()),
        ("notnull", "1", ("1",)),
    ],
)
def test_the_api_takes_texts_and_numbers(op: str, value: object, values: tuple[str, ...]) -> None:
    assert asking.of_object("price", op, value) == Asked("price", op, values)


@pytest.mark.parametrize(
    ("op", "value"),
    [
        ("gt", None),
        ("gt", True),
        ("gt", [1]),
        ("gt", {}),
        ("in", 1),
        ("in", []),
        ("in", [None]),
        ("isnull", False),
    ],
)
def test_the_api_refuses_other_values(op: str, value: object) -> None:
    with pytest.raises(InvalidRequest, match="“price” by"):
        asking.of_object("price", op, value)


def test_two_lists_for_one_column_are_refused_because_an_address_would_make_them_one() -> None:
    with pytest.raises(InvalidRequest, match="two filters by in"):
        asking.spec(ORDERS, (), [Asked("price", "in", ("1", "2")), Asked("price", "in", ("2",))])


EVERY = (
    Filter(1, "price", "REAL", Op.GT, ("10",)),
    Filter(3, "a__eq", "TEXT", Op.CONTAINS, ("10",)),
    Filter(2, "unit__price", "REAL", Op.IN, ("1.5", "n/a")),
    Filter(4, "", "", Op.ISNULL, ()),
    Filter(0, "id", "INTEGER", Op.NOTNULL, ()),
    Filter(3, "a__eq", "TEXT", Op.EQ, ("",)),
)


def test_filters_are_said_as_a_sentence() -> None:
    assert filters.sentences(EVERY) == (
        'price > 10 and a__eq contains "10" and unit__price is one of 1.5, "n/a" and (no name) is NULL'
        ' and id is not NULL and a__eq = ""'
    )
    assert filters.shortly(EVERY) == "price > 10 and 5 more"
    assert filters.shortly(EVERY[:1]) == "price > 10"
    long = Filter(0, "id", "", Op.IN, ("x" * 100, *"abcdefg"))
    assert filters.sentence(long) == f'id is one of "{"x" * 60}…", "a", "b", "c", "d" and 3 more'


def test_the_fields_of_a_form_ask_for_the_same_filters() -> None:
    pairs = list(filters.pairs(EVERY))
    assert asking.spec(ORDERS, (), asking.of_pairs(pairs)).filters == EVERY


def test_what_has_a_line_break_goes_by_the_address_of_a_form() -> None:
    plain = forms.report_form("s.a b", [("col", "x"), ("x__eq", "1")])
    assert plain == forms.Form(
        "/reports?dataset=s.a%20b", (("dataset", "s.a b"), ("col", "x"), ("x__eq", "1"))
    )
    broken = forms.report_form("s.t", [("col", "x"), ("x__eq", "a\nb&c")])
    assert broken == forms.Form("/reports?dataset=s.t&col=x&x__eq=a%0Ab%26c", (("dataset", "s.t"),))


def test_a_spec_that_was_stored_without_filters_has_none() -> None:
    assert msgspec.convert({"columns": [0, 2]}, Spec) == Spec((0, 2), ())
    stored = msgspec.json.encode(msgspec.to_builtins(Spec((0,), EVERY)))
    assert msgspec.convert(msgspec.json.decode(stored), Spec) == Spec((0,), EVERY)
