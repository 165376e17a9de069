//! Compiles what this crate has in C++, and lets its binaries find the tensor library where they
//! were built.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=TRIBUTARY_TORCH_LIB");
    println!("cargo:rerun-if-env-changed=LD_LIBRARY_PATH");
    // The build is given the folder on the library path; the same folder goes into the binary.
    let folders = std::env::var("TRIBUTARY_TORCH_LIB")
        .or_else(|_| std::env::var("LD_LIBRARY_PATH"))
        .unwrap_or_default();
    for folder in
        folders.split(':').filter(|f| std::path::Path::new(f).join("libtorch.so").exists())
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }

    println!("cargo:rerun-if-changed=src/cuda/shim");
    println!("cargo:rerun-if-changed=src/cuda/kernel");
    let torch = match torch_headers() {
        Ok(torch) => torch,
        Err(reason) => {
            eprintln!("PyTorch's C++ headers were not found: {reason}.");
            eprintln!(
                "Install torch into the Python that `python3` starts and set \
                 LIBTORCH_USE_PYTORCH=1 (scripts/env.sh does both), or set LIBTORCH to an \
                 unpacked libtorch."
            );
            std::process::exit(1);
        }
    };
    cc::Build::new()
        .cpp(true)
        .pic(true)
        .std("c++17")
        .warnings(false)
        .opt_level(2)
        // First, so that it stands in for a toolkit's header: the shim needs a few names only.
        .include("src/cuda/shim/include")
        .includes(&torch.includes)
        .define("_GLIBCXX_USE_CXX11_ABI", torch.abi.as_str())
        .file("src/cuda/shim/shim.cpp")
        .file("src/cuda/kernel/emulate.cpp")
        .compile("tributary_cuda");
}

struct Torch {
    includes: Vec<PathBuf>,
    abi: String,
}

/// Asks the same Python that the tensor crate asks, in the same way.
fn torch_headers() -> Result<Torch, String> {
    for name in ["LIBTORCH_USE_PYTORCH", "LIBTORCH", "LIBTORCH_INCLUDE", "LIBTORCH_CXX11_ABI"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let found = if std::env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        let python = match std::env::var_os("VIRTUAL_ENV") {
            Some(_) => "python",
            None => "python3",
        };
        let script = "import torch\n\
                      from torch.utils import cpp_extension\n\
                      print('ABI', int(torch._C._GLIBCXX_USE_CXX11_ABI))\n\
                      for path in cpp_extension.include_paths(): print('INCLUDE', path)\n";
        let output = Command::new(python)
            .args(["-c", script])
            .output()
            .map_err(|e| format!("`{python}` cannot be started ({e})"))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let last = text.lines().last().unwrap_or("it gave no reason");
            return Err(format!("`{python}` cannot import torch ({last})"));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let all = |key: &str| -> Vec<String> {
            text.lines().filter_map(|l| l.strip_prefix(key)).map(str::to_string).collect()
        };
        Torch {
            includes: all("INCLUDE ").into_iter().map(PathBuf::from).collect(),
            abi: all("ABI ").pop().unwrap_or_else(|| "1".into()),
        }
    } else {
        let root = std::env::var("LIBTORCH_INCLUDE")
            .or_else(|_| std::env::var("LIBTORCH"))
            .unwrap_or_else(|_| "/usr".into());
        let include = PathBuf::from(root).join("include");
        let api = include.join("torch/csrc/api/include");
        Torch {
            includes: vec![include, api],
            abi: std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".into()),
        }
    };
    let header = "c10/core/impl/DeviceGuardImplInterface.h";
    match found.includes.iter().any(|folder| folder.join(header).is_file()) {
        true => Ok(found),
        false => Err(format!("{header} is in none of {:?}", found.includes)),
    }
}
