//! Answers that have to be JSON: which tokens may come next.
//!
//! A schema is compiled by `llguidance` into an Earley parser over a lexer of derivatives; at each
//! step it walks a trie of the vocabulary's bytes and gives the set of tokens after which the text
//! can still become a valid answer. The model itself decides how the text is cut into tokens.
//!
//! Everything a schema can cost is bounded: its size before it is compiled ([`bounds`]), the
//! compiler by fuel and by time on a thread of its own, the lexer by a number of states, and each
//! step by fuel.

mod bounds;
mod vocabulary;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use llguidance::api::{ParserLimits, StopReason, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::{Logger, Matcher, ParserFactory};
use serde_json::{json, Value};
use toktrie::{InferenceCapabilities, SimpleVob};

use crate::error::{EngineError, Result};
use crate::tokenizer::Tokenizer;

pub(crate) use vocabulary::shown_bytes;

/// Longest time that a schema may take to compile.
const COMPILE_TIME: Duration = Duration::from_secs(5);
/// Schemas that are compiled at the same time; more are refused.
const COMPILING: usize = 4;
/// Stack of a compiling thread, in bytes: the compiler calls itself for each reference.
const COMPILE_STACK: usize = 256 << 20;
/// Compiled grammars that are remembered.
const REMEMBERED: usize = 8;
/// Blanks between two parts of an answer: one, or a line break and an indentation; no endless run.
const BLANKS: &str = r"\x20|\x0D?\x0A[\x20\x09]{0,16}";

/// What an answer has to look like.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// Any JSON object.
    JsonObject,
    /// A JSON value that a schema (draft 2020-12, as far as it is supported) accepts.
    JsonSchema(Value),
}

impl Format {
    fn schema(&self) -> Value {
        match self {
            Self::JsonObject => json!({"type": "object"}),
            Self::JsonSchema(schema) => schema.clone(),
        }
    }

    /// The schema written out without blanks, keys in the order in which they came: what stands
    /// for the format where it is hashed.
    pub fn canonical(&self) -> String {
        self.schema().to_string()
    }
}

/// A compiled format for one vocabulary. Cheap to clone; clones share what their lexers learn.
#[derive(Clone)]
pub struct Grammar(Box<Matcher>);

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grammar")
    }
}

/// Compiles formats for one vocabulary.
pub(crate) struct Grammars {
    factory: Arc<ParserFactory>,
    compiling: Arc<AtomicUsize>,
    /// By canonical text, the one used last at the end.
    known: Mutex<Vec<(String, Grammar)>>,
}

fn limits() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 1_000,
        initial_lexer_fuel: 500_000,
        step_lexer_fuel: 100_000,
        step_max_items: 30_000,
        max_lexer_states: 50_000,
        max_grammar_size: 100_000,
        precompute_large_lexemes: false,
        verbose_errors: false,
    }
}

impl Grammars {
    /// For the vocabulary of `tokenizer`. Takes some tenths of a second for a large one.
    ///
    /// The error says why no grammar can be followed with it.
    pub(crate) fn new(tokenizer: &Tokenizer) -> std::result::Result<Self, String> {
        let make = || {
            let vocabulary = vocabulary::environment(tokenizer)?;
            let slices = SlicedBiasComputer::json_slices();
            ParserFactory::new(&vocabulary, InferenceCapabilities::default(), &slices)
                .map_err(|e| e.to_string())
        };
        // The library panics at a vocabulary that it is not made for.
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(make))
            .unwrap_or_else(|_| Err("its tokens are of a kind that is not known".into()));
        let factory = made.map_err(|reason| format!("this base model's vocabulary: {reason}"))?;
        Ok(Self { factory: Arc::new(factory), compiling: Arc::default(), known: Mutex::default() })
    }

    /// Compiles a format, or finds it compiled. Blocks for up to five seconds.
    ///
    /// Errors name what is wrong with the schema; [`EngineError::Overloaded`] says that too many
    /// are being compiled.
    pub(crate) fn compile(&self, format: &Format) -> Result<Grammar> {
        let schema = bounds::checked(format.schema())?;
        let canonical = format.canonical();
        if let Some(known) = self.find(&canonical) {
            return Ok(known);
        }
        let grammar = self.compile_elsewhere(schema)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(text, _)| *text != canonical);
        if known.len() >= REMEMBERED {
            known.remove(0);
        }
        known.push((canonical, grammar.clone()));
        Ok(grammar)
    }

    fn find(&self, canonical: &str) -> Option<Grammar> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let at = known.iter().position(|(text, _)| text == canonical)?;
        let found = known.remove(at);
        let grammar = found.1.clone();
        known.push(found);
        Some(grammar)
    }

    /// Compiles on a thread of its own, which may go on for a while after its time is over; its
    /// place is free again only when it ends.
    fn compile_elsewhere(&self, mut schema: Value) -> Result<Grammar> {
        if self.compiling.fetch_add(1, Ordering::Relaxed) >= COMPILING {
            self.compiling.fetch_sub(1, Ordering::Relaxed);
            return Err(EngineError::Overloaded);
        }
        let place = Place(self.compiling.clone());
        if let Value::Object(fields) = &mut schema {
            fields.insert("x-guidance".into(), json!({ "whitespace_pattern": BLANKS }));
        }
        let factory = self.factory.clone();
        let (done, compiled) = mpsc::channel();
        std::thread::Builder::new()
            .name("engine-schema".into())
            .stack_size(COMPILE_STACK)
            .spawn(move || {
                let parser = factory.create_parser_from_init_ext(
                    llguidance::api::GrammarInit::Serialized(TopLevelGrammar::from_json_schema(
                        schema,
                    )),
                    Logger::new(0, 0),
                    InferenceCapabilities::default(),
                    limits(),
                );
                // The first set of tokens belongs to what a schema costs before it is taken.
                let matcher = parser.and_then(|parser| {
                    let mut matcher = Matcher::new(Ok(parser));
                    matcher.compute_mask().map(|_| matcher)
                });
                drop(place);
                let _ = done.send(matcher.map_err(|e| format!("{e:#}")));
            })
            .map_err(EngineError::io(std::path::Path::new("engine-schema")))?;
        match compiled.recv_timeout(COMPILE_TIME) {
            Ok(Ok(matcher)) => Ok(Grammar(Box::new(matcher))),
            Ok(Err(reason)) => Err(EngineError::Schema(first_line(&reason))),
            Err(RecvTimeoutError::Timeout) => Err(EngineError::Schema(format!(
                "it takes more than {} seconds to compile; simplify it",
                COMPILE_TIME.as_secs()
            ))),
            Err(RecvTimeoutError::Disconnected) => {
                Err(EngineError::Schema("it cannot be compiled".into()))
            }
        }
    }
}

/// A place among the compiling threads.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The first lines of a reason say what is wrong; the compiler's state may follow.
fn first_line(reason: &str) -> String {
    let text = reason.split("<state>").next().unwrap_or(reason);
    let text = text.replace("<non-verbose/>", "").replace('\n', " ");
    // The name under which the library says that no token may come.
    let text = text.replace("NoExtensionBias", "no value satisfies it");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().take(300).collect()
}

/// A grammar on its way through one answer.
pub(super) struct Follower {
    matcher: Box<Matcher>,
    allowed: SimpleVob,
}

/// What a token did to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Followed {
    /// More may come.
    Open,
    /// The answer is whole, and nothing can be added to it.
    Whole,
    /// The grammar became too complex to go on; what stands is the start of a valid answer.
    Lost,
}

impl Follower {
    /// At the start of an answer.
    pub(super) fn new(grammar: Grammar) -> Result<Self> {
        let mut matcher = grammar.0;
        let allowed =
            matcher.compute_mask().map_err(|e| EngineError::Schema(first_line(&e.to_string())))?;
        Ok(Self { matcher, allowed })
    }

    /// The tokens that may come next.
    pub(super) fn allowed(&self) -> &SimpleVob {
        &self.allowed
    }

    /// Notes a token that was allowed.
    pub(super) fn take(&mut self, token: i64) -> Followed {
        let Ok(token) = u32::try_from(token) else { return Followed::Lost };
        if self.matcher.consume_token(token).is_err() {
            return Followed::Lost;
        }
        if self.matcher.is_stopped() {
            return match self.matcher.stop_reason() {
                StopReason::NoExtension
                | StopReason::NoExtensionBias
                | StopReason::EndOfSentence => Followed::Whole,
                _ => Followed::Lost,
            };
        }
        match self.matcher.compute_mask() {
            Ok(allowed) => {
                self.allowed = allowed;
                Followed::Open
            }
            Err(_) => Followed::Lost,
        }
    }
}
