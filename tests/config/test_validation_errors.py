from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from medtune.benchmark.grid import BenchmarkParams
from medtune.config import registry
from medtune.config.data import IntensityParams, SplitParams
from medtune.config.errors import InputError
from medtune.config.evaluation import EvaluateParams
from medtune.config.schema import ExportParams, ModelParams, Params
from medtune.config.training import FinetuneParams, FrozenParams, TrainingParams
from medtune.config.validation_errors import format_validation_error

PLUGINS = ("medtune.data.sources", "medtune.models.heads", "medtune.models.peft")
NAN, INF = float("nan"), float("inf")
WRONG: list[Any] = [
    None, True, "many", "1" * 5000, "", -1, 0, 1, 2, 3, 7, 1.5, -0.5, 1e9, 1e300, NAN, INF, [], [True], ["x"], [-1],
    [0], [1], [NAN], [1, 2], [2, 1], [1, 2, 3], ["x", "y"], [None], {}, {"a": -1}, {"a": "x"}, {"a": True}, {"a b": {}},
    {"a": []}, {"a": [-1]}, {"a": ["x"]}, {"a": None}, {1: 2}, {"kind": "x"}, {"kind": "dask"},
    {"kind": "local", "workers": 0},
]  # fmt: skip
PYDANTIC_WORDING = (
    "Input should",
    "Field required",
    "Extra inputs",
    "valid ",
    "Unable to",
    "Value error",
)


def message_of(model: type[BaseModel], values: Any, prefix: str = "section") -> str:
    with pytest.raises(ValidationError) as error:
        model.model_validate(values)
    return format_validation_error(error.value, model, prefix)


def sections() -> set[type[BaseModel]]:
    roots = [registry.load_plugin(package, name, "").Params for package in PLUGINS
             for name in registry.plugin_names(package)]  # fmt: skip
    models: set[type[BaseModel]] = set()
    queue: list[Any] = [Params, BenchmarkParams, *roots]
    while queue:
        model = queue.pop()
        if model not in models:
            models.add(model)
            queue += [section for field in model.model_fields.values() for section in _sections_in(field.annotation)]
    return models


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in getattr(annotation, "__args__", ()) for section in _sections_in(part)]


def test_format__contains_no_pydantic_wording():
    types = set()
    for model in sections():
        cases: list[Any] = [3, [1], {"nonesuch": 1}, {1: 2}]
        cases += [{key: value} for key in model.model_fields for value in WRONG]
        for values in cases:
            try:
                model.model_validate(values)
            except InputError:
                continue
            except ValidationError as error:
                message = format_validation_error(error, model, "section")
                assert not any(word in message for word in PYDANTIC_WORDING), message
                assert "another value" not in message
                assert "\n" not in message
                for problem in error.errors():
                    types.add(problem["type"])
                    is_custom = problem["type"] in ("value_error", "param", "secret")
                    assert is_custom or problem["msg"] not in message, message
    assert types >= {
        "bool_parsing", "bool_type", "boolean", "dict_type", "extra_forbidden", "finite_number", "float_parsing",
        "float_type", "greater_than", "greater_than_equal", "int_from_float", "int_parsing", "int_parsing_size",
        "int_type", "invalid_key", "less_than", "less_than_equal", "list_type", "literal_error", "missing",
        "model_type", "multiple_of", "string_pattern_mismatch", "string_type", "too_long", "too_short", "tuple_type",
        "union_tag_invalid", "union_tag_not_found", "value_error",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "values", "message"),
    [
        (FrozenParams, {"feature_views": 9}, 'section.feature_views=9: expected an integer from 1 to 8, or "online"'),
        (FrozenParams, {"feature_views": "onlin"},
         "section.feature_views=onlin: expected an integer from 1 to 8, or \"online\" (did you mean 'online'?)"),
        (TrainingParams, {"epochs": 0}, "section.epochs=0: expected an integer of at least 1"),
        (TrainingParams, {"epochs": True},
         "section.epochs=true: a boolean is not allowed. Use an integer of at least 1"),
        (TrainingParams, {"optimizer": "sgd"}, 'section.optimizer=sgd: expected "adamw" or "adam"'),
        (TrainingParams, {"clip_norm": 0}, "section.clip_norm=0: expected a number above 0, or null"),
        (TrainingParams, {"clip_norm": INF}, "section.clip_norm=.inf: expected a finite number above 0, or null"),
        (FrozenParams, {"warmup_epochs": INF},
         'section.warmup_epochs=.inf: expected a finite number of at least 0, or "auto"'),
        (TrainingParams, {"class_weights": {"a": -1}}, "section.class_weights.a=-1: expected a number above 0"),
        (TrainingParams, {"class_weights": "x"},
         'section.class_weights=x: expected "none", "auto", or a mapping such as {tumor: 2, normal: 1}'),
        (TrainingParams, {"clip_norm": {}},
         "section.clip_norm: a mapping is not allowed. Use a number above 0, or null"),
        (EvaluateParams, {"threshold": "x"},
         'section.threshold=x: expected "balanced_accuracy", "argmax", or a mapping such as {specificity: 0.95} or '
         "{sensitivity: 0.95}"),
        (TrainingParams, {"augment": {"scale": 1}},
         "section.augment.scale=1: expected a number of at least 0 and below 1"),
        (TrainingParams, {"augment": {"dihedral": "x"}}, "section.augment.dihedral=x: expected true or false"),
        (TrainingParams, {"lrr": 3}, "section.lrr: unknown key (did you mean 'lr'?). Known keys: epochs, "),
        (FinetuneParams, {"compile": 3}, 'section.compile=3: expected true, false or "auto"'),
        (SplitParams, {"folds": 2}, "section.folds=2: expected an integer from 3 to 20"),
        (SplitParams, {"test_fold": 7}, "section.test_fold=7: folds are numbered 0 to 4"),
        (SplitParams, {"folds": 1e300}, "section.folds=1e+300: expected an integer of at most 64 bits"),
        (IntensityParams, {"window": [1]},
         "section.window=[1]: expected a list [low, high] such as [-160, 240], or null"),
        (IntensityParams, {"window": ["a", 2]}, "section.window.0=a: expected a number"),
        (EvaluateParams, {"threshold": {"specificity": 2}},
         "section.threshold.specificity=2: expected a number above 0 and below 1, or null"),
        (EvaluateParams, {"threshold": {}}, "section.threshold: give specificity or sensitivity"),
        (EvaluateParams, {"bins": {"age": [1, "x"]}}, "section.bins.age.1=x: expected a number"),
        (ExportParams, {"batch_sizes": []}, "section.batch_sizes=[]: expected a nonempty list such as [1, 2, 7, 32]"),
        (ModelParams, {"backbone": None},
         "section.backbone=null: expected a string such as vit_base_patch16_224; section.head: missing. Set it to a "
         "mapping with the key kind, such as {kind: linear}"),
        (ModelParams, {"backbone": True},
         "section.backbone=true: a boolean is not allowed. Use a string such as vit_base_patch16_224. "
         "If you mean the text \"true\", write \"true\" with the double quotes"),
        (TrainingParams, {"class_weights": {"a": True}}, "section.class_weights.a=true: a boolean is not allowed"),
        (ExportParams, {"batch_sizes": [1, True]},
         "section.batch_sizes.1=true: a boolean is not allowed. Use an integer above 0"),
        (ModelParams, {"normalization": 1},
         "section.normalization=1: expected a mapping with the keys mean and std, such as {mean: [0.485, "),
        (BenchmarkParams, {"data": {"a b": {}}},
         'section.data: key "a b" is not allowed. Use a string of letters, digits and . _ + -, with a letter or digit'),
        (BenchmarkParams, {"runner": {"kind": "slurm"}}, 'section.runner.kind=slurm: expected "local" or "dask"'),
        (BenchmarkParams, {"runner": {"kind": "local", "workers": 0}}, "section.runner.workers=0: expected an integer"),
    ],
)  # fmt: skip
def test_format__names_key_value_and_expectation(model, values, message):
    assert message in message_of(model, values)


@pytest.mark.parametrize("value", [NAN, INF, -1, "x"])
def test_format__reports_one_problem_per_key(value):
    message = message_of(FrozenParams, {"warmup_epochs": value, "lr": value, "clip_norm": value})
    assert message.count("warmup_epochs=") == message.count("section.lr=") == message.count("clip_norm=") == 1


def test_format__params_without_a_key():
    assert message_of(Params, 3, prefix="").startswith("params=3: expected a mapping such as {")
