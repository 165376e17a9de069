//! Adapters in the tensor library's operators.

use std::rc::Rc;

use tch::Tensor;

use super::tensors;
use crate::config::Projection;
use crate::error::Result;
use crate::model::Deltas;
use crate::serve::{Prepared, Segment};

/// Longer segments are computed one by one: beside them, padding all others would cost more.
const LONG: usize = 8;

/// Adds adapters in stock operators.
#[derive(Default)]
pub(super) struct Operators {
    /// Whether those of a few rows each are computed together.
    batched: bool,
    /// Stacked matrices of the last set of short segments.
    stacked: Option<Stacked>,
}

impl Operators {
    pub(super) fn new(batched: bool) -> Self {
        Self { batched, stacked: None }
    }

    /// Readies one step; segments without an adapter are left as they are.
    pub(super) fn step(&mut self, segments: &[Segment], device: tch::Device) -> Result<Step<'_>> {
        let adapted = segments.iter().filter(|s| s.lora.is_some()).cloned();
        let (mut short, mut long): (Vec<Segment>, Vec<Segment>) =
            adapted.partition(|s| self.batched && s.rows <= LONG);
        if short.len() == 1 {
            long.append(&mut short);
        }
        let most = short.iter().map(|s| s.rows).max().unwrap_or(0);
        let (mut padded, mut places, mut rows) = (vec![], vec![], vec![]);
        for (number, segment) in short.iter().enumerate() {
            for at in 0..most {
                let row = if at < segment.rows { segment.row + at } else { segment.row };
                padded.push(row as i64);
                if at < segment.rows {
                    places.push((number * most + at) as i64);
                    rows.push(row as i64);
                }
            }
        }
        let of: Vec<Rc<Prepared>> = short.into_iter().filter_map(|s| s.lora).collect();
        self.stacked = match self.stacked.take() {
            _ if of.is_empty() => None,
            Some(before) if before.is_of(&of) => Some(before),
            _ => Some(Stacked::new(of)?),
        };
        let there = |list: Vec<i64>| Tensor::f_from_slice(&list)?.f_to_device(device);
        Ok(Step {
            long,
            stacked: self.stacked.as_ref(),
            padded: there(padded)?,
            places: there(places)?,
            rows: there(rows)?,
        })
    }
}

/// The adapters of one step.
pub(super) struct Step<'a> {
    /// Computed one by one.
    long: Vec<Segment>,
    stacked: Option<&'a Stacked>,
    /// Rows of the stacked segments: which, `[adapters · most]` padded with row 0, where they
    /// stand in the padded product, and which they are.
    padded: Tensor,
    places: Tensor,
    rows: Tensor,
}

impl Step<'_> {
    fn add_to(&self, layer: usize, p: Projection, x: &Tensor, y: &Tensor) -> Result<()> {
        for segment in &self.long {
            let (row, rows) = (segment.row as i64, segment.rows as i64);
            let delta = segment.lora.as_deref().and_then(tensors).and_then(|lora| {
                lora.delta(layer, p, &x.narrow(0, row, rows).unsqueeze(0)) // [1, rows, out]
            });
            if let Some(delta) = delta {
                let _ = y.f_narrow(0, row, rows)?.f_add_(&delta.squeeze_dim(0))?;
            }
        }
        let Some(stacked) = self.stacked else { return Ok(()) };
        let Some((a, b)) = stacked.pairs.get(layer).and_then(|l| l[p as usize].as_ref()) else {
            return Ok(());
        };
        let count = stacked.of.len() as i64;
        let x = x.f_index_select(0, &self.padded)?.f_view([count, -1, x.size()[1]])?;
        let low = x.f_bmm(&a.transpose(1, 2))?; // [adapters, most, rank]
        let delta = low.f_bmm(&b.transpose(1, 2))?; // [adapters, most, out]
        let delta = delta.f_flatten(0, 1)?.f_index_select(0, &self.places)?;
        let _ = y.shallow_clone().f_index_add_(0, &self.rows, &delta)?;
        Ok(())
    }
}

impl Deltas for Step<'_> {
    fn add(&self, layer: usize, jobs: &[(Projection, &Tensor, &Tensor)]) -> Result<()> {
        jobs.iter().try_for_each(|(p, x, y)| self.add_to(layer, *p, x, y))
    }
}

/// Matrices of several adapters on top of one another, ranks padded with zeros.
struct Stacked {
    of: Vec<Rc<Prepared>>,
    /// `[layer][projection]`: A `[adapters, rank, in]` and B `[adapters, out, rank]` with the
    /// scale folded in.
    pairs: Vec<[Option<(Tensor, Tensor)>; 7]>,
}

impl Stacked {
    fn new(of: Vec<Rc<Prepared>>) -> Result<Self> {
        let mut pairs = vec![];
        loop {
            let layer = pairs.len();
            let mut all: [Option<(Tensor, Tensor)>; 7] = Default::default();
            for (pair, p) in all.iter_mut().zip(Projection::ALL) {
                *pair = stack(&of, layer, p)?;
            }
            if all.iter().all(Option::is_none) {
                return Ok(Self { of, pairs });
            }
            pairs.push(all);
        }
    }

    fn is_of(&self, other: &[Rc<Prepared>]) -> bool {
        self.of.len() == other.len() && self.of.iter().zip(other).all(|(a, b)| Rc::ptr_eq(a, b))
    }
}

fn stack(of: &[Rc<Prepared>], layer: usize, p: Projection) -> Result<Option<(Tensor, Tensor)>> {
    let found: Vec<_> = of
        .iter()
        .map(|one| tensors(one).and_then(|t| Some((t.pair(layer, p)?, t.scale()))))
        .collect();
    let Some(((a0, b0), _)) = found.iter().flatten().next() else { return Ok(None) };
    let rank = found.iter().flatten().map(|((a, _), _)| a.size()[0]).max().unwrap_or(0);
    let (count, input, output) = (of.len() as i64, a0.size()[1], b0.size()[0]);
    let options = (a0.kind(), a0.device());
    let a_all = Tensor::f_zeros([count, rank, input], options)?;
    let b_all = Tensor::f_zeros([count, output, rank], options)?;
    for (at, pair) in found.iter().enumerate() {
        if let Some(((a, b), scale)) = pair {
            let r = a.size()[0];
            a_all.f_select(0, at as i64)?.f_narrow(0, 0, r)?.f_copy_(a)?;
            b_all.f_select(0, at as i64)?.f_narrow(1, 0, r)?.f_copy_(&(b * *scale))?;
        }
    }
    Ok(Some((a_all, b_all)))
}
