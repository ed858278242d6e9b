"""GPU session with reused buffers for the input and the output. Buffers are allocated once per batch size."""

from threading import Lock

import numpy as np
import onnxruntime

from medtune.serving.session import PROFILE_BATCHES

MAX_BUFFERS = 4  # maximum number of batch sizes with buffers


class BoundSession:
    """Thread-safe callable that computes one output of a session on a GPU.

    Inputs of more than `max_batch` images are split, because a TensorRT engine has a maximum batch size.

    Attributes:
        buffers: bound input and output per batch size, least recently used first; at most `MAX_BUFFERS` entries.
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
        """Compute the output of images.

        Args:
            images: uint8 (N, H, W, 3) with N >= 1.

        Returns:
            float32 (N, ...).
        """
        with self._lock:
            outputs = [self._run(images[i : i + self._max_batch]) for i in range(0, len(images), self._max_batch)]
        return np.concatenate(outputs)

    def _run(self, images: np.ndarray) -> np.ndarray:
        images = np.ascontiguousarray(images)
        bound = self.buffers.pop(len(images)) if len(images) in self.buffers else self._bind(images)
        self.buffers[len(images)] = binding, input_buffer, output_buffer = bound
        if len(self.buffers) > MAX_BUFFERS:
            del self.buffers[next(iter(self.buffers))]
        input_buffer.update_inplace(images)
        self._session.run_with_iobinding(binding)
        return np.array(output_buffer.numpy())  # a copy, because the next batch overwrites the buffer

    def _bind(self, images: np.ndarray) -> tuple[onnxruntime.IOBinding, onnxruntime.OrtValue, onnxruntime.OrtValue]:
        """Allocate buffers for batches of the size of `images`."""
        make = onnxruntime.OrtValue.ortvalue_from_shape_and_type
        input_buffer = make(images.shape, np.uint8, self._device, 0)
        output_buffer = make((len(images), *self._shape), np.float32, self._device, 0)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._input_name, input_buffer)
        binding.bind_ortvalue_output(self._output_name, output_buffer)
        return binding, input_buffer, output_buffer
