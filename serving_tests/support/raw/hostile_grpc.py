"""Malformed gRPC requests to the shop, each with the code and a part of the error that it gets: ours, or Triton's as it is."""

from __future__ import annotations

from tritonclient.grpc import service_pb2 as pb

from serving_tests.support.raw.wire_grpc import Change, Message, added, changed, of, prefixed, typed

Case = tuple[Change, str, str]
A13 = prefixed(b"A13")


def having(**fields: object) -> Change:
    def change(message: Message) -> None:
        for name, value in fields.items():
            setattr(message, name, value)

    return change


def twice(message: Message) -> None:
    message.inputs.append(message.inputs[0])
    message.raw_input_contents.append(message.raw_input_contents[0])


def without_contents(message: Message) -> None:
    del message.raw_input_contents[:]


def one_content_less(message: Message) -> None:
    del message.raw_input_contents[-1]


def both_contents(message: Message) -> None:
    message.inputs[of(message, "price")].contents.fp32_contents.extend([1.0] * 6)


def with_output(message: Message) -> None:
    message.outputs.add(name="prices")


def with_parameter(message: Message) -> None:
    message.parameters["priority"].string_param = "high"


def with_shared_memory(message: Message) -> None:
    tensor = message.inputs[of(message, "price")]
    tensor.parameters["shared_memory_region"].string_param = "mine"
    tensor.parameters["shared_memory_byte_size"].int64_param = 24
    del message.raw_input_contents[of(message, "price")]


CASES: dict[str, Case] = {
    # No message, or an empty one.
    "garbage": (lambda _: b"\xff" * 100, "INTERNAL", "Unable to parse request"),
    "half a message": (lambda m: m.SerializeToString()[:-7], "INTERNAL", "Unable to parse request"),
    "JSON": (lambda _: b'{"inputs": []}', "INTERNAL", "Unable to parse request"),
    "an empty message": (lambda _: b"", "NOT_FOUND", "Request for unknown model: '' is not found"),
    "a model and nothing else": (
        lambda _: pb.ModelInferRequest(model_name="shop"),
        "INVALID_ARGUMENT",
        "missing inputs 'item_id', 'category', 'colour', 'location',",
    ),
    "a model's name that is no UTF-8": (lambda _: b"\x0a\x02\xff\xfe", "INTERNAL", "Unable to parse request"),
    "an unknown model": (having(model_name="nobody"), "NOT_FOUND", "Request for unknown model: 'nobody' is not found"),
    "a path as the model": (
        having(model_name="../../etc/passwd"),
        "NOT_FOUND",
        "Request for unknown model: '../../etc/passwd' is not found",
    ),
    "an unknown version": (
        having(model_version="7"),
        "NOT_FOUND",
        "Request for unknown model: 'shop' version 7 is not found",
    ),
    "a version in words": (
        having(model_version="latest"),
        "INVALID_ARGUMENT",
        "failed to get model version from specified version string 'latest'",
    ),
    "a version beyond INT64": (
        having(model_version="9" * 30),
        "INVALID_ARGUMENT",
        "failed to get model version from specified version string",
    ),
    # Names, types and shapes.
    "a misspelt name": (
        changed("price", name="prize"),
        "INVALID_ARGUMENT",
        "unexpected inference input 'prize' for model 'shop'",
    ),
    "no name": (changed("price", name=""), "INVALID_ARGUMENT", "unexpected inference input '' for model 'shop'"),
    "an unknown input": (
        added("hair", "BYTES", [2, 1], A13 * 2),
        "INVALID_ARGUMENT",
        "unexpected inference input 'hair' for model 'shop'",
    ),
    "an input twice": (twice, "INVALID_ARGUMENT", "input 'session_length' already exists in request"),
    "an unknown datatype": (
        changed("price", datatype="FLOAT"),
        "INVALID_ARGUMENT",
        "inference input 'price' data-type is '<invalid>', but model 'shop'",
    ),
    "no datatype": (
        changed("price", datatype=""),
        "INVALID_ARGUMENT",
        "inference input 'price' data-type is '<invalid>', but model 'shop'",
    ),
    "another datatype": (
        changed("price", datatype="FP64", raw=bytes(48)),
        "INVALID_ARGUMENT",
        "inference input 'price' data-type is 'FP64', but model 'shop' expects",
    ),
    "items as numbers": (
        changed("item_id", datatype="INT64", raw=bytes(48)),
        "INVALID_ARGUMENT",
        "inference input 'item_id' data-type is 'INT64', but model 'shop'",
    ),
    "no shape": (
        changed("price", shape=[]),
        "INVALID_ARGUMENT",
        "unexpected shape for input 'price' for model 'shop'. Expected [-1,-1],",
    ),
    "one dimension": (
        changed("price", shape=[6]),
        "INVALID_ARGUMENT",
        "unexpected shape for input 'price' for model 'shop'. Expected [-1,-1],",
    ),
    "three dimensions": (
        changed("price", shape=[2, 3, 1]),
        "INVALID_ARGUMENT",
        "unexpected shape for input 'price' for model 'shop'. Expected [-1,-1],",
    ),
    "another shape": (
        changed("price", shape=[3, 2]),
        "INVALID_ARGUMENT",
        "input 'price' has shape [3, 2] but input 'item_id' has [2, 3]: all",
    ),
    "an open shape": (
        changed("price", shape=[-1, 3]),
        "INVALID_ARGUMENT",
        "All input dimensions should be specified for input 'price' for model",
    ),
    "no sessions": (
        changed("price", shape=[0, 3], raw=b""),
        "INVALID_ARGUMENT",
        "input 'price' has shape [0, 3] but input 'item_id' has [2, 3]: all",
    ),
    # Contents.
    "no contents": (
        without_contents,
        "INVALID_ARGUMENT",
        "unable to find data for input tensor 'session_length' for model 'shop'",
    ),
    "one content less": (
        one_content_less,
        "INVALID_ARGUMENT",
        "unable to find data for input tensor 'timestamp' for model 'shop' in",
    ),
    "contents twice": (
        both_contents,
        "INVALID_ARGUMENT",
        "contents field must not be specified when using raw_input_contents for",
    ),
    "too few bytes": (
        changed("price", raw=bytes(20)),
        "INVALID_ARGUMENT",
        "input byte size mismatch for input 'price' for model 'shop'. Expected",
    ),
    "too many bytes": (
        changed("price", raw=bytes(28)),
        "INVALID_ARGUMENT",
        "input byte size mismatch for input 'price' for model 'shop'. Expected",
    ),
    "no bytes": (
        changed("price", raw=b""),
        "INVALID_ARGUMENT",
        "input byte size mismatch for input 'price' for model 'shop'. Expected",
    ),
    "half an integer": (
        changed("country", raw=bytes(47)),
        "INVALID_ARGUMENT",
        "input byte size mismatch for input 'country' for model 'shop'. Expected",
    ),
    "a string's length beyond the bytes": (
        changed("item_id", raw=b"\xff\xff\xff\xffA13"),
        "INVALID_ARGUMENT",
        "expected 6 string elements for inference input 'item_id' for model",
    ),
    "lengths in the other byte order": (
        changed("item_id", raw=prefixed(b"A13", ">") * 6),
        "INVALID_ARGUMENT",
        "expected 6 string elements for inference input 'item_id' for model",
    ),
    "half a length": (
        changed("item_id", raw=A13 * 6 + b"\x03\0"),
        "INVALID_ARGUMENT",
        "incomplete string length indicator for inference input 'item_id' for",
    ),
    "five strings of six": (
        changed("item_id", raw=A13 * 5),
        "INVALID_ARGUMENT",
        "expected 6 string elements for inference input 'item_id' for model",
    ),
    "seven strings of six": (
        changed("item_id", raw=A13 * 7),
        "INVALID_ARGUMENT",
        "unexpected number of string elements 7 for inference input 'item_id'",
    ),
    "a NUL in a string": (
        changed("item_id", raw=A13 * 5 + prefixed(b"A\0B")),
        "INVALID_ARGUMENT",
        "input 'item_id' has a NUL character in session 1, interaction 2, which",
    ),
    "invalid UTF-8": (
        changed("item_id", raw=A13 * 5 + prefixed(b"A\xc0\xaf")),
        "INVALID_ARGUMENT",
        "input 'item_id' is not valid UTF-8 in session 1, interaction 2: byte",
    ),
    "a string of ten megabytes": (
        changed("item_id", raw=A13 * 5 + prefixed(b"x" * 10**7)),
        "INVALID_ARGUMENT",
        "input 'item_id' has 10000000 bytes in session 1, interaction 2, at most",
    ),
    "typed contents of one input": (
        typed("price", "fp32_contents", [1.0] * 6),
        "INVALID_ARGUMENT",
        "unable to find data for input tensor 'session_length' for model 'shop'",
    ),
    "typed contents of another type": (
        typed("session_length", "int64_contents", [3, 3]),
        "INVALID_ARGUMENT",
        "unexpected explicit tensor data for input tensor 'session_length' for",
    ),
    # Options and filters.
    "exclude_seen as INT32": (
        added("exclude_seen", "INT32", [2, 1], bytes(8)),
        "INVALID_ARGUMENT",
        "inference input 'exclude_seen' data-type is 'INT32', but model 'shop'",
    ),
    "exclude_seen for one session of two": (
        added("exclude_seen", "BOOL", [1, 1], b"\1"),
        "INVALID_ARGUMENT",
        "input 'exclude_seen' has shape [1, 1], expected [2, 1]: one flag per",
    ),
    "exclude_seen in one dimension": (
        added("exclude_seen", "BOOL", [2], b"\1\1"),
        "INVALID_ARGUMENT",
        "unexpected shape for input 'exclude_seen' for model 'shop'. Expected",
    ),
    "exclude_seen for each interaction": (
        added("exclude_seen", "BOOL", [2, 3], b"\1" * 6),
        "INVALID_ARGUMENT",
        "unexpected shape for input 'exclude_seen' for model 'shop'. Expected",
    ),
    "exclude_item_ids as INT64": (
        added("exclude_item_ids", "INT64", [2, 1], bytes(16)),
        "INVALID_ARGUMENT",
        "inference input 'exclude_item_ids' data-type is 'INT64', but model",
    ),
    "exclude_item_ids for other sessions": (
        added("exclude_item_ids", "BYTES", [3, 1], A13 * 3),
        "INVALID_ARGUMENT",
        "input 'exclude_item_ids' has shape [3, 1], expected [2, ids]: one row",
    ),
    "allow_item_ids in three dimensions": (
        added("allow_item_ids", "BYTES", [2, 1, 1], A13 * 2),
        "INVALID_ARGUMENT",
        "unexpected shape for input 'allow_item_ids' for model 'shop'. Expected",
    ),
    "allow_item_ids with invalid UTF-8": (
        added("allow_item_ids", "BYTES", [2, 1], A13 + prefixed(b"\xff")),
        "INVALID_ARGUMENT",
        "input 'allow_item_ids' is not valid UTF-8 in session 1, id 0: byte 0xff",
    ),
    "a negative top_k": (
        added("top_k", "INT32", [2, 1], b"\xff" * 8),
        "INVALID_ARGUMENT",
        "input 'top_k' is -1, expected 1 to 230, the limit set at export",
    ),
    "top_k in the other byte order": (
        added("top_k", "INT32", [2, 1], b"\0\0\0\5" * 2),
        "INVALID_ARGUMENT",
        "input 'top_k' is 83886080, expected 1 to 230, the limit set at export",
    ),
    "an unknown output": (with_output, "INVALID_ARGUMENT", "unexpected inference output 'prices' for model 'shop'"),
    "a priority in words": (
        with_parameter,
        "INVALID_ARGUMENT",
        "invalid value type for 'priority' parameter, expected int64_param or",
    ),
    "shared memory that nobody registered": (
        with_shared_memory,
        "NOT_FOUND",
        "Unable to find shared memory region: 'mine'",
    ),
}

#: What Triton takes although it might not.
TAKEN: dict[str, Change] = {
    "one content more": lambda m: m.raw_input_contents.append(bytes(8)),
}
