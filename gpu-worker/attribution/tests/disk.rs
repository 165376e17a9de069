//! Building on disk against building in memory, and scoring on many threads against one.

use tributary_attribution::{Builder, Damping, DiskBuilder, Index, IndexError, Query, Sketch};

/// Gradients that lie near a few directions, as those of records do.
fn gradient(row: u64, input: usize) -> Vec<f32> {
    let noise = |seed: u64| {
        let mut state = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        }
    };
    let (mut topic, mut own) = (noise(row % 5), noise(1000 + row));
    (0..input).map(|_| topic() + 0.7 * own()).collect()
}

const INPUT: usize = 400;
const DAMPING: Damping = Damping { lambda: 10_000, mu: 200_000 };

fn both(rows: u32, dims: u32) -> (Index, Index, tempfile::TempDir) {
    let sketch = Sketch { seed: 4, input: INPUT as u64, dims };
    let ids = vec![[1; 32], [2; 32], [3; 32]];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("influence.idx");
    let mut memory = Builder::new(sketch, DAMPING, ids.clone(), rows).unwrap();
    let mut disk = DiskBuilder::create(&path, sketch, DAMPING, ids, rows).unwrap();
    for row in 0..rows {
        memory.set(row, row % 3, &gradient(row.into(), INPUT)).unwrap();
        let from_the_end = rows - 1 - row;
        let of = gradient(from_the_end.into(), INPUT);
        disk.set(from_the_end, from_the_end % 3, &of).unwrap();
    }
    assert!(!path.exists(), "it has no name before it is whole");
    let disk = disk.finish().unwrap();
    assert_eq!(Index::open(&path).unwrap(), disk);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    (memory.build().unwrap(), disk, folder)
}

#[test]
fn solving_by_dimensions_is_solving_by_records() {
    // Fewer rows than dimensions, more than one block of rows, and more rows than dimensions.
    for (rows, dims) in [(40, 256), (520, 640), (700, 96)] {
        let (memory, disk, _folder) = both(rows, dims);
        assert_eq!(disk.rows(), rows as usize);
        assert_eq!(disk.damping(), memory.damping(), "{rows} {dims}");
        // Few rows in many dimensions keep the damping asked for.
        assert_eq!(rows < dims / 4, disk.damping() == DAMPING, "{rows} {dims}");
        for seed in [3u64, 17, 5_000] {
            let query = Query::from_gradient(&gradient(seed, INPUT), &disk.sketch()).unwrap();
            let (a, b) = (memory.score(&query, 5).unwrap(), disk.score(&query, 5).unwrap());
            let gap = a.explained_ppm().abs_diff(b.explained_ppm());
            assert!(gap < 15_000, "{rows} {dims}: {} {}", a.explained_ppm(), b.explained_ppm());
            for ((id, x), (other, y)) in a.shares.iter().zip(&b.shares) {
                assert_eq!(id, other);
                assert!(x.abs_diff(*y) < 15_000, "{rows} {dims}: {x} {y}");
            }
        }
    }
}

#[test]
fn the_number_of_threads_and_of_queries_changes_nothing() {
    let (index, _, _folder) = both(53, 128);
    let queries: Vec<Query> = [3u64, 8, 99, 7000]
        .map(|seed| Query::from_gradient(&gradient(seed, INPUT), &index.sketch()).unwrap())
        .to_vec();
    let one_by_one: Vec<_> = queries.iter().map(|q| index.score(q, 7).unwrap()).collect();
    for threads in [0, 1, 2, 3, 8, 53, 200] {
        assert_eq!(index.score_on(&queries, 7, threads).unwrap(), one_by_one, "{threads}");
    }
    assert_eq!(index.score_all(&queries, 7).unwrap(), one_by_one);
    assert_eq!(index.score_all(&[], 7).unwrap(), []);
    // The first of all records are the first.
    let all = index.score(&queries[0], 1000).unwrap();
    assert_eq!(all.records.len(), 53);
    assert_eq!(all.records[..7], one_by_one[0].records);
}

#[test]
fn what_is_not_finished_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("influence.idx");
    let sketch = Sketch { seed: 4, input: INPUT as u64, dims: 32 };
    let create = |path| DiskBuilder::create(path, sketch, DAMPING, vec![[1; 32]], 2);
    let mut builder = create(&path).unwrap();
    builder.set(0, 0, &gradient(0, INPUT)).unwrap();
    assert!(matches!(builder.set(2, 0, &gradient(0, INPUT)), Err(IndexError::Size { .. })));
    let unknown = Err(IndexError::UnknownContribution { row: 1, contribution: 1 });
    assert_eq!(builder.set(1, 1, &gradient(0, INPUT)), unknown);
    assert_eq!(builder.set(1, 0, &[0.0; INPUT]), Err(IndexError::NoDirection(1)));
    assert_eq!(builder.finish().err(), Some(IndexError::NoDirection(1)));
    drop(create(&path).unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let nowhere = folder.path().join("no/such/folder.idx");
    assert!(matches!(create(&nowhere).err(), Some(IndexError::Io { .. })));
}

#[test]
fn influence_is_the_cosine_of_gradients() {
    let (index, _, _folder) = both(53, 256);
    let seeds = [3u64, 8, 99, 7000];
    let queries: Vec<Query> = seeds
        .map(|seed| Query::from_gradient(&gradient(seed, INPUT), &index.sketch()).unwrap())
        .to_vec();
    let unit = |seed: u64| -> Vec<f64> {
        let row = index.sketch().project(&gradient(seed, INPUT)).unwrap();
        let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        row.iter().map(|v| f64::from(*v) / norm).collect()
    };
    let found = index.influences(&queries).unwrap();
    for (seed, row) in seeds.iter().zip(&found) {
        assert_eq!(row.len(), 53);
        let query = unit(*seed);
        for (record, ppm) in row.iter().enumerate() {
            let cosine: f64 = unit(record as u64).iter().zip(&query).map(|(a, b)| a * b).sum();
            assert!((*ppm as f64 / 1e6 - cosine).abs() < 0.01, "{ppm} {cosine}");
        }
    }
    // An attribution names the largest of each contribution; row i belongs to number i mod 3.
    for (query, row) in queries.iter().zip(&found) {
        let attributed = index.score(query, 1).unwrap();
        assert_eq!(attributed.influences.len(), 3);
        for (number, influence) in (0u32..).zip(&attributed.influences) {
            let own = (0u32..).zip(row).filter(|(row, _)| row % 3 == number);
            let largest = own.clone().map(|(_, ppm)| *ppm).max().unwrap();
            assert_eq!((influence.contribution, influence.ppm), (number, largest));
            assert!(own.clone().any(|(row, ppm)| row == influence.row && *ppm == largest));
        }
    }
    assert!(found[0][3] > 980_000, "a record has the direction of itself: {}", found[0][3]);
    let short = Query::from_integers(vec![1, 2, 3]).unwrap();
    let refused = index.influences(&[short]);
    assert_eq!(refused, Err(IndexError::Length { expected: 256, found: 3 }));
}

#[test]
fn the_form_of_gradients_is_kept() {
    let sketch = Sketch { seed: 4, input: INPUT as u64, dims: 32 };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("influence.idx");
    let mut memory = Builder::new(sketch, DAMPING, vec![[1; 32]], 1).unwrap().form(7);
    memory.set(0, 0, &gradient(0, INPUT)).unwrap();
    let mut disk = DiskBuilder::create(&path, sketch, DAMPING, vec![[1; 32]], 1).unwrap().form(9);
    disk.set(0, 0, &gradient(0, INPUT)).unwrap();
    assert_eq!(memory.build().unwrap().form(), 7);
    assert_eq!(disk.finish().unwrap().form(), 9);
    assert_eq!(both(3, 32).0.form(), 0, "nothing said");
}
