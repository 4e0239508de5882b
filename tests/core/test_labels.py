"""What labels may be, against a reference that goes letter by letter; and what a filter by them asks for."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from console.common.errors import InvalidArgument
from console.common.labels import key_wrong, validate_labels, value_wrong, wanted_labels

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
SOME = st.text(alphabet="aB9-_./ =\n\0é\ud800", max_size=12)


def word(text: str) -> bool:
    inside = all(one in LETTERS or one in "-_." for one in text)
    return 1 <= len(text) <= 63 and inside and text[0] in LETTERS and text[-1] in LETTERS


def domain(text: str) -> bool:
    parts = text.split(".")
    lower = [one for one in LETTERS if one == one.lower()]
    return len(text) <= 253 and all(
        part and part[0] in lower and part[-1] in lower and all(one in lower or one == "-" for one in part)
        for part in parts
    )


def key_allowed(text: str) -> bool:
    parts = text.split("/")
    if len(parts) == 1:
        return word(text)
    return len(parts) == 2 and domain(parts[0]) and word(parts[1]) and parts[0] != "headroom"


@given(SOME)
@example("a" * 63)
@example("a" * 64)
@example("a" * 253 + "/" + "b" * 63)
@example("a" * 254 + "/b")
@example("a/" + "b" * 64)
@example("headroom/kind")
@example("headroom.example.com/kind")
@example("headroom")
def test_keys_are_those_of_kubernetes_but_for_our_own_prefix(text: str) -> None:
    assert (key_wrong(text) == "") == key_allowed(text)


@given(SOME)
@example("")
@example("v" * 63)
@example("v" * 64)
def test_values_are_words_or_empty(text: str) -> None:
    assert (value_wrong(text) == "") == (text == "" or word(text))


def test_every_wrong_label_is_named_and_too_many_are_told_in_one_sentence() -> None:
    assert validate_labels({"team": "search", "example.com/cost-center": "", "a": "1"}) == []
    wrong = validate_labels({"-x": "1", "team": "?", "fine": "1", "ok": "x" * 64})
    assert [one.field for one in wrong] == ["labels"] * 3
    assert [one.description.split(":")[0] for one in wrong] == ["'-x'", "'team'", "'ok'"]
    assert validate_labels({f"k{number}": "" for number in range(32)}) == []
    assert len(validate_labels({f"k{number}": "" for number in range(33)})) == 1


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        ([], {}),
        (["team=search"], {"team": "search"}),
        (["team"], {"team": None}),
        (["team="], {"team": ""}),
        (["team=search", "env=prod"], {"team": "search", "env": "prod"}),
        (["team=search", "team"], {"team": "search"}),
        (["team", "team=search"], {"team": "search"}),
        (["team=search", "team=search"], {"team": "search"}),
        (["team=search", "team=ads"], None),
    ],
)
def test_a_filter_is_a_value_or_any_value_and_all_of_them_have_to_hold(
    texts: list[str], wanted: dict[str, str | None] | None
) -> None:
    assert wanted_labels(texts) == wanted


@pytest.mark.parametrize("text", ["", "=", "=search", "team=a b", "team==", "a/b/c", "x" * 400])
def test_a_filter_that_is_no_label_is_refused_on_its_field(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        wanted_labels(["team=search", text], "tags")
    assert refused.value.violations[0].field == "tags"
