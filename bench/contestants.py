"""Who takes part: every policy with the settings that are tried side by side. A new one is one more entry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from bench.cases import SLOTS
from bench.objective import objective
from deployments.core.params import Params
from deployments.core.snapshot import Deployments
from deployments.sim import stages
from deployments.sim.grid import Load, Setup
from deployments.sim.peers import aibrix, hosted, knative, kubernetes, mimir, ray
from deployments.sim.peers.rule import Maker, Policy
from deployments.sim.peers.static import static

UTILISATIONS = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
JITTERY = UTILISATIONS[:-2]  # nobody is served in time above
SHARES_OF_PEAK = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


@dataclass(frozen=True)
class Field:
    """What a policy may know before a run: what a replica is, and the most that the run will need of them, which is
    for sizes chosen in hindsight alone. Of `load` it may know what has come, and no more."""

    setup: Setup
    peak: int
    load: Load


@dataclass(frozen=True)
class Contestant:
    """name, title: as in the rows and as on the page
    settings: what is tried, in an order in which one between two lies between them
    make: a policy of one lane a setting
    published: the setting that its vendor publishes, where it does; of Headroom its default
    """

    name: str
    title: str
    settings: tuple[float, ...]
    make: Callable[[Sequence[float], Field], Policy]
    published: float | None = None


def _peer(
    name: str, title: str, maker: Maker, published: float | None = None, tried: Sequence[float] = UTILISATIONS
) -> Contestant:
    """A peer, whose setting is the share of a replica's slots that is to be in use."""

    def make(settings: Sequence[float], field: Field) -> Policy:
        return maker(field.setup.slots * np.array(settings))

    settings = {*tried} if published is None else {*tried, published}
    return Contestant(name, title, tuple(sorted(settings)), make, published)


def _static(settings: Sequence[float], field: Field) -> Policy:
    return static(np.ceil(field.peak * np.array(settings)))


def _headroom(settings: Sequence[float], field: Field) -> Policy:
    """The planner's own stages, with the fleet's defaults but for the requests that a replica is meant for."""
    lanes, slots = len(settings), field.setup.slots
    deployments = Deployments.build(
        key=range(1, lanes + 1), org=[1] * lanes, min=[1] * lanes, max=[2 * field.peak] * lanes,
        concurrency=np.rint(np.array(settings) * slots), startup_s=[field.setup.cold_start_s] * lanes,
        slots=[field.setup.slots] * lanes,
    )  # fmt: skip
    return stages.by_stages(deployments, Params()), stages.nothing(deployments)


HEADROOM = Contestant(
    "headroom", "Headroom, the planner's defaults", tuple(n / SLOTS for n in range(3, SLOTS + 1)), _headroom, 5 / SLOTS
)
OBJECTIVE = Contestant(
    "objective", "Headroom, objective mode", (0.99,),
    lambda settings, field: objective(settings[0], field.load, field.setup, 2 * field.peak), 0.99,
)  # fmt: skip
STATIC = Contestant("static", "static, known in hindsight", SHARES_OF_PEAK, _static)
PEERS = (
    _peer("knative", "Knative KPA", knative.kpa, 0.7, JITTERY),
    _peer("knative-gpu", "Knative KPA, GPU values", knative.kpa_gpu, 0.85, JITTERY),
    _peer("hpa", "Kubernetes HPA", kubernetes.hpa),
    _peer("keda", "KEDA with HPA", kubernetes.keda),
    _peer("ray-serve", "Ray Serve", ray.ray_serve, 2 / SLOTS, JITTERY),
    _peer("aibrix", "AIBrix APA", aibrix.apa),
    _peer("baseten", "Baseten", hosted.baseten, 0.7),
    _peer("fireworks", "Fireworks", hosted.fireworks, 0.8),
    _peer("sagemaker", "SageMaker target tracking", hosted.sagemaker, None, JITTERY),
    _peer("look-ahead", "seasonal look-ahead", partial(mimir.look_ahead, season_s=mimir.DAY_S)),
)
CONTESTANTS = (HEADROOM, OBJECTIVE, *PEERS, STATIC)
