"""Figures for Prometheus, read from the database when asked: every process shows the same."""

from collections.abc import Iterable

from django.db.models import Count
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from claims.models import CapacityClaim, Instance
from console.common import clock
from console.loops.models import Loop
from deployments.core.states import HOLDING, ReplicaState
from deployments.models import Replica


class DatabaseCollector(Collector):
    def collect(self) -> Iterable[Metric]:
        yield from loop_metrics()
        yield counted("headroom_instances", "Instances by offering and state.", ["zone", "type", "state"],
                      Instance.objects.values_list("offering__zone__name", "offering__instance_type__name", "state")
                      .annotate(n=Count("key")).order_by())  # fmt: skip
        yield counted("headroom_claims", "Capacity claims by status.", ["status"],
                      CapacityClaim.objects.values_list("status").annotate(n=Count("key")).order_by())  # fmt: skip
        replicas = Replica.objects.filter(state__in=sorted(HOLDING)).values_list("instance_type__name", "state")
        rows = replicas.annotate(n=Count("key")).order_by()
        named = [(type_name, ReplicaState(state).name, count) for type_name, state, count in rows]
        yield counted("headroom_replicas", "Replicas that hold GPUs.", ["type", "state"], named)


def loop_metrics() -> Iterable[Metric]:
    now = clock.now()
    age = GaugeMetricFamily("headroom_loop_age_seconds", "Since the last complete pass ended.", labels=["loop"])
    ended = GaugeMetricFamily("headroom_loop_last_end_timestamp_seconds", "When the last complete pass ended.",
                              labels=["loop"])  # fmt: skip
    took = GaugeMetricFamily("headroom_loop_last_pass_seconds", "Length of the last complete pass.", labels=["loop"])
    passes = CounterMetricFamily("headroom_loop_passes", "Complete passes.", labels=["loop"])
    failures = CounterMetricFamily("headroom_loop_failures", "Passes that failed.", labels=["loop"])
    for loop in Loop.objects.all():
        if loop.ended_at:
            age.add_metric([loop.name], (now - loop.ended_at).total_seconds())
            ended.add_metric([loop.name], loop.ended_at.timestamp())
        took.add_metric([loop.name], loop.seconds)
        passes.add_metric([loop.name], loop.passes)
        failures.add_metric([loop.name], loop.failures)
    return [age, ended, took, passes, failures]


def counted(name: str, text: str, labels: list[str], rows: Iterable[tuple[object, ...]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for *values, count in rows:
        family.add_metric([str(value) for value in values], float(str(count)))
    return family


def exposition() -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(DatabaseCollector())
    return generate_latest(registry)
