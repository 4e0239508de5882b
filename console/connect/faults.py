"""Whatever went wrong, as the protocol's error: refusals with their details, defects of ours without their text."""

import logging

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from protobuf import Message, message_from_json_value

from console.common.errors import TYPE, InvalidArgument, Refusal
from console.connect.gen.google.rpc import error_details_pb as details
from console.organizations.api.errors import refusal_of

log = logging.getLogger(__name__)

DETAILS: dict[str, type[Message]] = {
    TYPE + kind.__name__: kind
    for kind in (
        details.BadRequest, details.PreconditionFailure, details.QuotaFailure, details.ResourceInfo, details.RetryInfo,
    )
}  # fmt: skip
# What the library says of a body that it cannot read. A client that is told RESOURCE_EXHAUSTED would repeat it.
UNREADABLE = (Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED)


def connect_error(error: Exception, request_id: str) -> ConnectError:
    """The error that the client gets; the log gets everything where it is a defect of ours."""
    refusal = refusal_of(error)
    if isinstance(error, ConnectError):
        if error.code not in UNREADABLE:
            return error
        refusal = InvalidArgument.of("body", error.message)
    if refusal is None:
        log.error("request %s failed", request_id, exc_info=error)
        return ConnectError(Code.INTERNAL, f"Internal error; report it with request id {request_id}.")
    return refused(refusal)


def refused(refusal: Refusal) -> ConnectError:
    return ConnectError(Code[refusal.name], refusal.message, [detail(row) for row in refusal.details()])


def detail(row: dict[str, object]) -> Message:
    """A detail of API.md's error body as a message."""
    fields = {name: value for name, value in row.items() if name != "@type"}
    return message_from_json_value(DETAILS[str(row["@type"])], fields)  # type: ignore[arg-type]
