"""Axis rules against probes of the operators themselves (see `oracle`)."""

from __future__ import annotations

import pytest
from node_cases import NodeCase, all_cases
from oracle import contradictions, free_atoms, inferred, node_runner

from onnxprune.groups import infer
from onnxprune.ops import find_rule

MIXING = {
    "::LSTM": "hidden channels meet one another in R: one atom is contracted and given out",
    "::GRU": "hidden channels meet one another in R: one atom is contracted and given out",
    "::RNN": "hidden channels meet one another in R: one atom is contracted and given out",
    "::LpNormalization": "a norm: what is zero adds nothing to it",
    "::DynamicQuantizeLinear": "a range that always holds zero: what is zero adds nothing to it",
    "com.microsoft::GroupQueryAttention": "one width for keys, which are contracted, and values, which are given out",
}
"""Operators in which a channel that is not zero reaches others. Masking them is tested in test_operators_masking."""

RANDOM = ("test_training_dropout",)
"""Cases that give other numbers in each run."""


def _probed(operator: str) -> list[NodeCase]:
    return [case for case in all_cases()[operator] if not case.name.startswith(RANDOM)]


@pytest.mark.parametrize("operator", sorted(all_cases().keys() - MIXING.keys()))
def test_channels_reach_no_others_but_as_the_rule_says(operator):
    for case in _probed(operator):
        found = contradictions(case)
        assert not found, found[0]


@pytest.mark.parametrize("operator", sorted(MIXING))
def test_operators_that_mix_are_seen_to_do_so(operator):
    assert any(contradictions(case) for case in _probed(operator)), "no longer an exception"


@pytest.mark.parametrize(
    ("operator", "wrong"),
    [("::Softmax", "Relu"), ("::CumSum", "Identity"), ("::MeanVarianceNormalization", "Tanh")],
)
def test_the_oracle_sees_a_wrong_rule(monkeypatch, operator, wrong):
    elementwise = find_rule("", wrong, 18)
    monkeypatch.setattr(infer, "find_rule", lambda domain, name, opset: elementwise)
    assert any(contradictions(case) for case in _probed(operator))


def test_most_operators_leave_an_atom_to_probe():
    probed = {
        operator
        for operator, cases in all_cases().items()
        if any(free_atoms(inferred(case, node_runner(case)(case.inputs)), list(case.inputs)) for case in cases)
    }
    assert len(probed) > 120, sorted(all_cases().keys() - probed)
