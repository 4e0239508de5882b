"""Where the replicas of a deployment may run: the zones that all of its gateways have in common (R16)."""

from collections.abc import Iterable, Sequence

from claims.models import InstanceType, Offering, Zone


def common_zones(gateway_zones: Iterable[Sequence[str]], every: Iterable[str]) -> set[str]:
    """Upper-case names; a gateway without zones serves all of them."""
    allowed = set(every)
    for zones in gateway_zones:
        if zones:
            allowed &= {zone.upper() for zone in zones}
    return allowed


def all_zones() -> list[str]:
    return list(Zone.objects.order_by("name").values_list("name", flat=True))


def types_in(zones: Iterable[str]) -> list[InstanceType]:
    """Instance types offered in at least one of the zones, by name."""
    keys = Offering.objects.filter(zone__name__in=list(zones)).values_list("instance_type_id", flat=True)
    return list(InstanceType.objects.filter(key__in=keys.distinct()).order_by("name"))
