"""Malformed HTTP requests to the shop, each with the status and a part of the error that it gets.

Where the words are not ours they are Triton's, as they are: some say little, and much malformed JSON counts as Triton's own
fault (500).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

from serving_tests.support.raw.wire_http import (
    INFER,
    Raw,
    added,
    as_json,
    binary,
    changed,
    elsewhere,
    first,
    having,
    plain,
)

#: From a good request, a JSON document, to what is sent; with status and part of the error.
Case = tuple[Callable[[dict], Raw], int, str]

NOT_JSON = "failed to parse the request JSON buffer"
NO_JSON = "Raw request must only have 1 input (found 1) to be deduced but got"
NAN = float("nan")
DEEP = 100_000

CASES: dict[str, Case] = {
    # No JSON, or other JSON than a request.
    "nothing": (plain(b""), 400, NO_JSON),
    "half a document": (plain('{"inputs": [{"na'), 500, NOT_JSON),
    "no JSON": (plain("item_id=A13&price=7"), 500, NOT_JSON),
    "an array": (plain("[]"), 500, "Unable to parse 'inputs'"),
    "a string": (plain('"shop"'), 500, "Unable to parse 'inputs'"),
    "null": (plain("null"), 500, "Unable to parse 'inputs'"),
    "UTF-16": (lambda d: Raw(json.dumps(d).encode("utf-16")), 500, NOT_JSON),
    "invalid UTF-8": (
        lambda d: Raw(json.dumps(d).encode().replace(b'"INT64"', b'"INT\xff4"')),
        400,
        "invalid datatype for input country",
    ),
    "arrays in arrays": (plain("[" * DEEP), 500, NOT_JSON),
    "arrays in data": (lambda d: Raw(changed("item_id", data="@")(d).body.replace(b'"@"', b"[" * DEEP)), 500, NOT_JSON),
    "two documents": (lambda d: Raw(json.dumps(d).encode() * 2), 500, NOT_JSON),
    "no gzip": (plain(b"plain", headers={"Content-Encoding": "gzip"}), 400, NO_JSON),
    # Inputs.
    "no inputs": (plain("{}"), 500, "Unable to parse 'inputs'"),
    "inputs null": (having(inputs=None), 500, "Unable to parse 'inputs'"),
    "inputs an object": (having(inputs={"item_id": ["A13"]}), 500, "Unable to parse 'inputs'"),
    "inputs empty": (
        having(inputs=[]),
        400,
        "missing inputs 'item_id', 'category', 'colour', 'location', 'photography',",
    ),
    "an input that is a string": (having(inputs=["item_id"]), 400, "Input must set only one of the following fields"),
    "no name": (changed("price", name=...), 500, "Unable to parse 'name'"),
    "a name that is a number": (changed("price", name=7), 500, "Unable to parse 'name'"),
    "a misspelt name": (changed("price", name="prize"), 400, "unexpected inference input 'prize'"),
    "a name of a megabyte": (changed("price", name="p" * 10**6), 400, "unexpected inference input 'ppp"),
    "an input twice": (
        lambda d: as_json({"inputs": [*d["inputs"], d["inputs"][0]]}),
        400,
        "input 'session_length' already exists in request",
    ),
    "no shape": (changed("price", shape=...), 500, "Unable to parse 'shape'"),
    "shape a number": (changed("price", shape=2), 500, "Unable to parse 'shape'"),
    "shape of strings": (changed("price", shape=["2", "3"]), 500, "Unable to parse 'shape'"),
    "shape of fractions": (changed("price", shape=[2.5, 3]), 500, "Unable to parse 'shape'"),
    "negative shape": (changed("price", shape=[-1, 3]), 500, "Unable to parse 'shape'"),
    "shape beyond INT64": (changed("price", shape=[2**64, 3]), 500, "Unable to parse 'shape'"),
    "shape whose product overflows": (
        changed("price", shape=[2**32, 2**32], data=[]),
        400,
        "input 'price' has the impossible shape [4294967296, 4294967296]: dimensions are 0 or more, and their product",
    ),
    "shape of a thousand dimensions": (changed("price", shape=[1] * 1000), 500, "Unable to parse 'data'"),
    "no datatype": (changed("price", datatype=...), 500, "Unable to parse 'datatype'"),
    "an unknown datatype": (changed("price", datatype="FLOAT"), 400, "invalid datatype for input price"),
    "another datatype": (
        changed("price", datatype="FP64"),
        400,
        "inference input 'price' data-type is 'FP64', but model 'shop' expects 'FP32'",
    ),
    "exclude_seen as INT32": (
        added(name="exclude_seen", shape=[2, 1], datatype="INT32", data=[1, 1]),
        400,
        "inference input 'exclude_seen' data-type is 'INT32', but model 'shop' expects",
    ),
    "allow_item_ids as INT64": (
        added(name="allow_item_ids", shape=[2, 1], datatype="INT64", data=[1, 1]),
        400,
        "inference input 'allow_item_ids' data-type is 'INT64', but model 'shop'",
    ),
    # Data.
    "no data": (changed("price", data=...), 400, "Input must set only one of the following fields"),
    "data null": (changed("price", data=None), 500, "Unable to parse 'data'"),
    "data an object": (changed("price", data={"0": 7}), 500, "Unable to parse 'data'"),
    "too little data": (changed("price", data=[1.0]), 500, "Unable to parse 'data'"),
    "too much data": (changed("price", data=[1.0] * 7), 500, "Unable to parse 'data'"),
    "far too much data": (changed("price", data=[1.0] * 10**5), 500, "Unable to parse 'data'"),
    "a string among prices": (first("price", "cheap"), 500, "Unable to parse 'data'"),
    "null among prices": (first("price", None), 500, "Unable to parse 'data'"),
    "a price beyond FP32": (
        lambda d: Raw(first("price", 12345.5)(d).body.replace(b"12345.5", b"1e999")),
        500,
        NOT_JSON,
    ),
    "a number among strings": (
        first("item_id", 13),
        500,
        "Unable to parse JSON bytes array",
    ),
    "null among strings": (
        first("item_id", None),
        500,
        "Unable to parse JSON bytes array",
    ),
    "an object among strings": (
        first("item_id", {"id": "A13"}),
        500,
        "Unable to parse JSON bytes array",
    ),
    "a NUL among strings": (
        first("item_id", "A\0B"),
        400,
        "input 'item_id' has a NUL character in session 0, interaction 0, which no",
    ),
    "half a surrogate pair": (first("item_id", "\ud800"), 500, NOT_JSON),
    "a string of ten megabytes": (
        first("item_id", "x" * 10**7),
        400,
        "input 'item_id' has 10000000 bytes in session 0, interaction 0, at most 1024",
    ),
    "a fraction among integers": (first("country", 1.5), 500, "Unable to parse 'data'"),
    "an integer beyond INT64": (first("country", 2**64), 500, "Unable to parse 'data'"),
    "a boolean among integers": (first("country", True), 500, "Unable to parse 'data'"),
    "strings as flags": (
        added(name="exclude_seen", shape=[2, 1], datatype="BOOL", data=["true", "no"]),
        500,
        "Unable to parse 'data'",
    ),
    "a negative top_k": (
        added(name="top_k", shape=[2, 1], datatype="INT32", data=[-1, -1]),
        400,
        "input 'top_k' is -1, expected 1 to 230, the limit set at export",
    ),
    "filters for other sessions": (
        added(name="exclude_item_ids", shape=[3, 1], datatype="BYTES", data=["A13"] * 3),
        400,
        "input 'exclude_item_ids' has shape [3, 1], expected [2, ids]: one row of item",
    ),
    # Binary data.
    "a header length beyond the body": (
        binary("price", bytes(24), header="99999"),
        400,
        "inference header size should be in range",
    ),
    "a negative header length": (
        binary("price", bytes(24), header="-1"),
        400,
        "inference header size should be in range",
    ),
    "a header length in words": (binary("price", bytes(24), header="many"), 400, NO_JSON),
    "a header length within the JSON": (binary("price", bytes(24), header="40"), 500, NOT_JSON),
    "fewer bytes than promised": (
        binary("price", bytes(12), size=24),
        400,
        "unexpected size for input 'price', expecting 12 additional bytes",
    ),
    "bytes of another shape": (
        binary("price", bytes(20)),
        400,
        "input byte size mismatch for input 'price' for model 'shop'. Expected 24, got 20",
    ),
    "bytes that nobody claims": (binary("price", bytes(48), size=24), 400, "unexpected additional input data"),
    "a negative size": (binary("price", bytes(24), size=-24), 500, "Unable to parse 'binary_data_size'"),
    "a string's length beyond the bytes": (
        binary("item_id", b"\xff\xff\xff\x7fA13"),
        400,
        "expected 6 string elements for inference input 'item_id' for model 'shop', got 1",
    ),
    "lengths in the other byte order": (
        binary("item_id", b"\0\0\0\x03A13" * 6),
        400,
        "expected 6 string elements for inference input 'item_id' for model 'shop', got 1",
    ),
    "three strings of six": (
        binary("item_id", b"\x03\0\0\0A13" * 3),
        400,
        "expected 6 string elements for inference input 'item_id' for model 'shop', got 3",
    ),
    "seven strings of six": (
        binary("item_id", b"\x03\0\0\0A13" * 7),
        400,
        "unexpected number of string elements 7 for inference input 'item_id' for model 'shop',",
    ),
    "invalid UTF-8 in bytes": (
        binary("item_id", b"\x02\0\0\0A\xff" * 6),
        400,
        "input 'item_id' is not valid UTF-8 in session 0, interaction 0: byte 0xff at",
    ),
    "flags of four bytes": (
        lambda d: binary("exclude_seen", bytes(8))(
            {"inputs": [*d["inputs"], {"name": "exclude_seen", "shape": [2, 1], "datatype": "BOOL", "data": []}]}
        ),
        400,
        "input byte size mismatch for input 'exclude_seen' for model 'shop'. Expected 2, got 8",
    ),
    # Shared memory, outputs and parameters.
    "shared memory that nobody registered": (
        changed("price", data=..., parameters={"shared_memory_region": "mine", "shared_memory_byte_size": 24}),
        404,
        "Unable to find shared memory region: 'mine'",
    ),
    "an unknown output": (having(outputs=[{"name": "prices"}]), 400, "unexpected inference output 'prices'"),
    "outputs an object": (having(outputs={"name": "scores"}), 500, "Unable to parse 'outputs'"),
    "an output that is a string": (having(outputs=["scores"]), 500, "Unable to parse 'name'"),
    "an output without a name": (having(outputs=[{}]), 500, "Unable to parse 'name'"),
    "an output in unknown shared memory": (
        having(outputs=[{"name": "scores", "parameters": {"shared_memory_region": "m", "shared_memory_byte_size": 8}}]),
        404,
        "Unable to find shared memory region: 'm'",
    ),
    "an id that is an object": (having(id={"a": 1}), 500, "Unable to parse 'id'"),
    "a priority in words": (having(parameters={"priority": "high"}), 500, "Unable to parse 'priority'"),
    # Where and how.
    "an unknown model": (elsewhere("/v2/models/nobody/infer"), 404, "Request for unknown model: 'nobody' is not found"),
    "an unknown version": (
        elsewhere("/v2/models/shop/versions/7/infer"),
        404,
        "Request for unknown model: 'shop' version 7 is not found",
    ),
    "a version in words": (elsewhere("/v2/models/shop/versions/latest/infer"), 404, "Not Found"),
    "an unknown URL": (elsewhere("/v2/models/shop/recommend"), 404, "Not Found"),
    "the root": (elsewhere("/"), 404, "Not Found"),
    "a path upwards": (elsewhere("/v2/models/../../etc/passwd/infer"), 404, "Not Found"),
    "GET": (elsewhere(INFER, "GET"), 405, "Method Not Allowed"),
    "PUT": (elsewhere(INFER, "PUT"), 405, "Method Not Allowed"),
    "an invented method": (elsewhere(INFER, "RECOMMEND"), 405, "Method Not Allowed"),
}

#: What Triton takes although it might not, and the statuses that are answered: it knows NaN, and cuts numbers to 32 bits.
TAKEN: dict[str, tuple[Callable[[dict], Raw], list[str]]] = {
    "a byte order mark": (lambda d: Raw(b"\xef\xbb\xbf" + json.dumps(d).encode()), ["ok", "ok"]),
    "NaN among prices": (first("price", NAN), ["ok", "ok"]),
    "a length beyond INT32": (first("session_length", 2**40), ["empty", "ok"]),
}
#: A body that ends before its Content-Length.
TRUNCATED: Callable[[dict], Raw] = lambda d: dataclasses.replace(as_json(d), claimed=10**6)  # noqa: E731
