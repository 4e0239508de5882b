from deployments.models.backtest import BACKTEST_UNDER_WAY, Backtest, BacktestState
from deployments.models.decision import Decision, PlannerState
from deployments.models.deployment import AutoscalingPolicy, Deployment
from deployments.models.gateway import Gateway
from deployments.models.history import UNDER_WAY, HistoryRun, HistoryState
from deployments.models.hold import Annotation, Hold, HoldKind
from deployments.models.objective import DeploymentObjective, ObjectiveChoice, Trigger, Unavailable, Why
from deployments.models.replica import CapacityClass, Replica, ReplicaPlacement
from deployments.models.schedule import ScheduleWindow
from deployments.models.signal import ReplicaActivity, SignalBlock, SignalChunk
from deployments.models.simulated import SimulatedFault, SimulatedReplica, SimulatedWorkload
from deployments.models.tick import TickRecord

__all__ = [
    "BACKTEST_UNDER_WAY",
    "UNDER_WAY",
    "Annotation",
    "AutoscalingPolicy",
    "Backtest",
    "BacktestState",
    "CapacityClass",
    "Decision",
    "Deployment",
    "DeploymentObjective",
    "Gateway",
    "HistoryRun",
    "HistoryState",
    "Hold",
    "HoldKind",
    "ObjectiveChoice",
    "PlannerState",
    "Replica",
    "ReplicaActivity",
    "ReplicaPlacement",
    "ScheduleWindow",
    "SignalBlock",
    "SignalChunk",
    "SimulatedFault",
    "SimulatedReplica",
    "SimulatedWorkload",
    "TickRecord",
    "Trigger",
    "Unavailable",
    "Why",
]
