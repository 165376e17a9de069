//! Lets this crate's binaries find the tensor library where they were built.

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
}
