//! Every way of computing gives what the plain one gives.

use std::collections::HashMap;
use std::rc::Rc;

use tch::{Kind, Tensor};
use tributary_engine::{
    Adapter, BaseModel, BatchOptions, Batcher, LoraPath, LoraTensors, Request, Sampling, StepOutput,
};

use super::common;

/// What a sequence wrote, with the likeliest tokens at each place.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    tokens: Vec<i64>,
    /// `[token][5]`
    top: Vec<Vec<(i64, f32)>>,
}

fn request(base: &BaseModel, n: usize) -> Request {
    let text = "The keeper of the lighthouse counts ships. ".repeat(1 + 3 * (n % 4));
    Request {
        prompt: base.tokenizer().encode(&text[..text.len() - 2 * n], true).unwrap(),
        max_tokens: 6 + n,
        sampling: Sampling::GREEDY,
        stop: vec![],
        logprobs: Some(5),
        guidance: Default::default(),
    }
}

/// Runs sequences together; prompts are read in pieces beside the answers.
fn run(
    base: &BaseModel,
    options: BatchOptions,
    requests: Vec<(Request, Option<Rc<LoraTensors>>)>,
) -> Vec<Line> {
    let mut batcher = Batcher::with_options(base, options);
    let mut lines = vec![Line { tokens: vec![], top: vec![] }; requests.len()];
    let mut owner = HashMap::new();
    let mut waiting = requests.into_iter().enumerate();
    loop {
        while batcher.has_room() {
            let Some((n, (request, lora))) = waiting.next() else { break };
            owner.insert(batcher.start(base, request, lora).unwrap(), n);
        }
        if batcher.is_idle() {
            return lines;
        }
        for StepOutput { sequence, token, logprobs, .. } in batcher.step(base).unwrap() {
            let line = &mut lines[owner[&sequence]];
            line.tokens.push(token);
            line.top.push(logprobs.unwrap().top);
        }
    }
}

fn close(one: &[Line], other: &[Line], what: &str) {
    for (n, (one, other)) in one.iter().zip(other).enumerate() {
        assert_eq!(one.tokens, other.tokens, "{what}, sequence {n}");
        for (a, b) in one.top.iter().flatten().zip(other.top.iter().flatten()) {
            assert!((a.1 - b.1).abs() < 1e-4, "{what}, sequence {n}: {a:?} and {b:?}");
        }
    }
}

/// Ten sequences: mixed ranks and targets, some adapters twice, some sequences without one.
fn crowd(base: &BaseModel) -> (Vec<Adapter>, Vec<Option<usize>>) {
    let place = tempfile::tempdir().unwrap();
    let adapters = common::kinds().into_iter().enumerate().map(|(n, (rank, targets))| {
        common::adapter(base.config(), &place.path().join(n.to_string()), n as u64, rank, &targets)
    });
    let who = [Some(0), None, Some(1), Some(2), Some(3), Some(0), Some(4), None, Some(2), Some(1)];
    (adapters.collect(), who.to_vec())
}

fn requests(
    base: &BaseModel,
    loras: &[Rc<LoraTensors>],
    who: &[Option<usize>],
) -> Vec<(Request, Option<Rc<LoraTensors>>)> {
    let of = |(n, who): (usize, &Option<usize>)| (request(base, n), who.map(|w| loras[w].clone()));
    who.iter().enumerate().map(of).collect()
}

fn ready(base: &BaseModel, adapters: &[Adapter]) -> Vec<Rc<LoraTensors>> {
    adapters.iter().map(|a| Rc::new(a.tensors(base.config(), Kind::Float))).collect()
}

#[test]
fn every_way_agrees_with_the_dense_pass_and_the_plain_one() {
    let base = common::base();
    let (adapters, who) = crowd(&base);
    let loras = ready(&base, &adapters);
    let stock = BatchOptions { cpu_loops: false, ..BatchOptions::new(10, 256) };
    let plain = BatchOptions { lora: LoraPath::Plain, ..stock };
    let expected = run(&base, plain, requests(&base, &loras, &who));

    // The plain way itself against whole dense passes, without any cache.
    for (n, line) in expected.iter().enumerate() {
        let mut tokens = request(&base, n).prompt;
        let read = tokens.len() as i64 - 1;
        tokens.extend(&line.tokens);
        let logits = tch::no_grad(|| {
            let ids = Tensor::from_slice(&tokens).unsqueeze(0);
            let lora = who[n].map(|w| &*loras[w]);
            base.transformer().forward(&ids, lora).squeeze_dim(0)
        });
        let logprobs = logits.log_softmax(-1, Kind::Float);
        for (at, top) in line.top.iter().enumerate() {
            for (token, logprob) in top {
                let dense = logprobs.double_value(&[read + at as i64, *token]) as f32;
                assert!((dense - logprob).abs() < 1e-4, "sequence {n}, token {at}");
            }
        }
    }
    // Adapters do something, or nothing here would be tested.
    let bare = run(&base, plain, requests(&base, &loras, &[None; 10]));
    assert_ne!(expected[0].tokens, bare[0].tokens);
    assert_ne!(expected[3].tokens, bare[3].tokens);

    let batched = run(&base, stock, requests(&base, &loras, &who));
    close(&batched, &expected, "stacked adapters");
    let loops = BatchOptions::new(10, 256);
    close(&run(&base, loops, requests(&base, &loras, &who)), &expected, "own loops");
    // Nobody has an adapter, everybody the same one: ways of their own.
    for who in [[None; 10], [Some(0); 10], [Some(3); 10]] {
        let expected = run(&base, plain, requests(&base, &loras, &who));
        for (options, what) in [(stock, "stock"), (loops, "own loops")] {
            let what = format!("{what}, all {:?}", who[0]);
            close(&run(&base, options, requests(&base, &loras, &who)), &expected, &what);
        }
    }
}

#[test]
fn prompts_in_pieces_are_prompts_as_a_whole() {
    let base = common::base();
    let (adapters, who) = crowd(&base);
    let loras = ready(&base, &adapters);
    for cpu_loops in [true, false] {
        let with = |step_tokens: usize| {
            let options = BatchOptions { cpu_loops, step_tokens, ..BatchOptions::new(10, 256) };
            run(&base, options, requests(&base, &loras, &who))
        };
        let whole = with(4096);
        for step_tokens in [1, 7, 40] {
            let pieces = with(step_tokens);
            close(&pieces, &whole, &format!("pieces of {step_tokens}"));
            // With loops of our own not a bit differs.
            assert!(!cpu_loops || pieces == whole, "pieces of {step_tokens}");
        }
    }
}

#[test]
fn a_request_gets_the_same_bits_alone_and_in_any_crowd() {
    let base = common::base();
    let (adapters, who) = crowd(&base);
    let loras = ready(&base, &adapters);
    let all = run(&base, BatchOptions::new(10, 256), requests(&base, &loras, &who));
    for threads in [1, 2, 3] {
        // Three slots: who runs beside whom changes all the time.
        let few = BatchOptions { threads, step_tokens: 20, ..BatchOptions::new(3, 256) };
        assert_eq!(run(&base, few, requests(&base, &loras, &who)), all, "{threads} threads");
        let alone = BatchOptions { threads, ..BatchOptions::new(1, 256) };
        for (n, one) in requests(&base, &loras, &who).into_iter().enumerate() {
            assert_eq!(run(&base, alone, vec![one])[0], all[n], "{n} alone, {threads} threads");
        }
    }
}
