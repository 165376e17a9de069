//! A device with little memory, and a sequence that no device can compute.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::*;
use crate::config::ModelConfig;
use crate::decoding::{FinishReason, Sampling};
use crate::generate::{Request, StepOutput};
use crate::serve::Want;

/// Steps of more tokens than this run out of memory.
struct Small {
    most: usize,
    /// A token that no step may hold.
    poison: i64,
    open: Vec<bool>,
}

impl Executor for Small {
    fn open(&mut self, _tokens: usize) -> Option<usize> {
        self.open.push(true);
        Some(self.open.len() - 1)
    }

    fn close(&mut self, place: usize) {
        self.open[place] = false;
    }

    fn step(&mut self, chunks: &[Chunk<'_>]) -> Result<Passed> {
        if chunks.iter().any(|c| c.tokens.contains(&self.poison)) {
            return Err(EngineError::Step("a shape that cannot be".into()));
        }
        if chunks.iter().map(|c| c.tokens.len()).sum::<usize>() > self.most {
            return Err(EngineError::Step("CUDA out of memory. Tried to allocate".into()));
        }
        let rows = chunks.iter().filter(|c| c.want == Want::Last).count() as i64;
        let logits = Tensor::zeros([rows, 2048], (Kind::Float, Device::Cpu));
        let _ = logits.narrow(1, 17, 1).fill_(1.0);
        Ok(Passed { logits: (rows > 0).then_some(logits), hidden: None })
    }

    fn cache(&self) -> CacheUse {
        CacheUse { used: self.open.iter().filter(|o| **o).count(), total: 100 }
    }
}

fn tokenizer() -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../base-model/tiny");
    Tokenizer::load(&folder, &ModelConfig::read(&folder).unwrap()).unwrap()
}

fn request(prompt: Vec<i64>, max_tokens: usize) -> Job {
    let (sampling, stop) = (Sampling::GREEDY, vec![]);
    let guidance = Default::default();
    Job::Write(Request { prompt, max_tokens, sampling, stop, logprobs: None, guidance })
}

fn runner(most: usize, slots: usize, step_tokens: usize) -> Runner {
    let small = Small { most, poison: 999, open: vec![] };
    Runner::new(Box::new(small), 2048, slots, 512, step_tokens)
}

/// Runs to the end; finished and failed sequences.
fn drain(runner: &mut Runner) -> (Vec<u64>, Vec<(u64, EngineError)>) {
    let (mut finished, mut failed) = (vec![], vec![]);
    for _ in 0..10_000 {
        if runner.is_idle() {
            break;
        }
        for output in runner.step() {
            match output {
                Output::Token(StepOutput { sequence, finished: Some(reason), .. }) => {
                    assert_eq!(reason, FinishReason::Length);
                    finished.push(sequence);
                }
                Output::Token(output) => assert_eq!(output.token, 17),
                Output::Failed(id, error) => failed.push((id, error)),
                Output::Embedded(..) | Output::Scored(..) => {}
            }
        }
    }
    assert!(runner.is_idle(), "all came to an end");
    assert_eq!(runner.cache().used, 0, "all places are free");
    (finished, failed)
}

#[test]
fn without_memory_steps_shrink_and_everybody_is_answered() {
    let tokenizer = tokenizer();
    let mut runner = runner(20, 12, 256);
    for n in 0..12 {
        let job = request(vec![5; 30 + n], 8);
        assert!(runner.admit(&tokenizer, job, None).unwrap().is_ok());
    }
    assert!(!runner.has_room());
    runner.step();
    let (slots, step_tokens) = runner.limits();
    assert!(slots < 12 && step_tokens < 256, "{slots} slots, {step_tokens} tokens a step");
    let (finished, failed) = drain(&mut runner);
    assert_eq!((finished.len(), failed.len()), (12, 0), "{failed:?}");
    // With memory again, the limits rise to what was set.
    let job = request(vec![5; 3], 400);
    assert!(runner.admit(&tokenizer, job, None).unwrap().is_ok());
    let (_, low) = runner.limits();
    drain(&mut runner);
    assert!(runner.limits().1 > low);
}

#[test]
fn a_sequence_at_fault_ends_alone() {
    let tokenizer = tokenizer();
    let mut runner = runner(4096, 9, 256);
    let mut poisoned = 0;
    for n in 0..9 {
        let mut prompt = vec![5; 10];
        if n == 4 {
            prompt[7] = 999;
        }
        let id = runner.admit(&tokenizer, request(prompt, 5), None).unwrap();
        let id = id.unwrap_or_else(|_| panic!("there is room"));
        if n == 4 {
            poisoned = id;
        }
    }
    let (finished, failed) = drain(&mut runner);
    assert_eq!(finished.len(), 8);
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].0, poisoned);
    assert!(matches!(&failed[0].1, EngineError::Step(reason) if reason.contains("shape")));
    assert_eq!(runner.limits(), (9, 256), "it had nothing to do with memory");
}

#[test]
fn a_step_holds_one_token_of_each_answer_and_pieces_of_prompts() {
    let tokenizer = tokenizer();
    let mut runner = runner(4096, 4, 32);
    assert!(runner.admit(&tokenizer, request(vec![5; 4], 50), None).unwrap().is_ok());
    runner.step();
    assert!(runner.admit(&tokenizer, request(vec![5; 100], 4), None).unwrap().is_ok());
    let mut prompt = vec![];
    for _ in 0..5 {
        runner.step();
        prompt.push((runner.shape().tokens, runner.shape().prompt_tokens));
    }
    // 31 tokens of the prompt beside one of the answer, the rest of it, then both write.
    assert_eq!(prompt, [(32, 31), (32, 31), (32, 31), (8, 7), (2, 0)]);
    let (finished, _) = drain(&mut runner);
    assert_eq!(finished, [1, 0]);
}
