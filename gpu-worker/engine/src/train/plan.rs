//! Which records are held out, and which make up each batch: functions of the seed alone.

use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Batches whose records are sorted by length together, so that rows of a batch are alike.
const SORTED_BATCHES: usize = 8;

/// Cuts `records` record numbers into those to train on and those held out, `ppm` millionths
/// rounded, both in order. At least one stays on each side when any are held out and there are two.
pub(super) fn hold_out(records: usize, ppm: u32, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let all: Vec<usize> = (0..records).collect();
    if ppm == 0 || records < 2 {
        return (all, vec![]);
    }
    let wanted = (records as u128 * u128::from(ppm) + 500_000) / 1_000_000;
    let count = (wanted as usize).clamp(1, records - 1);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::MAX); // epochs take the low streams
    let mut order = all.clone();
    order.shuffle(&mut rng);
    order.truncate(count);
    order.sort_unstable();
    let kept = all.into_iter().filter(|i| order.binary_search(i).is_err()).collect();
    (kept, order)
}

/// Batches of one epoch: `records` shuffled, then sorted by length within groups of batches, then
/// the batches shuffled.
pub(super) fn plan_epoch(
    records: &[usize],
    length: impl Fn(usize) -> usize,
    batch: usize,
    seed: u64,
    epoch: usize,
) -> Vec<Vec<usize>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch as u64 + 1);
    let mut order = records.to_vec();
    order.shuffle(&mut rng);
    let mut batches = Vec::new();
    for group in order.chunks_mut(batch * SORTED_BATCHES) {
        group.sort_by_key(|&i| length(i));
        batches.extend(group.chunks(batch).map(<[usize]>::to_vec));
    }
    batches.shuffle(&mut rng);
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_out_records_are_drawn_by_the_seed_and_never_trained_on() {
        let (kept, held) = hold_out(100, 150_000, 3);
        assert_eq!((kept.len(), held.len()), (85, 15));
        let mut all: Vec<usize> = kept.iter().chain(&held).copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_eq!(hold_out(100, 150_000, 3).1, held);
        assert_ne!(hold_out(100, 150_000, 4).1, held);
        assert_eq!(hold_out(100, 0, 3), ((0..100).collect(), vec![]));
        assert_eq!(hold_out(2, 1, 3).1.len(), 1, "asked for, so not none");
        assert_eq!(hold_out(2, 900_000, 3).0.len(), 1, "something must be left to train on");
        assert_eq!(hold_out(1, 500_000, 3), (vec![0], vec![]));
        let planned: Vec<usize> =
            plan_epoch(&kept, |i| i % 7, 8, 3, 2).into_iter().flatten().collect();
        let mut sorted = planned.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, kept);
        assert_ne!(planned, kept);
    }
}
