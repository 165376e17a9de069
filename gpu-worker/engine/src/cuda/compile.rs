//! Compiles the kernels for a device at run time, and keeps what was compiled.

use std::collections::BTreeMap;
use std::ffi::{c_char, CStr, CString};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use cudarc::nvrtc::sys::{self, nvrtcResult};
use sha2::{Digest, Sha256};

use crate::error::{EngineError, Result};

/// The kernels' source: what they need of the device, then themselves.
const SOURCE: &str =
    concat!(include_str!("kernel/device.cuh"), "\n", include_str!("kernel/multi_lora.cu"));

/// What the compiler made.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// A cubin for one architecture.
    pub image: Vec<u8>,
    /// What the compiler said; with `verbose` also each kernel's registers and shared memory.
    pub log: String,
}

fn check(doing: &'static str, code: nvrtcResult) -> Result<()> {
    if code == nvrtcResult::NVRTC_SUCCESS {
        return Ok(());
    }
    // SAFETY: the library gives a constant text that ends with zero.
    let text = unsafe { CStr::from_ptr(sys::nvrtcGetErrorString(code)) };
    Err(EngineError::Cuda { doing, reason: text.to_string_lossy().into_owned() })
}

/// Opens NVRTC, from beside the tensor library or from where the loader finds it.
fn open_compiler() -> Result<()> {
    static OPENED: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    let opened = OPENED.get_or_init(|| {
        // The library's name inside is what a later search for it is answered with. What the
        // compiler opens by itself comes first.
        let places = compiler_places();
        let helper = |p: &&PathBuf| p.to_string_lossy().contains("builtins");
        for place in places.iter().filter(helper) {
            let _ = super::shim::load_library(&place.to_string_lossy());
        }
        for place in places.iter().filter(|p| !helper(p)) {
            if super::shim::load_library(&place.to_string_lossy()).is_ok() {
                break;
            }
        }
        // SAFETY: opens a shared library, whose start-up code is NVIDIA's.
        match unsafe { sys::is_culib_present() } {
            true => Ok(()),
            false => Err("libnvrtc.so.13 is neither beside PyTorch nor on the library path; \
                          install the CUDA build of PyTorch, which brings it"
                .to_string()),
        }
    });
    opened
        .clone()
        .map_err(|reason| EngineError::Cuda { doing: "opening the kernel compiler", reason })
}

/// Where PyTorch's packages put NVRTC, relative to PyTorch itself.
fn compiler_places() -> Vec<PathBuf> {
    let Ok(torch) = super::shim::torch_folder() else { return vec![] };
    let mut folders = vec![torch.clone()];
    // site-packages/torch/lib beside site-packages/nvidia/<package>/lib
    if let Some(packages) = torch.parent().and_then(Path::parent) {
        if let Ok(entries) = std::fs::read_dir(packages.join("nvidia")) {
            let mut found: Vec<_> = entries.flatten().map(|e| e.path().join("lib")).collect();
            found.sort();
            folders.extend(found);
        }
    }
    let mut places = vec![];
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        let mut files: Vec<_> = entries
            .flatten()
            .filter(|e| {
                let name = e.file_name().to_string_lossy().into_owned();
                name.starts_with("libnvrtc") && !name.contains(".alt.")
            })
            .map(|e| e.path())
            .collect();
        files.sort();
        places.extend(files);
    }
    places
}

/// The newest architecture that this NVRTC knows and a device of `capability` can run.
fn architecture(capability: (i32, i32)) -> Result<String> {
    let wanted = capability.0 * 10 + capability.1;
    let mut count = 0;
    // SAFETY: the pointer is valid for the call.
    check("asking the kernel compiler", unsafe { sys::nvrtcGetNumSupportedArchs(&mut count) })?;
    let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the library writes as many numbers as it said.
    check("asking the kernel compiler", unsafe {
        sys::nvrtcGetSupportedArchs(known.as_mut_ptr())
    })?;
    // Code for 8.0 also runs on 8.6, but not on 9.0.
    let best = known.into_iter().filter(|a| *a <= wanted && a / 10 == wanted / 10).max();
    match best.filter(|a| *a >= 80) {
        Some(arch) => Ok(format!("sm_{arch}")),
        None => Err(EngineError::Cuda {
            doing: "choosing an architecture",
            reason: format!(
                "no kernel can be compiled for compute capability {}.{}; 8.0 is the least",
                capability.0, capability.1
            ),
        }),
    }
}

/// Compiles the kernels for `arch`, as in `sm_90`. Errors carry the compiler's own words.
pub fn compile(arch: &str, verbose: bool) -> Result<Compiled> {
    open_compiler()?;
    let doing = "compiling kernels";
    let text =
        |s: &str| CString::new(s).map_err(|e| EngineError::Cuda { doing, reason: e.to_string() });
    let (source, name) = (text(SOURCE)?, text("multi_lora.cu")?);
    let mut options = vec![text(&format!("--gpu-architecture={arch}"))?, text("--std=c++17")?];
    if verbose {
        options.push(text("--ptxas-options=-v")?);
    }
    let pointers: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();

    struct Program(sys::nvrtcProgram);
    impl Drop for Program {
        fn drop(&mut self) {
            // SAFETY: made by `nvrtcCreateProgram` and used no more.
            let _ = unsafe { sys::nvrtcDestroyProgram(&mut self.0) };
        }
    }
    let mut program = Program(std::ptr::null_mut());
    // SAFETY: all texts end with zero and outlive the program; sizes are asked for before each
    // buffer is made.
    unsafe {
        let none = std::ptr::null();
        check(
            doing,
            sys::nvrtcCreateProgram(
                &mut program.0,
                source.as_ptr(),
                name.as_ptr(),
                0,
                none,
                std::ptr::null(),
            ),
        )?;
        let code = sys::nvrtcCompileProgram(program.0, pointers.len() as i32, pointers.as_ptr());
        let mut size = 0;
        check(doing, sys::nvrtcGetProgramLogSize(program.0, &mut size))?;
        let mut log = vec![0u8; size];
        check(doing, sys::nvrtcGetProgramLog(program.0, log.as_mut_ptr().cast()))?;
        let log = String::from_utf8_lossy(&log).trim_end_matches('\0').to_string();
        if code != nvrtcResult::NVRTC_SUCCESS {
            return Err(EngineError::Cuda { doing, reason: format!("for {arch}: {log}") });
        }
        let mut size = 0;
        check(doing, sys::nvrtcGetCUBINSize(program.0, &mut size))?;
        let mut image = vec![0u8; size];
        check(doing, sys::nvrtcGetCUBIN(program.0, image.as_mut_ptr().cast()))?;
        Ok(Compiled { image, log })
    }
}

/// The kernels for a device of `capability`: from memory or from the disk if they were compiled
/// before with this source and this compiler, else compiled now and kept in both.
pub(crate) fn for_device(capability: (i32, i32)) -> Result<Vec<u8>> {
    static HELD: Mutex<BTreeMap<(i32, i32), Vec<u8>>> = Mutex::new(BTreeMap::new());
    // A thread that panicked while it held the lock left the map whole.
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(image) = held.get(&capability) {
        return Ok(image.clone());
    }
    let image = from_disk_or_compiler(capability)?;
    held.insert(capability, image.clone());
    Ok(image)
}

fn from_disk_or_compiler(capability: (i32, i32)) -> Result<Vec<u8>> {
    open_compiler()?;
    let arch = architecture(capability)?;
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the pointers are valid for the call.
    check("asking the kernel compiler", unsafe { sys::nvrtcVersion(&mut major, &mut minor) })?;
    let mut digest = Sha256::new();
    digest.update(format!("{arch} {major}.{minor}\n{SOURCE}"));
    let name = format!("multi_lora-{arch}-{}.cubin", hex::encode(&digest.finalize()[..16]));
    let kept = cache_folder().map(|folder| folder.join(name));
    if let Some(image) = kept.as_deref().and_then(read_kept) {
        return Ok(image);
    }
    let image = compile(&arch, false)?.image;
    if let Some(path) = kept {
        // A cache that cannot be written costs a compilation, nothing more.
        let _ = keep(&path, &image);
    }
    Ok(image)
}

/// The folder that compiled kernels are kept in: `kernels` in the user's cache.
fn cache_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("TRIBUTARY_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|p| p.join("tributary")))
        .or_else(|| set("HOME").map(|p| p.join(".cache/tributary")))
        .map(|p| p.join("kernels"))
}

/// An image and, before it, its digest: half a file must not reach the driver.
fn read_kept(path: &Path) -> Option<Vec<u8>> {
    let bytes = std::fs::read(path).ok()?;
    let (digest, image) = bytes.split_at_checked(32)?;
    (Sha256::digest(image).as_slice() == digest).then(|| image.to_vec())
}

fn keep(path: &Path, image: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
    }
    let mut bytes = Sha256::digest(image).to_vec();
    bytes.extend_from_slice(image);
    crate::files::write_atomic(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_image_is_read_back_and_a_damaged_one_is_not() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("kernels").join("image");
        keep(&path, b"code").map_err(std::io::Error::other)?;
        assert_eq!(read_kept(&path).as_deref(), Some(&b"code"[..]));
        let mut bytes = std::fs::read(&path)?;
        bytes.truncate(bytes.len() - 1);
        std::fs::write(&path, &bytes)?;
        assert_eq!(read_kept(&path), None, "a shortened file");
        assert_eq!(read_kept(&folder.path().join("nothing")), None);
        Ok(())
    }
}
