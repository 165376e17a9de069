//! What the traffic asks here.

use tributary_engine::{traffic, Engine, GenerateRequest, Message, Prompt};

/// The questions that are asked in turn.
pub const QUESTIONS: [&str; 8] = [
    "How did the bridge fail, and who noticed it first?",
    "Which function was called before the balances were updated?",
    "What did the attacker borrow in order to vote?",
    "Tell me what happened to the price oracle on that day.",
    "Why could the same message be proven twice?",
    "Who held the keys of the multisig that was emptied?",
    "What would have stopped the withdrawal of all that ether?",
    "How many validators had to sign, and how many did?",
];

/// A request of `tokens` tokens to `adapter`. Every answer has its length, as the peer's have.
pub fn request(
    engine: &Engine,
    adapter: Option<String>,
    number: usize,
    tokens: usize,
) -> GenerateRequest {
    let question = Message::user(QUESTIONS[number % QUESTIONS.len()]);
    traffic::request(engine, adapter, Prompt::Chat(vec![question]), tokens)
}
