from deployments.models.decision import Decision, PlannerState
from deployments.models.deployment import AutoscalingPolicy, Deployment
from deployments.models.gateway import Gateway
from deployments.models.replica import CapacityClass, Replica, ReplicaPlacement
from deployments.models.signal import SignalBlock, SignalChunk
from deployments.models.simulated import SimulatedReplica, SimulatedWorkload

__all__ = [
    "AutoscalingPolicy",
    "CapacityClass",
    "Decision",
    "Deployment",
    "Gateway",
    "PlannerState",
    "Replica",
    "ReplicaPlacement",
    "SignalBlock",
    "SignalChunk",
    "SimulatedReplica",
    "SimulatedWorkload",
]
