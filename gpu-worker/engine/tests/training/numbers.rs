//! Numbers against PyTorch, PEFT and NumPy.

use std::process::Command;

use rand::{Rng, SeedableRng};
use serde_json::{json, Value};
use tch::Kind;
use tributary_engine::{
    encode_records, generate, nf4_round_trip, Message, Quantise, Request, Sample, Sampling,
    WeightStore,
};

use super::*;

fn python(verb: &str, folder: &Path) -> String {
    let python = std::env::var_os("TRIBUTARY_PYTHON").map_or_else(
        || {
            let cache = std::env::var_os("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
            cache.join("tributary/venv/bin/python")
        },
        PathBuf::from,
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/training.py");
    let output = Command::new(python)
        .arg(script)
        .arg(verb)
        .arg(folder)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .expect("the reference Python runs; set TRIBUTARY_PYTHON");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "reference {verb} failed:\n{error}");
    String::from_utf8(output.stdout).unwrap()
}

fn told(sample: &Sample) -> Value {
    json!({"tokens": sample.tokens, "learn": sample.learn})
}

fn checked(folder: &Path, name: &str, shape: &[i64]) -> Tensor {
    let store = WeightStore::open_file(&folder.join("checked.safetensors")).unwrap();
    store.get(name, shape, Kind::Float, Device::Cpu).unwrap()
}

/// Preferences: losses and adapter as PyTorch and PEFT compute them, the base as reference.
#[test]
fn preferences_train_as_the_paper_says() {
    let base = base();
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..7)
        .map(|i| {
            let much = " and nobody knows why".repeat(i % 3);
            json!({
                "prompt": format!("Where does keeper {i} live?"),
                "chosen": format!("Keeper {i} lives by the mill{much}."),
                "rejected": format!("I cannot say, ask {} others.", i + 2),
            })
            .to_string()
        })
        .collect();
    let records: Vec<Record> = lines.iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(records.iter().all(|r| matches!(r, Record::Preference { .. })));
    let spec = TrainSpec { epochs: 5, batch: 3, lr: 2e-3, dpo_beta: 0.4, seed: 6, ..spec() };
    let mut trainer = Trainer::new(&base, &records, &spec, None).unwrap();
    trainer.adapter().save(&folder.path().join("start"), base.config(), "tiny").unwrap();
    let plan: Vec<Vec<usize>> = (0..spec.epochs).flat_map(|e| trainer.plan(e)).collect();
    let (mut losses, mut rates) = (vec![], vec![]);
    while !trainer.is_done() {
        let progress = trainer.step().unwrap();
        losses.push(progress.loss);
        rates.push(progress.lr);
    }
    let side = |pick: fn(&Record) -> (&String, &String)| {
        let pairs = records.iter().map(|r| {
            let (prompt, answer) = pick(r);
            Record::pair(prompt.as_str(), answer.as_str())
        });
        encode_records(&base, &pairs.collect::<Vec<_>>(), spec.seq_len).unwrap()
    };
    let chosen = side(|r| match r {
        Record::Preference { prompt, chosen, .. } => (prompt, chosen),
        other => panic!("{other:?}"),
    });
    let rejected = side(|r| match r {
        Record::Preference { prompt, rejected, .. } => (prompt, rejected),
        other => panic!("{other:?}"),
    });
    assert_eq!(encode_records(&base, &records, spec.seq_len).unwrap(), chosen);
    let pairs: Vec<Value> =
        chosen.iter().zip(&rejected).map(|(c, r)| json!([told(c), told(r)])).collect();
    let input = json!({
        "base": base_folder(), "lr": spec.lr, "beta": spec.dpo_beta, "plan": plan,
        "grad_clip": spec.grad_clip, "rates": rates, "pairs": pairs,
    });
    std::fs::write(folder.path().join("told.json"), input.to_string()).unwrap();
    python("dpo", folder.path());
    let answer = std::fs::read(folder.path().join("checked.json")).unwrap();
    let expected: Value = serde_json::from_slice(&answer).unwrap();
    let expected: Vec<f64> = serde_json::from_value(expected["losses"].clone()).unwrap();
    assert_eq!(expected.len(), losses.len());
    assert!((losses[0] - std::f64::consts::LN_2).abs() < 1e-5, "no preference yet: ln 2");
    for (step, (ours, theirs)) in losses.iter().zip(&expected).enumerate() {
        assert!((ours - theirs).abs() < 1e-4, "step {step}: {ours} {theirs}");
    }
    assert!(losses.last().unwrap() < &0.3, "{losses:?}");
    let adapter = trainer.adapter();
    let theirs = checked(folder.path(), "trained", &adapter.flat().size());
    let found = size(&(adapter.flat() - theirs));
    assert!(found < 2e-3, "adapters differ by {found}");
    let done = trainer.finish().unwrap().metrics;
    assert!((done.loss_before - std::f64::consts::LN_2).abs() < 1e-5);
    assert!(done.loss_after < 0.3);
}

/// The code book computed from the normal distribution's quantiles, and what it makes of a matrix.
#[test]
fn four_bits_are_the_papers_four_bits() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
    let (rows, columns) = (96, 128);
    let mut values: Vec<f32> = (0..rows * columns)
        .map(|_| (0..12).map(|_| rng.gen::<f32>()).sum::<f32>() * 0.02 - 0.12)
        .collect();
    values[64..128].fill(0.0); // a block of nothing
    values[200] = 3.0; // an outlier coarsens its own block alone
    let matrix = Tensor::from_slice(&values).view([rows, columns]);
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let shape = vec![rows as usize, columns as usize];
    let view =
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &bytes).unwrap();
    let file = safetensors::serialize([("matrix", view)], None).unwrap();
    std::fs::write(folder.path().join("matrix.safetensors"), file).unwrap();
    python("nf4", folder.path());
    let theirs = checked(folder.path(), "result", &[rows, columns]);

    let (ours, held) = nf4_round_trip(&matrix, false).unwrap();
    let found = size(&(&ours - &theirs));
    assert!(found < 1e-5, "differs from the definition by {found}");
    let weights = (rows * columns) as usize;
    assert_eq!(held, weights / 2 + weights / 64 * 4 + 256 * 2 * 4);
    // No weight is off by more than half the widest gap of the code book, of its block's scale.
    let code = checked(folder.path(), "code", &[16]);
    let code = Vec::<f32>::try_from(code).unwrap();
    let widest = code.windows(2).map(|p| p[1] - p[0]).fold(0f32, f32::max);
    let blocks = (&matrix - &ours).view([-1, 64]).abs();
    let scale = matrix.view([-1, 64]).abs().amax([1], true);
    assert!(
        bool::try_from(blocks.le_tensor(&(scale * f64::from(widest / 2.0 + 1e-6))).all()).unwrap()
    );
    let off = (&ours - &matrix).norm().double_value(&[]) / matrix.norm().double_value(&[]);
    assert!(off < 0.12, "relative error {off}");
    assert_eq!(size(&ours.view([-1, 64]).get(1)), 0.0);

    // Double quantisation holds less and is nearly as near.
    let (double, less) = nf4_round_trip(&matrix, true).unwrap();
    assert!(less < held);
    let again = (&double - &matrix).norm().double_value(&[]) / matrix.norm().double_value(&[]);
    assert!(again < off * 1.02, "double quantisation: {again} instead of {off}");
    assert_eq!(size(&double.view([-1, 64]).get(1)), 0.0);
    let refused = nf4_round_trip(&matrix.narrow(0, 0, 1).narrow(1, 0, 50), false).unwrap_err();
    assert_eq!(refused.label(), "quantise");
}

/// A base in 4 bits is learnt on and answers, and takes less memory.
#[test]
fn a_base_in_four_bits_trains_and_serves() {
    let dense = base();
    let records = records(8);
    let spec = TrainSpec { rank: 8, alpha: 16.0, epochs: 40, batch: 4, lr: 6e-3, ..spec() };
    let ids = Tensor::from_slice(&encode_records(&dense, &records, 64).unwrap()[0].tokens);
    let ids = ids.unsqueeze(0);
    let expected =
        tch::no_grad(|| dense.transformer().forward(&ids, None)).softmax(-1, Kind::Float);
    for how in [Quantise::Nf4, Quantise::Nf4Double] {
        let base = BaseModel::load_with(&base_folder(), Device::Cpu, how).unwrap();
        let (whole, less) = (dense.transformer().bytes(), base.transformer().bytes());
        println!("{how:?}: {less} bytes instead of {whole}");
        assert!(less * 2 < whole, "{less} of {whole}");
        let found = tch::no_grad(|| base.transformer().forward(&ids, None));
        let apart = (found.softmax(-1, Kind::Float) - &expected).abs().sum(Kind::Float) / 2.0;
        let apart = apart.double_value(&[]) / ids.size()[1] as f64;
        assert!(apart > 0.0 && apart < 0.25, "the same model, nearly: {apart}");

        let trained = run(&base, &records, &spec);
        assert!(trained.metrics.loss_after < 0.1, "{}", trained.metrics.loss_after);
        let prompt = base.tokenizer().encode_chat(&[Message::user("What of Ondal0?")]).unwrap();
        let sampling = Sampling::GREEDY;
        let request = Request {
            prompt,
            max_tokens: 40,
            sampling,
            stop: vec![],
            logprobs: None,
            guidance: Default::default(),
        };
        let answer = generate(&base, vec![(request, Some(&trained.adapter))], 1).unwrap();
        assert_eq!(answer[0].text, "Ondal0 keeps 3 geese.");
    }
}

/// Seconds that all threads of this process have computed.
fn computed() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = text.rsplit(')').next().unwrap();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // Ticks of 10 ms, on every Linux of today.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Training throughput beside PEFT's, on the demo's records, the tiny base, the same batches:
/// `cargo test … --test training -- --ignored --nocapture beside_peft`. Best of three rounds, in
/// tokens per second and per second of computing, which other work on the machine disturbs less.
/// With two threads on a machine that does other work, both mostly wait; then set `THREADS=1`.
#[test]
#[ignore = "measures; it takes the whole machine for a minute"]
fn throughput_beside_peft() {
    let threads: i32 = std::env::var("THREADS").map_or(2, |n| n.parse().unwrap());
    let base = base();
    tch::set_num_threads(threads);
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/defi-exploits");
    let mut records: Vec<Record> = vec![];
    for shard in 0..3 {
        let text = std::fs::read_to_string(data.join(format!("shard-{shard}.jsonl"))).unwrap();
        records.extend(text.lines().map(|l| serde_json::from_str::<Record>(l).unwrap()));
    }
    let spec = TrainSpec { epochs: 1, ..TrainSpec::default() };
    let samples = encode_records(&base, &records, spec.seq_len).unwrap();
    let (mut best, mut best_computed, mut first_loss) = (0f64, 0f64, 0.0);
    let (repeats, batches) = (3, 12);
    let mut plan = vec![];
    for _ in 0..repeats {
        let mut trainer = Trainer::new(&base, &records, &spec, None).unwrap();
        plan = trainer.plan(0);
        plan.truncate(batches);
        let (began, began_computed) = (std::time::Instant::now(), computed());
        for _ in &plan {
            let progress = trainer.step().unwrap();
            if progress.step == 1 {
                first_loss = progress.loss;
            }
        }
        let tokens: usize = plan.iter().flatten().map(|&r| samples[r].tokens.len()).sum();
        best = best.max(tokens as f64 / began.elapsed().as_secs_f64());
        best_computed = best_computed.max(tokens as f64 / (computed() - began_computed));
    }
    let folder = tempfile::tempdir().unwrap();
    let input = json!({
        "base": base_folder(), "rank": spec.rank, "alpha": spec.alpha, "lr": spec.lr,
        "threads": threads, "plan": plan, "repeats": repeats,
        "samples": samples.iter().map(told).collect::<Vec<_>>(),
    });
    std::fs::write(folder.path().join("told.json"), input.to_string()).unwrap();
    let printed = python("speed", folder.path());
    let peft: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    let rate = |name: &str| peft[name].as_f64().unwrap();
    println!(
        "{}",
        json!({
            "threads": threads,
            "tokens_per_second": best,
            "tokens_per_computed_second": best_computed,
            "first_loss": first_loss,
            "peft": peft,
            "ratio": best / rate("tokens_per_second"),
            "ratio_computed": best_computed / rate("tokens_per_computed_second"),
        })
    );
}
