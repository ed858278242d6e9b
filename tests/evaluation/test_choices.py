from medtune.evaluation.choices import describe_choices, record_choices


def test_record_choices__of_both_stages():
    first = record_choices("frozen", 2.0, None, 1)
    assert first == {"frozen": {"C": 2.0}}
    second = record_choices("finetune", None, 1e-4, 3, [{"choices": first}])
    assert second == {"frozen": {"C": 2.0}, "finetune": {"lr": 1e-4, "epoch": 3}}
    assert describe_choices(first) == "C 2"
    assert describe_choices(second) == "frozen: C 2; finetune: lr 0.0001, epoch 3"
    assert describe_choices({}) == ""
