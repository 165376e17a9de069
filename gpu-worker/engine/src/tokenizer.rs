//! `tokenizer.json`, the chat template, and text that grows token by token.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use minijinja::Environment;
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::decoding::{Format, Grammar, Grammars};
use crate::error::{EngineError, Result};

const TEMPLATE: &str = "chat";

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A turn of the person who asks.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: "user".into(), content: content.into() }
    }

    /// A turn of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: "assistant".into(), content: content.into() }
    }
}

struct Inner {
    path: PathBuf,
    tokenizer: tokenizers::Tokenizer,
    /// Holds the template, if the model has one.
    templates: Environment<'static>,
    has_template: bool,
    bos: Option<(i64, String)>,
    eos_text: String,
    eos: Vec<i64>,
    /// Made when the first format is compiled; what keeps a vocabulary from having any.
    grammars: OnceLock<std::result::Result<Grammars, String>>,
    /// What each token adds to a text, made when it is first asked.
    bytes: OnceLock<Vec<Vec<u8>>>,
}

/// Text to tokens and back. Cheap to clone.
#[derive(Clone)]
pub struct Tokenizer(Arc<Inner>);

/// `tokenizer_config.json` writes a special token as text or as an object with its content.
#[derive(Deserialize)]
#[serde(untagged)]
enum SpecialToken {
    Text(String),
    Object { content: String },
}

impl SpecialToken {
    fn text(self) -> String {
        match self {
            Self::Text(text) | Self::Object { content: text } => text,
        }
    }
}

#[derive(Deserialize, Default)]
struct RawTokenizerConfig {
    chat_template: Option<String>,
    bos_token: Option<SpecialToken>,
    eos_token: Option<SpecialToken>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, when present, `tokenizer_config.json` and
    /// `chat_template.jinja` from `folder`.
    pub fn load(folder: &Path, model: &ModelConfig) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        if !path.is_file() {
            return Err(EngineError::MissingFile {
                path,
                needed_for: "a model folder holds its tokenizer there",
            });
        }
        let fail = |path: &Path, reason: String| EngineError::Tokenizer {
            path: path.to_path_buf(),
            reason,
        };
        let tokenizer =
            tokenizers::Tokenizer::from_file(&path).map_err(|e| fail(&path, e.to_string()))?;
        if tokenizer.get_vocab_size(true) as i64 > model.vocab_size {
            return Err(fail(
                &path,
                format!(
                    "it has {} tokens, the model's embedding only {}",
                    tokenizer.get_vocab_size(true),
                    model.vocab_size
                ),
            ));
        }
        let config_path = folder.join("tokenizer_config.json");
        let mut raw = RawTokenizerConfig::default();
        if config_path.is_file() {
            let text =
                std::fs::read_to_string(&config_path).map_err(EngineError::io(&config_path))?;
            raw = serde_json::from_str(&text).map_err(|e| fail(&config_path, e.to_string()))?;
        }
        let template_path = folder.join("chat_template.jinja");
        if raw.chat_template.is_none() && template_path.is_file() {
            let text =
                std::fs::read_to_string(&template_path).map_err(EngineError::io(&template_path))?;
            raw.chat_template = Some(text);
        }

        let id_of = |text: &str| tokenizer.token_to_id(text).map(i64::from);
        let bos = match raw.bos_token.map(SpecialToken::text) {
            Some(text) => Some((
                id_of(&text)
                    .ok_or_else(|| fail(&config_path, format!("bos_token `{text}` is unknown")))?,
                text,
            )),
            None => model
                .bos_token
                .and_then(|id| tokenizer.id_to_token(id as u32).map(|text| (id, text))),
        };
        let mut eos = model.eos_tokens.clone();
        let eos_text = raw.eos_token.map(SpecialToken::text).unwrap_or_else(|| {
            eos.first().and_then(|id| tokenizer.id_to_token(*id as u32)).unwrap_or_default()
        });
        if let Some(id) = id_of(&eos_text) {
            if !eos.contains(&id) {
                eos.insert(0, id);
            }
        }

        let mut templates = Environment::new();
        templates.set_trim_blocks(true);
        templates.set_lstrip_blocks(true);
        templates.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        templates.add_function("raise_exception", |reason: String| {
            Err::<String, _>(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, reason))
        });
        let has_template = raw.chat_template.is_some();
        if let Some(template) = raw.chat_template {
            templates
                .add_template_owned(TEMPLATE, template)
                .map_err(|e| fail(&config_path, format!("chat template: {e:#}")))?;
        }
        Ok(Self(Arc::new(Inner {
            path,
            tokenizer,
            templates,
            has_template,
            bos,
            eos_text,
            eos,
            grammars: OnceLock::new(),
            bytes: OnceLock::new(),
        })))
    }

    /// Tokens that end an answer; the first one closes a training answer.
    pub fn eos(&self) -> &[i64] {
        &self.0.eos
    }

    /// Start-of-text token, if the model has one.
    pub fn bos(&self) -> Option<i64> {
        self.0.bos.as_ref().map(|(id, _)| *id)
    }

    /// Whether conversations can be written out.
    pub fn has_chat_template(&self) -> bool {
        self.0.has_template
    }

    /// Tokens of `text`. `special` adds what the tokenizer puts around a whole text (such as the
    /// start-of-text token); leave it off for parts and for rendered conversations.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<i64>> {
        let encoding =
            self.0.tokenizer.encode_fast(text, special).map_err(|e| self.fail(e.to_string()))?;
        Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
    }

    /// Text of `tokens`, special tokens left out.
    pub fn decode(&self, tokens: &[i64]) -> Result<String> {
        let ids: Vec<u32> = tokens.iter().map(|&id| id as u32).collect();
        self.0.tokenizer.decode(&ids, true).map_err(|e| self.fail(e.to_string()))
    }

    /// A conversation as the model's template writes it; `answer_next` opens the model's turn.
    pub fn render(&self, messages: &[Message], answer_next: bool) -> Result<String> {
        let fail = |reason: String| EngineError::Template { reason };
        if !self.0.has_template {
            return Err(fail("the model has none; send a plain prompt".into()));
        }
        let template = self.0.templates.get_template(TEMPLATE).map_err(|e| fail(e.to_string()))?;
        let bos = self.0.bos.as_ref().map_or("", |(_, text)| text.as_str());
        template
            .render(minijinja::context! {
                messages => messages,
                add_generation_prompt => answer_next,
                bos_token => bos,
                eos_token => self.0.eos_text,
            })
            .map_err(|e| fail(format!("{e:#}")))
    }

    /// Prompt tokens of a conversation whose next turn is the model's.
    pub fn encode_chat(&self, messages: &[Message]) -> Result<Vec<i64>> {
        self.encode(&self.render(messages, true)?, false)
    }

    /// Compiles a format for this vocabulary. Blocks, the first time for longer; see
    /// [`EngineError::Schema`] for what is wrong with a format.
    pub fn grammar(&self, format: &Format) -> Result<Grammar> {
        match self.0.grammars.get_or_init(|| Grammars::new(self)) {
            Ok(grammars) => grammars.compile(format),
            Err(unfit) => Err(EngineError::Schema(unfit.clone())),
        }
    }

    /// The bytes that a token adds to a text, which need not be whole characters. Special tokens
    /// give their names, ids without a token nothing.
    pub fn token_bytes(&self, token: i64) -> Vec<u8> {
        let all = self.0.bytes.get_or_init(|| crate::decoding::shown_bytes(self.raw()));
        usize::try_from(token).ok().and_then(|at| all.get(at)).cloned().unwrap_or_default()
    }

    /// The tokenizer as its library has it.
    pub(crate) fn raw(&self) -> &tokenizers::Tokenizer {
        &self.0.tokenizer
    }

    fn fail(&self, reason: String) -> EngineError {
        EngineError::Tokenizer { path: self.0.path.clone(), reason }
    }
}

/// Turns tokens into text one by one, holding back what is not yet whole UTF-8.
pub struct TextStream {
    tokenizer: Tokenizer,
    tokens: Vec<i64>,
    /// Decoding starts here, so that a token sees its left neighbours.
    start: usize,
    /// Everything before is already out.
    done: usize,
}

impl TextStream {
    /// An empty stream.
    pub fn new(tokenizer: Tokenizer) -> Self {
        Self { tokenizer, tokens: Vec::new(), start: 0, done: 0 }
    }

    /// Adds a token; gives the text that became certain, which may be empty.
    pub fn push(&mut self, token: i64) -> Result<String> {
        self.tokens.push(token);
        let whole = self.tokenizer.decode(&self.tokens[self.start..])?;
        if whole.ends_with('\u{FFFD}') {
            return Ok(String::new());
        }
        self.advance(whole)
    }

    /// What was held back, bytes that never became a character as replacement characters.
    pub fn finish(&mut self) -> Result<String> {
        let whole = self.tokenizer.decode(&self.tokens[self.start..])?;
        self.advance(whole)
    }

    fn advance(&mut self, whole: String) -> Result<String> {
        let old = self.tokenizer.decode(&self.tokens[self.start..self.done])?;
        let fresh = whole.get(old.len()..).unwrap_or_default().to_string();
        self.start = self.done;
        self.done = self.tokens.len();
        Ok(fresh)
    }
}
