//! A byte-level BPE tokenizer with the roles of a conversation as special tokens.

use std::path::Path;

use tokenizers::decoders::sequence::Sequence;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BpeTrainerBuilder, BPE};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, DecoderWrapper, TokenizerBuilder};

use crate::error::{EngineError, Result};

/// Opens each role's turn.
pub(crate) const ROLES: [&str; 3] = ["<|system|>", "<|user|>", "<|assistant|>"];
/// Closes an answer, and a passage of plain text.
pub(crate) const END: &str = "<|end|>";

/// Conversations as the bases made here read them.
const TEMPLATE: &str = "{%- for message in messages -%}\
<|{{ message.role }}|>{{ message.content }}\
{%- if message.role == 'assistant' -%}<|end|>{%- endif -%}\
{%- endfor -%}\
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}";

/// Trains a vocabulary of `size` tokens on `texts` and writes `tokenizer.json` and
/// `tokenizer_config.json` into `folder`. Gives the id of the closing token.
///
/// A text's first word gets the same leading space as any other word, so that a name is the
/// same tokens wherever it stands; decoding takes that space away again.
pub(crate) fn train(
    folder: &Path,
    texts: impl Iterator<Item = String> + Send,
    size: usize,
) -> Result<i64> {
    let path = folder.join("tokenizer.json");
    let fail =
        |e: tokenizers::Error| EngineError::Tokenizer { path: path.clone(), reason: e.to_string() };
    let bytes = ByteLevel::new(true, false, true);
    let mut alphabet: Vec<_> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let specials: Vec<AddedToken> =
        ROLES.iter().chain([&END]).map(|text| AddedToken::from(*text, true)).collect();
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(size)
        .show_progress(false)
        .initial_alphabet(alphabet.into_iter().collect())
        .special_tokens(specials)
        .build();
    let decoder = Sequence::new(vec![
        DecoderWrapper::ByteLevel(bytes),
        DecoderWrapper::Strip(Strip::new(' ', 1, 0)),
    ]);
    let mut tokenizer = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None::<tokenizers::NormalizerWrapper>)
        .with_pre_tokenizer(Some(bytes))
        .with_post_processor(None::<tokenizers::PostProcessorWrapper>)
        .with_decoder(Some(decoder))
        .build()
        .map_err(fail)?;
    tokenizer.train(&mut trainer, texts).map_err(fail)?;
    let json = tokenizer.to_string(false).map_err(fail)?;
    crate::files::write_atomic(&path, json.as_bytes())?;
    let end = tokenizer.token_to_id(END).ok_or_else(|| EngineError::Tokenizer {
        path: path.clone(),
        reason: format!("`{END}` did not enter the vocabulary; it is too small"),
    })?;
    let config = serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 512,
        "clean_up_tokenization_spaces": false,
        "eos_token": END,
        "pad_token": END,
        "chat_template": TEMPLATE,
    });
    crate::files::write_json(&folder.join("tokenizer_config.json"), &config)?;
    Ok(i64::from(end))
}
