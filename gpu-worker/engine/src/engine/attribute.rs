//! Attribution of answers, on a thread of its own: a gradient takes longer than many steps of
//! generation, and nobody's answer waits for it.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};

use tokio::sync::oneshot;
use tributary_attribution::Index;

use super::{AttributeRequest, Attributed, INDEX_FILE};
use crate::config::ModelConfig;
use crate::error::{EngineError, Result};
use crate::indexing::{queries, GradientSpace};
use crate::lora::Adapter;
use crate::model::BaseModel;
use crate::record::Sample;
use crate::serve::gave_up;

/// Memory for indices that are kept between answers; the last one used always is.
const KEPT_BYTES: usize = 1 << 30;

/// What the thread is told.
pub(super) enum Order {
    /// An adapter was loaded with this index; older indices of that name are no longer its.
    Keep { id: String, index: Option<Index> },
    /// Attribute an answer.
    Attribute {
        folder: PathBuf,
        /// The host's copy, if there is one.
        adapter: Option<Adapter>,
        request: AttributeRequest,
        prompt: Vec<i64>,
        reply: oneshot::Sender<Result<Attributed>>,
    },
}

/// Starts the thread. It ends when the sender is dropped.
pub(super) fn start(base: BaseModel, threads: i32) -> Result<Sender<Order>> {
    let (orders, inbox) = mpsc::channel();
    std::thread::Builder::new()
        .name("engine-attribute".into())
        .spawn(move || {
            tch::set_num_threads(threads);
            Attributor { base, kept: vec![] }.run(&inbox);
        })
        .map_err(EngineError::io(Path::new("engine-attribute")))?;
    Ok(orders)
}

/// Reads the index beside an adapter, if there is one, and checks that it is this adapter's.
pub(super) fn read_index(
    folder: &Path,
    adapter: &Adapter,
    config: &ModelConfig,
) -> Result<Option<Index>> {
    let path = folder.join(INDEX_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let index = Index::open(&path)?;
    GradientSpace::of(&index, adapter, config)?;
    Ok(Some(index))
}

struct Attributor {
    base: BaseModel,
    /// Indices by adapter, the last used at the end.
    kept: Vec<(String, Index)>,
}

impl Attributor {
    fn run(mut self, inbox: &Receiver<Order>) {
        for order in inbox {
            match order {
                Order::Keep { id, index } => {
                    self.kept.retain(|(kept, _)| *kept != id);
                    if let Some(index) = index {
                        self.keep(id, index);
                    }
                }
                // Whoever does not wait any more needs no answer.
                Order::Attribute { reply, .. } if reply.is_closed() => {}
                Order::Attribute { folder, adapter, request, prompt, reply } => {
                    // The tensor library panics where it runs out of memory; the next one may do.
                    let work = std::panic::AssertUnwindSafe(|| {
                        self.attribute(&folder, adapter, &request, &prompt)
                    });
                    let result =
                        std::panic::catch_unwind(work).unwrap_or_else(|panic| Err(gave_up(panic)));
                    let _ = reply.send(result);
                }
            }
        }
    }

    fn keep(&mut self, id: String, index: Index) {
        self.kept.push((id, index));
        // Two matrices of bytes, rows times dimensions.
        let bytes = |i: &Index| 2 * i.rows() * i.sketch().dims as usize;
        while self.kept.len() > 1
            && self.kept.iter().map(|(_, i)| bytes(i)).sum::<usize>() > KEPT_BYTES
        {
            self.kept.remove(0);
        }
    }

    /// The adapter's index, now at the end of those kept.
    fn index(
        &mut self,
        id: &str,
        folder: &Path,
        adapter: &Adapter,
        config: &ModelConfig,
    ) -> Result<&Index> {
        match self.kept.iter().position(|(kept, _)| kept == id) {
            Some(at) => {
                let last = self.kept.remove(at);
                self.kept.push(last);
            }
            None => {
                let index = read_index(folder, adapter, config)?.ok_or_else(|| {
                    let reason = format!("adapter `{id}` has no influence index; train it again");
                    EngineError::Request(reason)
                })?;
                self.keep(id.to_string(), index);
            }
        }
        self.kept.last().map(|(_, index)| index).ok_or(EngineError::Stopped)
    }

    fn attribute(
        &mut self,
        folder: &Path,
        adapter: Option<Adapter>,
        request: &AttributeRequest,
        prompt: &[i64],
    ) -> Result<Attributed> {
        let vocabulary = self.base.config().vocab_size;
        if request.answer_tokens.is_empty()
            || request.answer_tokens.iter().any(|t| !(0..vocabulary).contains(t))
        {
            let reason = "the answer's tokens are empty or not of this vocabulary".into();
            return Err(EngineError::Request(reason));
        }
        let length = prompt.len() + request.answer_tokens.len();
        let max = self.base.config().max_position as usize;
        if prompt.is_empty() || length > max {
            return Err(EngineError::PromptTooLong { tokens: length, max });
        }
        let device = self.base.transformer().device();
        let adapter = match adapter {
            Some(adapter) => {
                let flat = adapter.flat().f_to_device(device)?;
                Adapter::from_flat(adapter.config().clone(), flat)
            }
            None => Adapter::load(folder, self.base.config(), device)?,
        };
        let base = self.base.share();
        let index = self.index(&request.adapter, folder, &adapter, base.config())?;
        let sample = Sample::from_parts(prompt, &request.answer_tokens);
        let found = queries(&base, &adapter, index, &[sample])?;
        let query = found.first().ok_or(tributary_attribution::IndexError::NoQuery)?;
        let attribution = index.score(query, request.top)?;
        Ok(Attributed { attribution, query: query.integers().to_vec() })
    }
}
