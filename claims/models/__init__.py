from claims.models.budget import Budget
from claims.models.catalogue import InstanceType, Offering, Price, PriceKind, Zone
from claims.models.claim import CapacityClaim, ClaimKind
from claims.models.claim_event import ClaimEvent
from claims.models.claim_use import ClaimUse
from claims.models.instance import Instance, Source, Work
from claims.models.labels import Labels
from claims.models.quota import Quota, QuotaChange
from claims.models.quota_request import QuotaLevel, QuotaRequest, RequestState
from claims.models.simulated import SimulatedNode
from claims.models.statement import Statement, StatementLine, StatementStatus
from claims.models.usage import MeterCursor, RatedDay, RatedSlice, UsageInterval, UsageKind
from claims.models.window import ClaimWindow

__all__ = [
    "Budget",
    "CapacityClaim",
    "ClaimEvent",
    "ClaimKind",
    "ClaimUse",
    "ClaimWindow",
    "Instance",
    "InstanceType",
    "Labels",
    "MeterCursor",
    "Offering",
    "Price",
    "PriceKind",
    "Quota",
    "QuotaChange",
    "QuotaLevel",
    "QuotaRequest",
    "RatedDay",
    "RatedSlice",
    "RequestState",
    "SimulatedNode",
    "Source",
    "Statement",
    "StatementLine",
    "StatementStatus",
    "UsageInterval",
    "UsageKind",
    "Work",
    "Zone",
]
