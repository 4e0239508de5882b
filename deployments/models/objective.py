from datetime import timedelta
from decimal import Decimal

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from deployments.models.deployment import Deployment

LEAST_SHARE, MOST_SHARE = 0.5, 0.999
LONGEST_WAIT = timedelta(seconds=1)  # the one that replays measure by


class Trigger(models.IntegerChoices):
    """Why it was looked for a setting; the numbers are stored and never change their meaning."""

    SET = 0, "the objective was set"
    DAILY = 1, "a day had passed"
    POLICY = 2, "min, max, slots or the price ceiling changed"
    STARTUP = 3, "start-ups take another time"
    SHORT = 4, "what came fell short"
    ENOUGH = 5, "more has been seen"


class Why(models.IntegerChoices):
    """Why it is this setting, as `deployments.core.objective.Choice` has it."""

    PRESET = 0, "the preset: too little has been seen"
    CHEAPEST = 1, "the cheapest that would have met the objective"
    KEPT = 2, "it still meets the objective, and none is cheaper by much"
    NEAREST = 3, "none would have met the objective; this one comes nearest for what it costs"


class Unavailable(models.TextChoices):
    """What a choice lacks."""

    NONE = "", "nothing"
    COUNTERS = "COUNTERS", "no request was counted"
    STARTUPS = "STARTUPS", "no replica has been seen to start"


class DeploymentObjective(models.Model):
    """What an operator wants served, instead of damping set by hand; and what the scaling loop goes by meanwhile.

    `target`, `scale_down_delay`, `floor` and `ahead` are the loop's while the row is there; min and max stay the operator's.
    """

    deployment = models.OneToOneField(Deployment, primary_key=True, on_delete=models.CASCADE, related_name="objective")
    share = models.FloatField(help_text="Of requests, that are to wait no longer.")
    longest_wait = models.DurationField(default=LONGEST_WAIT)
    price_ceiling = models.DecimalField(
        max_digits=12, decimal_places=2, null=True, blank=True,
        help_text="USD an hour, all replicas at the on-demand price. Empty: none.",
    )  # fmt: skip
    set_at = models.DateTimeField(db_default=Now())
    set_by = models.CharField(max_length=150)

    # What is gone by.
    target = models.PositiveIntegerField(help_text="Requests that a replica is meant for.")
    scale_down_delay = models.DurationField()
    floor_share = models.FloatField(default=0, help_text="Of the replicas that the busiest of the last day needed.")
    floor = models.PositiveIntegerField(default=0, help_text="Replicas that are always kept, within min and max.")
    ahead = models.FloatField(default=0, help_text="Share of the time that the look-ahead's margin suffices; 0: none.")
    ceiling = models.PositiveIntegerField(null=True, help_text="Replicas that the price ceiling pays for.")
    choice = models.ForeignKey("ObjectiveChoice", null=True, on_delete=models.SET_NULL, related_name="+")

    # What the last look saw.
    looked_at = models.DateTimeField(null=True)
    reached = models.FloatField(null=True, help_text="Share of the last hour's requests that waited no longer.")
    started = models.BigIntegerField(default=0, help_text="Requests of the last hour.")

    # The work on the next choice, claimed by lease (W4).
    due = models.PositiveSmallIntegerField(null=True, choices=Trigger.choices)
    due_at = models.DateTimeField(null=True)
    lease = models.UUIDField(null=True)
    leased_until = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True, default="")

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="objective_due", condition=Q(due__isnull=False))]
        constraints = [
            models.CheckConstraint(
                name="objective_share", condition=Q(share__gte=LEAST_SHARE, share__lte=MOST_SHARE)
            ),
            models.CheckConstraint(name="objective_wait", condition=Q(longest_wait=LONGEST_WAIT)),
            models.CheckConstraint(
                name="objective_price", condition=Q(price_ceiling__isnull=True) | Q(price_ceiling__gt=Decimal(0))
            ),
            models.CheckConstraint(
                name="objective_setting",
                condition=Q(target__gte=1, scale_down_delay__gte=timedelta(0), floor_share__gte=0, ahead__gte=0, ahead__lt=1),
            ),
            models.CheckConstraint(
                name="objective_reached", condition=Q(reached__isnull=True) | Q(reached__gte=0, reached__lte=1)
            ),
            models.CheckConstraint(
                name="objective_due_at", condition=Q(due__isnull=True, due_at__isnull=True)
                | Q(due__isnull=False, due__in=Trigger.values, due_at__isnull=False),
            ),
            models.CheckConstraint(
                name="objective_lease", condition=Q(lease__isnull=True, leased_until__isnull=True)
                | Q(lease__isnull=False, leased_until__isnull=False),
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.share:.2%} of requests wait at most {self.longest_wait.total_seconds():g} s"


class ObjectiveChoice(models.Model):
    """A setting that was chosen: what for, why, what it was expected to bring, and what came before it.

    `expected_*` are of the chosen setting's replay over the last day; `before_*` those of the setting gone by until
    then; `reached` and `came_gpu_hours` are what really came in that day.
    """

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="objective_choices")
    at = models.DateTimeField(db_default=Now())
    trigger = models.PositiveSmallIntegerField(choices=Trigger.choices)
    why = models.PositiveSmallIntegerField(choices=Why.choices)
    lacks = models.CharField(max_length=10, choices=Unavailable.choices, blank=True, default="")
    objective = models.FloatField(help_text="Share that was asked for.")

    target = models.PositiveIntegerField()
    scale_down_delay = models.DurationField()
    floor_share = models.FloatField(default=0)
    floor = models.PositiveIntegerField(default=0)
    ahead = models.FloatField(default=0)
    changed = models.BooleanField(help_text="Whether it is another setting than before.")

    goal = models.FloatField(help_text="Share that a replay had to reach.")
    share = models.FloatField(null=True, help_text="Share that its replay reached, over the last week.")
    expected_share = models.FloatField(null=True)
    expected_gpu_hours = models.FloatField(null=True, help_text="A day.")
    before_share = models.FloatField(null=True)
    before_gpu_hours = models.FloatField(null=True, help_text="A day.")
    reached = models.FloatField(null=True)
    came_gpu_hours = models.FloatField(null=True, help_text="A day.")

    # What it was chosen by.
    hours = models.FloatField(default=0, help_text="Hours of demand that were replayed.")
    requests = models.BigIntegerField(default=0)
    startup = models.DurationField(null=True)
    took = models.DurationField(default=timedelta(0))
    slots = models.PositiveIntegerField()
    min = models.PositiveIntegerField()
    max = models.PositiveIntegerField(help_text="The price ceiling applied.")
    gpu_count = models.PositiveIntegerField()
    advice = models.JSONField(default=list, help_text="What would have met it, where nothing did.")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["deployment", "-id"], name="objective_choice_newest")]
        constraints = [
            models.CheckConstraint(name="objective_choice_trigger", condition=Q(trigger__in=Trigger.values)),
            models.CheckConstraint(name="objective_choice_why", condition=Q(why__in=Why.values)),
            models.CheckConstraint(name="objective_choice_lacks", condition=Q(lacks__in=Unavailable.values)),
            models.CheckConstraint(
                name="objective_choice_setting",
                condition=Q(target__gte=1, scale_down_delay__gte=timedelta(0), floor_share__gte=0, ahead__gte=0, ahead__lt=1)
                & Q(slots__gte=1),
            ),
            models.CheckConstraint(
                name="objective_choice_shares",
                condition=Q(objective__gt=0, objective__lt=1, goal__gt=0, goal__lte=1)
                & (Q(share__isnull=True) | Q(share__gte=0, share__lte=1))
                & (Q(expected_share__isnull=True) | Q(expected_share__gte=0, expected_share__lte=1))
                & (Q(before_share__isnull=True) | Q(before_share__gte=0, before_share__lte=1))
                & (Q(reached__isnull=True) | Q(reached__gte=0, reached__lte=1)),
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.get_trigger_display()}: {self.get_why_display()}"
