"""What a file of a method imports: the registry and the bases of both families."""

from dazoo.methods.base_gradient import Batch, GradientMethod, Look, Phase, Progress
from dazoo.methods.base_method import METHODS, Method, create_method, hparams_as, register
from dazoo.methods.base_shallow import Context, ShallowMethod
from dazoo.methods.base_stream import StreamMethod, StreamState

__all__ = [
    "METHODS",
    "Batch",
    "Context",
    "GradientMethod",
    "Look",
    "Method",
    "Phase",
    "Progress",
    "ShallowMethod",
    "StreamMethod",
    "StreamState",
    "create_method",
    "hparams_as",
    "register",
]
