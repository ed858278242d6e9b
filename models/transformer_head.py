"""Head of pre-norm transformer blocks on tokens, a baseline with as many parameters as CDTM."""

from torch import Tensor, nn


def equal_hidden(tokens: int, channels: int, centers: int = 300) -> int:
    """Compute the MLP width h for which a transformer block has as many parameters as a CDTM block.

    A CDTM block has K (C + N^2) + C^2 + C + 8 C^2 + 5 C parameters. A transformer block has
    4 C^2 + 4 C + 2 C h + h + C. Norms, which both have, are not counted.

    Args:
        tokens: N.
        channels: C.
        centers: K, number of centers of CDTM.

    Returns:
        h, at least C.
    """
    parameters = centers * (channels + tokens**2) + 9 * channels**2 + 6 * channels
    return max(channels, round((parameters - 4 * channels**2 - 5 * channels) / (2 * channels + 1)))


class TransformerHead(nn.Module):
    """LayerNorm, blocks, LayerNorm, mean over tokens, linear head: (B, N, C) tokens to (B, classes) logits."""

    def __init__(
        self,
        tokens: int,
        channels: int,
        classes: int,
        *,
        layers: int = 1,
        mlp_ratio: float | None = None,
        dropout: float = 0.0,
        head_dim: int = 32,
    ) -> None:
        super().__init__()
        hidden = equal_hidden(tokens, channels) if mlp_ratio is None else int(channels * mlp_ratio)
        heads = next(h for h in range(max(1, channels // head_dim), 0, -1) if channels % h == 0)
        self.norm_in = nn.LayerNorm(channels)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                channels, heads, hidden, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm_out = nn.LayerNorm(channels)
        self.classify = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, C) to logits (B, classes)."""
        x = self.norm_in(x)
        for block in self.blocks:
            x = block(x)
        return self.classify(self.norm_out(x).mean(1))
