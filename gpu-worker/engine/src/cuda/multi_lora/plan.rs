//! Which rows of a step's batch use which adapter.

use tch::{Device, Kind, Tensor};

use super::{refuse, write, FEW, FEW_ROWS, MANY_ROWS, MAX_TILES};
use crate::error::Result;

/// `Tile` of the source.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct RawTile {
    pub row: i32,
    pub rows: i32,
    pub slot: i32,
    pub unused: i32,
}

/// Which rows of a batch use which slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// First row.
    pub row: usize,
    /// How many rows; 0 is allowed and does nothing.
    pub rows: usize,
    /// The adapter's slot; `None` leaves the rows as they are.
    pub slot: Option<usize>,
}

/// A step's segments, cut into tiles and put on the device.
#[derive(Debug)]
pub struct Plan {
    /// `[few + many, 2]` int64: the tiles, 16 bytes each; first those of few rows.
    pub(super) tiles: Tensor,
    pub(super) few: usize,
    pub(super) many: usize,
    /// Rows of the batch.
    pub(super) rows: usize,
    /// One more than the largest slot that is named.
    pub(super) slots: usize,
}

impl Plan {
    /// A plan for `segments` of a batch of `rows` rows.
    ///
    /// Segments must be in the order of their rows and must not overlap.
    pub fn new(segments: &[Segment], rows: usize, device: Device) -> Result<Self> {
        let (few, many) = cut(segments, rows)?;
        let mut plan = Self::with_room(few.len(), many.len(), rows, device)?;
        plan.put(few, many, segments)?;
        Ok(plan)
    }

    /// An empty plan with room for `few` tiles of up to 4 rows and `many` tiles of up to 32, to be
    /// filled by [`Self::set`]: its tensors and launches stay the same whatever is set.
    pub fn with_room(few: usize, many: usize, rows: usize, device: Device) -> Result<Self> {
        if few.max(many) > MAX_TILES {
            return Err(refuse(format!("{} tiles are more than {MAX_TILES}", few.max(many))));
        }
        let tiles = Tensor::f_zeros([(few + many) as i64, 2], (Kind::Int64, device))?;
        Ok(Self { tiles, few, many, rows, slots: 0 })
    }

    /// Replaces the segments. Errors when they need more room than there is.
    pub fn set(&mut self, segments: &[Segment]) -> Result<()> {
        let (few, many) = cut(segments, self.rows)?;
        self.put(few, many, segments)
    }

    fn put(
        &mut self,
        mut few: Vec<RawTile>,
        mut many: Vec<RawTile>,
        segments: &[Segment],
    ) -> Result<()> {
        if few.len() > self.few || many.len() > self.many {
            return Err(refuse(format!(
                "the segments need {} short and {} long tiles, but there is room for {} and {}",
                few.len(),
                many.len(),
                self.few,
                self.many
            )));
        }
        few.resize(self.few, RawTile::default());
        many.resize(self.many, RawTile::default());
        few.append(&mut many);
        self.slots = segments.iter().filter_map(|s| s.slot).map(|s| s + 1).max().unwrap_or(0);
        write(&self.tiles, 0, &few)
    }
}

/// Tiles of few rows and of many.
fn cut(segments: &[Segment], rows: usize) -> Result<(Vec<RawTile>, Vec<RawTile>)> {
    let (mut few, mut many) = (vec![], vec![]);
    let mut reached = 0;
    for segment in segments {
        let end = segment.row.checked_add(segment.rows).filter(|end| *end <= rows);
        let Some(end) = end.filter(|_| segment.row >= reached) else {
            return Err(refuse(format!(
                "segment {segment:?} is out of order, overlaps another or leaves the {rows} rows"
            )));
        };
        reached = end;
        let Some(slot) = segment.slot else { continue };
        let (height, into) = match segment.rows <= FEW {
            true => (FEW_ROWS, &mut few),
            false => (MANY_ROWS, &mut many),
        };
        for row in (segment.row..end).step_by(height) {
            let number = |n: usize| {
                i32::try_from(n).map_err(|_| refuse(format!("{n} is too large for a tile")))
            };
            into.push(RawTile {
                row: number(row)?,
                rows: number(height.min(end - row))?,
                slot: number(slot)?,
                unused: 0,
            });
        }
    }
    Ok((few, many))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_cut_into_tiles_and_bad_ones_refused() {
        let segment = |row, rows, slot| Segment { row, rows, slot };
        let Ok((few, many)) =
            cut(&[segment(0, 6, Some(1)), segment(6, 3, None), segment(9, 40, Some(0))], 49)
        else {
            panic!("these segments are in order");
        };
        let flat = |tiles: &[RawTile]| -> Vec<[i32; 3]> {
            tiles.iter().map(|t| [t.row, t.rows, t.slot]).collect()
        };
        assert_eq!(flat(&few), [[0, 4, 1], [4, 2, 1]]);
        assert_eq!(flat(&many), [[9, 32, 0], [41, 8, 0]]);
        for bad in [
            vec![segment(0, 50, Some(0))],
            vec![segment(4, 4, Some(0)), segment(0, 4, Some(1))],
            vec![segment(0, 4, Some(0)), segment(3, 4, Some(1))],
            vec![segment(usize::MAX, 2, Some(0))],
        ] {
            assert!(cut(&bad, 49).is_err(), "{bad:?}");
        }
    }
}
