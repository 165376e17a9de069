//! Attribution of answers, on a thread of its own: a gradient takes longer than many steps of
//! generation, and nobody's answer waits for it. Answers of one adapter that wait together are
//! attributed together, in one pass over the model and one over the index.

use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
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

/// Answers that are attributed together, at most.
const TOGETHER: usize = 16;

/// What the thread is told.
pub(super) enum Order {
    /// An adapter was loaded with this index; older indices of that name are no longer its.
    Keep { id: String, index: Option<Index> },
    /// Attribute an answer.
    Attribute(Asked),
}

/// An answer to attribute.
pub(super) struct Asked {
    pub folder: PathBuf,
    /// The host's copy of the adapter, if there is one.
    pub adapter: Option<Adapter>,
    pub request: AttributeRequest,
    pub prompt: Vec<i64>,
    pub reply: oneshot::Sender<Result<Attributed>>,
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
        let mut waiting: VecDeque<Order> = VecDeque::new();
        loop {
            if waiting.is_empty() {
                match inbox.recv() {
                    Ok(order) => waiting.push_back(order),
                    Err(_) => return,
                }
            }
            waiting.extend(inbox.try_iter());
            match waiting.pop_front() {
                Some(Order::Keep { id, index }) => {
                    self.kept.retain(|(kept, _)| *kept != id);
                    if let Some(index) = index {
                        self.keep(id, index);
                    }
                }
                Some(Order::Attribute(first)) => {
                    let mut together = take_along(&mut waiting, &first.request.adapter);
                    together.insert(0, first);
                    // Whoever does not wait any more needs no answer.
                    together.retain(|asked| !asked.reply.is_closed());
                    self.answer(together);
                }
                None => {}
            }
        }
    }

    /// Attributes answers of one adapter and replies.
    fn answer(&mut self, together: Vec<Asked>) {
        let mut good = vec![];
        for asked in together {
            match check(&asked, self.base.config()) {
                Ok(()) => good.push(asked),
                // Nobody may be waiting any more, here and below.
                Err(error) => drop(asked.reply.send(Err(error))),
            }
        }
        if good.len() > 1 {
            if let Ok(all) = self.guarded(&good) {
                for (asked, found) in good.into_iter().zip(all) {
                    drop(asked.reply.send(Ok(found)));
                }
                return;
            }
        }
        // What fails together, for want of memory or by the fault of one, is tried one by one.
        for asked in good {
            let found = self.guarded(std::slice::from_ref(&asked));
            let found = found.and_then(|mut all| all.pop().ok_or(EngineError::Stopped));
            drop(asked.reply.send(found));
        }
    }

    /// The tensor library panics where it runs out of memory; the next one may do.
    fn guarded(&mut self, together: &[Asked]) -> Result<Vec<Attributed>> {
        catch_unwind(AssertUnwindSafe(|| self.attribute(together)))
            .unwrap_or_else(|panic| Err(gave_up(panic)))
    }

    fn keep(&mut self, id: String, index: Index) {
        self.kept.push((id, index));
        let bytes = |i: &Index| i.as_bytes().len();
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

    /// Attributes answers of one adapter.
    fn attribute(&mut self, together: &[Asked]) -> Result<Vec<Attributed>> {
        let Some(Asked { folder, adapter, request, .. }) = together.first() else {
            return Ok(vec![]);
        };
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
        let samples: Vec<Sample> = together
            .iter()
            .map(|asked| Sample::from_parts(&asked.prompt, &asked.request.answer_tokens))
            .collect();
        let queries = queries(&base, &adapter, index, &samples)?;
        let top = together.iter().map(|asked| asked.request.top).max().unwrap_or(0);
        let all = index.score_all(&queries, top)?;
        let attributed = all.into_iter().zip(&queries).zip(together);
        Ok(attributed
            .map(|((mut attribution, query), asked)| {
                attribution.records.truncate(asked.request.top);
                Attributed { attribution, query: query.integers().to_vec() }
            })
            .collect())
    }
}

/// Takes out what else asks for this adapter, up to the next order about an index.
fn take_along(waiting: &mut VecDeque<Order>, adapter: &str) -> Vec<Asked> {
    let (mut taken, mut at) = (vec![], 0);
    while taken.len() + 1 < TOGETHER {
        match waiting.get(at) {
            None | Some(Order::Keep { .. }) => break,
            Some(Order::Attribute(asked)) if asked.request.adapter != adapter => at += 1,
            Some(Order::Attribute(_)) => {
                if let Some(Order::Attribute(asked)) = waiting.remove(at) {
                    taken.push(asked);
                }
            }
        }
    }
    taken
}

/// Says why an answer cannot be attributed with this base.
fn check(asked: &Asked, config: &ModelConfig) -> Result<()> {
    let answer = &asked.request.answer_tokens;
    if answer.is_empty() || answer.iter().any(|t| !(0..config.vocab_size).contains(t)) {
        let reason = "the answer's tokens are empty or not of this vocabulary".into();
        return Err(EngineError::Request(reason));
    }
    let (tokens, max) = (asked.prompt.len() + answer.len(), config.max_position as usize);
    if asked.prompt.is_empty() || tokens > max {
        return Err(EngineError::PromptTooLong { tokens, max });
    }
    Ok(())
}
