"""What a deployment's settings are held against: other autoscalers with their defaults, and sizes known in hindsight."""

from dataclasses import dataclass
from functools import partial

from deployments.sim.peers import aibrix, hosted, knative, kubernetes, mimir, ray
from deployments.sim.peers.rule import Maker


@dataclass(frozen=True, slots=True)
class Peer:
    """share: of a replica's slots that is to be in use, where its vendor publishes one; else the deployment's own target
    is taken. in_flight: the same in requests."""

    title: str
    maker: Maker
    share: float | None = None
    in_flight: float | None = None

    def target(self, slots: int, concurrency: int) -> float:
        """Requests in flight that a replica is to have."""
        return self.in_flight or (self.share * slots if self.share else float(concurrency))


PEERS = {
    "knative": Peer("Knative KPA", knative.kpa, 0.7),
    "knative-gpu": Peer("Knative KPA, GPU values", knative.kpa_gpu, 0.85),
    "hpa": Peer("Kubernetes HPA", kubernetes.hpa),
    "keda": Peer("KEDA with HPA", kubernetes.keda),
    "ray-serve": Peer("Ray Serve", ray.ray_serve, in_flight=2.0),
    "aibrix": Peer("AIBrix APA", aibrix.apa),
    "baseten": Peer("Baseten", hosted.baseten, 0.7),
    "fireworks": Peer("Fireworks", hosted.fireworks, 0.8),
    "sagemaker": Peer("SageMaker target tracking", hosted.sagemaker),
    "look-ahead": Peer("seasonal look-ahead", partial(mimir.look_ahead, season_s=mimir.DAY_S)),
}
HEADROOM, OBJECTIVE = "headroom", "objective"
STATIC_PEAK, STATIC_MEAN, CLAIRVOYANT = "static-peak", "static-mean", "clairvoyant"
FRAMES = {
    STATIC_PEAK: "fixed at the peak, known in hindsight",
    STATIC_MEAN: "fixed at the mean, known in hindsight",
    CLAIRVOYANT: "clairvoyant: the least for which nobody waits",
}
BASELINES = {OBJECTIVE: "Headroom by an objective", **{name: one.title for name, one in PEERS.items()}, **FRAMES}
