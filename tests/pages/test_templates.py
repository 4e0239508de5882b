"""What no template may hold, since the content policy would block it or a reader could not use it."""

import re
from pathlib import Path

import pytest
from django.conf import settings

TEMPLATES = sorted((settings.BASE_DIR / "templates").rglob("*.html"))
FORBIDDEN = {
    "inline style": r"\sstyle=",
    "inline handler": r'\son[a-z]+="',
    "inline script": r"<script(?![^>]*\ssrc=)",
    "style element": r"<style",
    "hx-on": r"hx-on",
    "javascript value": r"""["']js:""",
    "trigger filter": r'hx-trigger="[^"]*\[',
    "foreign address": r'(src|href|action)="https?://',
}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_holds_nothing_the_policy_blocks(path: Path) -> None:
    text = path.read_text()
    assert [name for name, pattern in FORBIDDEN.items() if re.search(pattern, text)] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_number_of_things_is_followed_by_a_fixed_plural(path: Path) -> None:
    """ "1 replicas" is what that says of one."""
    things = "replicas|instances|claims|deployments|requests|machines|windows|intervals"
    assert re.findall(rf"}}}} (?:{things})\b", path.read_text()) == []


def test_every_icon_that_is_used_is_in_the_list() -> None:
    names = set((settings.BASE_DIR / "static" / "icons.txt").read_text().split())
    used = {name for path in TEMPLATES for name in re.findall(r'{% icon "([a-z0-9-]+)"', path.read_text())}
    code = (settings.BASE_DIR / "console" / "dashboard" / "templatetags" / "headroom.py").read_text()
    used |= set(re.findall(r'"(?:ok|warn|bad|info|idle)", "([a-z0-9-]+)"', code))
    assert used - names == set()


def test_every_form_that_posts_has_its_token() -> None:
    for path in TEMPLATES:
        text = path.read_text()
        posts = len(re.findall(r'<form[^>]*method="post"', text))
        assert text.count("{% csrf_token %}") >= posts, path.name
