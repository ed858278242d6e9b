"""Simulated test sets with a known truth. A random effect per patient correlates the scores of a patient's images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medtune.tasks.classification.statistics import ClassificationStats
from medtune.tasks.classification.statistics import accumulate as accumulate_classes
from medtune.tasks.multilabel.statistics import FindingStats
from medtune.tasks.multilabel.statistics import accumulate as accumulate_findings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
PATIENT_SD = 1.2  # standard deviation of the patient effects on the scores
IMAGES = (5, 25)  # fewest and most images of a patient
# Fraction of the patients in each class. The second of two classes is the positive one.
SHARES = {"two classes": (1 / 3, 2 / 3), "three classes": (1 / 3, 1 / 3, 1 / 3)}
# Fraction of images with each of three findings, and the standard deviation of its logit over patients.
PREVALENCE, PREVALENCE_SD = (0.5, 0.3, 0.2), 1.5


@dataclass(frozen=True)
class Model:
    """One of two models that are scored on the same images.

    Attributes:
        strength: mean score of an image for its class; a higher value makes the model better.
        shared: fraction of the variance of the patient effects that both models have in common, 0..1.
    """

    strength: float = 1.3
    shared: float = 0.5


def class_sizes(kind: str, patients: int) -> Ints:
    """Return the number of patients per class: rounded down, plus one for the classes with the largest remainders."""
    exact = np.array(SHARES[kind]) * patients
    sizes = np.floor(exact + 1e-9).astype(np.int64)
    sizes[np.argsort(sizes - exact, kind="stable")[: patients - sizes.sum()]] += 1
    return sizes


def draw_classes(
    draw: np.random.Generator, sizes: npt.ArrayLike, models: tuple[Model, ...] = (Model(),)
) -> list[ClassificationStats]:
    """Draw images of patients with one class each, and the predictions of each model.

    Args:
        draw: random generator.
        sizes: (classes,) patients per class.
        models: one or two models.

    Returns:
        Statistics per model.
    """
    sizes = np.asarray(sizes, np.int64)
    classes = len(sizes)
    member, labels = _images(draw, np.repeat(np.arange(classes), sizes))
    outputs = 1 if classes == 2 else classes
    target = np.eye(classes)[labels] if classes > 2 else (2 * labels - 1)[:, None]
    common = draw.normal(0, PATIENT_SD, (sizes.sum(), outputs))
    statistics = []
    for model in models:
        own = draw.normal(0, PATIENT_SD, (sizes.sum(), outputs))
        effect = model.shared**0.5 * common + (1 - model.shared) ** 0.5 * own
        scores = model.strength * target + effect[member] + draw.normal(0, 1, (len(labels), outputs))
        logits = np.concatenate([np.zeros_like(scores), scores], axis=1) if classes == 2 else scores
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        statistics.append(accumulate_classes(labels, probabilities, probabilities.argmax(axis=1), member))
    return statistics


def draw_findings(
    draw: np.random.Generator, patients: int, models: tuple[Model, ...] = (Model(),)
) -> list[FindingStats]:
    """Draw images with up to three findings each, and the predictions of each model.

    The frequency of the findings differs between patients.

    Args:
        draw: random generator.
        patients: number of patients.
        models: one or two models.

    Returns:
        Statistics per model.
    """
    logits = np.log(np.array(PREVALENCE)) - np.log1p(-np.array(PREVALENCE))
    frequency = 1 / (1 + np.exp(-(logits + draw.normal(0, PREVALENCE_SD, (patients, len(logits))))))
    member, _ = _images(draw, np.zeros(patients, np.int64))
    labels = draw.random((len(member), len(logits))) < frequency[member]
    common = draw.normal(0, PATIENT_SD, frequency.shape)
    statistics = []
    for model in models:
        own = draw.normal(0, PATIENT_SD, frequency.shape)
        effect = model.shared**0.5 * common + (1 - model.shared) ** 0.5 * own
        scores = model.strength * (2 * labels - 1) + effect[member] + draw.normal(0, 1, labels.shape)
        probabilities = 1 / (1 + np.exp(-scores))
        statistics.append(accumulate_findings(labels, probabilities, probabilities >= 0.5, member))
    return statistics


def _images(draw: np.random.Generator, labels: Ints) -> tuple[Ints, Ints]:
    """Draw the number of images of each patient. Return the patient (n,) and the label (n,) of each image."""
    member = np.repeat(np.arange(len(labels)), draw.integers(IMAGES[0], IMAGES[1] + 1, len(labels)))
    return member, labels[member]
