import resource
import subprocess
import sys

import pytest

from nextitem_server import TritonServer
from nextitem_server.launch.stack import STACK_BYTES, stack_limit
from scripts.container_test.chunks import sent_in_chunks

MIB = 1 << 20
NONE = resource.RLIM_INFINITY


@pytest.fixture
def lenient(tmp_path):
    """A kernel that reserves nothing."""
    file = tmp_path / "overcommit_memory"
    file.write_text("0\n")
    return file


@pytest.mark.parametrize("hard", [NONE, STACK_BYTES, 2 * STACK_BYTES])
def test_a_gibibyte_where_the_hard_limit_allows_it(lenient, hard):
    assert stack_limit((8 * MIB, hard), NONE, lenient) == (STACK_BYTES, None)
    assert stack_limit((NONE, NONE), NONE, lenient) == (STACK_BYTES, None), "without a limit threads get 2 MiB"


def test_what_is_more_is_left(lenient):
    assert stack_limit((2 * STACK_BYTES, NONE), NONE, lenient) == (2 * STACK_BYTES, None)


def test_the_hard_limit_where_it_is_less(lenient):
    limit, sentence = stack_limit((8 * MIB, 64 * MIB), NONE, lenient)
    assert limit == 64 * MIB
    assert "tritonserver's threads have 64 MiB of stack, as the hard limit is no higher; expected are 1024" in sentence


def test_nothing_is_reserved_that_is_not_there(tmp_path, lenient):
    limit, sentence = stack_limit((8 * MIB, NONE), 40 * STACK_BYTES, lenient)
    assert limit == 8 * MIB
    assert "have 8 MiB of stack, as the address space is limited" in sentence
    strict = tmp_path / "strict"
    strict.write_text("2\n")
    limit, sentence = stack_limit((NONE, NONE), NONE, strict)
    assert limit == NONE
    assert "have 2 MiB of stack, as the kernel reserves memory for all of it" in sentence


def test_without_proc(tmp_path):
    assert stack_limit((8 * MIB, NONE), NONE, tmp_path / "missing") == (STACK_BYTES, None)


@pytest.mark.parametrize("chunks", [1_000_000, pytest.param(4_000_000, marks=pytest.mark.slow)])
def test_a_body_in_very_many_chunks_is_answered(add_model, chunks):
    """Six bytes each. Triton takes a kilobyte of memory for each, which only a limit in front of it helps against."""
    with TritonServer(add_model("shop")) as server:
        for count in (chunks, 1):
            assert sent_in_chunks(server.ports.http, count).startswith(b"HTTP/1.1 200 OK"), (count, server.logs())
        assert server.poll() is None
        assert not server.notices


def test_a_short_stack_is_said(add_model):
    program = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_STACK, ({8 * MIB}, {16 * MIB}))\n"
        "from nextitem_server import TritonServer\n"
        "with TritonServer(sys.argv[1]) as server: print(*server.notices)\n"
    )
    repository = add_model("shop")
    done = subprocess.run([sys.executable, "-c", program, repository], capture_output=True, text=True, timeout=60)
    assert "tritonserver's threads have 16 MiB of stack, as the hard limit" in done.stdout, done.stderr
