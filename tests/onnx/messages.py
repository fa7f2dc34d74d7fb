"""Compares the hand-kept messages in a Rust file with the descriptors of the package onnx.

Every field must have the name, number, type and label of the published one, and every kind of an enumeration
its number.
"""

import re
import sys

import onnx
from google.protobuf.descriptor import FieldDescriptor

KINDS = {
    "int32": FieldDescriptor.TYPE_INT32,
    "int64": FieldDescriptor.TYPE_INT64,
    "float": FieldDescriptor.TYPE_FLOAT,
    "double": FieldDescriptor.TYPE_DOUBLE,
    "string": FieldDescriptor.TYPE_STRING,
    "bytes": FieldDescriptor.TYPE_BYTES,
    "message": FieldDescriptor.TYPE_MESSAGE,
}
# Names in Rust of messages and enumerations inside others.
NESTED = {
    "TensorType": onnx.TypeProto.Tensor.DESCRIPTOR,
    "Dimension": onnx.TensorShapeProto.Dimension.DESCRIPTOR,
    "DataType": onnx.TensorProto.DESCRIPTOR.enum_types_by_name["DataType"],
    "AttributeType": onnx.AttributeProto.DESCRIPTOR.enum_types_by_name["AttributeType"],
}


def main(path):
    with open(path, encoding="utf-8") as file:
        source = file.read()
    fields = 0
    for name, body in re.findall(r"struct (\w+) \{\n(.*?)\n\}", source, re.DOTALL):
        descriptor = NESTED[name] if name in NESTED else getattr(onnx, name).DESCRIPTOR
        pattern = r"#\[prost\((.*?)\)\]\s+pub\(crate\) (?:r#)?(\w+):"
        for settings, field in re.findall(pattern, body):
            compare(descriptor.fields_by_name[field], settings)
            fields += 1
    for name, body in re.findall(r"enum (\w+) \{\n(.*?)\n\}", source, re.DOTALL):
        published = NESTED[name].values_by_name
        for kind, number in re.findall(r"(\w+) = (\d+),", body):
            assert published[kind.upper()].number == int(number), (name, kind)
    assert fields > 40, f"only {fields} fields found: has {path} another form?"
    print(f"{fields} fields agree")


def compare(published, settings):
    """A field as published and the settings of its attribute in Rust."""
    parts = [part.strip() for part in settings.split(",")]
    kind, value = (parts[0].split("=") + [""])[:2]
    number = int(re.search(r'tag = "(\d+)"', settings).group(1))
    place = published.full_name
    assert published.number == number, place
    if kind.strip() == "enumeration":
        # TensorProto.data_type is an int32 in the published file, for the sake of later kinds.
        assert published.type in (FieldDescriptor.TYPE_ENUM, FieldDescriptor.TYPE_INT32), place
    else:
        assert published.type == KINDS[kind.strip()], place
    repeated = published.is_repeated
    assert repeated == ("repeated" in parts), place
    if repeated and kind.strip() in ("int64", "float", "double"):
        assert published.is_packed == ('packed = "false"' not in parts), place


main(sys.argv[1])
