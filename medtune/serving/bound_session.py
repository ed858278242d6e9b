"""A session on a GPU that is asked again and again: its buffers there are made once for each batch size."""

from threading import Lock

import numpy as np
import onnxruntime

from medtune.serving.session import PROFILE_BATCHES

MAX_BUFFERS = 4


class BoundSession:
    """One float32 output (N, ...) of a session for uint8 (N, H, W, 3), in batches that its engine takes.

    Several threads may share it.

    Attributes:
        buffers: by batch size, the bound input and output, the one asked last at the end; at most `MAX_BUFFERS`.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        input_name: str,
        output_name: str,
        device: str = "cuda",
        max_batch: int = 0,
    ) -> None:
        self._session, self._input_name, self._output_name, self._device = session, input_name, output_name, device
        self._max_batch = max_batch or PROFILE_BATCHES[-1]
        (node,) = (node for node in session.get_outputs() if node.name == output_name)
        self._shape = tuple(node.shape[1:])
        self._lock = Lock()
        self.buffers: dict[int, tuple[onnxruntime.IOBinding, onnxruntime.OrtValue, onnxruntime.OrtValue]] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(N, ...) float32 of at least one image."""
        with self._lock:
            parts = [self._run(images[i : i + self._max_batch]) for i in range(0, len(images), self._max_batch)]
        return np.concatenate(parts)

    def _run(self, images: np.ndarray) -> np.ndarray:
        images = np.ascontiguousarray(images)
        bound = self.buffers.pop(len(images)) if len(images) in self.buffers else self._bind(images)
        self.buffers[len(images)] = binding, input_buffer, output_buffer = bound
        if len(self.buffers) > MAX_BUFFERS:
            del self.buffers[next(iter(self.buffers))]
        input_buffer.update_inplace(images)
        self._session.run_with_iobinding(binding)
        return np.array(output_buffer.numpy())  # a copy: the buffer holds the next batch's soon

    def _bind(self, images: np.ndarray) -> tuple[onnxruntime.IOBinding, onnxruntime.OrtValue, onnxruntime.OrtValue]:
        make = onnxruntime.OrtValue.ortvalue_from_shape_and_type
        input_buffer = make(images.shape, np.uint8, self._device, 0)
        output_buffer = make((len(images), *self._shape), np.float32, self._device, 0)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._input_name, input_buffer)
        binding.bind_ortvalue_output(self._output_name, output_buffer)
        return binding, input_buffer, output_buffer
