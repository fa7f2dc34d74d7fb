//! gelu, silu and softplus and their derivatives, computed in 64 bits and rounded to 32 once.
//!
//! Far below zero, the results are products of a tiny number and an ordinary one; near their zeros, the
//! derivatives are small differences. 64 bits make both harmless. As in [`functions`](crate::functions), only
//! operations that IEEE 754 defines to the last bit are used, so the bits are the same everywhere, and NaN
//! gives NaN.
//!
//! Largest errors against the exact results, over a dense sweep of all magnitudes, in units in the last
//! place: 0.51 for each of the three functions. The derivatives are within 1e-7 of the exact ones.

/// x Phi(x) with Phi the normal distribution function, as in Hendrycks and Gimpel (2016), "Gaussian Error
/// Linear Units".
pub(crate) fn gelu(x: f32) -> f32 {
    let x = f64::from(x);
    // Below -15, the result is too small for an `f32`.
    (if x < -15.0 { -15.0 } else { x } * normal(x)) as f32
}

/// Phi(x) + x phi(x) with phi the normal density.
pub(crate) fn gelu_derivative(x: f32) -> f32 {
    let x = f64::from(x);
    let near = at_most(x.abs(), 15.0).copysign(x);
    let density = exp(-0.5 * near * near) * (std::f64::consts::FRAC_1_SQRT_2 * INVERSE_ROOT_PI);
    (normal(near) + near * density) as f32
}

/// x s(x) with s(x) = 1 / (1 + e^-x), as in Elfwing, Uchibe and Doya (2017), "Sigmoid-Weighted Linear Units".
pub(crate) fn silu(x: f32) -> f32 {
    let x = f64::from(x);
    // Below -200, the result is too small for an `f32`.
    (if x < -200.0 { -200.0 } else { x } * sigmoid(x)) as f32
}

/// s(x) (1 + x (1 - s(x))).
pub(crate) fn silu_derivative(x: f32) -> f32 {
    let x = f64::from(x);
    let near = at_most(x.abs(), 200.0).copysign(x);
    (sigmoid(near) * (1.0 + near * sigmoid(-near))) as f32
}

/// ln(1 + e^x); its derivative is the sigmoid.
pub(crate) fn softplus(x: f32) -> f32 {
    let x = f64::from(x);
    // max(x, 0) + ln(1 + y) with y = e^-|x| in 0 ..= 1, and ln(1 + y) = 2 artanh(y / (2 + y)).
    let y = exp(-x.abs());
    let s = y / (2.0 + y);
    let q = s * s;
    // |s| is at most 1/3, so the first term left out of artanh's series is below 2e-12 of the whole.
    let mut series = 0.0;
    for denominator in [21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        series = series * q + 1.0 / denominator;
    }
    let rest = 2.0 * s * series;
    (if x > 0.0 { x + rest } else { rest }) as f32
}

const INVERSE_ROOT_PI: f64 = 0.5 * std::f64::consts::FRAC_2_SQRT_PI;

/// The coefficients, constant first, of the polynomial in u = (t - 2) / (t + 2) that interpolates erfc(t)
/// e^(t^2) (1 + 2 t) at 14 Chebyshev nodes of t = 0 ..= 10.7. Its relative error there is below 8e-11.
const SCALED_ERFC: [f64; 14] = [
    1.2769783816321483,
    -0.09276382582921636,
    -0.1660304088952518,
    0.16405124093743434,
    -0.05421974759688093,
    -0.008033386798001163,
    0.008720625830589853,
    0.0012667415590876358,
    -0.0014498998500247734,
    -0.00043726330352846833,
    0.00019774972450440603,
    0.00011916873901558775,
    -4.910495535644987e-06,
    -1.0885029654852736e-05,
];

/// Phi(x) = erfc(-x / sqrt(2)) / 2, with x clamped to -15 ..= 15.
fn normal(x: f64) -> f64 {
    let t = at_most(x.abs(), 15.0) * std::f64::consts::FRAC_1_SQRT_2;
    let u = (t - 2.0) / (t + 2.0);
    let polynomial = SCALED_ERFC.iter().rev().fold(0.0, |sum, coefficient| sum * u + coefficient);
    let tail = 0.5 * exp(-t * t) * polynomial / (1.0 + 2.0 * t);
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// 1 / (1 + e^-x), with x clamped to -700 ..= 700.
fn sigmoid(x: f64) -> f64 {
    let e = exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// e^x for x up to 0. Below -700, where no `f32` result shows the difference, it is e^-700.
fn exp(x: f64) -> f64 {
    // 1.5 * 2^52: adding it rounds to an integer and leaves that in the lowest bits.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    let x = -at_most(-x, 700.0);
    let shifted = x * std::f64::consts::LOG2_E + SHIFT;
    let r = x - (shifted - SHIFT) * std::f64::consts::LN_2;
    // |r| is below 0.35, so the first term left out of the Taylor series is below 3e-13 of the whole.
    let mut series = 1.0;
    for divisor in [10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        series = series * r * (1.0 / divisor) + 1.0;
    }
    let n = shifted.to_bits().wrapping_sub(SHIFT.to_bits());
    series * f64::from_bits(n.wrapping_add(1023) << 52)
}

/// The smaller of two numbers that are not negative; NaN if the first is. It compares the bits for the reason
/// given in [`functions`](crate::functions).
fn at_most(x: f64, limit: f64) -> f64 {
    const INFINITY: u64 = f64::INFINITY.to_bits();
    // -0 counts as 0.
    let (bits, limit) = (x.to_bits(), limit.to_bits());
    f64::from_bits(if bits > limit && bits <= INFINITY { limit } else { bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 4093rd `f32` of both signs, many of ordinary magnitude, and the special values.
    fn sweep() -> impl Iterator<Item = f32> {
        let special = [0.0, 1.0, f32::MIN_POSITIVE, f32::from_bits(1), f32::MAX, f32::INFINITY];
        let sizes = (0..0x7f80_0000u32).step_by(4093).map(f32::from_bits);
        let ordinary = (0..200_000).map(|i| i as f32 * 1.03e-3);
        sizes.chain(ordinary).chain(special).flat_map(|x| [x, -x])
    }

    fn exact_gelu(x: f64) -> f64 {
        x.max(-50.0) * 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
    }

    fn exact_silu(x: f64) -> f64 {
        let x = x.max(-700.0);
        if x < 0.0 { x * x.exp() / (1.0 + x.exp()) } else { x / (1.0 + (-x).exp()) }
    }

    fn exact_softplus(x: f64) -> f64 {
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    }

    #[test]
    fn errors_are_as_documented() {
        let functions = [gelu, silu, softplus];
        let exact = [exact_gelu, exact_silu, exact_softplus];
        for (i, (function, exact)) in functions.into_iter().zip(exact).enumerate() {
            for x in sweep() {
                let (got, want) = (function(x), exact(f64::from(x)));
                if (want as f32).is_infinite() {
                    assert_eq!(got, want as f32);
                    continue;
                }
                let exponent = (want.abs().to_bits() >> 52) as i32 - 1023;
                let unit = f64::from(exponent.max(-126) - 23).exp2();
                let error = (f64::from(got) - want).abs() / unit;
                assert!(
                    error <= 0.51,
                    "function {i}: {got:e} instead of {want:e} at {x:e}, {error} units off"
                );
            }
        }
    }

    #[test]
    fn derivatives_are_as_documented() {
        let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        for x in sweep() {
            let wide = f64::from(x).clamp(-1e3, 1e3);
            let want = 0.5 * libm::erfc(-wide * std::f64::consts::FRAC_1_SQRT_2) + wide * density(wide);
            assert!((f64::from(gelu_derivative(x)) - want).abs() <= 1e-7, "gelu at {x:e}");
            let wide = f64::from(x).clamp(-600.0, 600.0);
            let s = 1.0 / (1.0 + (-wide).exp());
            let want = s + wide * s / (1.0 + wide.exp());
            assert!((f64::from(silu_derivative(x)) - want).abs() <= 1e-7, "silu at {x:e}");
        }
    }

    #[test]
    fn nan_stays_nan() {
        for function in [gelu, gelu_derivative, silu, silu_derivative, softplus] {
            for nan in [f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff)] {
                assert!(function(nan).is_nan());
            }
        }
    }
}
