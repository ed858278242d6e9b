"""Large libraries that the stages import, imported once for all isolated processes."""

import accelerate  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import onnxruntime  # noqa: F401
import onnxscript  # noqa: F401
import peft  # noqa: F401
import sklearn.metrics  # noqa: F401
import timm  # noqa: F401
import torch._dynamo  # noqa: F401
import torch.onnx  # noqa: F401
