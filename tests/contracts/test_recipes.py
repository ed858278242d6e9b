"""Recipes: every recipe is valid, alone and with every mode."""

import pytest

from medtune.benchmark.grid import load_grid
from medtune.benchmark.jobs import list_trials
from medtune.config import registry
from medtune.config.learning_rate import TRAINED
from medtune.config.load import DEFAULT_PARAMS, load, merge, read, validate
from medtune.config.project import PROJECT
from medtune.config.training import AugmentParams, FinetuneParams, FrozenParams
from medtune.data.sample import Sample
from medtune.data.splits import split_samples

GRIDS = sorted((PROJECT / "recipes").glob("benchmark-*.yaml"))
RECIPES = sorted(set((PROJECT / "recipes").glob("*.yaml")) - set(GRIDS))
MODES = [path for path in RECIPES if path.stem.startswith("mode-")]
PAPER = [path for path in RECIPES if path.stem.startswith("paper-")]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe__is_valid(recipe):
    assert load(recipe).seed >= 0


@pytest.mark.parametrize("recipe", GRIDS, ids=lambda path: path.stem)
def test_grid__has_valid_trials(recipe):
    grid, tree = load_grid(recipe)
    trials = list_trials(grid, tree)
    assert {trial.method for trial in trials} == set(grid.methods)
    assert {trial.backbone for trial in trials} == set(grid.backbones)
    pairs = {(trial.backbone, trial.method) for trial in trials}  # a backbone may not support every method
    assert len(trials) == len(grid.data) * len(pairs) * len(grid.train_percent) * len(grid.seeds)


def test_default__equals_the_params_of_the_project():
    assert load(PROJECT / "recipes" / "default.yaml") == load()


def test_recipes__cover_the_settings_of_the_paper():
    names = {path.stem for path in PAPER}
    assert {f"paper-{data}-{backbone}" for data in ("breakhis", "hcrf") for backbone in (
        "vit_b-in21k", "vit_b-laion400m", "vit_b-laion2b", "vit_b-openai",
        "convnext_b-in22k", "convnext_b-laion400m", "convnext_b-laion2b")} <= names  # fmt: skip
    assert {path.stem for path in MODES} == {"mode-linear", "mode-full", "mode-frt", "mode-sft"}


@pytest.mark.parametrize("mode", MODES, ids=lambda path: path.stem)
def test_mode__uses_the_module_of_the_paper_with_cdtm(mode):
    tree = read(DEFAULT_PARAMS)
    for recipe in (PAPER[0], mode):
        merge(tree, read(recipe))
    params = validate(tree)
    assert (params.schedule, params.model.head.kind) == {
        "mode-linear": ("frozen", "linear"),
        "mode-full": ("full", "linear"),
        "mode-frt": ("frozen", "cdtm"),
        "mode-sft": ("staged", "cdtm"),
    }[mode.stem]
    if params.model.head.kind == "cdtm":
        assert params.model.head.skip is False
        assert params.frozen.feature_views == "online"


@pytest.mark.parametrize("recipe", [DEFAULT_PARAMS, *RECIPES], ids=lambda path: path.stem)
def test_recipe__learning_rate_applies_only_to_the_named_head_or_method(recipe):
    """Default rates of other heads and methods."""
    heads, methods = (registry.load_all(package) for _, package in TRAINED.values())
    tree = read(DEFAULT_PARAMS)
    merge(tree, read(recipe))
    rates = {stage: tree[stage]["lr"] if isinstance(tree[stage]["lr"], dict) else {} for stage in TRAINED}
    assert all(tree[stage]["lr"] == "auto" or rates[stage] for stage in TRAINED)
    params = validate(tree)
    for plugin in heads:
        name = plugin.__name__.rpartition(".")[2]
        if name not in rates["frozen"] and name not in ("attention_mil", "logistic"):
            other = params.model_copy(
                update={"model": params.model.model_copy(update={"head": plugin.Params(kind=name)})}
            )
            assert other.learning_rates("frozen") == plugin.LR_GRID
    for plugin in methods:
        if (name := plugin.__name__.rpartition(".")[2]) not in rates["finetune"]:
            other = params.model_copy(
                update={"model": params.model.model_copy(update={"peft": plugin.Params(method=name)})}
            )
            assert other.learning_rates("finetune") == plugin.LR_GRID


def test_paper__has_the_learning_rates_of_the_paper():
    for recipe in PAPER:
        params = load(recipe)
        assert (params.learning_rates("frozen"), params.learning_rates("finetune")) == ((1e-4,), (1e-5,))


# Keys that change only the time or the memory of training.
WITHOUT_EFFECT = {"checkpoint_seconds", "feature_cache_gb", "channels_last", "compile", "gradient_checkpointing"}


@pytest.mark.parametrize("recipe", PAPER, ids=lambda path: path.stem)
def test_paper__sets_every_key_of_training(recipe):
    """Reproduction of the paper, independent of the params.yaml of a user and of new defaults."""
    tree = read(recipe)
    for stage, section in (("frozen", FrozenParams), ("finetune", FinetuneParams)):
        assert set(section.model_fields) - set(tree[stage]) <= WITHOUT_EFFECT
        assert set(tree[stage]["augment"]) == set(AugmentParams.model_fields)


def test_paper__has_the_augmentation_of_the_reference():
    for recipe in PAPER:
        params = load(recipe)
        assert params.frozen.augment == params.finetune.augment == AugmentParams(
            dihedral=False, flip=0.5, shift=0.05, scale=0.3, rotate=180, affine_probability=0.7, border="black",
            brightness=0.1, contrast=0.1, color_probability=0.5, stain=0,
        )  # fmt: skip


def test_paper__hcrf_trains_on_fold_1_and_tests_on_2_and_3():
    params = load(next(recipe for recipe in PAPER if "hcrf" in recipe.stem))
    classes = ("abnormal", "normal")
    samples = [Sample(f"{n}.png", classes[n % 2], None) for n in range(40)]
    result = split_samples(samples, classes, params.data.split, "hcrf")
    splits = result.splits[:, params.data.split.test_fold]
    assert {(int(fold), str(split)) for fold, split in zip(result.folds, splits, strict=True)} == {
        (0, "val"), (1, "train"), (2, "test"), (3, "test"),
    }  # fmt: skip
