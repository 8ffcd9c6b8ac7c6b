from __future__ import annotations

import inspect

import pytest
from merlin.dag import BaseOperator
from merlin.dag import ops as dag_ops
from nvtabular import ops

from nextitem_export.workflow import lower as _registered
from nextitem_export.workflow.registry import LOWERINGS, REFUSALS, lowering, refuse

#: Base classes, which no workflow holds.
ABSTRACT = {"StatOperator"}


def operators() -> list[type]:
    found = {
        member
        for module in (ops, dag_ops)
        for member in vars(module).values()
        if inspect.isclass(member) and issubclass(member, BaseOperator) and member.__name__ not in ABSTRACT
    }
    return sorted(found, key=lambda operator: operator.__name__)


@pytest.mark.parametrize("operator", operators(), ids=lambda operator: operator.__name__)
def test_every_operator_is_compiled_or_refused_by_itself_or_by_what_it_is_made_of(operator):
    assert _registered
    base = next(base for base in operator.__mro__ if base in LOWERINGS or base in REFUSALS)
    assert (base is ops.Operator) == (operator is ops.Operator), f"{operator.__name__} would be traced as a custom one"
    if base in REFUSALS:
        assert ": " in REFUSALS[base], "a refusal says what to do instead"


def test_an_operator_is_registered_once():
    with pytest.raises(ValueError, match="Clip is registered already"):
        lowering(ops.Clip)(lambda operator, inputs: {})
    with pytest.raises(ValueError, match="Clip is registered already"):
        refuse(ops.Clip, "it is: twice")
    with pytest.raises(ValueError, match="Dropna is registered already"):
        lowering(ops.Dropna)(lambda operator, inputs: {})
