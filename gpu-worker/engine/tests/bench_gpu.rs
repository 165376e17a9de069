//! The GPU benchmark as a program: its whole course on the CPU with a toy shape, and its answer
//! where there is no device.

use std::process::{Command, Output};

use tributary_engine::cuda::{start, Cuda};

fn bench(arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_tributary-bench-gpu"))
        .args(arguments)
        .env_remove("TRIBUTARY_PYTHON")
        .output()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_section_runs_on_a_toy_shape() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("bench").join("gpu.json");
    let path = out.to_string_lossy().into_owned();
    // A stand-in for Python, so that the comparison's course is run without PEFT.
    let python = folder.path().join("python");
    std::fs::write(
        &python,
        "#!/bin/sh\n\
         echo \"{\\\"name\\\": \\\"on $3 with $4\\\", \\\"value\\\": 12.5, \\\"unit\\\": \\\"tok/s\\\"}\"\n\
         echo '{\"name\": \"PEFT, training, 32 tokens a step\", \"value\": 2.0, \"unit\": \"tok/s\"}'\n\
         echo 'words that are no figure'\n\
         echo 'out of memory' >&2\n\
         exit 1\n",
    )?;
    #[cfg(unix)]
    std::fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let done = bench(&[
        "--device",
        "cpu",
        "--shape",
        "tiny",
        "--python",
        &python.to_string_lossy(),
        "--out",
        &path,
    ])?;
    let (table, errors) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "{table}\n{errors}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&out)?)?;
    let figures = report["figures"].as_array().cloned().unwrap_or_default();
    let value = |name: &str| {
        let found = figures.iter().find(|f| f["name"].as_str() == Some(name));
        found.and_then(|f| f["value"].as_f64()).unwrap_or(f64::NAN)
    };
    for name in [
        "base alone, not recorded",
        "no adapter active, not recorded",
        "one adapter to base, not recorded",
        "all rows distinct, not recorded",
        "3 rows, 3 adapters: kernel",
        "3 rows, 3 adapters: bmm",
        "3 rows, 3 adapters: one by one",
        "24 rows, 2 adapters: kernel",
        "24 rows, 2 adapters: grouped_mm",
        "one adapter from host memory, p99",
        "decoding with 3 of them",
        "one job, 32 tokens a step",
        "8 jobs in one pass, 4 tokens each",
        "8 jobs, 32 tokens each",
        "base alone: saturated",
        "base alone: open, arrivals",
        "1 adapter: saturated, to base",
        "3 adapters, uniform: saturated, distinct in a step",
        "3 adapters, zipf: saturated, to base",
        "12 adapters, uniform: saturated, to base",
        "12 adapters, zipf: saturated",
        "12 adapters, zipf: open, first token, p50",
        "12 adapters, zipf: open, first token, p99",
        "12 adapters, zipf: open, between tokens, p50",
        "12 adapters, zipf: open, between tokens, p99",
        "2 adapters in 3 places, to base",
        "3 adapters in 3 places, to base",
        "4 adapters in 3 places, to 3 adapters",
        "6 adapters in 3 places, to 3 adapters",
        "adapter on the device: first token, p50",
        "adapter in host memory: first token, p99",
        "adapter on disk: first token, p99",
    ] {
        assert!(value(name) > 0.0, "{name}: {}\n{table}", value(name));
        assert!(table.contains(name), "{name} is not in the table:\n{table}");
    }
    assert_eq!(value("adapters on the device"), 5.0, "all places are filled");
    assert_eq!(value("on cpu with tiny"), 12.5, "what the comparison said");
    for name in ["one job, 32 tokens a step", "8 jobs, 32 tokens each"] {
        let ratio = value(&format!("{name}, to PEFT"));
        assert_eq!(ratio, value(name) / 2.0, "against the peer's training");
    }
    // Twelve adapters do not fit into the five places: they come through the tiers below.
    assert_eq!(value("adapters on the device at the end"), 5.0);
    let there = value("12 adapters, uniform: asked for while on the device");
    assert!((0.0..100.0).contains(&there), "{there} % on the device");
    assert!(value("adapter on disk: more than on the device, p50").is_finite());
    // Targets and hardware bounds are for the real shape on a real device.
    assert!(figures.iter().all(|f| f["target"].is_null() && f["met"].is_null()));
    assert_eq!(report["shape"], "tiny");
    assert!(report["device"].as_str().is_some_and(|d| d.contains("emulated")));
    // A section that fails is named, with its reason, and costs only itself.
    let missed = report["missed"].as_array().cloned().unwrap_or_default();
    assert_eq!(missed.len(), 1, "{missed:?}");
    assert_eq!(missed[0]["section"], "peer");
    assert!(missed[0]["reason"].as_str().is_some_and(|r| r.contains("out of memory")));
    assert!(table.contains("peer: failed"), "{table}");
    Ok(())
}

#[test]
fn sections_that_have_no_time_left_are_named() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("gpu.json").to_string_lossy().into_owned();
    let done = bench(&[
        "--device",
        "cpu",
        "--shape",
        "tiny",
        "--python",
        "none",
        "--seconds",
        "0",
        "--out",
        &path,
    ])?;
    let table = text(&done.stdout);
    assert!(done.status.success(), "{table}{}", text(&done.stderr));
    let sections = ["decoding", "kernel", "loading", "residency", "training"];
    for section in sections.into_iter().chain(["serving", "places", "cold"]) {
        let line = format!("{section}: left out: the 0 s are over");
        assert!(table.contains(&line), "{line}\n{table}");
    }
    Ok(())
}

#[test]
fn without_a_device_it_says_so_and_ends_with_3() -> Result<(), Box<dyn std::error::Error>> {
    if let Cuda::Ready { devices } = start() {
        println!("not tested: {devices} devices are here");
        return Ok(());
    }
    let done = bench(&["--python", "none"])?;
    assert_eq!(done.status.code(), Some(3));
    let words = text(&done.stderr);
    assert_eq!(words.lines().count(), 1, "{words}");
    assert!(words.contains("no CUDA device"), "{words}");
    assert!(done.stdout.is_empty());
    let done = bench(&["--device", "cpu"])?;
    assert_eq!(done.status.code(), Some(1), "the full shape on the CPU is refused");
    Ok(())
}
