//! Making a small base model: text from this machine, a tokenizer, training from nothing.

mod corpus;
mod pretrain;
mod synthetic;
mod vocabulary;

pub use corpus::Corpus;
pub use pretrain::{make_base_model, BaseProgress, BaseReport, BaseSpec};
