"""What the compiled kernels share: how they are compiled, and the few operations that numba lacks."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from essnet import machine_code

# What lets a loop become vectors: sums in any order, fused products and sums, reciprocals by approximation and
# a Newton step. NaN and infinity keep their meaning.
_ARITHMETIC = {"reassoc", "nsz", "arcp", "contract", "afn"}

# A value no similarity reaches: "this class does not count here".
FAR = np.float32(1e30)

_LOWEST_EXPONENT = np.float32(-60)

# Below every distance that counts; instead of a division by zero, where the difference is zero too.
SMALLEST_DISTANCE = np.float32(1e-18)


kernel = functools.partial(machine_code.compiled, fastmath=_ARITHMETIC, error_model="numpy")
"""Decorates what Python calls."""

inlined = functools.partial(kernel, forceinline=True)
"""Decorates what kernels call.

Left to the compiler, a process that compiles a kernel runs other copies of such functions than one that loads the
kernel's machine code, and their results differ by rounding.
"""


def _float_pair(llvm_name: str) -> Any:
    """Return a minimum or maximum that LLVM turns into vectors; numba's own asks for NaN first."""

    @intrinsic
    def operation(_: Any, left: Any, right: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            single = ir.FloatType()
            function_type = ir.FunctionType(single, [single, single])
            function = builder.module.declare_intrinsic(llvm_name, [single], function_type)
            return builder.call(function, arguments, fastmath=["nnan", "nsz"])

        return types.float32(types.float32, types.float32), generate

    return operation


smaller = _float_pair("llvm.minnum")
larger = _float_pair("llvm.maxnum")


def _exponent_reader() -> Any:
    """Return the whole number e for which a positive float32 lies in [2^e sqrt(1/2), 2^e sqrt(2))."""

    @intrinsic
    def operation(_: Any, number: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            word = ir.IntType(32)
            bits = builder.bitcast(arguments[0], word)
            # To the exponent field a mantissa above sqrt(2), 0x3504f3, adds one.
            rounded = builder.add(bits, ir.Constant(word, 0x800000 - 0x3504F3))
            exponent = builder.sub(builder.lshr(rounded, ir.Constant(word, 23)), ir.Constant(word, 127))
            return builder.sitofp(exponent, ir.FloatType())

        return types.float32(types.float32), generate

    return operation


_exponent = _exponent_reader()


def _exponent_writer() -> Any:
    """Return 2 to a whole number from -126 to 127, by writing it where a float32 keeps its exponent."""

    @intrinsic
    def operation(_: Any, exponent: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            word = ir.IntType(32)
            biased = builder.add(builder.fptosi(arguments[0], word), ir.Constant(word, 127))
            return builder.bitcast(builder.shl(biased, ir.Constant(word, 23)), ir.FloatType())

        return types.float32(types.float32), generate

    return operation


_power_of_two = _exponent_writer()


@inlined
def exponential(x: Any) -> Any:
    """Return e^x for float32 x <= 0, within 2 units in the last place; 0 below -60, and 1 above 0.

    In a sum of terms of which the largest is 1, less does not count; and products with it could come below
    1e-38, where a processor takes ten times as long.

    x = n ln 2 + r with |r| <= ln 2 / 2, and e^r by the polynomial of degree 7 of Moshier's Cephes library
    (expf.c). Written out because a library call keeps a loop from becoming vectors.
    """
    counts = x > _LOWEST_EXPONENT
    x = smaller(larger(x, _LOWEST_EXPONENT), np.float32(0))
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = x - n * np.float32(0.693359375)
    r = r - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1.0)
    return p * _power_of_two(n) if counts else np.float32(0)


@inlined
def log_one_plus(x: Any) -> Any:
    """Return log(1 + x) for float32 0 <= x < 1e30, within 3 units in the last place, however small x is.

    1 + x = m 2^e with m between sqrt(1/2) and sqrt(2), and log m by the polynomial of Moshier's Cephes library
    (logf.c).
    """
    small = x < np.float32(0.41421356)
    e = np.float32(0) if small else _exponent(np.float32(1) + x)
    f = x if small else (np.float32(1) + x) * _power_of_two(-e) - np.float32(1)
    p = np.float32(7.0376836292e-2)
    p = p * f + np.float32(-1.1514610310e-1)
    p = p * f + np.float32(1.1676998740e-1)
    p = p * f + np.float32(-1.2420140846e-1)
    p = p * f + np.float32(1.4249322787e-1)
    p = p * f + np.float32(-1.6668057665e-1)
    p = p * f + np.float32(2.0000714765e-1)
    p = p * f + np.float32(-2.4999993993e-1)
    p = p * f + np.float32(3.3333331174e-1)
    square = f * f
    return p * square * f - np.float32(0.5) * square + f + e * np.float32(0.693147181)
