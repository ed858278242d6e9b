"""Averages per patient."""

import numpy as np

from medtune.tasks.segmentation.patient_means import patient_means


def test_patient_means__volumes_of_a_patient_share_its_weight():
    values = np.array([[1.0, 10], [3.0, 30], [5.0, 50]])
    assert patient_means(values, np.array(["b", "b", "a"])).tolist() == [[5, 50], [2, 20]]
    assert patient_means(values[:0], np.array([], str)).shape == (0, 2)
