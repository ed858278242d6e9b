"""Cross-Domain Transfer Module (CDTM), which mixes the tokens of a backbone with learned matrices.

Source: Li et al., "Embracing Large Natural Data: Enhancing Medical Image Analysis via Cross-Domain
Fine-Tuning", IEEE JBHI 28(8), 2024, doi 10.1109/JBHI.2023.3343518.
"""

from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ClusterAttention(nn.Module):
    """Mixing of tokens (B, N, C) by an (N, N) matrix. The matrix of an image is a weighted sum of K learned matrices.

    The weights `a` (B, K) are a softmax over the cosine similarity of the mean token and K learned centers.
    The weighted sum is computed as one product, `a @ mixing.view(K, N * N)`. An expansion of `a` to (B, K, N, N) would
    need K times the memory.

    Attributes:
        centers: (C, K).
        mixing: the K learned matrices (K, N, N).
        log_scale: scalar, log of the inverse temperature of the softmax; 0 (as in the paper) unless learned.
    """

    def __init__(
        self, tokens: int, channels: int, centers: int, dropout: float = 0.0, learned_temperature: bool = False
    ) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.randn(channels, centers))
        self.mixing = nn.Parameter(torch.randn(centers, tokens, tokens))
        self.project = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)
        if learned_temperature:
            self.log_scale = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("log_scale", torch.zeros(()), persistent=False)

    def weights(self, x: Tensor) -> Tensor:
        """Return the weights (B, K) of the learned matrices for tokens (B, N, C); rows sum to 1."""
        cosine = F.normalize(x.mean(1), dim=-1) @ F.normalize(self.centers, dim=0)
        return torch.softmax(cosine * self.log_scale.exp(), dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, C) to (B, N, C)."""
        centers, tokens, _ = self.mixing.shape
        mixed = (self.weights(x) @ self.mixing.reshape(centers, tokens * tokens)).reshape(-1, tokens, tokens)
        return self.dropout(self.project(mixed @ x))


class Block(nn.Module):
    """`x = x + mix(LN(x))`, then `x = x + MLP(LN(x))`. The first `x +` is left out without `skip`, as in the paper."""

    def __init__(self, channels: int, mix: ClusterAttention, mlp_ratio: float, dropout: float, skip: bool) -> None:
        super().__init__()
        hidden = int(channels * mlp_ratio)
        self.skip = skip
        self.norm1 = nn.LayerNorm(channels)
        self.mix = mix
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, channels),
            nn.Dropout(dropout),
        )
        if skip:  # the block starts as the identity, so that the classifier sees the backbone's tokens at step 0
            for last in (self.mix.project, self.mlp[3]):
                for parameter in last.parameters():
                    nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, C) to (B, N, C)."""
        mixed = self.mix(self.norm1(x))
        x = x + mixed if self.skip else mixed
        return x + self.mlp(self.norm2(x))


class CDTM(nn.Module):
    """LayerNorm, blocks, LayerNorm, mean over tokens, linear head: (B, N, C) tokens to (B, classes) logits.

    With `summary`, the linear head also reads the class token, if there is one, and the mean patch token. These two
    tokens are layer-normalized, scaled and shifted. With `init=kmeans`, the initial scale and shift standardize the two
    tokens on the training images. The module of the paper has no `summary`.
    """

    def __init__(
        self,
        tokens: int,
        channels: int,
        classes: int,
        *,
        centers: int = 300,
        layers: int = 1,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        skip: bool = True,
        temperature: Literal["learned", "fixed"] = "fixed",
        init: Literal["kmeans", "normal"] = "kmeans",
        summary: bool = False,
        class_tokens: int = 0,
    ) -> None:
        super().__init__()
        self.init, self.summary, self.class_tokens = init, summary, class_tokens
        self.norm_in = nn.LayerNorm(channels)
        mixes = (ClusterAttention(tokens, channels, centers, dropout, temperature == "learned") for _ in range(layers))
        self.blocks = nn.ModuleList(Block(channels, mix, mlp_ratio, dropout, skip) for mix in mixes)
        self.norm_out = nn.LayerNorm(channels)
        width = channels
        if summary:
            summary_width = (1 + class_tokens) * channels
            width += summary_width
            self.summary_scale = nn.Parameter(torch.ones(summary_width))
            self.summary_shift = nn.Parameter(torch.zeros(summary_width))
        self.classify = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, C), or (B, class_tokens + N, C) with `summary`, to logits (B, classes)."""
        features = self._pool(x[:, self.class_tokens :])
        if self.summary:
            features = torch.cat([features, self._summarize(x) * self.summary_scale + self.summary_shift], dim=1)
        return self.classify(features)

    def _pool(self, patches: Tensor) -> Tensor:
        """Map patch tokens (B, N, C) to the pooled output of the blocks (B, C)."""
        x = self.norm_in(patches)
        for block in self.blocks:
            x = block(x)
        return self.norm_out(x).mean(1)

    def _summarize(self, x: Tensor) -> Tensor:
        """Map tokens (B, class_tokens + N, C) to the normalized class and mean tokens (B, (class_tokens + 1) C)."""
        mean = x[:, self.class_tokens :].mean(1, keepdim=True)
        tokens = torch.cat([x[:, : self.class_tokens], mean], dim=1)
        return F.layer_norm(tokens, tokens.shape[-1:]).flatten(1)

    @torch.no_grad()
    def prepare(self, batches: Iterable[Tensor], seed: int) -> None:
        """Initialize the module from the training images, if `init` is `kmeans`.

        The first block compares the mean token of an image, called query here, with its centers. These centers are set
        to the k-means centers of the queries. Weight and bias of the last norm are set so that the norm standardizes
        the pooled features. The linear head then starts with inputs of unit variance.

        Args:
            batches: tokens of the training images, in the shape that `forward` expects.
            seed: seed of the clustering.
        """
        if self.init != "kmeans":
            return
        first: Block = self.blocks[0]  # type: ignore[assignment]
        queries, pooled, summaries = [], [], []
        for tokens in batches:
            patches = tokens[:, self.class_tokens :]
            queries.append(first.norm1(self.norm_in(patches)).mean(1))
            pooled.append(self._pool(patches))
            if self.summary:
                summaries.append(self._summarize(tokens))
        first.mix.centers.copy_(cluster_centers(torch.cat(queries), first.mix.centers.shape[1], seed).T)
        features = torch.cat(pooled)
        scale = 1 / features.std(0).clamp_min(1e-3)
        self.norm_out.weight.copy_(scale)
        self.norm_out.bias.copy_(-features.mean(0) * scale)
        if self.summary:
            features = torch.cat(summaries)
            self.summary_scale.copy_(1 / features.std(0).clamp_min(1e-3))
            self.summary_shift.copy_(-features.mean(0) * self.summary_scale)


def cluster_centers(points: Tensor, centers: int, seed: int) -> Tensor:
    """Cluster the directions of points by k-means.

    Args:
        points: (n, C).
        centers: number of centers. Centers beyond n are copies of random other centers with noise.
        seed: seed of the clustering and the noise.

    Returns:
        Centers (centers, C).
    """
    from sklearn.cluster import KMeans

    directions = F.normalize(points.float(), dim=-1).cpu().numpy()
    clusters = min(centers, len(directions))
    means = torch.from_numpy(KMeans(clusters, n_init=1, random_state=seed).fit(directions).cluster_centers_)
    generator = torch.Generator().manual_seed(seed)
    repeated = means[torch.randint(clusters, (centers - clusters,), generator=generator)]
    repeated = repeated + 0.1 * means.std() * torch.randn(repeated.shape, generator=generator)
    return torch.cat([means, repeated]).to(points)
