"""JSON over Connect: as the library reads it, but that an unknown number or name of an enum is kept or refused.

The library can ignore unknown fields, as a server has to, only together with unknown values of enums: a capacity class
that was mistyped would be dropped in silence.
"""

import json
from typing import Any, NoReturn

from connectrpc.codec import Codec
from protobuf import DescField, DescMessage, Message, message_from_json_value


class JsonCodec(Codec[Message, Message]):
    def name(self) -> str:
        return "json"

    def encode(self, message: Message) -> bytes:
        return message.to_json().encode()

    def decode(self, data: bytes | bytearray, message_class: type[Message]) -> Message:
        value = json.loads(data.decode(), parse_constant=no_number)
        return message_from_json_value(message_class, known(value, message_class.desc()))


def no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def known(value: Any, message: DescMessage) -> Any:
    """`value` without the fields that the message does not have; what is not even an object stays, to be refused."""
    if not isinstance(value, dict):
        return value
    fields = {name: field for field in message.fields for name in (field.name, field.json_name)}
    return {name: inner(part, fields[name]) for name, part in value.items() if name in fields}


def inner(value: Any, field: DescField) -> Any:
    """The same for the messages inside a field; requests have them alone, in no list and no map."""
    message = getattr(field.value, "message", None)
    return value if message is None else known(value, message)
