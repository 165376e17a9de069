//! Where the matrices of resident adapters stand.

use tch::{Device, Kind, Tensor};

use super::{check_operand, refuse, write, MAX_RANK};
use crate::error::Result;

/// `Entry` of the source.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct RawEntry {
    pub a: u64,
    pub b: u64,
    pub rank: i32,
    pub scale: f32,
    pub unused: u64,
}

/// One adapter's matrices for one of the table's pairs.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// `[rank, in]`.
    pub a: &'a Tensor,
    /// `[out, rank]`.
    pub b: &'a Tensor,
    /// What the product is multiplied with.
    pub scale: f64,
}

/// Where the matrices of the adapters in each slot stand.
#[derive(Debug)]
pub struct Table {
    /// `[slots, pairs, 4]` int64: the entries, 32 bytes each.
    pub(super) entries: Tensor,
    /// Width in and width out of each pair.
    pub(super) shapes: Vec<(usize, usize)>,
    pub(super) max_rank: usize,
    /// The matrices of each slot: the device holds only their addresses.
    held: Vec<Vec<Tensor>>,
}

impl Table {
    /// An empty table of `slots` slots for matrix pairs of `shapes` (width in, width out) and
    /// ranks up to `max_rank`. Widths must be multiples of 8.
    pub fn new(
        shapes: Vec<(usize, usize)>,
        slots: usize,
        max_rank: usize,
        device: Device,
    ) -> Result<Self> {
        let fits = |n: &usize| n.is_multiple_of(8) && (8..=1 << 24).contains(n);
        if let Some(bad) = shapes.iter().find(|(i, o)| !fits(i) || !fits(o)) {
            return Err(refuse(format!("widths {bad:?} are not multiples of 8")));
        }
        if !(1..=MAX_RANK).contains(&max_rank) {
            return Err(refuse(format!("rank {max_rank} is not within 1..={MAX_RANK}")));
        }
        let size = [slots as i64, shapes.len() as i64, 4];
        let entries = Tensor::f_zeros(size, (Kind::Int64, device))?;
        let held = (0..slots).map(|_| vec![]).collect();
        Ok(Self { entries, shapes, max_rank: max_rank.next_multiple_of(8), held })
    }

    /// How many adapters fit.
    pub fn slots(&self) -> usize {
        self.held.len()
    }

    /// Where the table is.
    pub fn device(&self) -> Device {
        self.entries.device()
    }

    /// Puts an adapter into `slot`: one item per matrix pair, `None` where it has none.
    ///
    /// Matrices must be bf16, on the table's device, contiguous and begin at a multiple of 16
    /// bytes; ranks must be multiples of 8 (see [`pad_rank`]). The table keeps them alive.
    pub fn load(&mut self, slot: usize, pairs: &[Option<Pair>]) -> Result<()> {
        if pairs.len() != self.shapes.len() {
            return Err(refuse(format!(
                "an adapter has {} pairs, the table {}",
                pairs.len(),
                self.shapes.len()
            )));
        }
        let mut entries = Vec::with_capacity(pairs.len());
        let mut held = Vec::new();
        for (index, (pair, shape)) in pairs.iter().zip(&self.shapes).enumerate() {
            let Some(pair) = pair else {
                entries.push(RawEntry::default());
                continue;
            };
            entries.push(self.entry(index, pair, *shape)?);
            held.push(pair.a.shallow_clone());
            held.push(pair.b.shallow_clone());
        }
        self.write_slot(slot, &entries, held)
    }

    /// Empties `slot`. Its matrices are let go; the memory is reused only by work that is queued
    /// later on the same stream.
    pub fn clear(&mut self, slot: usize) -> Result<()> {
        let empty = vec![RawEntry::default(); self.shapes.len()];
        self.write_slot(slot, &empty, vec![])
    }

    fn write_slot(&mut self, slot: usize, entries: &[RawEntry], held: Vec<Tensor>) -> Result<()> {
        let slots = self.held.len();
        let Some(place) = self.held.get_mut(slot) else {
            return Err(refuse(format!("slot {slot} is not one of the {slots}")));
        };
        write(&self.entries, slot * entries.len() * 4, entries)?;
        *place = held;
        Ok(())
    }

    fn entry(
        &self,
        index: usize,
        pair: &Pair,
        (input, output): (usize, usize),
    ) -> Result<RawEntry> {
        let rank = pair.a.size().first().copied().unwrap_or(0);
        let shapes = [[rank, input as i64], [output as i64, rank]];
        for (matrix, shape) in [pair.a, pair.b].into_iter().zip(shapes) {
            if matrix.size() != shape {
                let found = matrix.size();
                return Err(refuse(format!("pair {index}: {found:?} should be {shape:?}")));
            }
            check_operand(matrix, self.entries.device(), &format!("pair {index}"))?;
            if !matrix.is_contiguous() {
                return Err(refuse(format!("pair {index}: a matrix is not contiguous")));
            }
        }
        if rank % 8 != 0 || !(8..=self.max_rank as i64).contains(&rank) {
            return Err(refuse(format!(
                "pair {index}: rank {rank} is not a multiple of 8 up to {}",
                self.max_rank
            )));
        }
        Ok(RawEntry {
            a: pair.a.data_ptr() as u64,
            b: pair.b.data_ptr() as u64,
            rank: rank as i32,
            scale: pair.scale as f32,
            unused: 0,
        })
    }
}

/// Pads A `[rank, in]` and B `[out, rank]` with zeros to the next rank that the kernel takes.
pub fn pad_rank(a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor)> {
    let rank = a.size().first().copied().unwrap_or(0);
    let missing = (8 - rank % 8) % 8;
    if missing == 0 {
        return Ok((a.f_contiguous()?, b.f_contiguous()?));
    }
    let pad = |t: &Tensor, sides: &[i64]| t.f_constant_pad_nd(sides)?.f_contiguous();
    Ok((pad(a, &[0, 0, 0, missing])?, pad(b, &[0, missing])?))
}
