//! Scoring against a float implementation, and the properties that the crate promises.

use nalgebra::{DMatrix, DVector};
use proptest::prelude::*;
use tributary_attribution::{
    Attribution, Builder, Damping, Index, IndexError, Query, Sketch, WHOLE_PPM,
};

/// Numbers from a seed, roughly normal: sums of uniform ones.
fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..count).map(|_| (0..6).map(|_| uniform()).sum()).collect()
}

/// Bytes before the ids.
const HEADER: usize = 52;
const DAMPING: Damping = Damping { lambda: 10_000, mu: 1_000_000 };

fn id(number: u32) -> [u8; 32] {
    [number as u8; 32]
}

struct Case {
    sketch: Sketch,
    damping: Damping,
    rows: Vec<(u32, Vec<f32>)>,
    contributions: u32,
}

impl Case {
    fn new(seed: u64, rows: usize, contributions: u32) -> Self {
        let input = 700;
        let rows = (0..rows)
            .map(|i| (i as u32 % contributions, noise(seed * 1000 + i as u64, input)))
            .collect();
        let sketch = Sketch { seed, input: input as u64, dims: 256 };
        let damping = Damping { lambda: 20_000, mu: 400_000 };
        Self { sketch, damping, rows, contributions }
    }

    fn build(&self) -> Index {
        let ids = (0..self.contributions).map(id).collect();
        let count = self.rows.len() as u32;
        let mut builder = Builder::new(self.sketch, self.damping, ids, count).unwrap();
        for (i, (contribution, gradient)) in self.rows.iter().enumerate() {
            builder.set(i as u32, *contribution, gradient).unwrap();
        }
        builder.build().unwrap()
    }

    /// A gradient between a row's and noise.
    fn near(&self, row: usize, amount: f32, seed: u64) -> Vec<f32> {
        let other = noise(seed, self.rows[row].1.len());
        self.rows[row].1.iter().zip(other).map(|(a, b)| a * amount + b * (1.0 - amount)).collect()
    }

    /// ρ and its parts by record, in f64 and without quantisation.
    fn by_float(&self, gradient: &[f32]) -> (f64, Vec<f64>) {
        let unit = |g: &[f32]| {
            let row: Vec<f64> =
                self.sketch.project(g).unwrap().into_iter().map(f64::from).collect();
            DVector::from_vec(row).normalize()
        };
        let rows: Vec<_> = self.rows.iter().map(|(_, g)| unit(g).transpose()).collect();
        let a = DMatrix::from_rows(&rows);
        let q = unit(gradient);
        let along = &a * &q;
        let products = |millionths: u32| -> Vec<f64> {
            let damping = DMatrix::identity(rows.len(), rows.len()) * (f64::from(millionths) / 1e6);
            let c = (&a * a.transpose() + damping).lu().solve(&along).unwrap();
            along.iter().zip(c.iter()).map(|(a, c)| a * c).collect()
        };
        let rho: f64 = products(self.damping.lambda).iter().sum();
        let weights = products(self.damping.mu);
        let mut sums = vec![0.0; self.contributions as usize];
        for ((contribution, _), weight) in self.rows.iter().zip(&weights) {
            sums[*contribution as usize] += weight;
        }
        let divided: f64 = sums.iter().filter(|sum| **sum > 0.0).sum();
        (rho, weights.iter().map(|weight| weight * rho / divided).collect())
    }

    fn query(&self, gradient: &[f32]) -> Query {
        Query::from_gradient(gradient, &self.sketch).unwrap()
    }
}

fn total(attribution: &Attribution) -> u64 {
    let shares: u64 = attribution.shares.iter().map(|(_, ppm)| u64::from(*ppm)).sum();
    shares + u64::from(attribution.unattributed_ppm)
}

#[test]
fn integers_agree_with_floats() {
    let case = Case::new(3, 60, 4);
    let index = case.build();
    for (row, amount) in [(0, 0.9), (7, 0.5), (33, 0.3), (59, 0.0)] {
        let gradient = case.near(row, amount, 99 + row as u64);
        let (rho, parts) = case.by_float(&gradient);
        let scored = index.score(&case.query(&gradient), 60).unwrap();
        let found = f64::from(scored.explained_ppm()) / 1e6;
        assert!((found - rho).abs() < 0.01, "rho {rho}, by integers {found}");
        for record in &scored.records {
            let part = parts[record.row as usize];
            assert!((record.ppm as f64 / 1e6 - part).abs() < 0.01, "{record:?} against {part}");
            assert_eq!(record.contribution, record.row % 4);
        }
    }
}

/// What the two dampings are for: who says a thing twice raises the explained part by next to
/// nothing, and the division by no more than μ allows.
#[test]
fn saying_a_thing_twice_explains_no_more() {
    let half = |second: bool| (0..700).map(|i| f32::from((i < 350) != second)).collect::<Vec<_>>();
    let mut once = Case::new(9, 2, 2);
    once.sketch.dims = 1 << 14; // so that halves which share no number share next to no direction
    once.rows = vec![(0, half(false)), (1, half(true))];
    let mut twice = Case { rows: once.rows.clone(), ..once };
    twice.rows.push(twice.rows[0].clone());
    let query = once.query(&[1.0; 700]);
    let [once, twice] = [once, twice].map(|case| case.build().score(&query, 3).unwrap());
    assert!(once.explained_ppm() > 950_000);
    let more = twice.explained_ppm() - once.explained_ppm();
    assert!((1..15_000).contains(&more), "{more}");
    let part = |of: &Attribution| f64::from(of.shares[0].1) / f64::from(of.explained_ppm());
    assert!((part(&once) - 0.5).abs() < 0.02, "{}", part(&once));
    // 2 / (2 + μ) against 1 / (1 + μ), at 0.4.
    let expected = (2.0 / 2.4) / (2.0 / 2.4 + 1.0 / 1.4);
    assert!((part(&twice) - expected).abs() < 0.02, "{} {expected}", part(&twice));
    // Nobody's part goes past the share.
    let of_first = twice.records.iter().filter(|r| r.contribution == 0).map(|r| r.ppm).sum::<i64>();
    assert!(of_first.abs_diff(twice.shares[0].1.into()) <= 3, "{of_first}");
}

#[test]
fn a_known_record_is_found_and_noise_is_not_explained() {
    let case = Case::new(5, 40, 3);
    let index = case.build();
    let known = index.score(&case.query(&case.rows[10].1), 3).unwrap();
    assert_eq!(known.records[0].row, 10);
    assert_eq!(known.largest().unwrap().0, id(1));
    assert!(known.explained_ppm() > 950_000, "{}", known.explained_ppm());
    // 40 random directions of 256 explain about 40/256 of another.
    let unknown = index.score(&case.query(&noise(4711, 700)), 3).unwrap();
    assert!(unknown.explained_ppm() < 300_000, "{}", unknown.explained_ppm());
}

#[test]
fn a_record_that_speaks_against_gets_nothing() {
    let mut case = Case::new(6, 2, 2);
    case.rows[1].1 = noise(1, 700);
    let index = case.build();
    let opposed: Vec<f32> =
        case.rows[0].1.iter().zip(&case.rows[1].1).map(|(a, b)| a - 1e-4 * b).collect();
    let scored = index.score(&case.query(&opposed), 2).unwrap();
    assert_eq!(total(&scored), u64::from(WHOLE_PPM));
    assert!(scored.shares[0].1 > 900_000);
    assert!(scored.shares[1].1 < 10_000);
}

/// Pinned, so that a change of rounding, hashing or layout is noticed.
#[test]
fn the_layout_stays_as_it_is() {
    let sketch = Sketch { seed: 1, input: 8, dims: 4 };
    let query = Query::from_gradient(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0], &sketch);
    assert_eq!(query.unwrap().integers(), PINNED_QUERY);
    let mut builder = Builder::new(sketch, DAMPING, vec![id(9)], 1).unwrap();
    builder.set(0, 0, &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
    let index = builder.build().unwrap();
    let root: String = index.root().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(root, PINNED_ROOT);
}

// By an independent program (Python, integers and `hashlib`).
const PINNED_QUERY: &[i8] = &[-127, 0, -11, 15];
const PINNED_ROOT: &str = "500100327f334562008a04b885f997d3423f2f9f6c7457c236aedb5b2effe00f";

#[test]
fn senseless_parts_are_refused() {
    let sketch = Sketch { seed: 1, input: 8, dims: 4 };
    let ids = vec![id(1), id(2)];
    let size = |r: Result<Builder, _>| matches!(r.err(), Some(IndexError::Size { .. }));
    assert!(size(Builder::new(sketch, DAMPING, ids.clone(), 0)));
    assert!(size(Builder::new(sketch, DAMPING, vec![], 1)));
    assert!(size(Builder::new(Sketch { dims: 0, ..sketch }, DAMPING, ids.clone(), 1)));
    assert!(size(Builder::new(Sketch { dims: 1 << 17, ..sketch }, DAMPING, ids.clone(), 1)));
    for (damping, name, found) in [
        (Damping { lambda: 10, ..DAMPING }, 'λ', 10),
        (Damping { mu: 1_000_000_001, ..DAMPING }, 'μ', 1_000_000_001),
    ] {
        let refused = Builder::new(sketch, damping, ids.clone(), 1).err();
        assert_eq!(refused, Some(IndexError::Damping { name, found }));
    }

    let mut builder = Builder::new(sketch, DAMPING, ids.clone(), 2).unwrap();
    let one = [1.0f32; 8];
    let unknown = IndexError::UnknownContribution { row: 0, contribution: 2 };
    assert_eq!(builder.set(0, 2, &one), Err(unknown));
    assert!(matches!(builder.set(2, 0, &one), Err(IndexError::Size { .. })));
    assert_eq!(builder.set(0, 0, &one[..7]), Err(IndexError::Length { expected: 8, found: 7 }));
    assert_eq!(builder.set(1, 0, &[0.0; 8]), Err(IndexError::NoDirection(1)));
    assert_eq!(builder.set(1, 0, &[f32::NAN; 8]), Err(IndexError::NoDirection(1)));
    builder.set(0, 0, &one).unwrap();
    assert_eq!(builder.build().err(), Some(IndexError::NoDirection(1)), "a row was never set");

    let mut twice = Builder::new(sketch, DAMPING, vec![id(1), id(1)], 1).unwrap();
    twice.set(0, 0, &one).unwrap();
    assert_eq!(twice.build().err(), Some(IndexError::DuplicateContribution(1)));

    assert_eq!(Query::from_gradient(&[0.0; 8], &sketch), Err(IndexError::NoQuery));
    assert_eq!(Query::from_integers(vec![0; 4]), Err(IndexError::NoQuery));
    assert!(matches!(Query::from_integers(vec![-128, 1]), Err(IndexError::Corrupt(_))));
    let index = Case::new(1, 3, 1).build();
    let short = Query::from_integers(vec![1; 4]).unwrap();
    assert_eq!(index.score(&short, 1), Err(IndexError::Length { expected: 256, found: 4 }));
}

#[test]
fn damaged_files_are_refused() {
    let index = Case::new(2, 5, 2).build();
    let good = index.to_bytes();
    assert_eq!(Index::from_bytes(&good).unwrap(), index);
    for length in [0, 7, 8, 20, 51, 52, 100, good.len() - 1] {
        let found = Index::from_bytes(&good[..length]);
        assert!(matches!(found, Err(IndexError::Truncated { .. })), "{length}: {found:?}");
    }
    let mut long = good.clone();
    long.push(0);
    assert_eq!(Index::from_bytes(&long), Err(IndexError::TooLong(1)));

    let altered = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        Index::from_bytes(&bytes).expect_err("it is refused")
    };
    assert_eq!(altered(0, b"X"), IndexError::Magic("an influence index"));
    assert_eq!(altered(8, &[1, 0]), IndexError::Version { found: 1, known: 2 });
    assert!(matches!(altered(10, &[1]), IndexError::Corrupt(_)), "reserved");
    assert!(matches!(altered(12, &u32::MAX.to_le_bytes()), IndexError::Size { .. }), "rows");
    assert!(matches!(altered(12, &6u32.to_le_bytes()), IndexError::Truncated { .. }), "rows");
    assert!(matches!(altered(12, &4u32.to_le_bytes()), IndexError::TooLong(_)), "rows");
    for (at, name) in [(20, 'λ'), (32, 'μ')] {
        let refused = IndexError::Damping { name, found: 1 };
        assert_eq!(altered(at, &1u32.to_le_bytes()), refused);
    }
    assert_eq!(altered(HEADER, &id(1)), IndexError::DuplicateContribution(1));
    let rows = HEADER + 2 * 32;
    let unknown = IndexError::UnknownContribution { row: 0, contribution: 7 };
    assert_eq!(altered(rows, &7u32.to_le_bytes()), unknown);
    for matrix in 1..4 {
        let scale = altered(rows + matrix * 5 * 4, &[0; 4]);
        assert!(matches!(scale, IndexError::Corrupt(_)), "scale of matrix {matrix}");
    }
    assert!(matches!(altered(good.len() - 1, &[0x80]), IndexError::Corrupt(_)), "-128");

    // An honest-looking change is seen by the root.
    let mut other = good.clone();
    let last = other.len() - 1;
    other[last] = other[last].wrapping_add(1).min(127);
    if let Ok(changed) = Index::from_bytes(&other) {
        assert_ne!(changed.root(), index.root());
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("influence.idx");
    assert!(matches!(Index::open(&path), Err(IndexError::Io { .. })));
    index.save(&path).unwrap();
    assert_eq!(Index::open(&path).unwrap().root(), index.root());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn shares_and_the_rest_are_the_whole(
        seed in 1u64..500, rows in 1usize..30, contributions in 1u32..6, amount in 0f32..1.0,
    ) {
        let case = Case::new(seed, rows, contributions);
        let index = case.build();
        let scored = index.score(&case.query(&case.near(rows / 2, amount, seed)), 4).unwrap();
        prop_assert_eq!(total(&scored), u64::from(WHOLE_PPM));
        prop_assert_eq!(scored.shares.len(), contributions as usize);
        prop_assert!(scored.records.windows(2).all(|w| w[0].ppm >= w[1].ppm));
        // What comes from bytes scores alike.
        let again = Index::from_bytes(&index.to_bytes()).unwrap();
        let query = Query::from_integers(case.query(&case.near(rows / 2, amount, seed)).integers().to_vec()).unwrap();
        prop_assert_eq!(again.score(&query, 4).unwrap(), scored);
    }

    /// Any valid file and query, honest or not, give shares that add up, without a panic.
    #[test]
    fn forged_numbers_do_not_break_the_sum(
        scales in prop::collection::vec(1u32.., 9), query in prop::collection::vec(-127i8..=127, 256),
        extreme in any::<bool>(),
    ) {
        let index = Case::new(8, 3, 2).build();
        let mut bytes = index.to_bytes();
        let at = HEADER + 2 * 32 + 3 * 4;
        for (i, scale) in scales.iter().enumerate() {
            let scale = if extreme { u32::MAX - i as u32 } else { *scale };
            bytes[at + 4 * i..at + 4 * i + 4].copy_from_slice(&scale.to_le_bytes());
        }
        if extreme {
            let cells = at + 9 * 4;
            bytes[cells..].fill(127);
        }
        let index = Index::from_bytes(&bytes).unwrap();
        if let Ok(query) = Query::from_integers(query) {
            prop_assert_eq!(total(&index.score(&query, 3).unwrap()), u64::from(WHOLE_PPM));
        }
    }

    /// The order in which contributions and rows stand does not matter.
    #[test]
    fn order_does_not_matter(seed in 1u64..200, amount in 0f32..1.0, turn in 1u32..4) {
        let case = Case::new(seed, 12, 4);
        let index = case.build();
        let query = case.query(&case.near(5, amount, seed));
        let straight = index.score(&query, 12).unwrap();

        // The same integers in another order: contributions turned, rows reversed.
        let renumber = |c: u32| (c + turn) % 4;
        let d = 256;
        let bytes = index.to_bytes();
        let mut turned = bytes[..HEADER].to_vec();
        for new in 0..4 {
            let old = (new + 4 - turn) % 4;
            turned.extend(id(old));
        }
        let numbers = |block: usize| {
            let at = HEADER + 4 * 32 + block * 12 * 4;
            bytes[at..at + 12 * 4].chunks(4).map(|c| u32::from_le_bytes(c.try_into().unwrap())).collect::<Vec<_>>()
        };
        turned.extend(numbers(0).iter().rev().flat_map(|c| renumber(*c).to_le_bytes()));
        for matrix in 1..4 {
            turned.extend(numbers(matrix).iter().rev().flat_map(|s| s.to_le_bytes()));
        }
        let cells = &bytes[HEADER + 4 * 32 + 4 * 12 * 4..];
        for matrix in cells.chunks(12 * d) {
            turned.extend(matrix.chunks(d).rev().flatten());
        }
        let other = Index::from_bytes(&turned).unwrap().score(&query, 12).unwrap();
        prop_assert_eq!(other.unattributed_ppm, straight.unattributed_ppm);
        let sorted = |a: &Attribution| {
            let mut shares = a.shares.clone();
            shares.sort();
            shares
        };
        prop_assert_eq!(sorted(&other), sorted(&straight));
        for (a, b) in straight.records.iter().zip(&other.records) {
            prop_assert_eq!(a.ppm, b.ppm);
        }
    }
}
