"""A session on a GPU that is asked again and again: its buffers there are made once for each batch size."""

from threading import Lock

import numpy as np
import onnxruntime

from medtune.serving.session import BATCHES

KEPT = 4


class OnDevice:
    """uint8 (N, H, W, 3) -> (N, classes) of a session, in batches that its engine takes; for several threads.

    Attributes:
        buffers: by batch size, the bound input and output, the one asked last at the end; at most `KEPT`.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, given: str, wanted: str, device: str = "cuda", most: int = 0
    ) -> None:
        self._session, self._given, self._wanted, self._device = session, given, wanted, device
        self._most = most or BATCHES[-1]
        self._classes = session.get_outputs()[0].shape[-1]
        self._lock = Lock()
        self.buffers: dict[int, tuple[onnxruntime.IOBinding, onnxruntime.OrtValue, onnxruntime.OrtValue]] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, float32, of at least one image."""
        with self._lock:
            parts = [self._run(images[i : i + self._most]) for i in range(0, len(images), self._most)]
        return np.concatenate(parts)

    def _run(self, images: np.ndarray) -> np.ndarray:
        images = np.ascontiguousarray(images)
        bound = self.buffers.pop(len(images)) if len(images) in self.buffers else self._bind(images)
        self.buffers[len(images)] = binding, given, wanted = bound
        if len(self.buffers) > KEPT:
            del self.buffers[next(iter(self.buffers))]
        given.update_inplace(images)
        self._session.run_with_iobinding(binding)
        return np.array(wanted.numpy())  # a copy: the buffer holds the next batch's soon

    def _bind(self, images: np.ndarray) -> tuple[onnxruntime.IOBinding, onnxruntime.OrtValue, onnxruntime.OrtValue]:
        make = onnxruntime.OrtValue.ortvalue_from_shape_and_type
        given = make(images.shape, np.uint8, self._device, 0)
        wanted = make((len(images), self._classes), np.float32, self._device, 0)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._given, given)
        binding.bind_ortvalue_output(self._wanted, wanted)
        return binding, given, wanted
