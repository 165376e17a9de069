//! The written-out backward against the tensor library's own differentiation, record by record.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::{Manner, Packed, TunedAdapter};
use crate::batch::Batch;
use crate::config::Projection;
use crate::lora::{Adapter, LoraConfig};
use crate::model::{BaseModel, Quantise, Transformer};
use crate::record::Sample;

fn base(quantise: Quantise) -> BaseModel {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny");
    BaseModel::load_with(&folder, Device::Cpu, quantise).unwrap()
}

/// An adapter whose B is not zero.
fn adapter(base: &BaseModel, rank: i64, alpha: f64, targets: &[Projection], seed: u64) -> Adapter {
    let config = LoraConfig { rank, alpha, targets: targets.to_vec(), rslora: seed % 2 == 1 };
    let adapter = Adapter::new(config, base.config(), seed, Device::Cpu).unwrap();
    tch::manual_seed(seed as i64);
    let noise = Tensor::randn(adapter.flat().size(), (Kind::Float, Device::Cpu)) * 0.05;
    Adapter::from_flat(adapter.config().clone(), adapter.flat() + noise)
}

/// Records of many lengths; learnt tokens in one run or several.
fn samples(count: usize, seed: usize) -> Vec<Sample> {
    (0..count)
        .map(|i| {
            let length = 3 + (i * 17 + seed * 5) % 40 + if i == 2 { 130 } else { 0 };
            let tokens = (0..length).map(|t| (20 + (t * 37 + i * 101 + seed * 7) % 1900) as i64);
            let learn = (0..length).map(|t| t > 1 && (t + i) % 5 != 0);
            Sample { tokens: tokens.collect(), learn: learn.collect() }
        })
        .collect()
}

/// Weighted loss and its gradient by the plain pass, one record at a time.
fn plainly(net: &Transformer, adapter: &Adapter, samples: &[Sample], weight: f64) -> (f64, Tensor) {
    let flat = adapter.flat().copy().set_requires_grad(true);
    let mut loss = 0.0;
    for sample in samples {
        let batch = Batch::weighted(&[sample], 0, 0.0, Device::Cpu);
        let lora = Adapter::views(adapter.config(), net.config(), &flat);
        let hidden = net.hidden(&batch.ids, Some(&lora));
        let picked = hidden.view([-1, net.config().hidden_size]).index_select(0, &batch.positions);
        let nll = net.logits(&picked).cross_entropy_loss::<Tensor>(
            &batch.targets,
            None,
            tch::Reduction::Sum,
            -100,
            0.0,
        ) * weight;
        loss += nll.double_value(&[]);
        nll.backward();
    }
    (loss, flat.grad())
}

fn agree(ours: &Tensor, theirs: &Tensor, what: &str) {
    let size = theirs.abs().max().double_value(&[]);
    let gap = (ours - theirs).abs().max().double_value(&[]);
    assert!(size > 1e-3, "{what}: the gradient says something ({size})");
    assert!(gap < 1e-5 * size.max(1.0), "{what}: gap {gap}, size {size}");
}

#[test]
fn packed_records_of_several_adapters_give_each_its_own_gradient() {
    for (quantise, recompute) in
        [(Quantise::None, false), (Quantise::None, true), (Quantise::Nf4Double, false)]
    {
        let base = base(quantise);
        let net = base.transformer();
        let jobs = [
            (adapter(&base, 4, 8.0, &Projection::ALL, 1), samples(7, 1)),
            (adapter(&base, 9, 9.0, &[Projection::V, Projection::Gate], 2), samples(3, 2)),
            (adapter(&base, 2, 3.0, &[Projection::O, Projection::Down], 3), samples(1, 3)),
            (adapter(&base, 16, 32.0, &[Projection::Q], 4), samples(2, 4)),
        ];
        let parts: Vec<Vec<&Sample>> = jobs.iter().map(|(_, s)| s.iter().collect()).collect();
        let packed = Packed::new(&parts, Device::Cpu);
        assert!(packed.blocks.len() > 1);
        let tuned: Vec<TunedAdapter> = jobs
            .iter()
            .map(|(a, _)| TunedAdapter::new(a.config(), net.config(), a.flat(), Kind::Float))
            .collect();
        let adapters: Vec<_> = tuned.iter().map(Some).collect();
        let forward = net.tune(&packed, &adapters, Manner { keep: true, recompute });
        let losses = forward.per_token.shallow_clone();
        // Every job has a weight of its own.
        let weights: Vec<Tensor> = packed
            .learnt_parts
            .iter()
            .enumerate()
            .map(|(i, rows)| {
                Tensor::full([rows.len], 1.0 / (10 + i) as f64, (Kind::Float, Device::Cpu))
            })
            .collect();
        net.tune_back(forward, &packed, &adapters, &Tensor::cat(&weights, 0));
        for (i, (adapter, samples)) in jobs.iter().enumerate() {
            let weight = 1.0 / (10 + i) as f64;
            let (loss, gradient) = plainly(net, adapter, samples, weight);
            let ours = packed.learnt_parts[i].of(&losses).sum(Kind::Double).double_value(&[]);
            assert!((ours * weight - loss).abs() < 1e-5 * loss, "job {i}: {ours} {loss}");
            let what = format!("job {i}, {quantise:?}, recompute {recompute}");
            agree(tuned[i].gradient(), &gradient, &what);
        }
        // Without a backward to come, the losses are the same.
        let again = net.tune(&packed, &adapters, Manner { keep: false, recompute: false });
        assert_eq!((again.per_token - losses).abs().max().double_value(&[]), 0.0);
    }
}

/// In bf16, as on CUDA: attention by a graph of its own, gradients summed up in f32.
#[test]
fn half_the_width_gives_nearly_the_same_gradient() {
    let base = base(Quantise::None);
    let wide = base.transformer();
    let named: std::collections::HashMap<String, Tensor> = wide.named().into_iter().collect();
    let mut narrow =
        Transformer::build(
            wide.config().clone(),
            |name, _| Ok(named[name].to_kind(Kind::BFloat16)),
        )
        .unwrap();
    narrow.join();
    let jobs = [
        (adapter(&base, 4, 8.0, &Projection::ALL, 1), samples(4, 1)),
        (adapter(&base, 8, 8.0, &[Projection::K, Projection::Up], 2), samples(2, 2)),
    ];
    let parts: Vec<Vec<&Sample>> = jobs.iter().map(|(_, s)| s.iter().collect()).collect();
    let packed = Packed::new(&parts, Device::Cpu);
    for (net, tolerance) in [(wide, 1e-5), (&narrow, 0.05)] {
        let tuned: Vec<TunedAdapter> = jobs
            .iter()
            .map(|(a, _)| TunedAdapter::new(a.config(), net.config(), a.flat(), net.kind()))
            .collect();
        let adapters: Vec<_> = tuned.iter().map(Some).collect();
        let forward = net.tune(&packed, &adapters, Manner { keep: true, recompute: true });
        assert_eq!(forward.per_token.kind(), Kind::Float);
        let weights = forward.per_token.ones_like() / 20.0;
        net.tune_back(forward, &packed, &adapters, &weights);
        for ((adapter, samples), tuned) in jobs.iter().zip(&tuned) {
            let (_, expected) = plainly(wide, adapter, samples, 1.0 / 20.0);
            assert_eq!(tuned.gradient().kind(), Kind::Float);
            let off = (tuned.gradient() - &expected).norm().double_value(&[]);
            let off = off / expected.norm().double_value(&[]);
            assert!(off < tolerance, "{:?}: off by {off}", net.kind());
        }
    }
}

/// What is not a number in one job's adapter stays there.
#[test]
fn a_poisoned_adapter_does_not_reach_the_others() {
    let base = base(Quantise::None);
    let net = base.transformer();
    let good = adapter(&base, 4, 8.0, &Projection::ALL, 1);
    let bad = adapter(&base, 4, 8.0, &Projection::ALL, 2);
    let bad = Adapter::from_flat(bad.config().clone(), bad.flat() * f64::NAN);
    let (a, b) = (samples(4, 1), samples(4, 2));
    let packed =
        Packed::new(&[a.iter().collect(), b.iter().collect(), a.iter().collect()], Device::Cpu);
    let tuned = [&good, &bad, &good]
        .map(|a| TunedAdapter::new(a.config(), net.config(), a.flat(), Kind::Float));
    let adapters: Vec<_> = tuned.iter().map(Some).collect();
    let forward = net.tune(&packed, &adapters, Manner { keep: true, recompute: false });
    let weights = forward.per_token.ones_like() / 20.0;
    net.tune_back(forward, &packed, &adapters, &weights);
    let norm = |i: usize| tuned[i].gradient().norm().double_value(&[]);
    assert!(norm(1).is_nan());
    let (_, expected) = plainly(net, &good, &a, 1.0 / 20.0);
    agree(tuned[0].gradient(), &expected, "before it");
    agree(tuned[2].gradient(), &expected, "after it");
}

/// Nanoseconds that this thread has computed: other work on the machine does not count.
fn computed() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap()
}

/// What a step costs in the written-out pass and under the library's differentiation of the same
/// batch padded, in tokens per second of one thread's own time; and what the products with the base
/// alone would take: `cargo test … --lib tuning -- --ignored --nocapture`.
#[test]
#[ignore = "prints timings, checks nothing that could fail"]
fn written_out_beside_differentiated() {
    tch::set_num_threads(1);
    let base = base(Quantise::None);
    let net = base.transformer();
    let adapter = adapter(&base, 16, 32.0, &Projection::ALL, 1);
    let samples: Vec<Sample> = (0..32)
        .map(|i| {
            let tokens: Vec<i64> =
                (0..44 + i % 9).map(|t| 20 + (t * 37 + i * 101) % 1900).collect();
            Sample::from_parts(&tokens[..22], &tokens[22..])
        })
        .collect();
    let tokens: usize = samples.iter().map(|s| s.tokens.len()).sum();
    let rows: Vec<&Sample> = samples.iter().collect();
    let total: usize = samples.iter().map(Sample::learnt).sum();
    let packed = Packed::new(std::slice::from_ref(&rows), Device::Cpu);
    let tuned = TunedAdapter::new(adapter.config(), net.config(), adapter.flat(), Kind::Float);
    let forward = |keep: bool, recompute: bool| {
        net.tune(&packed, &[Some(&tuned)], Manner { keep, recompute })
    };
    let written = |recompute: bool| {
        let forward = forward(true, recompute);
        let weights = forward.per_token.ones_like() / total as f64;
        net.tune_back(forward, &packed, &[Some(&tuned)], &weights);
    };
    let differentiated = || {
        let flat = adapter.flat().copy().set_requires_grad(true);
        let batch = Batch::weighted(&rows, 0, 0.0, Device::Cpu);
        let lora = Adapter::views(adapter.config(), net.config(), &flat);
        let hidden = net.hidden(&batch.ids, Some(&lora));
        let picked = hidden.view([-1, net.config().hidden_size]).index_select(0, &batch.positions);
        net.loss(&picked, &batch.targets, &(&batch.weights / total as f64)).surrogate.backward();
    };
    let c = net.config();
    let input = Tensor::randn([packed.ids.size()[0], c.hidden_size], (Kind::Float, Device::Cpu));
    let wide =
        Tensor::randn([packed.ids.size()[0], c.intermediate_size], (Kind::Float, Device::Cpu));
    let products = || {
        for layer in &net.layers {
            for p in Projection::ALL {
                let x = if p == Projection::Down { &wide } else { &input };
                let y = layer.projections[p as usize].linear(x);
                let _ = y.matmul(&layer.projections[p as usize].dense_copy());
            }
        }
    };
    let parts: [(&str, &dyn Fn()); 5] = [
        ("forwards only", &|| drop(forward(false, false))),
        ("written out", &|| written(false)),
        ("written out, recomputing", &|| written(true)),
        ("differentiated", &differentiated),
        ("the base's products alone", &products),
    ];
    let mut best = [f64::INFINITY; 5];
    for _ in 0..20 {
        for ((_, run), best) in parts.iter().zip(&mut best) {
            let began = computed();
            run();
            *best = best.min(computed() - began);
        }
    }
    for ((name, _), best) in parts.iter().zip(best) {
        println!("{name}: {:.0} tokens/s", tokens as f64 * 1e9 / best);
    }
}
