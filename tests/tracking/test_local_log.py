from pathlib import Path

from medtune.tracking.local_log import LocalLog


def test_local_log__next_process_reads_points_of_killed_process(tmp_path: Path) -> None:
    killed = LocalLog(tmp_path, "run")
    assert killed.open() == []
    killed.add(20, {"train/loss": 0.5})
    killed.add(40, {"train/loss": 0.25, "lr": 1e-3})
    with killed.path.open("a") as stream:
        stream.write('[60, {"train/lo')
    killed._lock.release()  # as the kernel does when a process dies
    resumed = LocalLog(tmp_path, "run")
    assert resumed.open() == [(20, {"train/loss": 0.5}), (40, {"train/loss": 0.25, "lr": 1e-3})]
    resumed.add(80, {"train/loss": 0.1})
    resumed.close(recorded=False)
    assert [step for step, _ in LocalLog(tmp_path, "run").open()] == [20, 40, 80]


def test_local_log__deleted_after_recording(tmp_path: Path) -> None:
    journal = LocalLog(tmp_path, "run")
    journal.open()
    journal.add(20, {"train/loss": 0.5})
    journal.close(recorded=True)
    assert list(journal.path.parent.iterdir()) == []


def test_local_log__locked_by_one_process(tmp_path: Path) -> None:
    first, second = LocalLog(tmp_path, "run"), LocalLog(tmp_path, "run")
    assert not second.is_live()
    first.open()
    first.add(20, {"train/loss": 0.5})
    assert first.is_live()
    assert second.is_live()
    assert second.open() == []
    second.add(40, {"train/loss": 0.5})
    second.close(recorded=True)
    assert first.path.read_text() == '[20, {"train/loss": 0.5}]\n'
    first.close(recorded=True)
    assert not second.is_live()
