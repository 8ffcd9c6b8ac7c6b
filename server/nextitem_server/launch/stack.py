"""How much stack tritonserver's threads get.

Triton 24.10 takes stack by the number of chunks of an HTTP body (CVE-2025-23310, -23311): one of 6 MB ends a server whose
threads have the usual 8 MiB. A thread's stack is address space until it is used, so a large one costs nothing.
"""

from __future__ import annotations

import resource
from pathlib import Path

STACK_BYTES = 1 << 30
_NONE = resource.RLIM_INFINITY
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_NEVER_OVERCOMMIT = "2"


def stack_limit(
    stack: tuple[int, int] | None = None, address_space: int | None = None, overcommit: Path = _OVERCOMMIT
) -> tuple[int, str | None]:
    """The soft limit for tritonserver, in bytes, and a sentence where it is less than it should be.

    stack: the soft and the hard limit of this process. address_space: its limit; both are asked for where they are left out.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK) if stack is None else stack
    if address_space is None:
        address_space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if STACK_BYTES <= soft != _NONE:
        return soft, None
    if address_space != _NONE:
        return soft, _sentence(soft, "the address space is limited (ulimit -v)", "Set ulimit -v unlimited")
    if _read(overcommit) == _NEVER_OVERCOMMIT:
        return soft, _sentence(soft, "the kernel reserves memory for all of it", "Set vm.overcommit_memory to 0 or 1")
    if hard == _NONE or hard >= STACK_BYTES:
        return STACK_BYTES, None
    return hard, _sentence(hard, "the hard limit is no higher", "Raise it (ulimit -Hs, LimitSTACK= of systemd)")


def _sentence(limit: int, why: str, cure: str) -> str:
    has = f"{(2 << 20 if limit == _NONE else limit) / (1 << 20):g} MiB"  # threads get 2 where there is no limit
    return (
        f"tritonserver's threads have {has} of stack, as {why}; expected are {STACK_BYTES >> 20} MiB. One HTTP request in very "
        f"many chunks can end the server. {cure}, or let clients reach it through the load balancer alone."
    )


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
