"""The training loop of both stages: mixed precision, accumulation, EMA, best epoch, exact resume, several processes.

Processes that train together go through the same steps: each computes its rows of every batch, all then have the same
gradients, weights, averages, scores and decisions, and the first writes them down.
"""

import math
import time
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from medtune.config.errors import RunError
from medtune.runtime import distributed
from medtune.runtime.progress import progress
from medtune.training import replicas, restart
from medtune.training.job import Job, Progress
from medtune.training.optimizer import accelerator_for, optimizer_for
from medtune.training.schedule import epoch_order, lr_factor, stream_seed
from medtune.training.transfer import onto

LOG_STEPS = 20
SCORE_BATCH = 64
WORST = -1e30  # of a metric that is undefined; finite, since checkpoints are JSON


class Trainer:
    """Runs a `Job` to its end, from its checkpoint where there is one."""

    def __init__(self, job: Job, device: str) -> None:
        self.job = job
        replicas.agree(job.network)
        unused = distributed.world_size() > 1 and replicas.leaves_unused(
            job.network, job.feed.score(job.train[:1]), job.penalty
        )
        self.accelerator = accelerator_for(job.params, device, unused)
        self.device = self.accelerator.device
        optimizer = optimizer_for(job.network, job.params)
        self.network, self.optimizer = self.accelerator.prepare(job.network, optimizer)
        # Every batch size has a graph of its own, whatever came before it, or a resumed run would differ.
        self.forward = torch.compile(self.network, dynamic=False) if job.compile else self.network
        self.objective = job.objective.to(self.device)
        self.at = Progress()
        self.best: dict[str, Tensor] = {}
        self.unseen: list[Tensor] = []
        self.saved_at = time.monotonic()
        self.noise = torch.Generator()
        self.ema: dict[str, Tensor] | None = None
        if job.params.ema:
            self.ema = {k: v.detach().clone() for k, v in job.saved.state_dict().items()}
        group = job.params.batch_size * job.params.accumulate
        self.steps_per_epoch = math.ceil(len(job.train) * job.params.passes / group)
        self.steps = self.steps_per_epoch * job.params.epochs
        self.warmup = round(self.steps_per_epoch * min(job.params.warmup_epochs, job.params.epochs))

    def run(self) -> tuple[Progress, dict[str, Tensor]]:
        """Where it ended, and the best epoch's weights: trains to the last epoch or until patience runs out.

        Raises:
            RunError: the loss is not finite.
        """
        resumed = restart.resume(self)
        replicas.check_same(self.at.step, self.device)
        if not resumed:
            self._begin_epoch()
            if self.job.start is not None:
                self._finish_epoch(epoch=0, train_loss=math.nan, lr=0.0, network=self.job.start)
        epochs = self.job.params.epochs
        with progress(self.job.name, epochs, "epochs") as advance:
            if self.at.epoch:
                advance(self.at.epoch)
            while self.at.epoch < epochs and not self._out_of_patience():
                row = self._epoch()
                advance(1, " ".join(f"{k} {row[k]:.3f}" for k in ("train/loss", f"val/{self.job.params.select_by}")))
        return self.at, self.best

    def _out_of_patience(self) -> bool:
        patience = self.job.params.patience
        return patience is not None and self.at.epoch - max(self.at.best_epoch, 0) >= patience

    def _save_is_due(self) -> bool:
        return time.monotonic() - self.saved_at >= self.job.params.checkpoint_seconds

    def _begin_epoch(self) -> None:
        torch.manual_seed(stream_seed(self.job.seed, "torch", self.at.epoch))
        self.noise.manual_seed(stream_seed(self.job.seed, "augment", self.at.epoch))

    def _epoch(self) -> dict[str, float]:
        job, at = self.job, self.at
        generator = torch.Generator().manual_seed(stream_seed(job.seed, "order", at.epoch))
        order = np.concatenate([epoch_order(job.train, generator) for _ in range(job.params.passes)])
        group = job.params.batch_size * job.params.accumulate
        job.set_modes()
        started = time.monotonic()
        while at.batch < self.steps_per_epoch:
            self.unseen.append(self._step(order[at.batch * group : (at.batch + 1) * group]))
            at.batch += 1
            at.step += 1
            ended, due = at.batch == self.steps_per_epoch, distributed.world_size() == 1 and self._save_is_due()
            if ended or due or at.step % LOG_STEPS == 0:
                self._look()
                due = self._save_is_due()
            if due and not ended:
                at.seconds += time.monotonic() - started
                started = time.monotonic()
                restart.save(self)
        train_loss = at.loss_sum / self.steps_per_epoch
        at.seconds += time.monotonic() - started
        at.epoch, at.batch, at.loss_sum = at.epoch + 1, 0, 0.0
        return self._finish_epoch(at.epoch, train_loss, self.optimizer.param_groups[0]["lr"])

    def _look(self) -> None:
        """Takes in the losses of the steps since the last look; they lie on the device, and reading one waits for it.

        Raises:
            RunError: one of them is not finite.
        """
        job, at = self.job, self.at
        values = replicas.summed(torch.stack(self.unseen)).tolist()
        self.unseen.clear()
        for step, value in enumerate(values, at.step - len(values) + 1):
            if not math.isfinite(value):
                raise RunError(
                    f"{job.name}: the loss is {value} at epoch {at.epoch + 1}, step {step}: "
                    "lower the learning rate, or set precision: fp32"
                )
            at.loss_sum += value
        if at.step % LOG_STEPS == 0:
            job.on_step(at.step, {"train/loss": value, "lr": self.optimizer.param_groups[0]["lr"]})

    def _step(self, rows: np.ndarray) -> Tensor:
        """One step of the optimizer on `rows`; gives its loss (), on the device."""
        job, size = self.job, self.job.params.batch_size
        for group in self.optimizer.param_groups:
            group["lr"] = job.params.lr * lr_factor(self.at.step, self.steps, self.warmup)

        if (
            distributed.world_size() > 1
        ):  # layers draw dropout for the rows they have: a stream a process, found again on resuming
            torch.manual_seed(stream_seed(job.seed, "torch", self.at.step, distributed.rank()))
        total = job.objective.total(self._targets(rows))
        loss_sum = torch.zeros((), device=self.device)
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            last = start + size >= len(rows)  # gradients are exchanged once a step
            with nullcontext() if last else self.accelerator.no_sync(self.network):
                loss = self._loss(batch) / total
                if start == 0 and job.penalty is not None:
                    loss = (
                        loss + job.penalty() / distributed.world_size()
                    )  # once a step, however many batches and processes
                self.accelerator.backward(loss * distributed.world_size())  # the exchange takes the mean
            loss_sum += loss.detach()
        if job.params.clip_norm:
            self.accelerator.clip_grad_norm_(self.network.parameters(), job.params.clip_norm)
        self.optimizer.step()
        if job.after_step is not None and not self.accelerator.optimizer_step_was_skipped:
            job.after_step(self.at.step + 1, self.steps)
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self._average()
        return loss_sum

    def _loss(self, batch: np.ndarray) -> Tensor:
        """() summed over this process's rows of `batch`."""
        take, weight = replicas.own_rows(len(batch))
        inputs, move = self.job.feed.train(batch, self.noise, take)
        with self.accelerator.autocast():
            output = self.forward(inputs)
        target = self.objective.augment(onto(self._targets(batch[take]), self.device), move)
        return self.objective.loss(output.float(), target) * weight

    def _targets(self, rows: np.ndarray) -> Tensor:
        """(rows, ...) on the CPU."""
        return torch.from_numpy(np.ascontiguousarray(self.job.targets[rows]))

    @torch.no_grad()
    def _average(self) -> None:
        assert self.ema is not None
        decay = self.job.params.ema or 0.0
        decay = min(decay, (1 + self.at.step) / (10 + self.at.step))
        for name, value in self.job.saved.state_dict().items():
            if value.is_floating_point():
                self.ema[name].lerp_(value, 1 - decay)
            else:
                self.ema[name].copy_(value)

    def _finish_epoch(
        self, epoch: int, train_loss: float, lr: float, network: nn.Module | None = None
    ) -> dict[str, float]:
        job, at = self.job, self.at
        raw = None
        if self.ema is not None:
            raw = {k: v.detach().clone() for k, v in job.saved.state_dict().items()}
            job.saved.load_state_dict(self.ema)
        scores = self._score(network or job.network)
        row = {"epoch": epoch, "step": at.step, "lr": lr, "train/loss": train_loss, **scores}
        at.history.append(row)
        value = job.signs.get(job.params.select_by, 1) * row[f"val/{job.params.select_by}"]
        # AUROC does not exist where validation has one class: then the loss decides.
        candidate = (WORST if math.isnan(value) else value, -row["val/loss"])
        if at.best is None or candidate > at.best:
            at.best, at.best_epoch = candidate, epoch
            self.best = {k: v.detach().cpu().clone() for k, v in job.saved.state_dict().items()}
        if raw is not None:
            job.saved.load_state_dict(raw)
        self._begin_epoch()
        if self._save_is_due():
            restart.save(self)
        job.on_epoch(at.step, {k: v for k, v in row.items() if not math.isnan(v)})
        return row

    @torch.inference_mode()
    def _score(self, network: nn.Module) -> dict[str, float]:
        network.eval()
        found = self.objective.score(self._summary(network), self._targets(self.job.val).to(self.device))
        return {f"val/{name}": value for name, value in found.items()}

    def _summary(self, network: nn.Module) -> Tensor:
        """(n, k) what scoring needs of the validation rows, each batch from one of the processes."""
        val, every = self.job.val, range(0, len(self.job.val), SCORE_BATCH)
        own = every[distributed.rank() :: distributed.world_size()]
        found = {}
        for start in own or every[:1]:
            rows = val[start : start + SCORE_BATCH]
            with self.accelerator.autocast():
                output = network(self.job.feed.score(rows)).float()
            found[start] = self.objective.summarize(output, onto(self._targets(rows), self.device))
        summary = torch.zeros(len(val), next(iter(found.values())).shape[1], device=self.device)
        for start in own:
            summary[start : start + SCORE_BATCH] = found[start]
        return replicas.summed(summary)
