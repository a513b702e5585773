"""Hyperbolic space as a hyperboloid: forms, distances, maps and the Poincare ball.

One convention. ``curvature`` is the sectional curvature k: a negative number or 0-d tensor, by
keyword. The points of the space are the vectors (x0, x) of R^(d+1) with ``minkowski`` form 1/k and
x0 > 0, so x0 = sqrt(R^2 + |x|^2) with R = sqrt(-1/k); papers write beta or c for R^2 or for 1/R^2.
The origin is (R, 0).

One chart. Every function takes and gives the last d numbers alone, the space part x: any x of R^d
is a point, so that parameters are free, no step leaves the space, and stock optimizers apply (for
the numerical side see Mishne et al. 2023). A tangent vector at x is its space part v as well; the
time part that belongs to it is <v, x>/x0. Only ``lift``, ``project``, ``tangent`` and
``minkowski`` meet vectors of R^(d+1), the time part first.

A point at distance r from the origin has |x| = R sinh(r/R). That sets the limits: float32 holds
radii up to 88 R, float64 up to 709 R. Squares are formed, so that |x| and |x|/R should lie between
1e-18 and 1e18 in float32, 1e-150 and 1e150 in float64: past these they overflow to infinity, or
vanish. NaN or infinity in a point gives NaN or infinity in what is made of it.

Leading axes broadcast. Everything is differentiable in points and curvature, to second order too;
``distance`` and ``radius`` have a kink at distance 0, where their gradient is 0. A curvature that
is a tensor on an accelerator costs one wait for the device per call, to look at its sign.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

Curvature = float | Float[Tensor, ""]
Points = Float[Tensor, "*#b d"]  # space parts, of points or of tangent vectors
Lifted = Float[Tensor, "*#b d_plus_1"]  # vectors of R^(d+1), time part first
Numbers = Float[Tensor, "*#b"]

# sinh(t)/t and asinh(t)/t as series in z = t^2 (Abramowitz and Stegun 4.5.62, 4.6.31), with the
# range of z inside which so many terms suffice for float64
_SINHC = [1 / math.factorial(2 * k + 1) for k in range(10)]
_ASINHC = [math.comb(2 * k, k) / (-4) ** k / (2 * k + 1) for k in range(13)]
_SINHC_RANGE, _ASINHC_RANGE = 1.0, 1 / 16
_PART = 2**18  # numbers of a block that are worked on at once; a few times as many fit a cache


def minkowski(a: Lifted, b: Lifted) -> Numbers:
    """The Minkowski form ``-a0 b0 + a1 b1 + ... + ad bd``."""
    _check_vectors(a, b)
    return (a[..., 1:] * b[..., 1:]).sum(-1) - a[..., 0] * b[..., 0]


def height(x: Points, *, curvature: Curvature) -> Numbers:
    """The time part x0 of a point: sqrt(-1/curvature + |x|^2), at least R."""
    _check_vectors(x)
    return (_squared_radius(curvature) + x.square().sum(-1)).sqrt()


def lift(x: Points, *, curvature: Curvature) -> Lifted:
    """The point (x0, x) of the hyperboloid over x, in R^(d+1); ``a[..., 1:]`` is the way back."""
    return torch.cat([height(x, curvature=curvature).unsqueeze(-1), x], -1)


def project(a: Lifted, *, curvature: Curvature) -> Lifted:
    """The point of the hyperboloid with the space part of ``a``; rounded lifts are put right."""
    return lift(a[..., 1:], curvature=curvature)


def squared_lorentzian(x: Points, y: Points, *, curvature: Curvature) -> Numbers:
    """Squared Lorentzian distance, the form of (x0, x) - (y0, y): 4 R^2 sinh(d/2R)^2, at least 0.

    Smooth, also where points coincide, and |x - y|^2 in the limit of curvature 0. MIG-TF's edge is
    half of it. The definition, 2(x0 y0 - <x, y> - R^2), subtracts numbers of size x0 y0; here none
    are. For <x, y> <= 0 all terms are positive once x0 y0 - R^2 is written as (R^2 |x|^2 + R^2
    |y|^2 + |x|^2 |y|^2) / (x0 y0 + R^2); for <x, y> > 0 it is the law of cosines in half angles,

        D = 2 R^2 (|x| - |y|)^2 / (R^2 + x0 y0 + |x||y|) + |x||y| |x/|x| - y/|y||^2,

    with both differences taken from x - y. The relative error is at most some eps x0/R (the last
    digits of x decide as much), mostly some eps; of the definition it is eps x0 y0 / D. Of the
    gradient it is at most some eps (x0/R)^2, where x - y lies along the ray from the origin.

    All rows against all rows is ``squared_lorentzian(x[:, None], y)``, at n m d memory, or the one
    product of ``squared_lorentzians``.
    """
    _check_vectors(x, y)
    beta = _squared_radius(curvature)
    xx, yy, xy = x.square().sum(-1), y.square().sum(-1), (x * y).sum(-1)
    total = (beta + xx).sqrt() * (beta + yy).sqrt() + beta
    obtuse = 2 * (beta / total * (xx + yy) + xx / total * yy - xy)
    # the second form divides by the norms; elsewhere it gets 1 for them, to keep gradients finite
    tiny = torch.finfo(xy.dtype).tiny
    acute = (xy > 0) & (xx > tiny) & (yy > tiny)
    n, m = (torch.where(acute, square, 1).sqrt() for square in (xx, yy))
    gap = torch.where(acute, ((x - y) * (x + y)).sum(-1), 0) / (n + m)  # n - m
    swap = n < m
    short, long = torch.where(swap, n, m), torch.where(swap, m, n)
    axis = torch.where(swap.unsqueeze(-1), x, y) / short.unsqueeze(-1)
    turn = (x - y - gap.unsqueeze(-1) * axis).square().sum(-1)  # long^2 |x/n - y/m|^2
    radial = 2 * (beta * gap) * (gap / (total + n * m))
    return torch.where(acute, radial + short / long * turn, obtuse)


def distance(x: Points, y: Points, *, curvature: Curvature) -> Numbers:
    """Geodesic distance of aligned points: 2 R asinh(sqrt(D) / 2R), D the squared Lorentzian one.

    A few units in the last place while x0/R is moderate, at any distance: ``acosh`` of the form
    loses all of it below sqrt(eps). The gradient is 0 where the points coincide, of unit length
    in the metric elsewhere.
    """
    twice = 2 * _squared_radius(curvature) ** 0.5
    return twice * (_root(squared_lorentzian(x, y, curvature=curvature)) / twice).asinh()


def squared_distance(x: Points, y: Points, *, curvature: Curvature) -> Numbers:
    """Square of ``distance``, without its kink: smooth where points coincide."""
    z = _chord(x, y, curvature)
    return 4 * _squared_radius(curvature) * z * _asinhc(z).square()


def radius(x: Points, *, curvature: Curvature) -> Numbers:
    """Distance from the origin, R asinh(|x|/R)."""
    _check_vectors(x)
    size = _squared_radius(curvature) ** 0.5
    return size * (_root(x.square().sum(-1)) / size).asinh()


def squared_lorentzians(
    x: Float[Tensor, "*#b n d"], y: Float[Tensor, "*#b m d"], *, curvature: Curvature
) -> Float[Tensor, "*#b n m"]:
    """Squared Lorentzian distances of all rows of x to all rows of y, by one matrix product.

    The product is (n, d + 3) by (d + 3, m), with x0 - R = |x|^2/(x0 + R) in the place of x0, so
    that R^2 cancels on paper. What is left of cancellation is that of |x|^2 + |y|^2 - 2<x, y>: the
    error is absolute, some eps (x0 y0 - R^2 + |x||y|), so that of float32 points of norm 1 a
    distance below about 1e-3 is noise; below 0 it is cut off, with gradient 0. A product of
    reduced precision (TF32, bfloat16) puts its own eps there. Where near neighbours matter rank
    again by ``distance``, or use float64. Memory: the result, and (n + m)(d + 3).
    """
    _check_vectors(x, y)
    beta = _squared_radius(curvature)
    size = beta**0.5
    above = []
    for z in (x, y):
        squares = z.square().sum(-1, keepdim=True)
        above.append(squares / ((beta + squares).sqrt() + size))  # z0 - R
    one_x, one_y = (torch.ones_like(rise) for rise in above)
    left = torch.cat([-2 * x, 2 * above[0], 2 * size * above[0], one_x], -1)
    right = torch.cat([y, above[1], one_y, 2 * size * above[1]], -1)
    return (left @ right.mT).clamp_min_(0)


def distances(
    x: Float[Tensor, "*#b n d"], y: Float[Tensor, "*#b m d"], *, curvature: Curvature
) -> Float[Tensor, "*#b n m"]:
    """Geodesic distances of all rows of x to all rows of y, by one matrix product.

    With the limits of ``squared_lorentzians``, and their root: of points of norm 1 in float32 the
    distance is right to 2e-7 at 1, and no better than 1e-3 at 0. Memory: as there, and under
    automatic differentiation three times the result.
    """
    twice = 2 * _squared_radius(curvature) ** 0.5
    block = squared_lorentzians(x / twice, y / twice, curvature=-4.0)  # sinh(d/2R)^2
    if block.requires_grad:
        return twice * _root(block).asinh()
    for part in block.view(-1).split(_PART):
        # asinh of the root; on a CPU torch's own takes ten times as long as these together
        part.copy_((part.sqrt() + part / ((1 + part).sqrt() + 1)).log1p())
    return block.mul_(twice)


def centroid(
    x: Float[Tensor, "*b n d"],
    weights: Float[Tensor, "*b n"] | None = None,
    *,
    curvature: Curvature,
) -> Points:
    """The point of least weighted sum of squared Lorentzian distances to the n points.

    Weights are equal unless given, and need not add up to 1. The Lorentzian centroid (Law et al.
    2019) is the mean of the lifted points, scaled back to the hyperboloid: R m / sqrt(
    mean(x0)^2 - |m|^2) for the mean m of the space parts. The root's argument cancels far out;
    here it is R^2 + q + (q / 2 m0)^2, where q is the mean squared Lorentzian distance to m and m0
    its height, which is the same number as a sum of positive terms.

    Raises:
        ValueError: If there are no points, weights are not one each, one is negative, or all are 0.
    """
    if not x.shape[-2]:
        raise ValueError(f"no points to take the centroid of: shape {tuple(x.shape)}")
    if weights is None:
        weights = x.new_ones(x.shape[:-1])
    if weights.shape != x.shape[:-1]:
        raise ValueError(
            f"each point needs one weight: got weights of shape {tuple(weights.shape)} for points "
            f"of shape {tuple(x.shape)}"
        )
    if bool((weights < 0).any() | (weights.sum(-1) == 0).any()):
        raise ValueError(
            f"weights must be at least 0 with a positive sum, got {_number(weights.min())} as the "
            f"least and {_number(weights.sum(-1).min())} as the least sum; leave out empty groups"
        )
    beta = _squared_radius(curvature)
    weights = weights / weights.sum(-1, keepdim=True)
    mean = (weights.unsqueeze(-1) * x).sum(-2, keepdim=True)
    spread = (weights * squared_lorentzian(x, mean, curvature=curvature)).sum(-1, keepdim=True)
    share = spread / (2 * height(mean, curvature=curvature))
    shrink = (beta / (beta + spread + share.square())).sqrt()
    return (shrink.unsqueeze(-1) * mean).squeeze(-2)


def tangent(x: Points, a: Lifted, *, curvature: Curvature) -> Points:
    """Space part of the projection of ``a`` on the tangent space at x: a - k <a, x> x.

    For a = (0, g), with g the gradient of a function of x in this chart, it is the Riemannian
    gradient g + <g, x> x / R^2 (the inverse metric is I + x x^T / R^2).

    Raises:
        ValueError: If ``a`` has not one number more than x.
    """
    if a.shape[-1] != x.shape[-1] + 1:
        raise ValueError(
            f"the vector must have the time part and {x.shape[-1]} numbers more, got "
            f"{a.shape[-1]}; a vector without time part is tangent already"
        )
    form = minkowski(a, lift(x, curvature=curvature)).unsqueeze(-1)
    return a[..., 1:] + form / _squared_radius(curvature) * x


def inner(x: Points, u: Points, v: Points, *, curvature: Curvature) -> Numbers:
    """Riemannian inner product of tangent vectors at x: <u, v> - <u, x><v, x> / x0^2.

    Taken at the origin, after parallel transport along the ray, so that a square is never negative.
    """
    _check_vectors(x, u, v)
    at_origin = [_to_origin(x, vector, curvature) for vector in (u, v)]
    return (at_origin[0] * at_origin[1]).sum(-1)


def exp(x: Points, v: Points, *, curvature: Curvature) -> Points:
    """The point reached from x by the geodesic that starts with velocity v, after unit time.

    cosh(|v|/R) x + R sinh(|v|/R) v/|v|, |v| by ``inner``. Overflows where the point is beyond the
    range of the chart: |v| above 88 R in float32.
    """
    _check_vectors(x, v)
    z = _to_origin(x, v, curvature).square().sum(-1, keepdim=True) / _squared_radius(curvature)
    # cosh(t) = 1 + 2 sinh(t/2)^2, with t^2 = z
    return (1 + z / 2 * _sinhc(z / 4).square()) * x + _sinhc(z) * v


def log(x: Points, y: Points, *, curvature: Curvature) -> Points:
    """The tangent vector at x with ``exp(x, v) = y``; its norm is the distance."""
    z = _chord(x, y, curvature).unsqueeze(-1)
    root = (1 + z).sqrt()
    # two products with _asinhc, because z * x can be out of range where z / root * x is in it
    return _asinhc(z) / root * (y - x) - _asinhc(z) * (2 * z / root) * x


def transport(x: Points, y: Points, v: Points, *, curvature: Curvature) -> Points:
    """The tangent vector v at x, transported in parallel along the geodesic to y.

    v + <y, v> / (R^2 - <x, y>) (x + y), forms of Minkowski. Keeps ``inner`` to some eps (x0 +
    y0)/R.
    """
    _check_vectors(x, y, v)
    at_x, at_y = (height(z, curvature=curvature).unsqueeze(-1) for z in (x, y))
    way = y - x
    tilt = (v * (x / at_x)).sum(-1, keepdim=True)  # the time part of v
    rise = (way * ((x + y) / (at_x + at_y))).sum(-1, keepdim=True)  # y0 - x0
    # <y, v> = <y - x, v>, as v is tangent at x: the one form is exact far away, the other nearby
    near = way.square().sum(-1, keepdim=True) < at_y.square()
    form = (v * torch.where(near, way, y)).sum(-1, keepdim=True)
    form = form - tilt * torch.where(near, rise, at_y)
    half = squared_lorentzian(x, y, curvature=curvature).unsqueeze(-1) / 2
    return v + form / (2 * _squared_radius(curvature) + half) * (x + y)


def exp_origin(v: Points, *, curvature: Curvature) -> Points:
    """``exp`` at the origin, where tangent vectors are plain vectors: R sinh(|v|/R) v/|v|."""
    _check_vectors(v)
    return _sinhc(v.square().sum(-1, keepdim=True) / _squared_radius(curvature)) * v


def log_origin(y: Points, *, curvature: Curvature) -> Points:
    """``log`` at the origin: R asinh(|y|/R) y/|y|, the inverse of ``exp_origin``."""
    _check_vectors(y)
    return _asinhc(y.square().sum(-1, keepdim=True) / _squared_radius(curvature)) * y


def to_ball(x: Points, *, curvature: Curvature) -> Points:
    """The same point in the Poincare ball of radius R: R x / (x0 + R).

    Norms past R/eps round to the rim of the ball, from where there is no way back.
    """
    size = _squared_radius(curvature) ** 0.5
    return size / (height(x, curvature=curvature) + size).unsqueeze(-1) * x


def from_ball(p: Points, *, curvature: Curvature) -> Points:
    """The chart's vector of a point of the Poincare ball of radius R: 2 p / (1 - |p|^2/R^2).

    The relative error is some eps x0/R: near the rim the ball has no digits left.

    Raises:
        ValueError: If a point is not inside the ball.
    """
    _check_vectors(p)
    beta = _squared_radius(curvature)
    inside = 1 - p.square().sum(-1, keepdim=True) / beta
    if bool((inside <= 0).any()):
        raise ValueError(
            f"the ball of curvature {_number(curvature)} has radius {_number(beta) ** 0.5}, got a "
            f"point of norm {_number(p.norm(dim=-1).max())}; scale the points, or give the "
            "curvature that they were made with"
        )
    return 2 * p / inside


def _squared_radius(curvature: Curvature) -> float | Tensor:
    """R^2 = -1/curvature.

    Raises:
        ValueError: If the curvature is no single number, or not negative and finite.
    """
    if isinstance(curvature, Tensor) and curvature.ndim:
        raise ValueError(
            "curvature must be a number or a 0-d tensor, got a tensor of shape "
            f"{tuple(curvature.shape)}"
        )
    number = _number(curvature)
    if not -math.inf < number < 0:
        raise ValueError(
            f"curvature must be negative and finite, got {number}; the unit hyperboloid has -1.0, "
            "and flat space is the limit of small negative numbers"
        )
    return -1 / curvature


def _number(value: float | Tensor) -> float:
    return float(value.detach()) if isinstance(value, Tensor) else float(value)


def _check_vectors(*vectors: Tensor) -> None:
    for vector in vectors:
        if not vector.is_floating_point():
            raise TypeError(f"vectors must be of a floating type, got {vector.dtype}; use .float()")
    shapes = [tuple(vector.shape) for vector in vectors]
    if len({shape[-1:] for shape in shapes}) > 1:
        raise ValueError(f"the last axes must be of one size, got shapes {shapes}")


def _chord(x: Tensor, y: Tensor, curvature: Curvature) -> Tensor:
    """sinh(d/2R)^2, for the distance d."""
    return squared_lorentzian(x, y, curvature=curvature) / (4 * _squared_radius(curvature))


def _root(square: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0."""
    positive = square != 0  # NaN stays NaN
    return torch.where(positive, torch.where(positive, square, 1).sqrt(), 0)


def _to_origin(x: Tensor, v: Tensor, curvature: Curvature) -> Tensor:
    """Parallel transport of v from x to the origin: v - <v, x> x / (x0 (x0 + R)), an isometry."""
    beta = _squared_radius(curvature)
    x0 = height(x, curvature=curvature).unsqueeze(-1)
    return v - (v * (x / x0)).sum(-1, keepdim=True) * (x / (x0 + beta**0.5))


def _sinhc(z: Tensor) -> Tensor:
    """sinh(t)/t for t^2 = z: smooth at 0."""
    t = z.clamp_min(_SINHC_RANGE).sqrt()
    return torch.where(z < _SINHC_RANGE, _series(_SINHC, z.clamp_max(_SINHC_RANGE)), t.sinh() / t)


def _asinhc(z: Tensor) -> Tensor:
    """asinh(t)/t for t^2 = z: smooth at 0."""
    t = z.clamp_min(_ASINHC_RANGE).sqrt()
    near = _series(_ASINHC, z.clamp_max(_ASINHC_RANGE))
    return torch.where(z < _ASINHC_RANGE, near, t.asinh() / t)


def _series(coefficients: list[float], z: Tensor) -> Tensor:
    total = torch.zeros_like(z)
    for coefficient in reversed(coefficients):
        total = total * z + coefficient
    return total
