//! The same products by the tensor library's own operations: what is used where the kernel's
//! conditions do not hold, and what it is measured against.

use tch::{Device, Kind, Tensor};

use crate::error::{EngineError, Result};

fn refuse(reason: String) -> EngineError {
    EngineError::Cuda { doing: "grouped products", reason }
}

/// `y[t] += B_g (A_g x[t])` for rows sorted by group, in two grouped products.
///
/// `x` `[rows, in]`, `y` `[rows, out]`, `a` `[groups, rank, in]`, `b` `[groups, out, rank]` (scales
/// folded in), all bf16; `ends` says where each group's rows end, `[groups]`, int32, ascending, on
/// the same device. The operation's conditions: fewer than 1,024 groups, and widths and rank
/// multiples of 8, so that rows are multiples of 16 bytes. Differentiable.
pub fn grouped(x: &Tensor, y: &Tensor, ends: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (sa, sb) = (a.size(), b.size());
    let (sx, sy) = (x.size(), y.size());
    let [groups, rank, input] = sa[..] else {
        return Err(refuse(format!("A is {sa:?}, not [groups, rank, in]")));
    };
    let output = sb.get(1).copied().unwrap_or(0);
    if sb != [groups, output, rank] || sx.len() != 2 || sx[1] != input || sy != [sx[0], output] {
        return Err(refuse(format!("x {sx:?}, y {sy:?}, A {sa:?} and B {sb:?} do not fit")));
    }
    if [rank, input, output].iter().any(|n| n % 8 != 0) || groups >= 1024 {
        return Err(refuse(format!(
            "rank {rank} and widths {input}, {output} must be multiples of 8, and {groups} \
             groups fewer than 1,024"
        )));
    }
    if [x, y, a, b].iter().any(|t| t.kind() != Kind::BFloat16) {
        return Err(refuse("all operands must be bf16".into()));
    }
    if ends.size() != [groups] || ends.kind() != Kind::Int {
        return Err(refuse(format!("{groups} ends in int32 are needed")));
    }
    let low = product(x, &a.f_transpose(1, 2)?, ends)?; // [rows, rank]
    Ok(y.f_add(&product(&low, &b.f_transpose(1, 2)?, ends)?)?)
}

/// `[rows, k]` by `[groups, k, n]`: `[rows, n]`.
fn product(x: &Tensor, matrices: &Tensor, ends: &Tensor) -> Result<Tensor> {
    let none: Option<&Tensor> = None;
    Ok(x.f_internal_grouped_mm(matrices, Some(ends), none, Kind::BFloat16)?)
}

/// `y[i] += B_i (A_i x[i])`, each row with the adapter of the same number, by batched products.
///
/// `x` `[rows, in]`, `y` `[rows, out]`, `a` `[rows, rank, in]`, `b` `[rows, out, rank]` with scales
/// folded in.
pub fn by_row(x: &Tensor, y: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let low = a.f_bmm(&x.f_unsqueeze(2)?)?; // [rows, rank, 1]
    Ok(y.f_unsqueeze(2)?.f_baddbmm(b, &low, 1.0, 1.0)?.f_squeeze_dim(2)?)
}

/// The plain computation, one adapter after the other: what the others are compared with.
///
/// `segments` are (first row, rows, A `[rank, in]`, B `[out, rank]`, scale). Sums are made in f32.
pub fn plain(
    x: &Tensor,
    y: &Tensor,
    segments: &[(i64, i64, &Tensor, &Tensor, f64)],
) -> Result<Tensor> {
    let out = y.f_to_kind(Kind::Float)?.f_add_scalar(0.0)?; // a copy, also of f32
    for (row, rows, a, b, scale) in segments {
        let rows_of = |t: &Tensor| t.f_narrow(0, *row, *rows);
        let low = rows_of(x)?
            .f_to_kind(Kind::Float)?
            .f_matmul(&a.f_to_kind(Kind::Float)?.f_transpose(0, 1)?)?;
        let high = low.f_matmul(&b.f_to_kind(Kind::Float)?.f_transpose(0, 1)?)? * *scale;
        let mut part = rows_of(&out)?;
        let _ = part.f_add_(&high)?;
    }
    Ok(out.f_to_kind(y.kind())?)
}

/// The ends of groups of these sizes, for [`grouped`].
pub fn ends(sizes: &[i64], device: Device) -> Result<Tensor> {
    let mut at = 0i64;
    let mut list = Vec::with_capacity(sizes.len());
    for size in sizes {
        at += size;
        list.push(i32::try_from(at).map_err(|_| refuse(format!("{at} rows are too many")))?);
    }
    Ok(Tensor::f_from_slice(&list)?.f_to_device(device)?)
}
