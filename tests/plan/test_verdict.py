"""The verdict, on the transfers that its limit was made from (``evidence/verdicts.md``) and since."""

import pytest

from nequip_elemtransfer.plan.verdict import CLOSE, GO, RACE, judge


@pytest.mark.parametrize(
    "unexplained, warnings, word",
    [
        (0.01, (), GO),
        (CLOSE, (), GO),
        (CLOSE + 1e-9, (), RACE),
        (0.6, (), RACE),
        (1.3, (), RACE),
        (0.01, ("the minimum is flat.",), RACE),
        (None, (), RACE),
    ],
)
@pytest.mark.parametrize("auc", [None, 0.5, 1.0])
def test_what_the_start_explains_decides_and_how_alike_structures_are_does_not(unexplained, auc, warnings, word):
    verdict = judge(unexplained, 0.9, auc, warnings)
    assert verdict.word == word
    assert list(verdict.numbers.values()) == [unexplained, 0.9, auc]


def test_sentences_hold_the_numbers():
    assert "90.0% of the variance" in judge(0.1, None, 0.99).sentence
    assert (
        "explains 0.0% of" in judge(1.2, None, None).sentence and "which is little" in judge(1.2, None, None).sentence
    )
    assert judge(0.01, None, 0.5, ("it is flat.",)).sentence.endswith("but it is flat")
    assert "forces on Ge and Sn" in judge(0.1, None, 0.5, new_types=["Ge", "Sn"]).sentence
    sentence = judge(0.78, None, 0.69, new_types=["Se"], on_all=0.17).sentence
    assert "22.0% of the variance of held-out forces on Se and 83.0% on all atoms" in sentence
