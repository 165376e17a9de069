//! The few calls of CUDA's driver that the kernels and graphs need. The driver's library is
//! opened when it is first used, so that nothing here is needed to start on a machine without it.

use std::ffi::{c_void, CStr};
use std::sync::OnceLock;

use cudarc::driver::sys::{self, CUresult};

use crate::error::{EngineError, Result};

/// Whether the driver's library is on this machine.
pub(crate) fn is_present() -> bool {
    static PRESENT: OnceLock<bool> = OnceLock::new();
    // SAFETY: opens a shared library, whose start-up code is NVIDIA's.
    *PRESENT.get_or_init(|| unsafe { sys::is_culib_present() })
}

/// Turns the driver's answer into a result; `doing` says what failed.
pub(crate) fn check(doing: &'static str, code: CUresult) -> Result<()> {
    if code == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    let mut text = std::ptr::null();
    // SAFETY: the driver gives a constant text, or leaves the pointer null.
    let known = unsafe { sys::cuGetErrorString(code, &mut text) };
    let reason = match known == CUresult::CUDA_SUCCESS && !text.is_null() {
        // SAFETY: a constant text of the driver that ends with zero.
        true => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
        false => format!("the driver gave code {}", code as u32),
    };
    Err(EngineError::Cuda { doing, reason })
}

fn present() -> Result<()> {
    match is_present() {
        true => Ok(()),
        false => Err(EngineError::Cuda {
            doing: "opening the driver",
            reason: "libcuda is not on this machine; install NVIDIA's driver".into(),
        }),
    }
}

/// A device's primary context, the one that the tensor library uses too.
#[derive(Debug)]
pub(crate) struct Context {
    raw: sys::CUcontext,
    device: sys::CUdevice,
}

// SAFETY: a context may be made current in any thread.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// The context of device `index`.
    pub(crate) fn new(index: usize) -> Result<Self> {
        present()?;
        let (mut device, mut raw) = (0, std::ptr::null_mut());
        // SAFETY: the pointers are valid for the calls.
        unsafe {
            check("starting the driver", sys::cuInit(0))?;
            check("choosing a device", sys::cuDeviceGet(&mut device, index as i32))?;
            check("opening a device", sys::cuDevicePrimaryCtxRetain(&mut raw, device))?;
        }
        Ok(Self { raw, device })
    }

    /// Makes it this thread's context.
    pub(crate) fn enter(&self) -> Result<()> {
        // SAFETY: the context is retained as long as `self` lives.
        check("entering a device", unsafe { sys::cuCtxSetCurrent(self.raw) })
    }

    fn attribute(&self, which: sys::CUdevice_attribute) -> Result<i32> {
        let mut value = 0;
        // SAFETY: the pointer is valid for the call.
        let code = unsafe { sys::cuDeviceGetAttribute(&mut value, which, self.device) };
        check("asking a device", code)?;
        Ok(value)
    }

    /// Compute capability, as in (9, 0).
    pub(crate) fn capability(&self) -> Result<(i32, i32)> {
        use sys::CUdevice_attribute::*;
        let major = self.attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        Ok((major, self.attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?))
    }

    /// The device's name, as in "NVIDIA H200".
    pub(crate) fn name(&self) -> Result<String> {
        let mut buffer = [0 as std::ffi::c_char; 256];
        // SAFETY: the length is the buffer's; the driver ends the text with zero.
        let text = unsafe {
            let code = sys::cuDeviceGetName(buffer.as_mut_ptr(), buffer.len() as i32, self.device);
            check("asking a device for its name", code)?;
            CStr::from_ptr(buffer.as_ptr())
        };
        Ok(text.to_string_lossy().into_owned())
    }

    /// Bytes that are free, and all bytes, on the device.
    pub(crate) fn memory(&self) -> Result<(usize, usize)> {
        self.enter()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: the pointers are valid for the call.
        check("reading the device's memory", unsafe {
            sys::cuMemGetInfo_v2(&mut free, &mut total)
        })?;
        Ok((free, total))
    }

    /// Peak bandwidth of the device's memory in bytes per second, from the clock and the width
    /// that the driver reports: transfers happen on both edges of the clock.
    pub(crate) fn bandwidth(&self) -> Result<f64> {
        use sys::CUdevice_attribute::*;
        let kilohertz = f64::from(self.attribute(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?);
        let bits = f64::from(self.attribute(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?);
        Ok(2.0 * kilohertz * 1000.0 * bits / 8.0)
    }

    /// Multiprocessors, and their clock in Hz.
    pub(crate) fn processors(&self) -> Result<(i32, f64)> {
        use sys::CUdevice_attribute::*;
        let clock = f64::from(self.attribute(CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?) * 1000.0;
        Ok((self.attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?, clock))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once in `new`. At the process's end the driver may be gone; whatever
        // it answers then, there is nothing to do.
        unsafe {
            let _ = sys::cuDevicePrimaryCtxRelease_v2(self.device);
        }
    }
}

/// Code loaded onto a device.
#[derive(Debug)]
pub(crate) struct Module {
    raw: sys::CUmodule,
}

// SAFETY: a module belongs to its context, which may be current in any thread.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

/// An entry point of a module that is kept for the whole life of the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Function(sys::CUfunction);

// SAFETY: as for modules.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

impl Module {
    /// Loads `image`, a cubin or PTX that ends with zero, into the current context.
    pub(crate) fn load(image: &[u8]) -> Result<Self> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the driver reads as far as the image's own headers say, or to the zero.
        let code = unsafe { sys::cuModuleLoadData(&mut raw, image.as_ptr().cast()) };
        check("loading compiled kernels", code)?;
        Ok(Self { raw })
    }

    /// The entry point `name`.
    pub(crate) fn function(&self, name: &CStr) -> Result<Function> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the module is loaded; the name ends with zero.
        let code = unsafe { sys::cuModuleGetFunction(&mut raw, self.raw, name.as_ptr()) };
        check("finding a kernel", code)?;
        Ok(Function(raw))
    }
}

impl Function {
    /// Puts one launch with one argument on `stream`.
    ///
    /// # Safety
    /// `argument` must be what the kernel takes, and all memory that it names must be on the
    /// current context's device and live until the launch is done.
    pub(crate) unsafe fn launch<T>(
        &self,
        grid: (u32, u32),
        threads: u32,
        stream: *mut c_void,
        argument: &T,
    ) -> Result<()> {
        let mut arguments = [std::ptr::from_ref(argument).cast_mut().cast::<c_void>()];
        // SAFETY: the driver copies the argument before it returns; the rest is the caller's.
        let code = unsafe {
            sys::cuLaunchKernel(
                self.0,
                grid.0,
                grid.1,
                1,
                threads,
                1,
                1,
                0,
                stream.cast(),
                arguments.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        check("launching a kernel", code)
    }
}

/// Copies `bytes` to device address `to` in `stream`'s order.
///
/// # Safety
/// `to` must be the start of as many bytes on the current context's device. The copy is done
/// with `bytes` when this returns, unless they are in pinned memory: then they must stay.
pub(crate) unsafe fn copy_to_device(to: u64, bytes: &[u8], stream: *mut c_void) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    let code =
        unsafe { sys::cuMemcpyHtoDAsync_v2(to, bytes.as_ptr().cast(), bytes.len(), stream.cast()) };
    check("copying to the device", code)
}
