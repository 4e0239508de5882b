"""How pages are looked at: widths, themes and axe."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

# Every width and every theme; the other pairs of them, which rarely differ, are for the long run.
on_every_screen = pytest.mark.parametrize(
    ("width", "theme"),
    [
        (1440, "light"),
        (390, "dark"),
        pytest.param(1440, "dark", marks=pytest.mark.long),
        pytest.param(390, "light", marks=pytest.mark.long),
    ],
)
ONLY_VIOLATIONS = {"resultTypes": ["violations"]}  # what passes is counted as well, and takes longer than the rest


def found_by_axe(page: Page) -> list[str]:
    found = Axe().run(page, options=ONLY_VIOLATIONS).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in found]


def too_wide(page: Page) -> int:
    """By how many pixels the page scrolls sideways; 0 or less where it does not."""
    wider: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wider
