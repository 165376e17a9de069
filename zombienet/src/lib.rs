//! # Networks of several validators
//!
//! The tests in `tests/` spawn them with zombienet's native provider: every node is a process on
//! this machine. zombienet-sdk takes ten minutes to compile, so that they are run by
//! `make test-network` and not by `make test`.
