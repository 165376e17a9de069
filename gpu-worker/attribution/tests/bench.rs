//! The benchmark's functions do what they time, and clean up.

use tributary_attribution::bench::{influence_build, influence_queries, spans};

#[test]
fn figures_are_of_what_was_asked_and_nothing_stays() {
    let folder = tempfile::tempdir().unwrap();
    let found = influence_queries(folder.path(), 300, 64, 3).unwrap();
    assert_eq!((found.rows, found.dims), (300, 64));
    assert!(found.bytes > 2 * 300 * 64 && found.open_ms > 0.0);
    assert!(found.one.p50_ms > 0.0 && found.one.p50_ms <= found.one.p99_ms);
    let built = influence_build(folder.path(), 40, 16, 200).unwrap();
    assert!(built.records_per_s > 0.0 && built.records_per_s <= built.set_per_s);
    let found = spans(folder.path(), 5_000, 100, 4).unwrap();
    assert!(found.bytes_per_token > 8.0 && found.bytes_per_token < 9.0, "{found:?}");
    assert!(found.query.p50_ms <= found.query.p99_ms);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
