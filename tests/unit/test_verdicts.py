"""What make check says at its end."""

import pytest

from octet.check.verdicts import Problem, Verdict, problems

pytestmark = pytest.mark.unit

FINE = Verdict("net", ["net: int8 loses +0.10 points of top-1, allowed are 0.30: fine"], None)


def test_nothing_is_wrong():
    assert problems([FINE, FINE]) == ""


def test_each_problem_has_one_sentence_with_all_that_have_it():
    given = [
        Verdict("phone", [], Problem.DEVICE),
        Verdict("net", ["…"], Problem.DROP),
        FINE,
        Verdict("net in openvino", ["…"], Problem.DROP),
    ]
    first, second, advice = problems(given).split("; ", 2)
    assert first == "net, net in openvino: the drop is over max_drop_pt"
    assert second == "phone: less than 'check' in params.yaml asks of a device"
    assert advice.startswith("'make best' searches")


def test_what_searches_settings_is_no_advice_for_a_device():
    assert problems([Verdict("net on phone", [], Problem.DEVICE)]) == (
        "net on phone: less than 'check' in params.yaml asks of a device"
    )
