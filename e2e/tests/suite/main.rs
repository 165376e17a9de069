//! Whole-system tests. They are one program, so that they wait for their blocks side by side.

mod bad_input;
mod bridge;
mod liar;
mod make_l1;
mod polkadot_js;
mod story;
mod watch;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use std::{future::Future, process::ExitCode};

/// Tests that run at once unless `--test-threads` or `RUST_TEST_THREADS` says otherwise. Each has
/// a chain of its own and waits for blocks most of the time: with four, two cores are half idle.
const AT_ONCE: usize = 4;

fn trial<F>(name: &str, test: fn() -> F) -> Trial
where
    F: Future<Output = Result<()>> + 'static,
{
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(test()).map_err(|error| Failed::from(format!("{error:?}")))
    })
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        arguments.test_threads.get_or_insert(AT_ONCE);
    }
    // The longest first.
    let trials = vec![
        trial(
            "polkadot_js_reads_everything_and_submits_every_kind",
            polkadot_js::polkadot_js_reads_everything_and_submits_every_kind,
        ),
        trial(
            "open_goes_out_and_comes_back_whatever_dies",
            bridge::open_goes_out_and_comes_back_whatever_dies,
        ),
        trial(
            "the_main_job_survives_crashes_and_conserves_money",
            story::the_main_job_survives_crashes_and_conserves_money,
        ),
        trial("lies_are_found_out", watch::lies_are_found_out),
        trial(
            "bad_input_is_named_and_changes_nothing",
            bad_input::bad_input_is_named_and_changes_nothing,
        ),
        trial(
            "the_makefiles_commands_deploy_and_join",
            make_l1::the_makefiles_commands_deploy_and_join,
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}
