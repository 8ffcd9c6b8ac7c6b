"""Answers the requests that Triton hands over at once: together where the step can do so, and each by itself else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

from ..request import Array, RequestError
from ..step import Step
from .load_shedding import LoadShedding
from .shape_guard import refuse_impossible

#: What became of a request: its outputs, or why there are none.
Outcome: TypeAlias = dict[str, Array] | Exception

_Request = TypeVar("_Request")


@runtime_checkable
class BatchedStep(Protocol):
    """A step that knows how to answer several requests in one run, and how many it takes at once."""

    load_shedding: LoadShedding

    def run_all(self, inputs: Sequence[Mapping[str, Array]]) -> list[Outcome]:
        """One outcome a request, in order."""
        ...


def answering(step: Step) -> Callable[[Sequence[Mapping[str, Array]]], list[Outcome]]:
    """What answers several requests: one outcome each, in order. A bad request spoils none but its own."""
    if isinstance(step, BatchedStep):
        return step.run_all
    return partial(_one_by_one, step)


def answer_or_halve(
    answer: Callable[[Sequence[_Request]], list[Outcome]], requests: Sequence[_Request]
) -> list[Outcome]:
    """One outcome a request: of all together or, where one of them is at fault, of the half without it.

    answer: one outcome a request; raises where any of them cannot be answered.
    """
    try:
        return answer(requests)
    except Exception as error:  # noqa: BLE001  any fault must fail its own request alone
        if len(requests) == 1:
            return [without_frames(error)]
    middle = len(requests) // 2
    return [*answer_or_halve(answer, requests[:middle]), *answer_or_halve(answer, requests[middle:])]


def without_frames(error: Exception) -> Exception:
    """A refusal without the frames that it came through: they hold the request's tensors. A fault keeps them for the log."""
    return error.with_traceback(None) if isinstance(error, RequestError) else error


def _one_by_one(step: Step, inputs: Sequence[Mapping[str, Array]]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for tensors in inputs:
        try:
            refuse_impossible(tensors)
            outcomes.append(step.run(tensors))
        except Exception as error:  # noqa: BLE001  any fault must fail its own request alone
            outcomes.append(without_frames(error))
    return outcomes
