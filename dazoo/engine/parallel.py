"""One run trained by several processes (data-parallel): each takes a share of the rows through the backbone.

All processes hold the same network and draw the same batches. Rank r of W sends its share of the rows through the
backbone, then the features of all are gathered, so that everything behind (bottleneck, head, a method's own parts,
every loss) sees the whole batch and is computed by each process alike: losses that couple the rows of a batch are those
of a single process. With L the loss of the whole batch, theta the parameters of the backbone and g_r the gradient
through the rows of rank r,

    dL / dtheta = sum_r g_r = mean_r (W g_r),

where the gathering multiplies by W what it hands back, and the mean is taken when a gradient arrives at its parameter:
whatever a method does with the backbone beside its forward pass, and each process then does in full, comes out right,
too. Statistics of batch normalisation in the backbone are those of all rows (``synced``). Results agree with those of
one process up to rounding.

This is not ``DistributedDataParallel``, which averages the gradients of losses that are computed apart: moments,
kernels and class means of half a batch are other losses. Helpers are spawned once and serve all runs of their parent.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from dazoo.core.errors import DazooError

PATIENCE = datetime.timedelta(hours=12)
"""How long helpers wait for their parent, which evaluates checkpoints alone."""
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Group:
    """This process among those that train together.

    Attributes:
        rank, size: which of how many. active: whether forward passes are shared out now.
    """

    def __init__(self, rank: int, size: int):
        self.rank, self.size, self.active = rank, size, False

    def __deepcopy__(self, memo: Any) -> Group:  # copies of a network keep their hooks
        return self

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Share out forward passes inside the block; evaluations stand outside and are done by each alone."""
        self.active = True
        try:
            yield
        finally:
            self.active = False

    def spread(self, net: nn.Module, name: str) -> bool:
        """Let the backbones of ``net`` share their rows; False where there is no parameter in them.

        Raises:
            DazooError: the method ``name`` or the backbone itself lets rows meet in there in other ways than batch
                normalisation does, or draws random numbers there.
        """
        bodies: list[Any] = [b for b in (net.body, getattr(net, "body_source", None)) if b is not None]
        backbones = [b.backbone for b in bodies if any(p.requires_grad for p in b.backbone.parameters())]
        for backbone in backbones:
            for module in backbone.modules():
                _check(module, name)
                if type(module) in NORMS:
                    module.forward = _Synced(module, self)
            for p in backbone.parameters():
                if p.requires_grad:
                    p.register_hook(self._averaged)
            backbone.register_forward_pre_hook(self._cut)
            backbone.register_forward_hook(self._gathered)
        return bool(backbones)

    def rows(self, n: int) -> slice:
        """The rows of this process among ``n``."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def _cut(self, module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        x = given[0]
        if not self.active or len(x) < self.size:
            return None
        module.__dict__["_rows"] = len(x)
        return (_Cut.apply(x, self), *given[1:])

    def _gathered(self, module: nn.Module, given: tuple[Any, ...], out: Tensor) -> Tensor | None:
        n = module.__dict__.pop("_rows", None)
        return None if n is None else _Gathered.apply(out, self, n)

    def _averaged(self, grad: Tensor) -> Tensor:
        if not self.active:
            return grad
        if grad.requires_grad:
            raise DazooError("methods with second derivatives through the backbone are trained by one process only")
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad.div_(self.size)

    def gather(self, part: Tensor, n: int) -> Tensor:
        """The rows of all processes, from those of this one; ``n`` of them."""
        most = -(-n // self.size)
        padded = part.new_zeros((most, *part.shape[1:]))
        padded[: len(part)] = part
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        counts = [n * (r + 1) // self.size - n * r // self.size for r in range(self.size)]
        return torch.cat([p[:c] for p, c in zip(parts, counts)])


class _Cut(torch.autograd.Function):
    """The rows of this process; backwards, the gradients of all rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.group, ctx.n = group, len(x)
        return x[group.rows(len(x))].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.group.gather(grad, ctx.n) / ctx.group.size, None


class _Gathered(torch.autograd.Function):
    """The rows of all processes; backwards, W times the gradients of the rows of this one."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: Group, n: int) -> Tensor:
        ctx.group, ctx.n = group, n
        return group.gather(part, n)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad[ctx.group.rows(ctx.n)] * ctx.group.size, None, None


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient likewise, since each holds the gradient of its own rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total


class _Synced:
    """Batch normalisation by the mean and variance of the rows of all processes (``synced``)."""

    def __init__(self, norm: _BatchNorm, group: Group):
        self.norm, self.group = norm, group

    def __call__(self, x: Tensor) -> Tensor:
        plain = type(self.norm).forward
        if not (self.group.active and self.norm.training):
            return plain(self.norm, x)
        return synced(self.norm, x)


def synced(norm: _BatchNorm, x: Tensor) -> Tensor:
    """``norm`` in training mode of x (n, c, ...), with n the rows of this process and statistics those of all.

    With N values per channel over all processes: mean = sum x / N, var = sum (x - mean)^2 / N; the running variance
    takes N / (N - 1) var.
    """
    axes = [0, *range(2, x.ndim)]
    shape = [1, -1, *[1] * (x.ndim - 2)]
    values = x.float()
    count = torch.tensor(float(values.numel() // values.shape[1]), device=x.device)
    dist.all_reduce(count)
    mean = _Sum.apply(values.sum(axes)) / count
    off = values - mean.view(shape)
    var = _Sum.apply(off.square().sum(axes)) / count
    tracked = norm.num_batches_tracked
    if norm.running_mean is not None and norm.running_var is not None and tracked is not None:
        with torch.no_grad():
            tracked.add_(1)
            share = 1.0 / float(tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean, share)
            norm.running_var.lerp_(var * (count / (count - 1).clamp_min(1.0)), share)
    out = off * torch.rsqrt(var + norm.eps).view(shape)
    if norm.affine:
        out = out * norm.weight.view(shape) + norm.bias.view(shape)
    return out.to(x.dtype)


def _check(module: nn.Module, name: str) -> None:
    here = type(module).__module__
    why = ""
    if module._forward_hooks or module._forward_pre_hooks:
        why = f"{name!r} acts on layers inside the backbone"
    elif (isinstance(module, _BatchNorm) and type(module) not in NORMS) or (
        here.startswith("dazoo.nets.parts.") and not here.endswith(".common")
    ):
        why = f"the backbone holds a {type(module).__name__}, which sees the rows of one process only"
    elif "drop" in type(module).__name__.lower() and max(getattr(module, k, 0) or 0 for k in ("p", "drop_prob")) > 0:
        why = f"the backbone holds a {type(module).__name__}, whose draws would differ between processes"
    if why:
        raise DazooError(f"{why}; train it by one process (leave out --data-parallel)")


# -- who trains together ------------------------------------------------------------------------------------------

_GROUP: ContextVar[Group | None] = ContextVar("group", default=None)


def check_processes(size: int, devices: Sequence[str]) -> None:
    """Raise ``DazooError`` where so many processes cannot train together on these devices."""
    if not dist.is_available():
        raise DazooError("this torch was built without torch.distributed; train by one process")
    if len(devices) > 1:
        raise DazooError("several devices are either a worker each or share one run: name one with --data-parallel")
    here = torch.cuda.device_count() if devices[0].startswith("cuda") else size
    if here < size:
        raise DazooError(f"{size} processes that share one run need a GPU each, and {here} are here")


def current() -> Group | None:
    """The group of the run that is trained now, None where one process trains alone."""
    return _GROUP.get()


def working() -> contextlib.AbstractContextManager[None]:
    """``Group.working`` of the current group; nothing where there is none."""
    group = current()
    return contextlib.nullcontext() if group is None else group.working()


def together() -> None:
    """Wait until all processes of the current group are here."""
    if current() is not None:
        dist.barrier()


def first() -> bool:
    """Whether this process writes files: it trains alone or is rank 0."""
    group = current()
    return group is None or group.rank == 0


@contextlib.contextmanager
def member(group: Group) -> Iterator[None]:
    """Runs inside the block are trained by ``group``."""
    token = _GROUP.set(group)
    try:
        yield
    finally:
        _GROUP.reset(token)


class Team:
    """This process as rank 0, and helpers that do the same calls.

    Raises:
        DazooError: torch has no communication between processes here, or it is in use.
    """

    def __init__(self, size: int, device: str):
        import torch.multiprocessing as mp

        check_processes(size, [device])
        if dist.is_initialized():
            raise DazooError("torch.distributed is in use in this process already; train by one process")
        context = mp.get_context("spawn")
        self.size = size
        self.folder = tempfile.TemporaryDirectory()
        meeting = f"file://{self.folder.name}/meet"
        backend = "nccl" if device.startswith("cuda") else "gloo"
        self.ends, self.helpers = [], []
        for rank in range(1, size):
            mine, theirs = context.Pipe()
            given = (rank, size, meeting, backend, theirs, torch.get_num_threads())
            helper = context.Process(target=_serve, args=given, daemon=True)
            helper.start()
            theirs.close()
            self.ends.append(mine)
            self.helpers.append(helper)
        dist.init_process_group(backend, init_method=meeting, rank=0, world_size=size, timeout=PATIENCE)
        self.group = Group(0, size)

    def __call__(self, fit: Callable[..., Any], own: dict[str, Any], given: dict[str, Any]) -> Any:
        """``fit(**given, **own)`` here, while all helpers do ``fit(**given)``; ``fit`` has a name to import it by."""
        try:
            for end in self.ends:
                end.send((fit, given))
            with member(self.group):
                made = fit(**given, **own)
            told = [end.recv() for end in self.ends]
        except BaseException as error:
            told = [end.recv() for end in self.ends if _ready(end)]
            self.close()
            other = next((t for t in told if t), None)
            if other is not None and not isinstance(error, (DazooError, KeyboardInterrupt, SystemExit)):
                raise DazooError(f"a helper process failed: {other}") from error
            raise
        problem = next((t for t in told if t), None)
        if problem is not None:
            self.close()
            raise DazooError(f"a helper process failed: {problem}")
        return made

    def close(self) -> None:
        """End the helpers."""
        for helper in self.helpers:
            helper.kill()
        for helper in self.helpers:
            helper.join()
        if dist.is_initialized():
            dist.destroy_process_group()
        self.folder.cleanup()
        _TEAMS.clear()


_TEAMS: dict[tuple[int, str], Team] = {}
"""The team of this process: starting one takes seconds, so it serves all runs."""


def team_of(size: int, device: str) -> Team:
    """The team of so many processes, made where there is none yet."""
    kind = device.partition(":")[0]
    if (size, kind) not in _TEAMS:
        for team in list(_TEAMS.values()):
            team.close()
        _TEAMS[size, kind] = Team(size, kind)
    return _TEAMS[size, kind]


def _ready(end: Any) -> bool:
    try:
        return bool(end.poll(1.0))
    except (EOFError, OSError):
        return False


def _serve(rank: int, size: int, meeting: str, backend: str, end: Any, threads: int) -> None:
    """A helper: does what it is told until its parent is gone."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=size, timeout=PATIENCE)
    if backend == "nccl":
        torch.cuda.set_device(rank)
    with member(Group(rank, size)):
        while True:
            try:
                fit, given = end.recv()
            except EOFError:
                return
            except Exception as error:
                _last(end, error)
            try:
                fit(**given)
            except BaseException as error:
                _last(end, error)
            end.send("")


def _last(end: Any, error: BaseException) -> None:
    """Say what is wrong and end, so that nobody waits for this process."""
    end.send(f"{type(error).__name__}: {error}"[:500])
    end.close()
    os._exit(1)
