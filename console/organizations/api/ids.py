import uuid

from console.common.errors import InvalidArgument, NotFound
from console.common.ids import parse_uuid


def id_in_path(resource_type: str, text: str) -> uuid.UUID:
    """The UUID of an address; what is none names nothing."""
    found = parse_uuid(text)
    if found is None:
        raise NotFound(resource_type, text)
    return found


def id_in_body(text: str | None) -> uuid.UUID | None:
    """The id a client chose for a creation; none, or empty, leaves the choice to us."""
    if not text:
        return None
    found = parse_uuid(text)
    if found is None:
        raise InvalidArgument.of("id", "value must be a valid UUID")
    return found
