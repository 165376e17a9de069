//! Sixteen floats at a time: the inner loops of the pass on a CPU.
//!
//! Every output is one chain of fused multiply-adds in the order of the inner dimension, whatever
//! the width of the machine's registers, the number of rows and the number of threads. The same
//! row therefore gives the same bits alone and in a crowd, on every machine that rounds as IEEE
//! 754 asks.

/// Columns of a panel.
pub(crate) const LANES: usize = 16;

/// Which instructions the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
enum Kind {
    Avx512,
    Avx2,
    Plain,
}

impl Isa {
    /// The best of this machine.
    pub(crate) fn best() -> Self {
        Self::all()[0]
    }

    /// All that this machine has, best first.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::with_capacity(3);
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx512f") {
                all.push(Self(Kind::Avx512));
            }
            if std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("fma")
            {
                all.push(Self(Kind::Avx2));
            }
        }
        all.push(Self(Kind::Plain));
        all
    }
}

/// Sixteen floats in registers.
trait Lanes: Copy {
    /// Rows that a block may have before the registers run out.
    const ROWS: usize;
    fn load(from: &[f32; LANES]) -> Self;
    fn store(self) -> [f32; LANES];
    /// `self + x * b`, rounded once.
    fn add_product(self, x: f32, b: Self) -> Self;
}

#[derive(Clone, Copy)]
struct Plain([f32; LANES]);

impl Lanes for Plain {
    const ROWS: usize = 6;

    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        Self(*from)
    }

    #[inline(always)]
    fn store(self) -> [f32; LANES] {
        self.0
    }

    #[inline(always)]
    fn add_product(mut self, x: f32, b: Self) -> Self {
        for (sum, b) in self.0.iter_mut().zip(b.0) {
            *sum = x.mul_add(b, *sum);
        }
        self
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{
        __m256, __m512, _mm256_fmadd_ps, _mm256_set1_ps, _mm512_fmadd_ps, _mm512_set1_ps,
    };
    use std::mem::transmute;

    use super::{Lanes, LANES};

    /// Used only inside functions that are compiled for AVX-512.
    #[derive(Clone, Copy)]
    pub(super) struct Wide(__m512);

    impl Lanes for Wide {
        const ROWS: usize = 12;

        #[inline(always)]
        fn load(from: &[f32; LANES]) -> Self {
            // SAFETY: both are sixteen floats of which every bit pattern is one.
            Self(unsafe { transmute::<[f32; LANES], __m512>(*from) })
        }

        #[inline(always)]
        fn store(self) -> [f32; LANES] {
            // SAFETY: as above.
            unsafe { transmute::<__m512, [f32; LANES]>(self.0) }
        }

        #[inline(always)]
        fn add_product(self, x: f32, b: Self) -> Self {
            // SAFETY: only reached from functions compiled for AVX-512, see `by_isa`.
            Self(unsafe { _mm512_fmadd_ps(_mm512_set1_ps(x), b.0, self.0) })
        }
    }

    /// Used only inside functions that are compiled for AVX2 and FMA.
    #[derive(Clone, Copy)]
    pub(super) struct Halves([__m256; 2]);

    impl Lanes for Halves {
        const ROWS: usize = 6;

        #[inline(always)]
        fn load(from: &[f32; LANES]) -> Self {
            // SAFETY: both are sixteen floats of which every bit pattern is one.
            Self(unsafe { transmute::<[f32; LANES], [__m256; 2]>(*from) })
        }

        #[inline(always)]
        fn store(self) -> [f32; LANES] {
            // SAFETY: as above.
            unsafe { transmute::<[__m256; 2], [f32; LANES]>(self.0) }
        }

        #[inline(always)]
        fn add_product(self, x: f32, b: Self) -> Self {
            // SAFETY: only reached from functions compiled for AVX2 and FMA, see `by_isa`.
            unsafe {
                let x = _mm256_set1_ps(x);
                Self([_mm256_fmadd_ps(x, b.0[0], self.0[0]), _mm256_fmadd_ps(x, b.0[1], self.0[1])])
            }
        }
    }
}

/// Makes `fn name(isa, …)` which runs a generic body compiled for the instructions of `isa`.
macro_rules! by_isa {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(isa: Isa, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx512f")]
                fn on_avx512($($arg: $ty),*) {
                    $body::<wide::Wide>($($arg),*)
                }
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx2,fma")]
                fn on_avx2($($arg: $ty),*) {
                    $body::<wide::Halves>($($arg),*)
                }
                match isa.0 {
                    // SAFETY: an `Isa` of this kind is only made where the machine has it.
                    Kind::Avx512 => return unsafe { on_avx512($($arg),*) },
                    // SAFETY: as above.
                    Kind::Avx2 => return unsafe { on_avx2($($arg),*) },
                    Kind::Plain => {}
                }
            }
            $body::<Plain>($($arg),*)
        }
    };
}

/// A matrix that several threads write at once, each its own part.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    data: *mut f32,
    rows: usize,
    stride: usize,
}

// SAFETY: whoever writes through a `Grid` promises in `part` that nobody else touches that part.
unsafe impl Send for Grid {}
// SAFETY: as above.
unsafe impl Sync for Grid {}

impl Grid {
    /// `data` as rows of `stride` floats.
    pub(crate) fn new(data: &mut [f32], stride: usize) -> Self {
        let rows = data.len().checked_div(stride).unwrap_or(0);
        Self { data: data.as_mut_ptr(), rows, stride }
    }

    /// Floats `from..from + count` of a row.
    ///
    /// # Safety
    /// The slice that the grid was made of is still borrowed by the caller's caller, and nobody
    /// else reads or writes this part while the result lives.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub(crate) unsafe fn part(&self, row: usize, from: usize, count: usize) -> &mut [f32] {
        assert!(row < self.rows && from + count <= self.stride, "a part lies inside its grid");
        // SAFETY: inside the slice by the assertion, alone by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(row * self.stride + from), count) }
    }
}

/// Where a product goes.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub grid: Grid,
    /// First row.
    pub row: usize,
    /// First column of the first panel.
    pub column: usize,
    /// Columns from one panel to the next.
    pub step: usize,
    /// Columns in all panels together; what a panel has beyond them is padding.
    pub columns: usize,
    /// Whether to add to what is there.
    pub add: bool,
}

by_isa! {
    /// Multiplies `rows` rows of `x` (`k` floats each, `stride` apart) with panels: panel `p` is
    /// `k` rows of [`LANES`] columns from `panels[p * apart]`.
    ///
    /// The part of the target that is written must be the caller's alone, see [`Grid::part`].
    pub(crate) fn multiply(
        x: &[f32], stride: usize, rows: usize, panels: &[[f32; LANES]], apart: usize, k: usize,
        to: Target,
    ) = multiply_body
}

#[inline(always)]
fn multiply_body<L: Lanes>(
    x: &[f32],
    stride: usize,
    rows: usize,
    panels: &[[f32; LANES]],
    apart: usize,
    k: usize,
    to: Target,
) {
    if rows == 0 || k == 0 {
        return;
    }
    let count = to.columns.div_ceil(LANES);
    // Blocks of equal height: 64 rows are five of 11 and 10, not five of 12 and one of 4.
    let blocks = rows.div_ceil(L::ROWS);
    let mut panel = 0;
    while panel < count {
        // Few rows: several panels at once, so that sums do not wait for one another.
        let at_once = match blocks {
            1 => (L::ROWS / rows).min(4).min(count - panel),
            _ => 1,
        };
        let part = &panels[panel * apart..];
        let mut row = 0;
        for block in 0..blocks {
            let height = (rows - row).div_ceil(blocks - block);
            let from = &x[row * stride..];
            let at = Target { row: to.row + row, ..to };
            match at_once {
                4 => by_height::<L, 4>(from, stride, height, part, apart, k, at, panel),
                3 => by_height::<L, 3>(from, stride, height, part, apart, k, at, panel),
                2 => by_height::<L, 2>(from, stride, height, part, apart, k, at, panel),
                _ => by_height::<L, 1>(from, stride, height, part, apart, k, at, panel),
            }
            row += height;
        }
        panel += at_once;
    }
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn by_height<L: Lanes, const P: usize>(
    x: &[f32],
    stride: usize,
    height: usize,
    panels: &[[f32; LANES]],
    apart: usize,
    k: usize,
    to: Target,
    panel: usize,
) {
    macro_rules! heights {
        ($($n:literal)*) => {
            match height {
                $($n if $n * P <= L::ROWS.max(P) => {
                    block::<L, $n, P>(x, stride, panels, apart, k, to, panel)
                })*
                _ => {}
            }
        };
    }
    heights!(1 2 3 4 5 6 7 8 9 10 11 12)
}

/// `R` rows times `P` panels.
#[inline(always)]
fn block<L: Lanes, const R: usize, const P: usize>(
    x: &[f32],
    stride: usize,
    panels: &[[f32; LANES]],
    apart: usize,
    k: usize,
    to: Target,
    first: usize,
) {
    let mut rows: [&[f32]; R] = [&[]; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &x[r * stride..r * stride + k];
    }
    let mut parts: [&[[f32; LANES]]; P] = [&[]; P];
    for (p, part) in parts.iter_mut().enumerate() {
        *part = &panels[p * apart..p * apart + k];
    }
    let mut sums = [[L::load(&[0.0; LANES]); P]; R];
    for i in 0..k {
        for p in 0..P {
            let b = L::load(&parts[p][i]);
            for r in 0..R {
                sums[r][p] = sums[r][p].add_product(rows[r][i], b);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (p, sum) in sums.iter().enumerate() {
            let panel = first + p;
            let width = LANES.min(to.columns - panel * LANES);
            // SAFETY: the caller of `multiply` owns the target's part.
            let into = unsafe { to.grid.part(to.row + r, to.column + panel * to.step, width) };
            let sum = sum.store();
            if to.add {
                for (y, s) in into.iter_mut().zip(sum) {
                    *y += s;
                }
            } else {
                into.copy_from_slice(&sum[..width]);
            }
        }
    }
}

/// Sum of sixteen lanes in a fixed order.
#[inline(always)]
fn fold(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for j in 0..width {
            lanes[j] += lanes[j + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// `e^x` for `x` up to 88; nothing below -87 is told from zero's neighbourhood.
///
/// Cody–Waite reduction and the polynomial of Cephes' `expf`; within 2 ulp, the same bits on
/// every machine because each step is one IEEE operation.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it leaves the nearest integer in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 0.166_666_65);
    let p = p.mul_add(r, 0.5);
    let value = p.mul_add(r * r, r) + 1.0;
    let power = shifted.to_bits().wrapping_sub(MAGIC.to_bits()).wrapping_add(127) << 23;
    value * f32::from_bits(power)
}

by_isa! {
    /// RMS normalisation of one row: `x / sqrt(mean(x²) + eps) * weight`.
    pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) = rms_norm_body
}

#[inline(always)]
fn rms_norm_body<L: Lanes>(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mut squares = [0f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for j in 0..LANES {
            squares[j] = chunk[j].mul_add(chunk[j], squares[j]);
        }
    }
    for (square, v) in squares.iter_mut().zip(rest) {
        *square = v.mul_add(*v, *square);
    }
    let scale = 1.0 / (fold(squares) / x.len() as f32 + eps).sqrt();
    for ((o, v), w) in out.iter_mut().zip(x).zip(weight) {
        *o = v * scale * w;
    }
}

by_isa! {
    /// `silu(gate) * up` for panels of gates and ups in turn: `out` has half the columns.
    pub(crate) fn gated(pairs: &[f32], out: &mut [f32]) = gated_body
}

#[inline(always)]
fn gated_body<L: Lanes>(pairs: &[f32], out: &mut [f32]) {
    let (pairs, _) = pairs.as_chunks::<{ 2 * LANES }>();
    let (out, _) = out.as_chunks_mut::<LANES>();
    for (pair, out) in pairs.iter().zip(out) {
        for j in 0..LANES {
            let gate = pair[j];
            out[j] = gate / (1.0 + exp(-gate)) * pair[LANES + j];
        }
    }
}

by_isa! {
    /// Puts `e^(x - max)` into the first `len` of `scores`, zero into the rest, and into
    /// `inverse` one over their sum.
    pub(crate) fn softmax(scores: &mut [f32], len: usize, inverse: &mut f32) = softmax_body
}

#[inline(always)]
fn softmax_body<L: Lanes>(scores: &mut [f32], len: usize, inverse: &mut f32) {
    let (used, rest) = scores.split_at_mut(len);
    rest.fill(0.0);
    let (chunks, tail) = used.as_chunks_mut::<LANES>();
    let mut top = [f32::NEG_INFINITY; LANES];
    for chunk in chunks.iter() {
        for j in 0..LANES {
            top[j] = if chunk[j] > top[j] { chunk[j] } else { top[j] };
        }
    }
    for (t, v) in top.iter_mut().zip(tail.iter()) {
        *t = if *v > *t { *v } else { *t };
    }
    let max = top.iter().fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a });
    let mut sums = [0f32; LANES];
    for chunk in chunks.iter_mut() {
        for j in 0..LANES {
            chunk[j] = exp(chunk[j] - max);
            sums[j] += chunk[j];
        }
    }
    for (sum, v) in sums.iter_mut().zip(tail.iter_mut()) {
        *v = exp(*v - max);
        *sum += *v;
    }
    *inverse = 1.0 / fold(sums);
}

#[cfg(test)]
#[path = "simd_tests.rs"]
mod tests;
