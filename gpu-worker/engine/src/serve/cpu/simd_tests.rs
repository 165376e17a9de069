//! The loops against plain arithmetic, on every instruction set of this machine.

use super::*;

fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn every_instruction_set_and_every_crowd_gives_the_same_bits() {
    let (k, columns) = (37usize, 83usize);
    let panels: Vec<[f32; LANES]> =
        numbers(columns.div_ceil(LANES) * k * LANES, 1).as_chunks::<LANES>().0.to_vec();
    for rows in [1, 2, 3, 5, 6, 7, 12, 13, 29] {
        let x = numbers(rows * k, 2);
        let mut expected = vec![0f32; rows * columns];
        for r in 0..rows {
            for c in 0..columns {
                let panel = &panels[c / LANES * k..];
                let chain = (0..k).fold(0f32, |s, i| x[r * k + i].mul_add(panel[i][c % LANES], s));
                expected[r * columns + c] = chain;
            }
        }
        for isa in Isa::all() {
            let mut y = vec![0f32; rows * columns];
            let grid = Grid::new(&mut y, columns);
            let to = Target { grid, row: 0, column: 0, step: LANES, columns, add: false };
            multiply(isa, &x, k, rows, &panels, k, k, to);
            assert_eq!(y, expected, "{rows} rows with {isa:?}");
            let grid = Grid::new(&mut y, columns);
            multiply(isa, &x, k, rows, &panels, k, k, Target { grid, add: true, ..to });
            assert!(y.iter().zip(&expected).all(|(y, e)| *y == 2.0 * e));
        }
    }
}

#[test]
fn elementwise_functions_are_right_and_the_same_everywhere() {
    let x: Vec<f32> = numbers(300, 3).iter().map(|v| v * 40.0).collect();
    for v in x.iter().chain(&[0.0, 88.0, -87.0, -200.0]) {
        let right = f64::from(v.max(-87.0)).exp();
        assert!((f64::from(exp(*v)) / right - 1.0).abs() < 3e-7, "exp({v})");
    }
    let weight = numbers(300, 4);
    let mut seen: Vec<Vec<f32>> = vec![];
    for isa in Isa::all() {
        let mut all = vec![0f32; 300];
        rms_norm(isa, &x, &weight, 1e-5, &mut all);
        let mut gate = vec![0f32; 144];
        gated(isa, &x[..288], &mut gate);
        let (mut scores, mut inverse) = (x.clone(), 0.0);
        softmax(isa, &mut scores, 201, &mut inverse);
        let total: f64 = scores.iter().map(|p| f64::from(*p) * f64::from(inverse)).sum();
        assert!((total - 1.0).abs() < 1e-6 && scores[201..].iter().all(|p| *p == 0.0));
        all.extend(gate);
        all.extend(scores);
        seen.push(all);
    }
    assert!(seen.windows(2).all(|w| w[0] == w[1]));
}
