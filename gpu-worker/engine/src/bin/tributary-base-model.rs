//! Makes a small base model from text on this machine.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use tributary_engine::base::{make_base_model, BaseSpec};

/// Makes a small Llama-family base model, tokenizer included, in the hub's layout.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Folder to write the model to.
    #[arg(long)]
    out: PathBuf,
    /// Folder or file with text (.rs gives its documentation comments); may be repeated.
    /// Default: the Rust library's sources, fetched crates, licence texts.
    #[arg(long)]
    text: Vec<PathBuf>,
    /// Optimiser steps.
    #[arg(long, default_value_t = BaseSpec::default().steps)]
    steps: usize,
    /// Transformer blocks.
    #[arg(long, default_value_t = BaseSpec::default().layers)]
    layers: i64,
    /// Width of the residual stream.
    #[arg(long, default_value_t = BaseSpec::default().hidden_size)]
    hidden: i64,
    /// Width of the gated MLP.
    #[arg(long, default_value_t = BaseSpec::default().intermediate_size)]
    intermediate: i64,
    /// Peak learning rate.
    #[arg(long, default_value_t = BaseSpec::default().lr)]
    lr: f64,
    /// Part of the steps on made-up questions and answers instead of prose.
    #[arg(long, default_value_t = BaseSpec::default().exchanges)]
    exchanges: f64,
    /// Invented subjects whose answers recur.
    #[arg(long, default_value_t = BaseSpec::default().subjects)]
    subjects: usize,
    /// Seed of everything drawn.
    #[arg(long, default_value_t = BaseSpec::default().seed)]
    seed: u64,
    /// Threads of the tensor library.
    #[arg(long, default_value_t = 1)]
    threads: i32,
    /// Write the weights so far every this many steps.
    #[arg(long, default_value_t = 0)]
    save_every: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tch::set_num_threads(arguments.threads);
    let text = if arguments.text.is_empty() { default_text() } else { arguments.text };
    let spec = BaseSpec {
        text,
        steps: arguments.steps,
        layers: arguments.layers,
        hidden_size: arguments.hidden,
        intermediate_size: arguments.intermediate,
        lr: arguments.lr,
        exchanges: arguments.exchanges,
        subjects: arguments.subjects,
        seed: arguments.seed,
        save_every: arguments.save_every,
        ..BaseSpec::default()
    };
    let bar = ProgressBar::new(spec.steps as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {eta} left  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let shown = |loss: Option<f64>| loss.map_or("–".into(), |l| format!("{l:.3}"));
    let hidden_bar = bar.is_hidden();
    let made = make_base_model(&arguments.out, &spec, |p| {
        let message =
            format!("loss: prose {}, answers {}", shown(p.prose_loss), shown(p.answer_loss));
        if hidden_bar && p.step % 50 == 0 {
            println!("step {}/{}  {message}", p.step, p.steps);
        }
        bar.set_position(p.step as u64);
        bar.set_message(message);
    });
    bar.finish();
    match made {
        Ok(report) => {
            println!(
                "{}: {:.2} million parameters from {:.1} million characters of prose",
                arguments.out.display(),
                report.parameters as f64 / 1e6,
                report.characters as f64 / 1e6
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("no base model was made: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Places with English text on a machine that builds this project.
fn default_text() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("/usr/share/common-licenses")];
    let sysroot = std::process::Command::new("rustc").args(["--print", "sysroot"]).output();
    if let Ok(output) = sysroot {
        let root = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        places.push(root.join("lib/rustlib/src/rust/library"));
    }
    let cargo = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    places.extend(cargo.map(|home| home.join("registry/src")));
    places.retain(|place| place.exists());
    places
}
