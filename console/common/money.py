"""Money is Decimal. Amounts stay exact until a statement line or a page rounds them, here and nowhere else."""

from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")
SECONDS_PER_HOUR = Decimal(3600)


def to_cents(amount: Decimal) -> Decimal:
    """`amount` rounded half-up to whole cents (B6)."""
    return amount.quantize(CENT, rounding=ROUND_HALF_UP)


def plain(amount: Decimal) -> str:
    """An exact decimal without exponent and trailing zeros, as the API writes it."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
