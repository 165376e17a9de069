//! A step's launches recorded once and replayed as one.
//!
//! What is safe to record: operations of fixed shapes that ask nothing of the device while they
//! are queued (no `item`, no `nonzero`, no copy to the host), on tensors that outlive the graph
//! or are made inside. Inputs are changed between replays by copying into the same tensors.
//! Memory allocated while recording comes from a pool that belongs to the graph, so that a later
//! tensor cannot be given what a replay writes to.

use cudarc::driver::sys;

use super::driver::{check, Context};
use super::shim::{Pool, Stream};
use crate::error::{EngineError, Result};

/// A recorded step and its outputs.
pub struct Graph<T> {
    executable: sys::CUgraphExec,
    stream: Stream,
    context: Context,
    /// What the recorded body gave; filled anew by each replay. Declared before the pool: tensors
    /// are dropped first.
    output: T,
    _pool: Pool,
}

impl<T> Graph<T> {
    /// Runs `body` twice to warm up, then records it. Gives an error on a machine without CUDA.
    pub fn record(device: usize, mut body: impl FnMut() -> Result<T>) -> Result<Self> {
        let context = Context::new(device)?;
        super::shim::use_device(device)?;
        // The default stream cannot be recorded.
        let stream = Stream::new(device, false)?;
        let pool = Pool::new(device);
        super::shim::synchronize(device)?;
        stream
            .with(|| {
                // Libraries set up their handles and workspaces on first use, outside the record.
                for _ in 0..2 {
                    drop(body()?);
                }
                stream.synchronize()?;
                context.enter()?;
                let (graph, output) = pool.fill(&stream, || record_on(&stream, &mut body))?;
                let mut executable = std::ptr::null_mut();
                // SAFETY: the graph was just recorded; the pointer is valid for the call.
                let made = unsafe { sys::cuGraphInstantiateWithFlags(&mut executable, graph, 0) };
                // SAFETY: the executable graph keeps nothing of the recorded one.
                let _ = unsafe { sys::cuGraphDestroy(graph) };
                check("preparing a recorded step", made)?;
                Ok((executable, output))
            })
            .map(|(executable, output)| Self { executable, stream, context, output, _pool: pool })
    }

    /// Queues the recorded step once. Its stream waits for nothing else: use [`Self::stream`] to
    /// order copies into its inputs.
    pub fn replay(&self) -> Result<()> {
        self.context.enter()?;
        // SAFETY: both handles are alive.
        let code = unsafe { sys::cuGraphLaunch(self.executable, self.stream.native().cast()) };
        check("replaying a step", code)
    }

    /// The stream that replays go to.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// What the body gave while recording; holds the last replay's values once that is done.
    pub fn output(&self) -> &T {
        &self.output
    }
}

fn record_on<T>(
    stream: &Stream,
    body: &mut impl FnMut() -> Result<T>,
) -> Result<(sys::CUgraph, T)> {
    // Only this thread's calls are watched: others may go on allocating.
    let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    // SAFETY: the stream is alive and not the default one.
    let code = unsafe { sys::cuStreamBeginCapture_v2(stream.native().cast(), mode) };
    check("recording a step", code)?;
    let output = body();
    let mut graph = std::ptr::null_mut();
    // SAFETY: capture was begun above; the pointer is valid for the call.
    let ended = unsafe { sys::cuStreamEndCapture(stream.native().cast(), &mut graph) };
    // The body's own error says more than that the record is broken.
    let output = output?;
    check("recording a step", ended)?;
    if graph.is_null() {
        let reason = "nothing was recorded".into();
        return Err(EngineError::Cuda { doing: "recording a step", reason });
    }
    Ok((graph, output))
}

impl<T> Drop for Graph<T> {
    fn drop(&mut self) {
        // The device may still be at it.
        let _ = self.stream.synchronize();
        // SAFETY: made in `record` and used no more.
        let _ = unsafe { sys::cuGraphExecDestroy(self.executable) };
    }
}
