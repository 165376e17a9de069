use super::super::draw::uniform;
use super::*;

const NONE: &[(i64, f32)] = &[];

fn row<'a>(sampling: &'a Sampling, index: u64, counts: &'a HashMap<i64, u32>) -> Row<'a> {
    Row { sampling, index, bias: NONE, counts, allowed: None, logprobs: None }
}

/// Logits that look like a model's: most far below a few.
fn logits(seed: u64, vocabulary: u64) -> Vec<f32> {
    (0..vocabulary).map(|i| (12.0 * uniform(seed, i).powi(3)) as f32).collect()
}

fn tensor(rows: &[Vec<f32>]) -> Tensor {
    Tensor::cat(&rows.iter().map(|r| Tensor::from_slice(r).unsqueeze(0)).collect::<Vec<_>>(), 0)
}

/// Probabilities by the definition: softmax, then the cuts on the sorted list.
fn by_definition(logits: &[f32], sampling: &Sampling) -> Vec<f64> {
    let top = logits.iter().copied().fold(f32::MIN, f32::max);
    let weight = |l: f32| (f64::from(l - top) / f64::from(sampling.temperature)).exp();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    if sampling.top_k > 0 {
        order.truncate(sampling.top_k as usize);
    }
    let all: f64 = order.iter().map(|&t| weight(logits[t])).sum();
    let mut kept = vec![];
    let mut sum = 0.0;
    for token in order {
        if sum >= all * f64::from(sampling.top_p) || weight(logits[token]) < sampling.min_p.into() {
            break;
        }
        sum += weight(logits[token]);
        kept.push(token);
    }
    let mut probabilities = vec![0.0; logits.len()];
    for token in kept {
        probabilities[token] = weight(logits[token]) / sum;
    }
    probabilities
}

fn settings() -> Vec<Sampling> {
    let warm = Sampling { temperature: 1.0, ..Sampling::GREEDY };
    vec![
        warm,
        Sampling { temperature: 0.6, ..warm },
        Sampling { temperature: 2.5, ..warm },
        Sampling { top_k: 7, ..warm },
        Sampling { top_k: 1, ..warm },
        Sampling { top_k: 5_000, ..warm },
        Sampling { top_p: 0.7, ..warm },
        Sampling { top_p: 0.999, temperature: 1.7, ..warm },
        Sampling { min_p: 0.05, ..warm },
        Sampling { top_k: 40, top_p: 0.9, min_p: 0.02, temperature: 0.8, ..warm },
    ]
}

#[test]
fn draws_follow_the_softmax_and_never_leave_the_cut() {
    const DRAWS: u64 = 20_000;
    let logits = logits(5, 300);
    let counts = HashMap::new();
    for (number, setting) in settings().into_iter().enumerate() {
        let expected = by_definition(&logits, &setting);
        let mut seen = vec![0u64; logits.len()];
        for seed in 0..DRAWS {
            let sampling = Sampling { seed, ..setting };
            let chosen = choose_one(&mut logits.clone(), &row(&sampling, 3, &counts)).unwrap();
            seen[chosen.token as usize] += 1;
        }
        let outside = (0..seen.len()).find(|&t| expected[t] == 0.0 && seen[t] > 0);
        assert_eq!(outside, None, "setting {number}");
        // Pearson's chi-square; cells that expect fewer than 5 are taken together.
        let (mut square, mut cells, mut rest) = (0.0, 0u32, (0.0, 0.0));
        for (probability, seen) in expected.iter().zip(&seen) {
            let (e, o) = (probability * DRAWS as f64, *seen as f64);
            if e >= 5.0 {
                square += (o - e) * (o - e) / e;
                cells += 1;
            } else {
                rest = (rest.0 + e, rest.1 + o);
            }
        }
        if rest.0 >= 5.0 {
            square += (rest.1 - rest.0) * (rest.1 - rest.0) / rest.0;
            cells += 1;
        }
        let freedom = f64::from(cells.saturating_sub(1));
        // Wilson and Hilferty's approximation of the 99.99 % quantile.
        let bound = match freedom {
            0.0 => 1e-9,
            k => k * (1.0 - 2.0 / (9.0 * k) + 3.719 * (2.0 / (9.0 * k)).sqrt()).powi(3),
        };
        assert!(square <= bound, "setting {number}: {square} of {bound} at {freedom}");
    }
}

#[test]
fn cut_sets_are_exact_at_their_borders() {
    // Probabilities 0.4, 0.3, 0.2, 0.1, told by the tokens that many seeds reach.
    let logits: Vec<f32> = [0.1f64, 0.4, 0.2, 0.3].iter().map(|p| p.ln() as f32).collect();
    let counts = HashMap::new();
    let reached = |sampling: Sampling| {
        let mut found: Vec<i64> = (0..2_000)
            .map(|seed| {
                let sampling = Sampling { seed, temperature: 1.0, ..sampling };
                choose_one(&mut logits.clone(), &row(&sampling, 0, &counts)).unwrap().token
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    let all = Sampling::GREEDY;
    assert_eq!(reached(all), [0, 1, 2, 3]);
    assert_eq!(reached(Sampling { top_k: 2, ..all }), [1, 3]);
    assert_eq!(reached(Sampling { top_p: 0.39, ..all }), [1]);
    assert_eq!(reached(Sampling { top_p: 0.41, ..all }), [1, 3]);
    assert_eq!(reached(Sampling { top_p: 0.71, ..all }), [1, 2, 3]);
    assert_eq!(reached(Sampling { min_p: 0.49, ..all }), [1, 2, 3]);
    assert_eq!(reached(Sampling { min_p: 0.51, ..all }), [1, 3]);
    assert_eq!(reached(Sampling { min_p: 1.0, ..all }), [1]);
    // The cut to a sum is made on what the cut to a number leaves.
    assert_eq!(reached(Sampling { top_k: 2, top_p: 0.5, ..all }), [1]);
    assert_eq!(reached(Sampling { top_k: 2, top_p: 0.6, ..all }), [1, 3]);
}

#[test]
fn a_draw_knows_nothing_of_the_rows_beside_it() {
    let counts = HashMap::new();
    let greedy = Sampling::GREEDY;
    let all: Vec<Vec<f32>> = (0..9).map(|i| logits(100 + i, 4_000)).collect();
    let settings: Vec<Sampling> = settings()
        .into_iter()
        .zip(0..)
        .map(|(s, seed)| Sampling { seed, ..s })
        .chain([greedy])
        .collect();
    let setting = |i: usize| &settings[i % settings.len()];
    let alone: Vec<Chosen> = (0..9)
        .map(|i| {
            let rows = [row(setting(i), i as u64, &counts)];
            choose(&tensor(&all[i..i + 1]), &rows).unwrap().remove(0)
        })
        .collect();
    let rows: Vec<_> = (0..9).map(|i| row(setting(i), i as u64, &counts)).collect();
    assert_eq!(choose(&tensor(&all), &rows).unwrap(), alone);
    let (mut turned, mut reversed) = (all.clone(), vec![]);
    turned.reverse();
    for i in (0..9).rev() {
        reversed.push(row(setting(i), i as u64, &counts));
    }
    let mut back = choose(&tensor(&turned), &reversed).unwrap();
    back.reverse();
    assert_eq!(back, alone);
    // Seed and index both matter.
    let warm = |seed| Sampling { temperature: 2.5, seed, ..greedy };
    let tokens: std::collections::BTreeSet<i64> = (0..20)
        .flat_map(|n| [(n, 0), (0, n)])
        .map(|(seed, index)| {
            choose_one(&mut all[0].clone(), &row(&warm(seed), index, &counts)).unwrap().token
        })
        .collect();
    assert!(tokens.len() > 10, "{tokens:?}");
}

#[test]
fn looking_up_the_likeliest_alone_gives_the_same_tokens() {
    let (counts, vocabulary) = (HashMap::from([(3i64, 2u32), (900, 1)]), 1_000);
    let all: Vec<Vec<f32>> = (0..40).map(|i| logits(i, vocabulary)).collect();
    let mut allowed = SimpleVob::alloc(vocabulary as usize);
    (0..vocabulary as u32).filter(|t| t % 3 != 1).for_each(|t| allowed.allow_token(t));
    let settings: Vec<Sampling> = settings()
        .into_iter()
        .zip([0.0f32, 0.5].iter().cycle())
        .zip(0..)
        .map(|((s, f), seed)| Sampling { seed, frequency_penalty: *f, presence_penalty: *f, ..s })
        .chain([Sampling::GREEDY])
        .collect();
    let bias = [(7i64, 4.0f32), (8, -50.0), (-1, 9.0), (5_000, 9.0)];
    let rows: Vec<Row<'_>> = (0..all.len())
        .map(|i| Row {
            bias: if i % 4 == 1 { &bias } else { NONE },
            allowed: (i % 3 == 2).then_some(&allowed),
            logprobs: (i % 5 == 0).then_some(i % 7),
            ..row(&settings[i % settings.len()], i as u64, &counts)
        })
        .collect();
    let logits = tensor(&all);
    let rows: Vec<&Row<'_>> = rows.iter().collect();
    let here = choose_here(&logits, &rows).unwrap();
    // So few looked up that draws go beyond them, and enough that most do not.
    for head in [1, 20, 400, 2_000] {
        let there = choose_there(&logits, &rows, head).unwrap();
        for (row, (a, b)) in here.iter().zip(&there).enumerate() {
            assert_eq!(a.token, b.token, "row {row}, head {head}");
            match (&a.logprobs, &b.logprobs) {
                (Some(a), Some(b)) => {
                    assert!((a.chosen - b.chosen).abs() < 1e-4);
                    assert_eq!(a.top.len(), b.top.len());
                    for (a, b) in a.top.iter().zip(&b.top) {
                        assert!(a.0 == b.0 && (a.1 - b.1).abs() < 1e-4, "{a:?} {b:?}");
                    }
                }
                (a, b) => assert_eq!(a, b),
            }
        }
    }
}

#[test]
fn biases_penalties_and_probabilities() {
    let (logits, counts) = (vec![1.0f32, 2.0, 3.0, 2.9], HashMap::from([(2i64, 2u32)]));
    let greedy = Sampling::GREEDY;
    let choose = |row: &Row<'_>| choose_one(&mut logits.clone(), row).unwrap().token;
    assert_eq!(choose(&row(&greedy, 0, &counts)), 2);
    for (sampling, expected) in [
        (Sampling { frequency_penalty: 0.04, ..greedy }, 2),
        (Sampling { frequency_penalty: 0.06, ..greedy }, 3),
        (Sampling { presence_penalty: 0.09, ..greedy }, 2),
        (Sampling { presence_penalty: 0.11, ..greedy }, 3),
        (Sampling { presence_penalty: -1.0, ..greedy }, 2),
    ] {
        assert_eq!(choose(&row(&sampling, 0, &counts)), expected, "{sampling:?}");
    }
    let bias = [(0i64, 2.5f32), (9, 100.0)];
    let biased = Row { bias: &bias, logprobs: Some(2), ..row(&greedy, 0, &counts) };
    assert_eq!(choose(&biased), 0);
    // Probabilities are the model's own.
    let own = choose_one(&mut logits.clone(), &biased).unwrap().logprobs.unwrap();
    let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
    let expected = |l: f64| (l - sum.ln()) as f32;
    assert!((own.chosen - expected(1.0)).abs() < 1e-6);
    assert_eq!(own.top.iter().map(|(t, _)| *t).collect::<Vec<_>>(), [2, 3]);
    assert!((own.top[1].1 - expected(f64::from(2.9f32))).abs() < 1e-6);
    // A token that no grammar allows cannot be biased in.
    let mut allowed = SimpleVob::alloc(4);
    allowed.allow_token(1);
    assert_eq!(choose(&Row { allowed: Some(&allowed), ..biased }), 1);
    let none = SimpleVob::alloc(4);
    let warm = Sampling { temperature: 1.0, ..greedy };
    for sampling in [greedy, warm] {
        let barred = Row { allowed: Some(&none), ..row(&sampling, 0, &counts) };
        assert!(choose_one(&mut logits.clone(), &barred).is_err());
        let broken = row(&sampling, 0, &counts);
        assert!(choose_one(&mut [f32::NAN; 4], &broken).is_err());
    }
}

#[test]
fn numbers_out_of_range_are_named() {
    let greedy = Sampling::GREEDY;
    for (sampling, name) in [
        (Sampling { temperature: -0.1, ..greedy }, "temperature"),
        (Sampling { temperature: f32::NAN, ..greedy }, "temperature"),
        (Sampling { temperature: f32::INFINITY, ..greedy }, "temperature"),
        (Sampling { top_p: 0.0, ..greedy }, "top_p"),
        (Sampling { top_p: 1.1, ..greedy }, "top_p"),
        (Sampling { min_p: -0.1, ..greedy }, "min_p"),
        (Sampling { frequency_penalty: f32::NAN, ..greedy }, "frequency_penalty"),
    ] {
        let error = sampling.check().unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}
