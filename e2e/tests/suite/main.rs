//! Whole-system tests. They are one program, so that they wait for their blocks side by side.

mod bad_input;
mod bridge;
mod polkadot_js;
mod story;
