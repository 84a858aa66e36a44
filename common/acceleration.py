"""Where and in which precision updates run."""

import functools
import inspect
import sys

import torch

from common.layers import SWITCHES
from common.options import InputError


def find_device(name):
    """The device that `--device NAME` means. Raises InputError where it is not there."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    if not available[name]:
        raise InputError(f"--device: there is no {name} device here")
    return torch.device(name)


def fast_bf16_cpu():
    """True where the processor multiplies bf16 itself: AMX or AVX-512 BF16. Elsewhere bf16 is slower than fp32."""
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def find_precision(name, device):
    """The precision that `--precision NAME` means on a device: bf16, tf32 or fp32. Raises InputError otherwise."""
    if name == "auto":
        if device.type == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
        return "bf16" if device.type == "cpu" and fast_bf16_cpu() else "fp32"
    if name == "tf32" and device.type != "cuda":
        raise InputError("--precision: tf32 needs a cuda device")
    return name


def set_precision(precision):
    """Sets what float32 products are computed in: TensorFloat-32 (10 bits) for tf32, else full float32."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def place(network, device):
    """Moves a network to a device, its convolutions into channels_last memory."""
    network.to(device, memory_format=torch.channels_last if SWITCHES["channels_last"] else torch.preserve_format)


def optimizer_settings(kind, device):
    """Settings of an optimizer class that change its speed alone: one fused kernel a step, and for CUDA graphs its step
    count on the device, where it has them."""
    known = inspect.signature(kind).parameters
    settings = {"fused": True} if "fused" in known and device.type in ("cpu", "cuda") and SWITCHES["fused_step"] else {}
    return settings | ({"capturable": True} if "capturable" in known and device.type == "cuda" else {})


def accelerate(update, device, precision, state=None):
    """The update in its fastest form: in a precision, and on a GPU as one CUDA graph.

    Args:
        update: takes tensors, returns a dict of 0-d tensors; fixed shapes, no branch on a tensor's value.
        precision: with bf16 the networks' products are bf16, weights and losses float32.
        state: for a CUDA graph, returns (networks, optimizers, tensors), all that updates change; None: no graph."""

    @functools.wraps(update)
    def run(*batch):
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return update(*batch)

    return Graph(run, device, state) if device.type == "cuda" and state else run


class Graph:
    """An update as one CUDA graph, captured at its first call: a replay launches all its kernels at once, where eager
    PyTorch launches hundreds one by one, and waits for Python in between.

    The tensors returned are the graph's own: the next call writes over them. Random numbers differ from replay to
    replay, as they do between eager updates. Where capture fails, one line says so and updates run eager."""

    def __init__(self, update, device, state):
        self.update, self.device, self.state = update, device, state
        self.graph = None  # until the first call; False where capture failed

    def __call__(self, *batch):
        if self.graph is None:
            self._capture(batch)
        if not self.graph:
            return self.update(*batch)
        for own, given in zip(self.inputs, batch, strict=True):
            own.copy_(given)
        self.graph.replay()
        return self.outputs

    def _capture(self, batch):
        """Warms up on another stream, as capture demands, puts all state back, and captures."""
        networks, optimizers, tensors = self.state()
        kept = [tensor for network in networks for tensor in network.state_dict().values()] + list(tensors)
        kept += [value for optimizer in optimizers for value in _state_tensors(optimizer)]
        before = [tensor.clone() for tensor in kept]
        random = torch.cuda.get_rng_state(self.device)
        self.inputs = [tensor.clone() for tensor in batch]
        try:
            stream = torch.cuda.Stream(self.device)
            stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(stream):
                for _ in range(3):
                    self.update(*self.inputs)
            torch.cuda.current_stream(self.device).wait_stream(stream)
            self._restore(kept, before, random)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.stream(torch.cuda.current_stream(self.device)), torch.cuda.graph(self.graph):
                self.outputs = self.update(*self.inputs)
        except RuntimeError as error:
            self.graph = False
            generator = torch.cuda.default_generators[torch.cuda.current_device()]
            generator.graphsafe_set_state(generator.clone_state())  # the old one still waits for its capture to end
            torch.cuda.synchronize(self.device)
            reason = str(error.__context__ or error).splitlines()[0]
            print(f"no CUDA graph, updates run eager: {reason}", file=sys.stderr)
        self._restore(kept, before, random)

    def _restore(self, kept, before, random):
        _, optimizers, _ = self.state()
        known = {id(tensor) for tensor in kept}
        with torch.no_grad():
            for tensor, value in zip(kept, before, strict=True):
                tensor.copy_(value)
            for optimizer in optimizers:  # where a first step would find nothing, it finds zeros: for Adam, RMSprop
                for value in _state_tensors(optimizer):  # and SGD these are the same
                    if id(value) not in known:
                        value.zero_()
        torch.cuda.set_rng_state(random, self.device)


def _state_tensors(optimizer):
    return [value for state in optimizer.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
