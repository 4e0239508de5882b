"""Writes of the capacity half, one module a noun."""

from claims.services.claims import claim_delete, claim_resize, claim_withdraw
from claims.services.creation import claim_create
from claims.services.gpus import GpuRelease, GpuTake, gpus_release, gpus_take
from claims.services.labels import claim_labels_set
from claims.services.pools import (
    offering_claimable_set,
    offering_restore,
    offering_withdraw,
    pool_adopt,
    pool_resize,
)
from claims.services.prices import price_set
from claims.services.quota import quota_set
from claims.services.quota_requests import (
    quota_request_approve,
    quota_request_create,
    quota_request_refuse,
    quota_request_withdraw,
)
from claims.services.windows import window_change, window_create, window_delete
from claims.services.work import instance_work_clear, instance_work_set

__all__ = [
    "GpuRelease",
    "GpuTake",
    "claim_create",
    "claim_delete",
    "claim_labels_set",
    "claim_resize",
    "claim_withdraw",
    "gpus_release",
    "gpus_take",
    "instance_work_clear",
    "instance_work_set",
    "offering_claimable_set",
    "offering_restore",
    "offering_withdraw",
    "pool_adopt",
    "pool_resize",
    "price_set",
    "quota_request_approve",
    "quota_request_create",
    "quota_request_refuse",
    "quota_request_withdraw",
    "quota_set",
    "window_change",
    "window_create",
    "window_delete",
]
