import numpy as np

from medtune.data.synthetic.stain import Stain


def test_stain_spread__zero_gives_all_patients_the_same_stain():
    def dyes(spread):
        stains = [Stain.draw(np.random.default_rng(seed), spread) for seed in range(20)]
        return np.array([np.concatenate([stain.hematoxylin, stain.eosin, stain.light]) for stain in stains])

    assert dyes(0.0).std(0).max() < 1e-12
    assert dyes(1.0).std(0).min() > 0.02


def test_render__glass_has_the_light_color_and_dye_is_darker():
    stain = Stain.draw(np.random.default_rng(1), 0.0)
    empty, dyed = np.zeros((64, 64)), np.ones((64, 64))
    glass, blue = (stain.render(h, empty, np.random.default_rng(2)).mean((0, 1)) / 255 for h in (empty, dyed))
    np.testing.assert_allclose(glass, stain.light, atol=0.01)
    assert (blue < glass - 0.2).all()
    assert blue[2] > blue[:2].max()
