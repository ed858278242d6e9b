from medtune.tasks.classification.report import describe_rule


def test_describe_rule__describes_both_kinds():
    assert describe_rule({"kind": "argmax"}) == "most probable class"
    assert (
        describe_rule({"kind": "threshold", "positive": "malignant", "threshold": 0.4})
        == "malignant if its probability is at least 0.400"
    )
