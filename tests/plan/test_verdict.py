"""The rules, on the transfers they were made from (``evidence/verdicts.md``)."""

import pytest

from nequip_elemtransfer.plan.verdict import CARE, GO, LIMITS, STOP, Limits, judge


@pytest.mark.parametrize(
    "unexplained, auc, warnings, word",
    [
        (0.01, 0.5, (), GO),
        (0.01, 1.0, (), GO),  # close whatever the structures look like
        (0.2, 0.55, (), GO),  # the same kinds of structures: the rest can be learned
        (0.1, 1.0, (), STOP),
        (0.1, None, (), CARE),
        (0.6, 0.5, (), STOP),
        (1.3, None, (), STOP),
        (0.01, 0.5, ("the minimum is flat.",), CARE),
        (None, 0.5, (), CARE),
    ],
)
def test_rules(unexplained, auc, warnings, word):
    verdict = judge(unexplained, 0.9, auc, warnings)
    assert verdict.word == word
    assert list(verdict.numbers.values()) == [unexplained, 0.9, auc]


@pytest.mark.parametrize("limits", [LIMITS, Limits(close=0.1, least=0.3, unlike=0.8)])
def test_limits_belong_to_one_side_each(limits):
    def word(unexplained, auc):
        return judge(unexplained, None, auc, limits=limits).word

    assert word(limits.least, 0.5) == STOP and word(limits.least - 1e-9, 0.5) == GO
    assert word(limits.close, 1.0) == GO and word(limits.close + 1e-9, 1.0) == STOP
    assert word(0.2, limits.unlike) == GO and word(0.2, limits.unlike + 1e-9) == STOP


def test_sentences_hold_the_numbers():
    assert "90.0% of the variance" in judge(0.1, None, 0.99).sentence and "AUC 0.99" in judge(0.1, None, 0.99).sentence
    assert "explains 0.0% of" in judge(1.2, None, None).sentence
    assert judge(0.01, None, 0.5, ("it is flat.",)).sentence.endswith("but it is flat")
    assert "forces on Ge and Sn" in judge(0.1, None, 0.5, new_types=["Ge", "Sn"]).sentence


def test_what_is_kept_may_be_worth_a_transfer_whose_new_type_is_not_known():
    """Selenium from silicon with hydrogen and carbon kept: a poor start for selenium, and half of scratch's errors."""
    verdict = judge(0.78, None, 0.69, new_types=["Se"], on_all=0.17)
    assert verdict.word == CARE and "22.0% of the variance of held-out forces on Se and 83.0% on" in verdict.sentence
    assert judge(0.78, None, 0.69, new_types=["Se"], on_all=LIMITS.least).word == STOP
    assert judge(0.2, None, 0.69, new_types=["Se"], on_all=0.17).word == GO
    assert judge(0.2, None, 0.99, new_types=["Se"], on_all=0.17).word == STOP
