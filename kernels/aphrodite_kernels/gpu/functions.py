"""exp, log and tanh in float32 as native/common.h has them: the same operations in the same order.

With fusion off (launch.EXACT) a GPU gives the same bits as the C kernels on a processor with fused multiply-add. The
interpreter rounds a fused multiply-add twice, so there the last bit may differ.
"""

from __future__ import annotations

import triton.language as tl

from aphrodite_kernels.gpu.launch import kernel


@kernel
def exp_f32(x):
    """e^x within 2 ulp; 0 below -87.33, infinity above 88.72, NaN stays NaN. Polynomial: Cephes expf."""
    c = tl.where(x < -87.33654, -87.33654, x)
    c = tl.where(c > 88.72283, 88.72283, c)
    shifted = tl.fma(c, 1.44269504088896, 12582912.0)  # 1.5 * 2^23: the low bits now hold round(c / ln 2)
    n = shifted - 12582912.0
    r = tl.fma(n, 2.12194440e-4, tl.fma(n, -0.693359375, c))
    p = tl.fma(r, 1.9875691500e-4, 1.3981999507e-3)
    p = tl.fma(p, r, 8.3334519073e-3)
    p = tl.fma(p, r, 4.1665795894e-2)
    p = tl.fma(p, r, 1.6666665459e-1)
    p = tl.fma(p, r, 5.0000001201e-1)
    p = tl.fma(p, r * r, r) + 1.0
    k = shifted.to(tl.int32, bitcast=True) - 0x4B400000
    y = p * ((k + 126) << 23).to(tl.float32, bitcast=True) * 2.0  # 2^(k-1) * 2, so that k = 128 does not overflow
    y = tl.where(x < -87.33654, 0.0, y)
    return tl.where(x > 88.72283, float("inf"), y)


@kernel
def log_f32(x):
    """ln x for positive normal x, within 2 ulp. Polynomial: Cephes logf."""
    bits = x.to(tl.int32, bitcast=True)
    e = (bits - 0x3F3504F3) >> 23  # mantissa in [sqrt(1/2), sqrt(2))
    f = (bits - (e << 23)).to(tl.float32, bitcast=True) - 1.0
    k = e.to(tl.float32)
    z = f * f
    p = tl.fma(f, 7.0376836292e-2, -1.1514610310e-1)
    p = tl.fma(p, f, 1.1676998740e-1)
    p = tl.fma(p, f, -1.2420140846e-1)
    p = tl.fma(p, f, 1.4249322787e-1)
    p = tl.fma(p, f, -1.6668057665e-1)
    p = tl.fma(p, f, 2.0000714765e-1)
    p = tl.fma(p, f, -2.4999993993e-1)
    p = tl.fma(p, f, 3.3333331174e-1)
    y = tl.fma(k, -2.12194440e-4, p * f * z)
    y = tl.fma(z, -0.5, y)
    return tl.fma(k, 0.693359375, f + y)


@kernel
def tanh_f32(x):
    """tanh within a few ulp: the rational approximation that Eigen uses (ptanh)."""
    c = tl.where(x < -7.90531110763549805, -7.90531110763549805, x)
    c = tl.where(c > 7.90531110763549805, 7.90531110763549805, c)
    z = c * c
    p = tl.fma(z, -2.76076847742355e-16, 2.00018790482477e-13)
    p = tl.fma(p, z, -8.60467152213735e-11)
    p = tl.fma(p, z, 5.12229709037114e-08)
    p = tl.fma(p, z, 1.48572235717979e-05)
    p = tl.fma(p, z, 6.37261928875436e-04)
    p = tl.fma(p, z, 4.89352455891786e-03)
    q = tl.fma(z, 1.19825839466702e-06, 1.18534705686654e-04)
    q = tl.fma(q, z, 2.26843463243900e-03)
    q = tl.fma(q, z, 4.89352518554385e-03)
    return tl.div_rn(c * p, q)
