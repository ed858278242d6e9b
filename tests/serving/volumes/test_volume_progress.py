import io

from medtune.serving.volumes.volume_progress import VolumeProgress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_update__prints_lines_at_intervals():
    times, stream = iter([0, 1, 16, 17]), io.StringIO()
    progress = VolumeProgress(2, stream, lambda: next(times))
    progress.start("a")
    for done in (1, 5, 6):
        progress.update(done, 10)
    progress.clear()
    assert stream.getvalue() == "volume 1 of 2, a: 5 of 10 windows\n"


def test_update__draws_and_removes_a_bar_on_a_terminal():
    times, stream = iter([0, 1, 2]), Terminal()
    progress = VolumeProgress(1, stream, lambda: next(times))
    progress.start("a")
    progress.update(5, 10)
    assert f"[{'#' * 15}{'.' * 15}] 5/10 windows, volume 1 of 1, a" in stream.getvalue()
    progress.clear()
    assert stream.getvalue().endswith("\r\x1b[K")
