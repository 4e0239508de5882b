"""The lives of a gateway and a deployment by the vendor's own client: `python cwtrain_life.py ADDRESS TOKEN`.

Runs with a Python >= 3.12 that has cwtrain, not with that of the tests.
"""

import sys
import uuid
from collections.abc import Callable

from cwtrain.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from cwtrain.infra import lifecycle
from cwtrain.infra.client import InferenceClient
from cwtrain.infra.models import ResourceStatus


def live(client: InferenceClient) -> None:
    name = f"cw-{uuid.uuid4().hex[:8]}"
    body = {"name": name, "coreWeaveAuth": {}, "bodyBasedRouting": {"apiType": "API_TYPE_OPENAI"}}
    gateway = client.create_gateway({**body, "zones": client.get_gateway_parameters()["zones"][:1]})
    assert gateway.status is ResourceStatus.CREATING
    gateway = lifecycle.wait_for_gateway(client, gateway.id, timeout=900, poll_interval=1)
    assert gateway.endpoints
    assert gateway.id in [one.id for one in client.list_gateways()]

    options = client.get_deployment_parameters([gateway.id])
    assert "0.21.0" in options["runtimeParameters"]["runtimeVersions"]["vllm"]["versions"]
    spec = {
        "id": str(uuid.uuid4()), "name": name, "gatewayIds": [gateway.id],
        "runtime": {"engine": "vllm", "version": "0.21.0"},
        "resources": {"instanceType": options["resourceParameters"]["instanceTypes"][0], "gpuCount": 1},
        "model": {"name": "meta/llama", "bucket": "weights", "path": "a/b"},
        "autoscaling": {"min": 1, "max": 1}, "traffic": {"weight": 1},
    }  # fmt: skip
    deployment = client.create_deployment(spec)
    assert deployment.status is ResourceStatus.CREATING
    assert client.create_deployment(spec).id == deployment.id  # as after an answer that was lost
    refused(AlreadyExistsError, lambda: client.create_deployment({**spec, "id": str(uuid.uuid4())}))
    refused(InvalidArgumentError, lambda: client.create_deployment({**spec, "id": str(uuid.uuid4()), "name": "a b"}))
    deployment = lifecycle.wait_for_deployment(client, deployment.id, timeout=900, poll_interval=1)
    assert lifecycle.endpoints(client, deployment) == gateway.endpoints
    assert [one.id for one in client.list_deployments(gateway.id)] == [deployment.id]

    refused(FailedPreconditionError, lambda: client.delete_gateway(gateway.id))
    assert lifecycle.delete_deployment(client, deployment.id, timeout=900, poll_interval=1)
    assert lifecycle.delete_gateway(client, gateway.id, timeout=900, poll_interval=1)
    refused(NotFoundError, lambda: client.get_gateway(gateway.id))
    assert not lifecycle.delete_gateway(client, gateway.id)


def refused(error: type[Exception], act: Callable[[], object]) -> None:
    try:
        act()
    except error:
        return
    raise AssertionError(f"{error.__name__} was expected")


if __name__ == "__main__":
    with InferenceClient(sys.argv[2], base_url=sys.argv[1]) as found:
        live(found)
    print("lived")
