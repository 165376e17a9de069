//! Whole-system tests. They are one program, so that they wait for their blocks side by side.

mod bad_input;
mod bridge;
mod liar;
mod make_l1;
mod polkadot_js;
mod story;
mod watch;
