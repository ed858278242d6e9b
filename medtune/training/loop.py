"""Training loop of both stages, with mixed precision, EMA (moving average of weights), resume and several processes.

In distributed training, each process computes its rows of every batch. After each step, all processes have the same
gradients, weights, EMA weights and scores. The main process writes checkpoints.
"""

import math
import time
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from medtune.config.errors import DivergedError
from medtune.runtime import distributed
from medtune.runtime.progress import progress
from medtune.training import replicas, trainer_state
from medtune.training.optimizer import build_accelerator, build_optimizer
from medtune.training.schedule import epoch_order, lr_factor, stream_seed
from medtune.training.trainer_config import TrainerConfig, TrainingState
from medtune.training.transfer import to_device

LOG_EVERY = 20  # steps between two entries of the log
WORST = -1e30  # score for undefined metrics; finite, because checkpoints contain JSON


class Trainer:
    """Training run of a `TrainerConfig`, resumed from its checkpoint if there is one."""

    def __init__(self, config: TrainerConfig, device: str) -> None:
        self.config = config
        replicas.broadcast_state(config.network)
        unused = distributed.world_size() > 1 and replicas.has_unused_parameters(
            config.network, config.source.score(config.train[:1]), config.penalty
        )
        self.accelerator = build_accelerator(config.params, device, unused)
        self.device = self.accelerator.device
        optimizer = build_optimizer(config.network, config.params, config.lr, config.decay_vectors, config.head_lr)
        self.network, self.optimizer = self.accelerator.prepare(config.network, optimizer)
        # One graph per batch size, because a dynamic graph depends on earlier batches and would prevent exact resume.
        self.forward = torch.compile(self.network, dynamic=False) if config.compile else self.network
        self.objective = config.objective.to(self.device)
        self.state = TrainingState()
        self.best: dict[str, Tensor] = {}
        self.pending_losses: list[Tensor] = []
        self.saved_at = time.monotonic()
        self.augment_rng = torch.Generator()
        self.ema: dict[str, Tensor] | None = None
        if config.params.ema_decay:
            self.ema = {k: v.detach().clone() for k, v in config.saved.state_dict().items()}
        images_per_step = config.params.batch_size * config.params.gradient_accumulation_steps
        self.repeats_per_epoch = config.params.repeats_for(len(config.train))
        self.steps_per_epoch = math.ceil(len(config.train) * self.repeats_per_epoch / images_per_step)
        self.steps = self.steps_per_epoch * config.params.epochs
        self.warmup = round(self.steps_per_epoch * config.params.warmup)

    def run(self) -> tuple[TrainingState, dict[str, Tensor]]:
        """Train to the last epoch, or until the monitored metric has not improved for `patience` epochs.

        Returns:
            The final state, and the weights of the best epoch, or of the last epoch if there are no
            validation images.

        Raises:
            DivergedError: the loss is not finite.
        """
        resumed = trainer_state.load_trainer(self)
        replicas.check_same_step(self.state.step, self.device)
        if not resumed:
            self._begin_epoch()
            if self.config.start is not None:
                self._finish_epoch(epoch=0, train_loss=math.nan, lr=0.0, network=self.config.start)
        epochs = self.config.params.epochs if self.config.last_epoch is None else self.config.last_epoch
        with progress(self.config.name, epochs, "epochs") as advance:
            if self.state.epoch:
                advance(self.state.epoch)
            while self.state.epoch < epochs and not self._out_of_patience():
                row = self._epoch()
                shown = ("train/loss", f"val/{self.config.params.monitor}")
                advance(1, " ".join(f"{k} {row[k]:.3f}" for k in shown if k in row))
        return self.state, self.best

    def _out_of_patience(self) -> bool:
        patience = self.config.params.patience
        return patience is not None and self.state.epoch - max(self.state.best_epoch, 0) >= patience

    def _save_is_due(self) -> bool:
        return time.monotonic() - self.saved_at >= self.config.params.checkpoint_seconds

    def _begin_epoch(self) -> None:
        """Seed the random numbers of the next epoch."""
        torch.manual_seed(stream_seed(self.config.seed, "torch", self.state.epoch))
        self.augment_rng.manual_seed(stream_seed(self.config.seed, "augment", self.state.epoch))

    def _epoch(self) -> dict[str, float]:
        """Train to the end of the current epoch and return the row of the epoch in the training curve."""
        config, state = self.config, self.state
        generator = torch.Generator().manual_seed(stream_seed(config.seed, "order", state.epoch))
        order = np.concatenate([epoch_order(config.train, generator) for _ in range(self.repeats_per_epoch)])
        images_per_step = config.params.batch_size * config.params.gradient_accumulation_steps
        config.set_modes()
        started = time.monotonic()
        while state.batch < self.steps_per_epoch:
            first = state.batch * images_per_step
            self.pending_losses.append(self._step(order[first : first + images_per_step]))
            state.batch += 1
            state.step += 1
            # Processes may disagree about the time. With several processes, a save is due only at fixed steps.
            ended, due = state.batch == self.steps_per_epoch, distributed.world_size() == 1 and self._save_is_due()
            if ended or due or state.step % LOG_EVERY == 0:
                self._flush_losses()
                due = self._save_is_due()
            if due and not ended:
                state.seconds += time.monotonic() - started
                started = time.monotonic()
                trainer_state.save_trainer(self)
        train_loss = state.loss_sum / self.steps_per_epoch
        state.seconds += time.monotonic() - started
        state.epoch, state.batch, state.loss_sum = state.epoch + 1, 0, 0.0
        return self._finish_epoch(state.epoch, train_loss, self.optimizer.param_groups[0]["lr"])

    def _flush_losses(self) -> None:
        """Read all pending losses from the device at once, because every read waits for the device.

        Raises:
            DivergedError: a loss is not finite.
        """
        config, state = self.config, self.state
        values = replicas.sum_over_processes(torch.stack(self.pending_losses)).tolist()
        self.pending_losses.clear()
        for step, value in enumerate(values, state.step - len(values) + 1):
            if not math.isfinite(value):
                raise DivergedError(
                    f"{config.name}: the loss is {value} at epoch {state.epoch + 1}, step {step} with lr {config.lr:g}"
                )
            state.loss_sum += value
        if state.step % LOG_EVERY == 0:
            config.on_step(state.step, {"train/loss": value, "lr": self.optimizer.param_groups[0]["lr"]})

    def _step(self, rows: np.ndarray) -> Tensor:
        """Run an optimizer step on the images `rows` and return its loss, a scalar on the device."""
        config, size = self.config, self.config.params.batch_size
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * lr_factor(self.state.step, self.steps, self.warmup)

        # Each process draws dropout masks for its rows, from a seed per step that a resumed run repeats.
        if distributed.world_size() > 1:
            torch.manual_seed(stream_seed(config.seed, "torch", self.state.step, distributed.rank()))
        total = config.objective.total(self._targets(rows))
        loss_sum = torch.zeros((), device=self.device)
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            last = start + size >= len(rows)  # gradients are exchanged once per step
            with nullcontext() if last else self.accelerator.no_sync(self.network):
                loss = self._loss(batch) / total
                if start == 0 and config.penalty is not None:  # once per step, for any number of batches and processes
                    loss = loss + config.penalty() / distributed.world_size()
                self.accelerator.backward(loss * distributed.world_size())  # gradients are averaged over processes
            loss_sum += loss.detach()
        if config.params.clip_norm:
            self.accelerator.clip_grad_norm_(self.network.parameters(), config.params.clip_norm)
        self.optimizer.step()
        if config.after_step is not None and not self.accelerator.optimizer_step_was_skipped:
            config.after_step(self.state.step + 1, self.steps)
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self._update_ema()
        return loss_sum

    def _loss(self, batch: np.ndarray) -> Tensor:
        """Return the loss, a scalar, summed over the rows of `batch` that this process computes."""
        rows, weight = replicas.local_slice(len(batch))
        inputs, transform = self.config.source.train(batch, self.augment_rng, rows)
        with self.accelerator.autocast():
            output = self.forward(inputs)
        target = self.objective.augment(to_device(self._targets(batch[rows]), self.device), transform)
        return self.objective.loss(output.float(), target) * weight

    def _targets(self, rows: np.ndarray) -> Tensor:
        """Return the targets (rows, ...) on the CPU."""
        return torch.from_numpy(np.ascontiguousarray(self.config.targets[rows]))

    @torch.no_grad()
    def _update_ema(self) -> None:
        """Move the EMA weights toward the current weights, faster in the first steps."""
        assert self.ema is not None
        decay = self.config.params.ema_decay or 0.0
        decay = min(decay, (1 + self.state.step) / (10 + self.state.step))
        for name, value in self.config.saved.state_dict().items():
            if value.is_floating_point():
                self.ema[name].lerp_(value, 1 - decay)
            else:
                self.ema[name].copy_(value)

    def _finish_epoch(
        self, epoch: int, train_loss: float, lr: float, network: nn.Module | None = None
    ) -> dict[str, float]:
        """Score the network, update the best weights and return the row of the epoch in the training curve."""
        config, state = self.config, self.state
        raw = None
        if self.ema is not None:
            raw = {k: v.detach().clone() for k, v in config.saved.state_dict().items()}
            config.saved.load_state_dict(self.ema)
        scores = self._score(network or config.network) if len(config.val) else {}
        row = {"epoch": epoch, "step": state.step, "lr": lr, "train/loss": train_loss, **scores}
        state.history.append(row)
        candidate = (float(epoch), 0.0)
        if scores:
            value = config.signs.get(config.params.monitor, 1) * row[f"val/{config.params.monitor}"]
            # AUROC is undefined if validation has a single class. The loss decides then.
            candidate = (WORST if math.isnan(value) else value, -row["val/loss"])
        if state.best is None or candidate > state.best:
            state.best, state.best_epoch = candidate, epoch
            self.best = {k: v.detach().cpu().clone() for k, v in config.saved.state_dict().items()}
        if raw is not None:
            config.saved.load_state_dict(raw)
        self._begin_epoch()
        if self._save_is_due():
            trainer_state.save_trainer(self)
        config.on_epoch(state.step, {k: v for k, v in row.items() if not math.isnan(v)})
        return row

    @torch.inference_mode()
    def _score(self, network: nn.Module) -> dict[str, float]:
        """Return the scores on the validation images, with names such as `val/loss`."""
        network.eval()
        scores = self.objective.score(self._summary(network), self._targets(self.config.val).to(self.device))
        return {f"val/{name}": value for name, value in scores.items()}

    def _summary(self, network: nn.Module) -> Tensor:
        """Compute the summary (n, k) of the validation images for scoring. The processes share the batches."""
        val, size = self.config.val, self.config.score_batch_size
        starts = range(0, len(val), size)
        local_starts = starts[distributed.rank() :: distributed.world_size()]
        summaries = {}
        for start in local_starts or starts[:1]:  # a process without batches needs k
            rows = val[start : start + size]
            with self.accelerator.autocast():
                output = network(self.config.source.score(rows)).float()
            summaries[start] = self.objective.summarize(output, to_device(self._targets(rows), self.device))
        summary = torch.zeros(len(val), next(iter(summaries.values())).shape[1], device=self.device)
        for start in local_starts:
            summary[start : start + size] = summaries[start]
        return replicas.sum_over_processes(summary)
