//! Records laid end to end, without padding.

use tch::{Device, Tensor};

use crate::record::Sample;

/// Squared tokens of padding that a block of attention may hold before another block is begun:
/// what starting one costs, in the work of one. Measured on a CPU; on CUDA a launch costs more.
const PADDING_CPU: usize = 1 << 13;
const PADDING_CUDA: usize = 1 << 19;

/// Consecutive rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rows {
    pub start: i64,
    pub len: i64,
}

impl Rows {
    /// These rows of `x`.
    pub(crate) fn of(self, x: &Tensor) -> Tensor {
        x.narrow(0, self.start, self.len)
    }
}

/// Records whose attention is computed together: `records` rows of `length` tokens.
#[derive(Debug)]
pub(crate) struct Block {
    pub records: i64,
    pub length: i64,
    /// Packed row of each token of the block; `None` when the block is all rows in their order.
    pub rows: Option<Tensor>,
    /// Place of each token in `records * length`; `None` when no place stays empty.
    pub places: Option<Tensor>,
}

/// Records of several parts (one part per adapter), laid end to end.
///
/// Each record keeps the tokens up to its last learnt one: what comes later would predict nothing
/// that is learnt. Positions start at 0 with every record, and attention stays within a record.
pub(crate) struct Packed {
    /// Token ids `[tokens]`.
    pub ids: Tensor,
    /// Position of each within its record, `[tokens]`.
    pub positions: Tensor,
    /// Tokens of the longest record.
    pub longest: i64,
    /// The records by attention.
    pub blocks: Vec<Block>,
    /// Tokens of each part.
    pub parts: Vec<Rows>,
    /// Rows whose hidden state predicts a learnt token, `[learnt]`.
    pub learnt: Tensor,
    /// The learnt tokens, `[learnt]`.
    pub targets: Tensor,
    /// Rows of `learnt` that belong to each part.
    pub learnt_parts: Vec<Rows>,
    /// Rows of `learnt` that belong to each record, in the order given.
    pub records: Vec<Rows>,
}

impl Packed {
    /// Lays out the records of each part. A part may be empty; a record may not.
    pub(crate) fn new(parts: &[Vec<&Sample>], device: Device) -> Self {
        let (mut ids, mut positions) = (vec![], vec![]);
        let (mut learnt, mut targets) = (vec![], vec![]);
        let (mut token_parts, mut learnt_parts, mut records) = (vec![], vec![], vec![]);
        let mut spans = vec![]; // first row and tokens of each record
        for part in parts {
            let (first_token, first_learnt) = (ids.len(), learnt.len());
            for sample in part {
                let last = sample.learn.iter().rposition(|l| *l).unwrap_or(0);
                let (start, first) = (ids.len(), learnt.len());
                ids.extend_from_slice(&sample.tokens[..last]);
                positions.extend(0..last as i64);
                for at in 1..=last {
                    if sample.learn[at] {
                        learnt.push((start + at - 1) as i64);
                        targets.push(sample.tokens[at]);
                    }
                }
                spans.push((start, last));
                records.push(rows(first, learnt.len()));
            }
            token_parts.push(rows(first_token, ids.len()));
            learnt_parts.push(rows(first_learnt, learnt.len()));
        }
        let padding = if device.is_cuda() { PADDING_CUDA } else { PADDING_CPU };
        let place = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        Self {
            longest: spans.iter().map(|(_, len)| *len as i64).max().unwrap_or(0),
            blocks: blocks(&spans, ids.len(), padding, device),
            ids: place(&ids),
            positions: place(&positions),
            parts: token_parts,
            learnt: place(&learnt),
            targets: place(&targets),
            learnt_parts,
            records,
        }
    }

    /// Tokens that a record takes.
    pub(crate) fn tokens_of(sample: &Sample) -> usize {
        sample.learn.iter().rposition(|l| *l).unwrap_or(0)
    }
}

fn rows(start: usize, end: usize) -> Rows {
    Rows { start: start as i64, len: (end - start) as i64 }
}

/// Sorts records by length and cuts them into blocks with little padding each.
fn blocks(spans: &[(usize, usize)], tokens: usize, padding: usize, device: Device) -> Vec<Block> {
    let mut order: Vec<usize> = (0..spans.len()).filter(|&i| spans[i].1 > 0).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(spans[i].1));
    let mut groups: Vec<Vec<usize>> = vec![];
    let mut wasted = 0;
    for index in order {
        let len = spans[index].1;
        match groups.last_mut() {
            Some(group) => {
                let longest = spans[group[0]].1;
                wasted += longest * longest - len * len;
                if wasted > padding {
                    groups.push(vec![index]);
                    wasted = 0;
                } else {
                    group.push(index);
                }
            }
            None => groups.push(vec![index]),
        }
    }
    let alone = groups.len() == 1;
    let cut = |mut group: Vec<usize>| {
        let length = spans[group[0]].1;
        group.sort_unstable();
        let records = group.len();
        let (mut from, mut to) = (vec![], vec![]);
        for (row, index) in group.iter().enumerate() {
            let (start, len) = spans[*index];
            from.extend((start..start + len).map(|i| i as i64));
            to.extend((row * length..row * length + len).map(|i| i as i64));
        }
        let full = to.len() == records * length;
        // In the order of rows, and all of them: nothing needs to be picked.
        let all = alone && from.len() == tokens;
        Block {
            records: records as i64,
            length: length as i64,
            rows: (!all).then(|| Tensor::from_slice(&from).to_device(device)),
            places: (!full).then(|| Tensor::from_slice(&to).to_device(device)),
        }
    };
    groups.into_iter().map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(prompt: i64, answer: i64, from: i64) -> Sample {
        let tokens: Vec<i64> = (from..from + prompt + answer).collect();
        Sample::from_parts(&tokens[..prompt as usize], &tokens[prompt as usize..])
    }

    fn list(t: &Tensor) -> Vec<i64> {
        Vec::<i64>::try_from(t).unwrap()
    }

    #[test]
    fn rows_are_laid_without_gaps_and_positions_restart() {
        let (a, b, c) = (sample(2, 2, 10), sample(1, 3, 20), sample(3, 1, 30));
        let packed = Packed::new(&[vec![&a, &b], vec![], vec![&c]], Device::Cpu);
        // The last token of each record predicts nothing.
        assert_eq!(list(&packed.ids), [10, 11, 12, 20, 21, 22, 30, 31, 32]);
        assert_eq!(list(&packed.positions), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        assert_eq!(list(&packed.learnt), [1, 2, 3, 4, 5, 8]);
        assert_eq!(list(&packed.targets), [12, 13, 21, 22, 23, 33]);
        assert_eq!(packed.parts, [rows(0, 6), rows(6, 6), rows(6, 9)]);
        assert_eq!(packed.learnt_parts, [rows(0, 5), rows(5, 5), rows(5, 6)]);
        assert_eq!(packed.records, [rows(0, 2), rows(2, 5), rows(5, 6)]);
        assert_eq!(packed.longest, 3);
        // Equal lengths: one block, nothing picked, nothing empty.
        assert_eq!(packed.blocks.len(), 1);
        assert!(packed.blocks[0].rows.is_none() && packed.blocks[0].places.is_none());
    }

    #[test]
    fn tokens_after_the_last_learnt_one_are_left_out() {
        let mut a = sample(2, 4, 0);
        a.learn[4] = false;
        a.learn[5] = false;
        let packed = Packed::new(&[vec![&a]], Device::Cpu);
        assert_eq!(list(&packed.ids), [0, 1, 2]);
        assert_eq!(list(&packed.targets), [2, 3]);
    }

    #[test]
    fn every_token_stands_in_one_block_at_its_place() {
        let samples: Vec<Sample> =
            [3, 150, 9, 151, 4, 30].iter().map(|n| sample(1, *n, 0)).collect();
        let packed = Packed::new(&[samples.iter().collect()], Device::Cpu);
        assert!(packed.blocks.len() > 1, "short and long records do not share a block");
        let mut seen = vec![];
        for block in &packed.blocks {
            let rows = list(block.rows.as_ref().unwrap());
            let places = block.places.as_ref().map_or((0..rows.len() as i64).collect(), list);
            let positions = list(&packed.positions);
            for (row, place) in rows.iter().zip(places) {
                assert_eq!(place % block.length, positions[*row as usize]);
                assert!(place < block.records * block.length);
            }
            seen.extend(rows);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..packed.ids.size()[0]).collect::<Vec<_>>());
    }
}
