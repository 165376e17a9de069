//! Serving many adapters at once: equality of ways, eviction, fairness, cancellation, faults.

mod common;
mod equality;
mod faults;
mod pool;
mod scoring;
