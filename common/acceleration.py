"""Where and in which precision updates run."""

import functools
import inspect

import torch

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


def optimizer_settings(kind, device):
    """Settings of an optimizer class that change its speed alone: one fused kernel a step, where it has one."""
    return {"fused": True} if "fused" in inspect.signature(kind).parameters and device.type in ("cpu", "cuda") else {}


def accelerate(update, device, precision):
    """The update, run in a precision: with bf16 its networks' products are bf16, weights and losses float32."""

    @functools.wraps(update)
    def run(*batch):
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return update(*batch)

    return run
