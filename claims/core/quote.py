"""What instances cost an hour, before anybody has taken them (B1, B2). `claims.core.rating` says what was used."""

from dataclasses import dataclass
from decimal import Decimal

HOURS_A_MONTH = 730


@dataclass(frozen=True, slots=True)
class Rates:
    """USD for a GPU-hour, and within how many instances of an organization the reserved rate holds."""

    on_demand: Decimal
    reserved: Decimal
    within: int = 0


def reserved_room(*, reserved: int, other_usage: int) -> int:
    """Instances at the reserved rate: other use takes from the reserved quantity first (B2)."""
    return max(0, reserved - other_usage)


def hourly(instances: int, gpus: int, rates: Rates) -> Decimal:
    """USD an hour for all instances of an organization in an offering together, each with so many GPUs."""
    cheap = min(instances, rates.within)
    return gpus * (cheap * rates.reserved + (instances - cheap) * rates.on_demand)
