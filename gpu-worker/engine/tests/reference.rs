//! The engine's numbers against those of transformers, PEFT and torch.
//!
//! `tests/reference/reference.py` runs in the Python of `TRIBUTARY_PYTHON`, by default the one that
//! the set-up script installs torch into.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use tributary_engine::{
    encode_records, generate, record_gradients, train, Adapter, BaseModel, Checkpoints,
    EngineError, GradientOptions, Guidance, Message, Record, Request, Sample, Sampling, TrainSpec,
    Trainer, WeightStore,
};

fn python() -> PathBuf {
    if let Some(path) = std::env::var_os("TRIBUTARY_PYTHON") {
        return path.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache")))
        .unwrap();
    cache.join("tributary/venv/bin/python")
}

fn reference(verb: &str, folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/reference.py");
    let output = Command::new(python())
        .arg(script)
        .arg(verb)
        .arg(folder)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .expect("the reference Python runs; set TRIBUTARY_PYTHON");
    assert!(
        output.status.success(),
        "reference {verb} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn read(path: &Path, name: &str, shape: &[i64]) -> Tensor {
    WeightStore::open_file(path).unwrap().get(name, shape, Kind::Float, Device::Cpu).unwrap()
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}

fn numbers(t: &Tensor) -> Vec<f32> {
    Vec::<f32>::try_from(t.to_kind(Kind::Float).contiguous().view([-1])).unwrap()
}

#[derive(Deserialize)]
struct Checked {
    losses: Vec<f64>,
    samples: Vec<CheckedSample>,
}

#[derive(Deserialize)]
struct CheckedSample {
    prompt: Vec<i64>,
    answer: Vec<i64>,
}

fn spec() -> TrainSpec {
    TrainSpec {
        rank: 4,
        alpha: 8.0,
        epochs: 7,
        batch: 4,
        lr: 2e-2,
        seq_len: 128,
        seed: 11,
        warmup_ratio: 0.2,
        grad_clip: Some(0.5),
        weight_decay: 0.1,
        ..TrainSpec::default()
    }
}

/// One test, because starting the references takes longer than all their computing.
#[test]
fn numbers_agree_with_the_references() {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    reference("make", folder);

    // Logits of base and adapted model: grouped queries with Llama 3's positions in shards, then
    // linear scaling with tied embeddings and a rank-stabilised adapter.
    for case in ["llama3", "linear"] {
        let place = folder.join(case);
        let base = BaseModel::load(&place, Device::Cpu).unwrap();
        let expected = place.join("expected.safetensors");
        let ids = WeightStore::open_file(&expected).unwrap();
        assert!(ids.get("ids", &[3, 100], Kind::Int64, Device::Cpu).is_err(), "ids are integers");
        let ids = int_tensor(&expected, "ids").view([3, 100]);
        let net = base.transformer();
        let logits = tch::no_grad(|| net.forward(&ids, None));
        let reference = read(&expected, "base", &[3, 100, 320]);
        let gap = largest_difference(&logits, &reference);
        assert!(gap < 1e-4, "{case}: base logits differ by {gap}");
        assert!(reference.std(true).double_value(&[]) > 0.1, "the logits say something");

        let adapter = Adapter::load(&place.join("adapter"), base.config(), Device::Cpu).unwrap();
        let lora = adapter.tensors(base.config(), Kind::Float);
        let adapted = tch::no_grad(|| net.forward(&ids, Some(&lora)));
        let gap = largest_difference(&adapted, &read(&expected, "adapted", &[3, 100, 320]));
        assert!(gap < 1e-4, "{case}: adapted logits differ by {gap}");
        assert!(largest_difference(&adapted, &logits) > 1e-2, "the adapter does something");
    }

    // What the reference needs from us: an adapter's start, the order of records, our result.
    let place = folder.join("llama3");
    let base = BaseModel::load(&place, Device::Cpu).unwrap();
    let text = std::fs::read_to_string(folder.join("records.jsonl")).unwrap();
    let records: Vec<Record> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let spec = spec();
    Adapter::new(spec.lora(), base.config(), spec.seed, Device::Cpu)
        .unwrap()
        .save(&folder.join("start"), base.config(), "llama3")
        .unwrap();
    let trainer = Trainer::new(&base, &records, &spec, None).unwrap();
    let steps = trainer.steps();
    assert!(steps >= 20);
    let plan: Vec<Vec<usize>> = (0..spec.epochs).flat_map(|e| trainer.plan(e)).collect();
    let trained = train(&base, &records, &spec, None, &mut |_| ControlFlow::Continue(())).unwrap();
    let ours = folder.join("ours");
    trained.adapter.save(&ours, base.config(), "llama3").unwrap();
    let samples = encode_records(&base, &records, spec.seq_len).unwrap();
    let ids = &samples[0].tokens;
    let warmup = (spec.warmup_ratio * steps as f64).round() as usize;
    let told = serde_json::json!({
        "lr": spec.lr, "weight_decay": spec.weight_decay, "grad_clip": spec.grad_clip,
        "plan": plan, "warmup": warmup, "ids": [ids],
    });
    std::fs::write(folder.join("spec.json"), told.to_string()).unwrap();
    reference("check", folder);
    let checked: Checked =
        serde_json::from_slice(&std::fs::read(folder.join("checked.json")).unwrap()).unwrap();
    let tensors = folder.join("checked.safetensors");

    // Tokens, by the template and tokenizer of the reference.
    for (sample, expected) in samples.iter().zip(&checked.samples) {
        assert_eq!(*sample, Sample::from_parts(&expected.prompt, &expected.answer));
    }

    // The loss curve and where it ends.
    assert_eq!(checked.losses.len(), trained.metrics.losses.len());
    for (step, (ours, theirs)) in trained.metrics.losses.iter().zip(&checked.losses).enumerate() {
        let gap = (ours - theirs).abs() / theirs;
        assert!(step >= 20 || gap < 1e-4, "step {step}: {ours} against {theirs}");
    }
    assert!(trained.metrics.loss_after < 0.7 * trained.metrics.loss_before);
    let count = trained.adapter.flat().numel() as i64;

    // PEFT loads our file and computes the same logits; so do we from the same file.
    let again = Adapter::load(&ours, base.config(), Device::Cpu).unwrap();
    assert_eq!(numbers(again.flat()), numbers(trained.adapter.flat()));
    let lora = again.tensors(base.config(), Kind::Float);
    let row = Tensor::from_slice(ids).unsqueeze(0);
    let logits = tch::no_grad(|| base.transformer().forward(&row, Some(&lora)));
    let expected = read(&tensors, "logits", &[1, ids.len() as i64, 320]);
    let gap = largest_difference(&logits, &expected);
    assert!(gap < 1e-4, "logits of our adapter in PEFT differ by {gap}");

    // Gradients of single records, all at once here, one by one there.
    let mut seen = 0;
    record_gradients(
        &base,
        &again,
        &samples,
        GradientOptions::default(),
        &mut |index, gradient| {
            let expected = read(&tensors, &format!("gradient.{index}"), &[count]);
            let ours = Tensor::from_slice(gradient);
            let gap = largest_difference(&ours, &expected);
            let size = expected.abs().max().double_value(&[]);
            assert!(gap < 1e-4 * size.max(1e-3), "record {index}: gap {gap}, size {size}");
            seen += 1;
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(seen, samples.len());

    // Greedy generation with cache against the reference's.
    let request = Request {
        prompt: checked.samples[0].prompt.clone(),
        max_tokens: 24,
        sampling: Sampling::GREEDY,
        stop: vec![],
        logprobs: None,
        guidance: Guidance::default(),
    };
    let answer = generate(&base, vec![(request, Some(&again))], 1).unwrap().remove(0);
    let store = WeightStore::open_file(&tensors).unwrap();
    let length = store.shape("generated").unwrap().unwrap();
    let expected: Vec<i64> =
        numbers(&read(&tensors, "generated", &length)).into_iter().map(|v| v as i64).collect();
    assert_eq!(answer.tokens, expected);

    resume_equals_uninterrupted(&base, &records, &spec, &trained.adapter, folder);
    many_adapters_at_once(&base, &place, &again);
    bad_model_folders(&place, folder);
    bad_adapters(&base, &ours, folder);
}

fn resume_equals_uninterrupted(
    base: &BaseModel,
    records: &[Record],
    spec: &TrainSpec,
    whole: &Adapter,
    folder: &Path,
) {
    let checkpoints = Checkpoints { folder: folder.join("checkpoint"), every: 5 };
    let mut left = 12;
    let stopped = train(base, records, spec, Some(&checkpoints), &mut |_| {
        left -= 1;
        if left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(stopped, Err(EngineError::Cancelled)));
    let other = TrainSpec { lr: 1e-3, ..spec.clone() };
    let refused = Trainer::new(base, records, &other, Some(&checkpoints));
    assert!(matches!(refused.err(), Some(EngineError::Checkpoint { .. })));
    let mut first = None;
    let resumed = train(base, records, spec, Some(&checkpoints), &mut |p| {
        first.get_or_insert(p.step);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(first, Some(11), "it goes on after the last checkpoint, step 10");
    let gap = largest_difference(resumed.adapter.flat(), whole.flat());
    assert!(gap < 1e-6, "resumed differs by {gap}");
    assert!(!checkpoints.folder.join("checkpoint.safetensors").exists());
}

/// Sequences with different adapters, ranks and none in one batch answer as they do alone.
fn many_adapters_at_once(base: &BaseModel, place: &Path, ours: &Adapter) {
    let theirs = Adapter::load(&place.join("adapter"), base.config(), Device::Cpu).unwrap();
    let mut lora = spec().lora();
    lora.rank = 2;
    lora.targets.truncate(3);
    let small = Adapter::new(lora, base.config(), 3, Device::Cpu).unwrap();
    let adapters = [Some(ours), Some(&theirs), None, Some(&small), Some(ours)];
    let request = |i: usize| {
        let text = "tea and rain ".repeat(i + 1);
        let prompt = base.tokenizer().encode_chat(&[Message::user(text)]).unwrap();
        let temperature = if i == 3 { 0.8 } else { 0.0 };
        Request {
            prompt,
            max_tokens: 10 + i,
            sampling: Sampling { temperature, top_p: 0.9, seed: 4, ..Sampling::GREEDY },
            stop: vec![],
            logprobs: None,
            guidance: Guidance::default(),
        }
    };
    let all = adapters.iter().enumerate().map(|(i, a)| (request(i), *a)).collect();
    // Three slots for five: some wait, and the set that runs changes.
    let together = generate(base, all, 3).unwrap();
    for (i, adapter) in adapters.iter().enumerate() {
        let alone = generate(base, vec![(request(i), *adapter)], 1).unwrap().remove(0);
        assert_eq!(together[i], alone, "sequence {i}");
        assert_eq!(alone.text, base.tokenizer().decode(&alone.tokens).unwrap());
    }
}

fn bad_model_folders(good: &Path, folder: &Path) {
    // A copy in one file, from which to break things.
    let copy = |name: &str| {
        let to = folder.join(name);
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(good).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
            }
        }
        to
    };
    let fails = |place: &Path| BaseModel::load(place, Device::Cpu).err().expect("it is refused");

    let place = copy("no-config");
    std::fs::remove_file(place.join("config.json")).unwrap();
    assert!(
        matches!(fails(&place), EngineError::MissingFile { path, .. } if path.ends_with("config.json"))
    );

    let place = copy("broken-config");
    std::fs::write(place.join("config.json"), "{\"hidden_size\": 48").unwrap();
    assert!(matches!(fails(&place), EngineError::Config { .. }));

    let place = copy("odd-config");
    let config = std::fs::read_to_string(place.join("config.json")).unwrap();
    std::fs::write(place.join("config.json"), config.replace("\"llama3\"", "\"yarn\"")).unwrap();
    let error = fails(&place);
    assert!(
        matches!(&error, EngineError::Config { reason, .. } if reason.contains("yarn")),
        "{error}"
    );

    let place = copy("no-tokenizer");
    std::fs::remove_file(place.join("tokenizer.json")).unwrap();
    assert!(matches!(fails(&place), EngineError::MissingFile { .. }));

    let place = copy("broken-tokenizer");
    std::fs::write(place.join("tokenizer.json"), "{}").unwrap();
    assert!(matches!(fails(&place), EngineError::Tokenizer { .. }));

    let place = copy("no-shard");
    std::fs::remove_file(place.join("model-00002-of-00006.safetensors")).unwrap();
    assert!(matches!(fails(&place), EngineError::MissingFile { .. }));

    let place = copy("no-weights");
    std::fs::remove_file(place.join("model.safetensors.index.json")).unwrap();
    assert!(matches!(fails(&place), EngineError::MissingFile { .. }));

    let place = copy("truncated");
    let shard = place.join("model-00001-of-00006.safetensors");
    let bytes = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &bytes[..bytes.len() - 100]).unwrap();
    assert!(matches!(fails(&place), EngineError::Safetensors { path, .. } if path == shard));

    let place = copy("mis-shaped");
    let config = std::fs::read_to_string(place.join("config.json")).unwrap();
    let config = config.replace("\"intermediate_size\": 80", "\"intermediate_size\": 96");
    std::fs::write(place.join("config.json"), config).unwrap();
    match fails(&place) {
        EngineError::TensorShape { name, expected, found } => {
            assert_eq!(name, "model.layers.0.mlp.gate_proj.weight");
            assert_eq!((expected, found), (vec![96, 48], vec![80, 48]));
        }
        other => panic!("{other}"),
    }

    let place = copy("missing-tensor");
    let config = std::fs::read_to_string(place.join("config.json")).unwrap();
    let config = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    std::fs::write(place.join("config.json"), config).unwrap();
    match fails(&place) {
        EngineError::MissingTensor { name, .. } => {
            assert!(name.starts_with("model.layers.2."), "{name}");
        }
        other => panic!("{other}"),
    }
}

fn bad_adapters(base: &BaseModel, good: &Path, folder: &Path) {
    let load = |place: &Path| Adapter::load(place, base.config(), Device::Cpu).err();
    let place = folder.join("bad-adapter");
    std::fs::create_dir_all(&place).unwrap();
    assert!(matches!(load(&place), Some(EngineError::MissingFile { .. })));
    let config = std::fs::read_to_string(good.join("adapter_config.json")).unwrap();
    std::fs::write(place.join("adapter_config.json"), &config).unwrap();
    assert!(matches!(load(&place), Some(EngineError::MissingFile { .. })));
    let weights = place.join("adapter_model.safetensors");
    std::fs::copy(good.join("adapter_model.safetensors"), &weights).unwrap();
    assert!(load(&place).is_none());
    let change = |from: &str, to: &str| {
        assert!(config.contains(from), "{config}");
        std::fs::write(place.join("adapter_config.json"), config.replace(from, to)).unwrap();
    };
    change("\"r\": 4", "\"r\": 8");
    match load(&place) {
        Some(EngineError::TensorShape { name, expected, found }) => {
            assert_eq!(name, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
            assert_eq!((expected, found), (vec![8, 48], vec![4, 48]));
        }
        other => panic!("{other:?}"),
    }
    change("\"down_proj\"", "\"embed_tokens\"");
    assert!(matches!(load(&place), Some(EngineError::Adapter { .. })));
    change("\"use_dora\": false", "\"use_dora\": true");
    assert!(matches!(load(&place), Some(EngineError::Adapter { .. })));
    change("    \"up_proj\",\n", "");
    let extra = load(&place).expect("tensors that nothing asks for");
    assert!(matches!(extra, EngineError::Adapter { .. }), "{extra}");
    change("\"r\": 4", "\"r\": 0");
    assert!(matches!(load(&place), Some(EngineError::Adapter { .. })));
    std::fs::write(place.join("adapter_config.json"), &config).unwrap();
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(load(&place), Some(EngineError::Safetensors { .. })));
}

/// Integers are no weights, so the engine does not read them; the test does.
fn int_tensor(path: &Path, name: &str) -> Tensor {
    let named = Tensor::read_safetensors(path).unwrap();
    let found = named.into_iter().find(|(n, _)| n == name);
    found.unwrap_or_else(|| panic!("{name} is in {}", path.display())).1
}
