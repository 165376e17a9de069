//! The bytes of each token of a vocabulary, and the trie over them.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv, INVALID_TOKEN};

use crate::tokenizer::Tokenizer;

/// How a vocabulary writes bytes.
#[derive(Debug, PartialEq)]
enum Spelling {
    /// Each character of a token stands for one byte.
    ByteLevel,
    /// A token is text after some characters are replaced; `<0x0A>` is a byte.
    Fallback {
        /// What is replaced with what.
        replaced: Vec<(String, String)>,
    },
}

/// The steps that a decoder consists of.
fn steps(decoder: &Value) -> Vec<&Value> {
    match decoder.get("decoders").and_then(Value::as_array) {
        Some(list) => list.iter().flat_map(steps).collect(),
        None => vec![decoder],
    }
}

impl Spelling {
    /// What the decoder of a `tokenizer.json` undoes. Steps that take blanks from the start of a
    /// text are left out: blanks there do not change what a JSON text means.
    fn of(decoder: &Value) -> Result<Self, String> {
        let (mut byte_level, mut fallback, mut replaced) = (false, false, vec![]);
        for step in steps(decoder) {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            match step.get("type").and_then(Value::as_str) {
                Some("ByteLevel") => byte_level = true,
                Some("ByteFallback") => fallback = true,
                Some("Fuse") => {}
                Some("Strip") if step.get("stop").and_then(Value::as_u64) == Some(0) => {}
                Some("Metaspace") => {
                    let mark = step.get("replacement").and_then(text);
                    replaced.push((mark.unwrap_or_else(|| "▁".into()), " ".into()));
                }
                Some("Replace") => {
                    let from = step.pointer("/pattern/String").and_then(text);
                    let to = step.get("content").and_then(text);
                    let pair = from.zip(to).filter(|(from, _)| !from.is_empty());
                    replaced.push(pair.ok_or("its decoder replaces by a pattern")?);
                }
                Some(other) => return Err(format!("its decoder has a step `{other}`")),
                None => return Err("it has no decoder".into()),
            }
        }
        match (byte_level, fallback || !replaced.is_empty()) {
            (true, false) => Ok(Self::ByteLevel),
            (false, true) => Ok(Self::Fallback { replaced }),
            _ => Err("its decoder is of no known kind".into()),
        }
    }

    /// The bytes of a token; `None` when its text has characters that stand for no byte.
    fn bytes(&self, token: &str, alphabet: &HashMap<char, u8>) -> Option<Vec<u8>> {
        match self {
            Self::ByteLevel => token.chars().map(|c| alphabet.get(&c).copied()).collect(),
            Self::Fallback { replaced } => {
                let digits = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
                if let Some(byte) = digits
                    .filter(|digits| digits.len() == 2)
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                {
                    return Some(vec![byte]);
                }
                let text = replaced
                    .iter()
                    .fold(token.to_owned(), |text, (from, to)| text.replace(from, to));
                Some(text.into_bytes())
            }
        }
    }
}

/// The characters of a byte-level vocabulary with the bytes that they stand for: printable ones
/// of Latin-1 stand for themselves, the other bytes in order for the characters from U+0100 on.
fn alphabet() -> HashMap<char, u8> {
    let own = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=255u8).filter(|byte| !own(byte));
    let moved = others.zip(0x100u32..).filter_map(|(byte, c)| Some((char::from_u32(c)?, byte)));
    let all: HashMap<char, u8> =
        (0..=255u8).filter(own).map(|byte| (char::from(byte), byte)).chain(moved).collect();
    debug_assert!(ByteLevel::alphabet().iter().all(|c| all.contains_key(c)));
    all
}

/// The bytes that each token adds to a text, by id. Special tokens, and ids without a token, add
/// none and never stand in a text; they are marked so.
pub(super) fn token_bytes(tokenizer: &tokenizers::Tokenizer) -> Result<Vec<Vec<u8>>, String> {
    let decoder = tokenizer.get_decoder().ok_or("it has no decoder")?;
    let decoder = serde_json::to_value(decoder).map_err(|e| e.to_string())?;
    let spelling = Spelling::of(&decoder)?;
    let alphabet = alphabet();
    let vocabulary = tokenizer.get_vocab(true);
    let size = vocabulary.values().max().map_or(0, |last| *last as usize + 1);
    let mut all = vec![Vec::new(); size];
    let added = tokenizer.get_added_tokens_decoder();
    for (token, id) in &vocabulary {
        let bytes = match added.get(id) {
            Some(added) if added.special => special(&added.content),
            Some(added) => added.content.clone().into_bytes(),
            None => spelling.bytes(token, &alphabet).unwrap_or_default(),
        };
        // 0xff marks special tokens; no text has it, so no token with it can come.
        let marked = bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER);
        let is_special = added.get(id).is_some_and(|added| added.special);
        if let Some(place) = all.get_mut(*id as usize) {
            *place = if marked && !is_special { Vec::new() } else { bytes };
        }
    }
    Ok(all)
}

/// What to show for each token, by id: the bytes that it adds to a text, the name of a special one.
/// A vocabulary of a kind that is not known shows the tokens as they stand in it.
pub(crate) fn shown_bytes(tokenizer: &tokenizers::Tokenizer) -> Vec<Vec<u8>> {
    let marker = TokTrie::SPECIAL_TOKEN_MARKER;
    if let Ok(all) = token_bytes(tokenizer) {
        let shown = all.into_iter().map(|bytes| match bytes.split_first() {
            Some((first, name)) if *first == marker => name.to_vec(),
            _ => bytes,
        });
        return shown.collect();
    }
    let size = tokenizer.get_vocab(true).values().max().map_or(0, |last| last + 1);
    let name = |id| tokenizer.id_to_token(id).unwrap_or_default().into_bytes();
    (0..size).map(name).collect()
}

fn special(content: &str) -> Vec<u8> {
    [&[TokTrie::SPECIAL_TOKEN_MARKER], content.as_bytes()].concat()
}

struct Vocabulary(TokTrie);

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.0
    }

    fn tokenize_bytes(&self, text: &[u8]) -> Vec<TokenId> {
        self.0.greedy_tokenize(text)
    }

    /// No text is forced on the model in tokens that it would not choose itself.
    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

/// The vocabulary as the grammar's parser sees it.
pub(super) fn environment(tokenizer: &Tokenizer) -> Result<TokEnv, String> {
    let words = token_bytes(tokenizer.raw())?;
    let size = u32::try_from(words.len()).map_err(|_| "it has too many tokens".to_owned())?;
    let eos: Vec<u32> = tokenizer
        .eos()
        .iter()
        .filter_map(|id| u32::try_from(*id).ok())
        .filter(|id| *id < size)
        .collect();
    let info = TokRxInfo::new(size, eos.first().copied().unwrap_or(INVALID_TOKEN));
    if words.iter().all(Vec::is_empty) {
        return Err("none of its tokens has bytes".into());
    }
    let trie = TokTrie::from(&info, &words);
    let trie = if eos.len() > 1 { trie.with_eos_tokens(&eos) } else { trie };
    Ok(Arc::new(Vocabulary(trie)))
}

#[cfg(test)]
#[path = "vocabulary_tests.rs"]
mod tests;
