from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower, Now

from claims.core.states import Status
from claims.models import InstanceType
from console.common.ids import new_id
from console.organizations.models import Organization
from deployments.models.gateway import Gateway

GPU_COUNTS = [1, 2, 4, 8, 16]


class Deployment(models.Model):
    """A model served by replicas. `key` is what the scaling loop's columns carry, `id` what the API shows."""

    key = models.BigAutoField(primary_key=True)
    id = models.UUIDField(unique=True, default=new_id)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="deployments")
    name = models.CharField(max_length=63)
    gateways = models.ManyToManyField(Gateway, related_name="deployments")
    sent_gateway_ids = ArrayField(models.CharField(max_length=40), default=list)

    engine = models.CharField(max_length=63)
    engine_version = models.CharField(max_length=100, blank=True, default="", help_text="Empty: the newest.")
    engine_config = models.JSONField(null=True, blank=True)
    engine_env = models.JSONField(null=True, blank=True)
    instance_type = models.ForeignKey(InstanceType, on_delete=models.PROTECT, related_name="deployments")
    sent_instance_type = models.CharField(max_length=60)
    gpu_count = models.PositiveIntegerField(help_text="GPUs of one replica.")
    model_name = models.CharField(max_length=63)
    model_bucket = models.CharField(max_length=63)
    model_path = models.CharField(max_length=1024)
    model_memory_gib = models.PositiveIntegerField(
        null=True, blank=True, help_text="GPU memory that the weights of one replica need. Empty: estimated."
    )
    traffic_weight = models.PositiveIntegerField(default=0)
    disabled = models.BooleanField(default=False)
    shadow = models.BooleanField(
        default=False, db_default=False, help_text="Sizes are decided and shown, and nothing is acted on."
    )

    revision = models.PositiveIntegerField(default=1, help_text="Raised by changes that replicas must take on (R10).")
    status = models.CharField(max_length=20, default=Status.CREATING.value)
    conditions = models.JSONField(default=list)
    ever_ready = models.BooleanField(default=False)
    failures = models.PositiveIntegerField(default=0, help_text="Replicas that failed since one became ready (R8).")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["created_at", "key"]
        indexes = [models.Index(fields=["instance_type", "key"], name="deployment_by_shard")]
        constraints = [
            models.UniqueConstraint("organization", Lower("name"), name="deployment_name_once"),
            models.CheckConstraint(name="deployment_gpu_count", condition=Q(gpu_count__in=GPU_COUNTS)),
            models.CheckConstraint(name="deployment_status", condition=Q(status__in=[s.value for s in Status])),
            models.CheckConstraint(name="deployment_weight", condition=Q(traffic_weight__lte=1000)),
            models.CheckConstraint(
                name="deployment_model_memory", condition=Q(model_memory_gib__isnull=True) | Q(model_memory_gib__gt=0)
            ),
        ]

    def __str__(self) -> str:
        return self.name


class AutoscalingPolicy(models.Model):
    """What the operator set: the API's `autoscaling` block, and Headroom's own settings (empty: the default)."""

    deployment = models.OneToOneField(
        Deployment, primary_key=True, on_delete=models.CASCADE, related_name="autoscaling"
    )
    min = models.PositiveIntegerField()
    max = models.PositiveIntegerField()
    priority = models.PositiveIntegerField(null=True, blank=True)
    concurrency = models.PositiveIntegerField(null=True, blank=True)
    capacity_classes = ArrayField(models.CharField(max_length=30), default=list, blank=True)

    slots = models.PositiveIntegerField(null=True, blank=True, help_text="What a replica can run at once (R2).")
    stable_window = models.DurationField(null=True, blank=True)
    burst_window = models.DurationField(null=True, blank=True)
    burst_factor = models.FloatField(null=True, blank=True)
    tolerance = models.FloatField(null=True, blank=True)
    scale_down_delay = models.DurationField(null=True, blank=True)
    drain_goal = models.DurationField(null=True, blank=True)
    look_ahead = models.BooleanField(
        default=True, db_default=True, help_text="Keep replicas for what is expected by the time that another is ready."
    )

    class Meta:
        verbose_name_plural = "autoscaling policies"
        constraints = [
            models.CheckConstraint(name="policy_bounds", condition=Q(min__gte=1) & Q(max__gte=F("min"))),
            models.CheckConstraint(
                name="policy_priority",
                condition=Q(priority__isnull=True) | Q(priority__gte=0, priority__lte=1000),
            ),
            models.CheckConstraint(
                name="policy_concurrency", condition=Q(concurrency__isnull=True) | Q(concurrency__gte=1)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.min} to {self.max}"
