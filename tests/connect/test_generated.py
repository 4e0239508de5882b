"""The committed classes are what protoc makes of the .proto files, and those say what PROTO.md says."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from protobuf import DescMessage

from console.connect.calls import READS, WRITES
from console.connect.gen.coreweave.inference.v1alpha1 import capacity_claim_pb, deployment_pb, gateway_pb, status_pb
from console.connect.generate import GENERATED, generate
from tests.connect.clients import METHODS

GENERATOR = find_spec("grpc_tools") and find_spec("protoc_gen_py")


def files_of(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.py"))}


@pytest.mark.skipif(not GENERATOR, reason="the generator is not installed: pip install grpcio-tools protoc-gen-py")
def test_the_generated_code_is_that_of_the_proto_files(tmp_path: Path) -> None:
    generate(tmp_path)
    assert files_of(tmp_path) == files_of(GENERATED), "run `make connect`"


def test_every_procedure_has_its_operation() -> None:
    assert READS.keys() | WRITES.keys() == METHODS.keys()
    assert not READS.keys() & WRITES.keys()
    assert len(METHODS) == 18
    for name, method in METHODS.items():
        assert (method.input.name, method.output.name) == (f"{name}Request", f"{name}Response")


def numbers(message: DescMessage) -> dict[str, int]:
    return {field.name: field.number for field in message.fields}


def test_the_numbers_that_do_not_follow_one_another() -> None:
    """Those that PROTO.md calls out, since a wrong one would only be met by clients that nobody here wrote."""
    claim, deployment, gateway = capacity_claim_pb, deployment_pb, gateway_pb
    assert numbers(claim.CapacityClaimSpec.desc())["resources"] == 3
    assert numbers(claim.CreateCapacityClaimRequest.desc()) == {"id": 1, "name": 2, "resources": 4}
    assert numbers(claim.UpdateCapacityClaimRequest.desc()) == {"id": 1, "resources": 4}
    assert numbers(claim.ListCapacityClaimsRequest.desc()) == {"updated_after": 2}
    assert numbers(claim.GetCapacityClaimParametersResponse.desc()) == {"zone_instance_types": 3}
    spec = numbers(deployment.DeploymentSpec.desc())
    assert (spec["organization_id"], spec["disabled"]) == (9, 10)
    assert numbers(deployment.CreateDeploymentRequest.desc()) == numbers(deployment.UpdateDeploymentRequest.desc())
    assert numbers(deployment.CreateDeploymentRequest.desc())["disabled"] == 9
    assert numbers(deployment.ListDeploymentsRequest.desc()) == {"parent_gateway_id": 1, "updated_after": 3}
    assert numbers(deployment.DeploymentRuntimeParameters.desc()) == {
        "runtime_versions": 2, "runtime_config_options": 3, "engine_env_options": 4,
    }  # fmt: skip
    assert numbers(gateway.GatewaySpec.desc()) == {
        "id": 1, "name": 2, "zones": 3, "core_weave_auth": 4, "weights_and_biases_auth": 5, "organization_id": 7,
        "endpoint_configuration": 8, "body_based_routing": 9, "header_based_routing": 10, "path_based_routing": 11,
    }  # fmt: skip
    assert numbers(gateway.CreateGatewayRequest.desc()) == numbers(gateway.UpdateGatewayRequest.desc()) == {
        "id": 1, "name": 2, "zones": 3, "core_weave_auth": 4, "weights_and_biases_auth": 5,
        "endpoint_configuration": 6, "body_based_routing": 7, "header_based_routing": 8, "path_based_routing": 9,
    }  # fmt: skip
    assert {one.name: one.value for one in status_pb.Status} == {
        "UNSPECIFIED": 0, "CREATING": 1, "UPDATING": 2, "DELETING": 3, "ERROR": 4, "FAILED": 5, "READY": 6,
    }  # fmt: skip
    assert {one.name: one.value for one in claim.CapacityType} == {"UNSPECIFIED": 0, "CUSTOMER": 2, "MANAGED": 3}
