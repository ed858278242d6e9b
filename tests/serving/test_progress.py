from medtune.serving.progress import ProgressLog


def test_advance__prints_progress_periodically(capsys):
    now = [100.0]
    progress = ProgressLog(1000, every=15, clock=lambda: now[0])
    for _ in range(40):
        now[0] += 1
        progress.advance()
    assert capsys.readouterr().err.splitlines() == [
        "15 of 1,000 images, 1.0 images/s, 16:25 left",
        "30 of 1,000 images, 1.0 images/s, 16:10 left",
    ]
    assert (progress.done, progress.seconds) == (40, 40)


def test_advance__formats_hours_and_is_silent_for_short_work(capsys):
    now = [0.0]
    progress = ProgressLog(7200, every=15, clock=lambda: now[0])
    now[0] += 14
    progress.advance()
    assert capsys.readouterr().err == ""
    now[0] += 1
    progress.advance()
    assert capsys.readouterr().err == "2 of 7,200 images, 0.1 images/s, 14:59:45 left\n"
