"""What tags write into elements: a name to reach by keyboard, and from where a part is taken anew."""

from django.template import Context, Template
from django.test import RequestFactory


def written(text: str, address: str = "/", name: str = "") -> str:
    context = Context({"request": RequestFactory().get(address), "name": name})
    return Template("{% load headroom %}" + text).render(context)


def test_what_scrolls_is_reached_by_keyboard_and_has_a_name() -> None:
    assert written('<div {% scrolls "The rest" %}>') == '<div tabindex="0" role="region" aria-label="The rest">'
    assert written("<div {% scrolls name %}>", name='The "rest"') == (
        '<div tabindex="0" role="region" aria-label="The &quot;rest&quot;">'
    )


def test_a_part_is_taken_anew_from_the_address_that_is_open() -> None:
    assert written('<div {% live "claims notes" "rows" %}>', "/claims?state=short&page=2") == (
        '<div data-live-topic="claims notes" hx-get="/claims?state=short&amp;page=2" hx-trigger="live"'
        ' hx-select="#rows" hx-swap="outerHTML">'
    )
    assert ' hx-select="#now" hx-select-oob="#lines,#card" ' in written('{% live "claims" "now" oob="#lines,#card" %}')
