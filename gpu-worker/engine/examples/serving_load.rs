//! How many tokens a second one process serves with many adapters in a batch.
//!
//! `serving_load BASE [sequences] [adapters] [rank] [tokens] [threads] [loops|stock|plain]`

use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use tch::Device;
use tributary_engine::{
    Adapter, BaseModel, BatchOptions, Batcher, LoraConfig, LoraPath, Projection, Request, Sampling,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |at: usize, or: &str| arguments.get(at).cloned().unwrap_or_else(|| or.to_string());
    let number = |at: usize, or: usize| text(at, &or.to_string()).parse::<usize>();
    let folder = PathBuf::from(text(0, "gpu-worker/base-model/tiny"));
    let (sequences, adapters) = (number(1, 64)?, number(2, 64)?);
    let (rank, tokens, threads) = (number(3, 16)?, number(4, 64)?, number(5, 2)?);
    let path = text(6, "loops");
    tch::set_num_threads(threads as i32);

    let base = BaseModel::load(&folder, Device::Cpu)?;
    let config = LoraConfig {
        rank: rank as i64,
        alpha: 2.0 * rank as f64,
        targets: Projection::ALL.to_vec(),
        rslora: false,
    };
    let mut loaded = Vec::new();
    for seed in 0..adapters {
        let adapter = Adapter::new(config.clone(), base.config(), seed as u64, Device::Cpu)?;
        loaded.push(Rc::new(adapter.tensors(base.config(), base.transformer().kind())));
    }
    let options = BatchOptions {
        threads,
        cpu_loops: path == "loops",
        lora: if path == "plain" { LoraPath::Plain } else { LoraPath::Batched },
        ..BatchOptions::new(sequences, 512)
    };
    let mut batcher = Batcher::with_options(&base, options);
    let prompt = base.tokenizer().encode(&"The lamp stands by the door. ".repeat(4), true)?;
    let length = prompt.len();
    let started = Instant::now();
    let mut written: HashMap<u64, usize> = HashMap::new();
    for n in 0..sequences {
        let request = Request {
            prompt: prompt.clone(),
            max_tokens: tokens,
            // Drawn, so that no answer closes early in step with the others.
            sampling: Sampling { seed: n as u64, ..Sampling::GREEDY },
            stop: vec![],
            logprobs: None,
            guidance: Default::default(),
        };
        let lora = (adapters > 0).then(|| loaded[n % adapters].clone());
        written.insert(batcher.start(&base, request, lora)?, 0);
    }
    let (mut first, mut steps) = (None, 0);
    let mut whole = (0, 0.0);
    while !batcher.is_idle() {
        let at = Instant::now();
        let outputs = batcher.step(&base)?;
        let took = at.elapsed().as_secs_f64();
        steps += 1;
        if outputs.len() == sequences {
            whole = (whole.0 + outputs.len(), whole.1 + took);
        }
        for output in outputs {
            first.get_or_insert(started.elapsed());
            *written.entry(output.sequence).or_default() += 1;
        }
    }
    let took = started.elapsed().as_secs_f64();
    let total: usize = written.values().sum();
    println!(
        "{sequences} sequences, {adapters} adapters of rank {rank}, {threads} threads, {path}: \
         {total} tokens after prompts of {length} in {took:.3} s = {:.0} tok/s; full steps {:.0} \
         tok/s; {steps} steps, first token after {:.1} ms",
        total as f64 / took,
        whole.0 as f64 / f64::max(whole.1, 1e-9),
        first.unwrap_or_default().as_secs_f64() * 1e3,
    );
    Ok(())
}
