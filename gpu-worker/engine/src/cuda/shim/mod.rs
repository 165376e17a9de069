//! Streams, events, memory figures and switches of the tensor library: a safe face on `shim.cpp`.

use std::ffi::{c_char, c_void, CStr, CString};
use std::path::PathBuf;

use crate::error::{EngineError, Result};

/// A stream as the shim hands it over; the layout is shared with `shim.cpp`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RawStream {
    id: i64,
    device: i64,
    native: *mut c_void,
}

impl RawStream {
    const NONE: Self = Self { id: 0, device: 0, native: std::ptr::null_mut() };
}

/// Switches of the tensor library that decide which routine computes a result; they hold for the
/// whole process. The layout is shared with `shim.cpp`.
///
/// With `deterministic` an operation that has no reproducible routine fails instead of running.
/// cuBLAS is reproducible only if `CUBLAS_WORKSPACE_CONFIG=:4096:8` stands in the environment
/// before it is first used.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switches {
    /// Only reproducible routines.
    pub deterministic: bool,
    /// f32 products through TF32.
    pub tf32: bool,
    /// bf16 products may add up partial sums in bf16.
    pub reduced_bf16: bool,
    /// f16 products may add up partial sums in f16.
    pub reduced_f16: bool,
    /// Attention may use the flash routine.
    pub sdp_flash: bool,
    /// Attention may use the memory-efficient routine.
    pub sdp_efficient: bool,
    /// Attention may use cuDNN.
    pub sdp_cudnn: bool,
    /// Attention may be composed of plain operations.
    pub sdp_math: bool,
}

extern "C" {
    fn tributary_load_library(path: *const c_char) -> *const c_char;
    fn tributary_torch_library(out: *mut c_char, capacity: usize) -> *const c_char;
    fn tributary_has_cuda() -> i32;
    fn tributary_device_count(out: *mut i32) -> *const c_char;
    fn tributary_device_use(index: i32) -> *const c_char;
    fn tributary_device_synchronize(index: i32) -> *const c_char;
    fn tributary_stream_current(index: i32, out: *mut RawStream) -> *const c_char;
    fn tributary_stream_new(index: i32, high: i32, out: *mut RawStream) -> *const c_char;
    fn tributary_stream_exchange(next: *const RawStream, last: *mut RawStream) -> *const c_char;
    fn tributary_stream_synchronize(stream: *const RawStream) -> *const c_char;
    fn tributary_stream_idle(stream: *const RawStream, out: *mut i32) -> *const c_char;
    fn tributary_event_record(event: *mut *mut c_void, stream: *const RawStream) -> *const c_char;
    fn tributary_event_block(event: *mut c_void, stream: *const RawStream) -> *const c_char;
    fn tributary_event_done(event: *mut c_void, out: *mut i32) -> *const c_char;
    fn tributary_event_synchronize(event: *mut c_void) -> *const c_char;
    fn tributary_event_elapsed(
        first: *mut c_void,
        second: *mut c_void,
        index: i32,
        ms: *mut f64,
    ) -> *const c_char;
    fn tributary_event_destroy(event: *mut c_void, index: i32);
    fn tributary_memory(index: i32, out: *mut i64) -> *const c_char;
    fn tributary_memory_reset_peak(index: i32) -> *const c_char;
    fn tributary_memory_empty_cache() -> *const c_char;
    fn tributary_switches_get(out: *mut Switches) -> *const c_char;
    fn tributary_switches_set(switches: *const Switches) -> *const c_char;
    fn tributary_pool_begin(index: i32, id: u64, native: *mut c_void) -> *const c_char;
    fn tributary_pool_end(index: i32, id: u64) -> *const c_char;
    fn tributary_pool_release(index: i32, id: u64) -> *const c_char;
}

/// Turns the shim's answer into a result; `doing` says what failed.
fn check(doing: &'static str, error: *const c_char) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the shim gives null or a text that ends with zero and lives until this thread's
    // next call into it.
    let reason = unsafe { CStr::from_ptr(error) }.to_string_lossy();
    // The first line says what happened; what follows is where in the library.
    let reason = reason.lines().next().unwrap_or("no reason was given").to_string();
    Err(EngineError::Cuda { doing, reason })
}

/// Loads the shared library `path`, a file or a name for the loader, for the rest of the process.
pub(crate) fn load_library(path: &str) -> Result<()> {
    let text = CString::new(path).map_err(|_| EngineError::Cuda {
        doing: "loading a library",
        reason: format!("`{path}` has a zero byte in it"),
    })?;
    // SAFETY: the text outlives the call.
    check("loading a library", unsafe { tributary_load_library(text.as_ptr()) })
}

/// The folder that the tensor library was loaded from.
pub(crate) fn torch_folder() -> Result<PathBuf> {
    let mut buffer = [0 as c_char; 4096];
    // SAFETY: the capacity is the buffer's.
    let answer = unsafe { tributary_torch_library(buffer.as_mut_ptr(), buffer.len()) };
    check("looking for the tensor library", answer)?;
    // SAFETY: on success the shim has written a text that ends with zero.
    let text = unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned();
    Ok(PathBuf::from(text).parent().map(PathBuf::from).unwrap_or_default())
}

/// Whether the CUDA part of the tensor library is loaded.
pub(crate) fn has_cuda() -> bool {
    // SAFETY: no arguments.
    unsafe { tributary_has_cuda() != 0 }
}

/// How many CUDA devices there are. An error when the CUDA part is not loaded.
pub fn device_count() -> Result<usize> {
    let mut count = 0;
    // SAFETY: the pointer is valid for the call.
    check("counting devices", unsafe { tributary_device_count(&mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Makes `index` this thread's device, and CUDA ready for use.
pub fn use_device(index: usize) -> Result<()> {
    // SAFETY: a plain number.
    check("choosing a device", unsafe { tributary_device_use(index as i32) })
}

/// Waits for all work on device `index`.
pub fn synchronize(index: usize) -> Result<()> {
    // SAFETY: a plain number.
    check("waiting for the device", unsafe { tributary_device_synchronize(index as i32) })
}

/// A queue of work on a device. The tensor library owns it; copies name the same queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream(RawStream);

// SAFETY: a stream is a name for a queue that lives as long as the process; CUDA takes work for
// it from any thread.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    /// The stream that this thread's tensor operations on device `index` go to.
    pub fn current(index: usize) -> Result<Self> {
        let mut raw = RawStream::NONE;
        let answer = unsafe {
            // SAFETY: the pointer is valid for the call.
            tributary_stream_current(index as i32, &mut raw)
        };
        check("asking for the current stream", answer)?;
        Ok(Self(raw))
    }

    /// A stream beside the current one, from the library's pool.
    pub fn new(index: usize, high_priority: bool) -> Result<Self> {
        let mut raw = RawStream::NONE;
        let answer = unsafe {
            // SAFETY: the pointer is valid for the call.
            tributary_stream_new(index as i32, high_priority.into(), &mut raw)
        };
        check("making a stream", answer)?;
        Ok(Self(raw))
    }

    /// CUDA's own handle, null for the default stream.
    pub fn native(&self) -> *mut c_void {
        self.0.native
    }

    /// Runs `body` with this stream as the thread's current one.
    pub fn with<T>(&self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        let previous = self.enter()?;
        // Also when the body panics, the thread's stream is put back.
        struct Back(Stream);
        impl Drop for Back {
            fn drop(&mut self) {
                // An error here means that the device is lost; the next operation says so.
                let _ = self.0.enter();
            }
        }
        let _back = Back(previous);
        body()
    }

    fn enter(&self) -> Result<Self> {
        let mut previous = RawStream::NONE;
        // SAFETY: both pointers are valid for the call.
        let answer = unsafe { tributary_stream_exchange(&self.0, &mut previous) };
        check("changing the current stream", answer)?;
        Ok(Self(previous))
    }

    /// Waits until all work given to the stream is done.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the pointer is valid for the call.
        check("waiting for a stream", unsafe { tributary_stream_synchronize(&self.0) })
    }

    /// Whether all work given to the stream is done.
    pub fn is_idle(&self) -> Result<bool> {
        let mut idle = 0;
        // SAFETY: both pointers are valid for the call.
        check("asking a stream", unsafe { tributary_stream_idle(&self.0, &mut idle) })?;
        Ok(idle != 0)
    }

    /// Work given to this stream from now on waits until `event` has come to pass.
    pub fn wait_for(&self, event: &Event) -> Result<()> {
        // SAFETY: the event is alive; the pointer is valid for the call.
        check("waiting for an event", unsafe { tributary_event_block(event.handle, &self.0) })
    }
}

/// A place in a stream's work, with the time at which it was reached.
#[derive(Debug)]
pub struct Event {
    handle: *mut c_void,
    device: i32,
}

// SAFETY: CUDA's events may be used and destroyed from any thread.
unsafe impl Send for Event {}

impl Event {
    /// The present end of `stream`'s work.
    pub fn record(stream: &Stream) -> Result<Self> {
        let mut event = Self { handle: std::ptr::null_mut(), device: stream.0.device as i32 };
        // SAFETY: both pointers are valid for the call; a null handle is made anew.
        let answer = unsafe { tributary_event_record(&mut event.handle, &stream.0) };
        check("recording an event", answer)?;
        Ok(event)
    }

    /// Whether the place has been reached.
    pub fn is_done(&self) -> Result<bool> {
        let mut done = 0;
        // SAFETY: the event is alive; the pointer is valid for the call.
        check("asking an event", unsafe { tributary_event_done(self.handle, &mut done) })?;
        Ok(done != 0)
    }

    /// Waits until the place is reached.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the event is alive.
        check("waiting for an event", unsafe { tributary_event_synchronize(self.handle) })
    }

    /// Milliseconds of device time from `earlier`, both having been reached.
    pub fn milliseconds_since(&self, earlier: &Event) -> Result<f64> {
        let mut ms = 0.0;
        // SAFETY: both events are alive; the pointer is valid for the call.
        let answer =
            unsafe { tributary_event_elapsed(earlier.handle, self.handle, self.device, &mut ms) };
        check("reading the time between events", answer)?;
        Ok(ms)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the handle came from `tributary_event_record` and is used no more.
            unsafe { tributary_event_destroy(self.handle, self.device) }
        }
    }
}

/// What the tensor library's allocator holds on a device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// In tensors that live.
    pub allocated: i64,
    /// The most that was in tensors since the peak was last reset.
    pub allocated_peak: i64,
    /// Taken from the device.
    pub reserved: i64,
    /// The most that was taken.
    pub reserved_peak: i64,
    /// How often an allocation failed.
    pub failures: i64,
}

impl Memory {
    /// The present figures of device `index`.
    pub fn of(index: usize) -> Result<Self> {
        let mut out = [0i64; 5];
        // SAFETY: the shim writes five numbers.
        check("reading memory figures", unsafe {
            tributary_memory(index as i32, out.as_mut_ptr())
        })?;
        let [allocated, allocated_peak, reserved, reserved_peak, failures] = out;
        Ok(Self { allocated, allocated_peak, reserved, reserved_peak, failures })
    }

    /// Lets the peaks begin at what is held now.
    pub fn reset_peak(index: usize) -> Result<()> {
        // SAFETY: a plain number.
        check("resetting memory figures", unsafe { tributary_memory_reset_peak(index as i32) })
    }

    /// Gives memory that no tensor uses back to the device.
    pub fn empty_cache() -> Result<()> {
        // SAFETY: no arguments.
        check("emptying the cache", unsafe { tributary_memory_empty_cache() })
    }
}

impl Switches {
    /// How they stand.
    pub fn get() -> Result<Self> {
        let mut bytes = [0u8; 8];
        // Read as bytes: a value that is not 0 or 1 must not become a `bool`.
        // SAFETY: the shim writes eight bytes, one per switch.
        let answer = unsafe { tributary_switches_get(bytes.as_mut_ptr().cast()) };
        check("reading switches", answer)?;
        let [deterministic, tf32, reduced_bf16, reduced_f16, flash, efficient, cudnn, math] =
            bytes.map(|b| b != 0);
        Ok(Self {
            deterministic,
            tf32,
            reduced_bf16,
            reduced_f16,
            sdp_flash: flash,
            sdp_efficient: efficient,
            sdp_cudnn: cudnn,
            sdp_math: math,
        })
    }

    /// Sets all of them; gives how they stood.
    pub fn set(&self) -> Result<Self> {
        let previous = Self::get()?;
        // SAFETY: the layout is the shim's; the pointer is valid for the call.
        check("setting switches", unsafe { tributary_switches_set(self) })?;
        Ok(previous)
    }

    /// Results that are the same bits each time on the same kind of device: reproducible
    /// routines only, f32 as f32, no sums in half precision.
    pub fn reproducible() -> Self {
        Self {
            deterministic: true,
            tf32: false,
            reduced_bf16: false,
            reduced_f16: false,
            sdp_flash: false,
            sdp_efficient: false,
            sdp_cudnn: false,
            sdp_math: true,
        }
    }
}

/// Memory that belongs to a captured graph: what is allocated while [`Self::fill`] runs stays
/// reserved until the pool is dropped.
#[derive(Debug)]
pub(crate) struct Pool {
    device: i32,
    id: u64,
}

impl Pool {
    pub(crate) fn new(device: usize) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        // Far above the numbers that the library gives to pools of its own.
        static NEXT: AtomicU64 = AtomicU64::new(1 << 40);
        Self { device: device as i32, id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// Runs `body`, whose allocations on `stream` come from this pool.
    pub(crate) fn fill<T>(&self, stream: &Stream, body: impl FnOnce() -> Result<T>) -> Result<T> {
        // SAFETY: plain numbers, and a handle that is only compared.
        let answer = unsafe { tributary_pool_begin(self.device, self.id, stream.native()) };
        check("opening a graph's memory", answer)?;
        let result = body();
        // SAFETY: plain numbers.
        let closed = unsafe { tributary_pool_end(self.device, self.id) };
        let closed = check("closing a graph's memory", closed);
        let value = result?;
        closed?;
        Ok(value)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: plain numbers. A pool that was never opened is unknown there, which is no harm.
        unsafe { tributary_pool_release(self.device, self.id) };
    }
}
