"""The messages of Prometheus' remote-read protocol, as protobuf classes.

The table below is the whole definition. It leaves out fields that nothing here reads (query hints); the parser skips
them. The classes are built from it on import, without a compiler or a generated file.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Message = Any  # one of these classes; built on import, they have no static types
_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "prometheus"

# message -> (field, number, type, repeated); a type that is a name is a message of this table
_MESSAGES: dict[str, tuple[tuple[str, int, int | str, bool], ...]] = {
    "ReadRequest": (("queries", 1, "Query", True), ("accepted_response_types", 2, _Field.TYPE_INT32, True)),
    "Query": (("start_timestamp_ms", 1, _Field.TYPE_INT64, False), ("end_timestamp_ms", 2, _Field.TYPE_INT64, False),
              ("matchers", 3, "LabelMatcher", True)),
    # enumerations are encoded like int32; their values are the constants at the end of this file
    "LabelMatcher": (("type", 1, _Field.TYPE_INT32, False), ("name", 2, _Field.TYPE_STRING, False),
                     ("value", 3, _Field.TYPE_STRING, False)),
    "ReadResponse": (("results", 1, "QueryResult", True),),
    "QueryResult": (("timeseries", 1, "TimeSeries", True),),
    "TimeSeries": (("labels", 1, "Label", True), ("samples", 2, "Sample", True)),
    "Label": (("name", 1, _Field.TYPE_STRING, False), ("value", 2, _Field.TYPE_STRING, False)),
    "Sample": (("value", 1, _Field.TYPE_DOUBLE, False), ("timestamp", 2, _Field.TYPE_INT64, False)),
}


def _message_classes() -> list[Message]:
    """One protobuf class for each message of the table, in a separate pool."""
    file = descriptor_pb2.FileDescriptorProto(name="forecaster/remote_read.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind, repeated in fields:
            field = described.field.add(
                name=name, number=number, label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL)
            if isinstance(kind, str):
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = _Field.Type.ValueType(kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES]


ReadRequest, Query, LabelMatcher, ReadResponse, QueryResult, TimeSeries, Label, Sample = _message_classes()

EQ, NEQ, RE, NRE = range(4)  # LabelMatcher.type: = != =~ !~
SAMPLES = 0  # ReadRequest.accepted_response_types: plain samples, the only type that is answered
