//! What the command line answers, also to those who get it wrong.

mod common;

use std::fs;

use common::run;

fn stderr_of_failure(args: &[&str]) -> String {
    let output = run(args);
    assert!(!output.status.success(), "{args:?} succeeded");
    String::from_utf8(output.stderr).expect("errors are text")
}

#[test]
fn an_unknown_flag_is_named() {
    let error = stderr_of_failure(&["--no-such-flag"]);
    assert!(error.contains("--no-such-flag"), "{error}");
    assert!(error.contains("--help"), "{error}");
}

#[test]
fn a_port_that_is_no_number_is_named() {
    let error = stderr_of_failure(&["--dev", "--rpc-port", "many"]);
    assert!(error.contains("many") && error.contains("--rpc-port"), "{error}");
}

#[test]
fn an_unknown_chain_is_named_with_those_that_are_known() {
    let error = stderr_of_failure(&["export-compact-spec", "--chain", "atlantis"]);
    assert!(error.contains("atlantis") && error.contains("staging"), "{error}");
}

#[test]
fn a_file_that_is_not_json_is_refused() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let path = folder.path().join("chain.json");
    fs::write(&path, "{ this is not JSON").expect("it can be written");
    let error =
        stderr_of_failure(&["export-chain-spec", "--chain", path.to_str().expect("it is text")]);
    assert!(error.contains("is not JSON"), "{error}");
}

#[test]
fn json_that_is_no_chain_is_refused() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let path = folder.path().join("chain.json");
    fs::write(&path, r#"{ "name": "Nothing" }"#).expect("it can be written");
    let error =
        stderr_of_failure(&["export-chain-spec", "--chain", path.to_str().expect("it is text")]);
    assert!(error.contains("does not describe a chain"), "{error}");
}

#[test]
fn an_endpoint_that_is_none_is_named() {
    let error = stderr_of_failure(&["--dev", "--l1-rpc", "ftp://ethereum.example"]);
    assert!(error.contains("--l1-rpc") && error.contains("ftp://"), "{error}");
}

#[test]
fn an_agreement_of_more_endpoints_than_there_are_is_refused() {
    let error =
        stderr_of_failure(&["--dev", "--l1-rpc", "http://ethereum.example", "--l1-agree", "2"]);
    assert!(error.contains("--l1-agree 2"), "{error}");
}

#[test]
fn an_agreement_without_endpoints_is_refused() {
    let error = stderr_of_failure(&["--dev", "--l1-agree", "1"]);
    assert!(error.contains("--l1-rpc"), "{error}");
}
