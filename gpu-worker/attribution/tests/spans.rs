//! The span index against a search that tries everything, and the properties that it promises.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tributary_attribution::{IndexError, Span, SpanBuilder, SpanIndex, SpanOptions};

const HEADER: usize = 56;
const DIGEST: std::ops::Range<usize> = 24..56;

fn id(number: u32) -> [u8; 32] {
    [number as u8; 32]
}

fn build(records: &[(u32, Vec<u32>)], contributions: u32) -> SpanIndex {
    let mut builder = SpanBuilder::new((0..contributions).map(id).collect()).unwrap();
    for (contribution, tokens) in records {
        builder.push(*contribution, tokens).unwrap();
    }
    builder.build().unwrap()
}

fn everything() -> SpanOptions {
    SpanOptions { min_length: 1, max_spans: usize::MAX, max_occurrences: usize::MAX }
}

/// `(record, position)` of every occurrence.
fn occurrences(records: &[(u32, Vec<u32>)], tokens: &[u32]) -> Vec<(u32, u32)> {
    let mut found = vec![];
    for (record, (_, text)) in records.iter().enumerate() {
        for (position, window) in text.windows(tokens.len()).enumerate() {
            if window == tokens {
                found.push((record as u32, position as u32));
            }
        }
    }
    found
}

/// Start and length of the maximal spans: occur, and occur no more when a token is added.
fn naive(records: &[(u32, Vec<u32>)], answer: &[u32]) -> Vec<(u32, u32)> {
    let occurs = |from: usize, to: usize| !occurrences(records, &answer[from..to]).is_empty();
    let mut found = vec![];
    for from in 0..answer.len() {
        for to in from + 1..=answer.len() {
            let left = from > 0 && occurs(from - 1, to);
            let right = to < answer.len() && occurs(from, to + 1);
            if occurs(from, to) && !left && !right {
                found.push((from as u32, (to - from) as u32));
            }
        }
    }
    found
}

fn check(records: &[(u32, Vec<u32>)], answer: &[u32], index: &SpanIndex) {
    let spans = index.spans(answer, &everything()).unwrap();
    let mut places: Vec<(u32, u32)> = spans.iter().map(|s| (s.start, s.length)).collect();
    places.sort_unstable();
    assert_eq!(places, naive(records, answer));
    let total: usize = records.iter().map(|(_, t)| t.len()).sum();
    for span in &spans {
        let tokens = &answer[span.start as usize..(span.start + span.length) as usize];
        let expected = occurrences(records, tokens);
        assert_eq!(span.count as usize, expected.len());
        let mut first: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        expected.iter().for_each(|(record, at)| first.entry(*record).or_default().push(*at));
        assert_eq!(span.occurrences.len(), first.len(), "each record once");
        for o in &span.occurrences {
            assert!(first[&o.record].contains(&o.position));
            assert_eq!(o.contribution, records[o.record as usize].0);
        }
        let bits: f64 = tokens
            .iter()
            .map(|t| (total as f64 / occurrences(records, &[*t]).len() as f64).log2())
            .sum();
        let found = span.bits as f64 / 65_536.0;
        assert!((found - bits).abs() < 1e-4 * tokens.len() as f64, "{found} {bits}");
    }
    for pair in spans.windows(2) {
        let key = |s: &Span| (std::cmp::Reverse((s.bits, s.length)), s.start);
        assert!(key(&pair[0]) < key(&pair[1]), "ranked");
    }
}

fn texts(alphabet: u32) -> impl Strategy<Value = Vec<(u32, Vec<u32>)>> {
    let record = (0..3u32, prop::collection::vec(0..alphabet, 0..30));
    prop::collection::vec(record, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn spans_are_those_of_a_search_that_tries_everything(
        records in texts(4), answer in prop::collection::vec(0..5u32, 0..40)
    ) {
        check(&records, &answer, &build(&records, 3));
    }

    #[test]
    fn spans_are_found_with_many_tokens_and_copied_passages(
        records in texts(u32::MAX - 1),
        pieces in prop::collection::vec((any::<prop::sample::Index>(), 0..30usize, 0..30usize), 0..5)
    ) {
        let mut answer = vec![];
        for (record, from, length) in pieces {
            let text = &records[record.index(records.len())].1;
            let from = from.min(text.len());
            answer.extend(&text[from..(from + length).min(text.len())]);
        }
        check(&records, &answer, &build(&records, 3));
    }

    #[test]
    fn an_altered_file_is_refused(at in 0..1000usize, value in 1..=255u8) {
        let mut bytes = small().as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] ^= value;
        prop_assert!(SpanIndex::from_bytes(bytes).is_err());
    }
}

fn small() -> SpanIndex {
    let records =
        [(0, vec![5, 6, 7, 8]), (1, vec![6, 7, 8, 9, 6, 7]), (0, vec![]), (1, vec![5, 6, 7])];
    build(&records, 2)
}

#[test]
fn a_span_never_crosses_records() {
    let index = build(&[(0, vec![1, 2, 3]), (1, vec![4, 5, 6])], 2);
    let spans = index.spans(&[1, 2, 3, 4, 5, 6], &everything()).unwrap();
    let places: Vec<(u32, u32)> = spans.iter().map(|s| (s.start, s.length)).collect();
    assert_eq!(places, [(0, 3), (3, 3)]);
    assert_eq!(index.tokens(), 6);
    assert_eq!(index.records(), 2);
    // The separator's number matches nothing, not even the separator.
    let spans = index.spans(&[2, 3, u32::MAX, 4, 5], &everything()).unwrap();
    assert_eq!(spans.len(), 2);
    assert!(spans.iter().all(|s| s.length == 2));
}

#[test]
fn the_rare_comes_before_the_common_of_the_same_length() {
    let mut records = vec![(0, vec![1, 1, 1, 1]); 20];
    records.push((1, vec![7, 8, 9, 10]));
    let index = build(&records, 2);
    let spans = index.spans(&[1, 1, 1, 1, 7, 8, 9, 10], &SpanOptions::default()).unwrap();
    assert_eq!((spans[0].start, spans[0].count), (4, 1));
    assert_eq!((spans[1].start, spans[1].count), (0, 20));
    assert_eq!(spans[1].occurrences.len(), SpanOptions::default().max_occurrences);
}

#[test]
fn contributions_take_turns_among_the_occurrences() {
    let mut records = vec![(0, vec![3, 4, 5, 6]); 50];
    records.extend(vec![(1, vec![3, 4, 5, 6]); 2]);
    records.push((2, vec![3, 4, 5, 6]));
    let index = build(&records, 3);
    let options = SpanOptions { max_occurrences: 5, ..SpanOptions::default() };
    let spans = index.spans(&[3, 4, 5, 6], &options).unwrap();
    let owners: Vec<u32> = spans[0].occurrences.iter().map(|o| o.contribution).collect();
    assert_eq!(owners, [0, 1, 2, 0, 1]);
    assert_eq!(spans[0].count, 53);
}

#[test]
fn a_common_span_is_sampled_and_counted_in_full() {
    let records = vec![(0, vec![3; 4000]), (1, vec![9, 3, 3, 3, 3])];
    let index = build(&records, 2);
    let spans = index.spans(&[3, 3, 3, 3], &SpanOptions::default()).unwrap();
    assert_eq!(spans[0].count, 3997 + 1);
    assert!(!spans[0].occurrences.is_empty());
}

#[test]
fn options_bound_what_comes_back() {
    let index = small();
    let answer = [5, 6, 7, 0, 6, 7, 8, 9, 0, 5];
    let all = index.spans(&answer, &everything()).unwrap();
    assert_eq!(all.len(), 3);
    let options = SpanOptions { min_length: 2, max_spans: 1, max_occurrences: 1 };
    let few = index.spans(&answer, &options).unwrap();
    assert_eq!(few.len(), 1);
    assert_eq!((few[0].start, few[0].length, few[0].occurrences.len()), (4, 4, 1));
    assert_eq!(index.spans(&[], &everything()).unwrap(), []);
    let long = vec![0; (1 << 16) + 1];
    assert!(matches!(index.spans(&long, &everything()), Err(IndexError::Size { .. })));
}

#[test]
fn files_are_mapped_and_the_bytes_are_always_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spans.idx");
    let index = small();
    index.save(&path).unwrap();
    let mapped = SpanIndex::open(&path).unwrap();
    assert_eq!(mapped.as_bytes(), index.as_bytes());
    assert_eq!(mapped.root(), index.root());
    assert_eq!(mapped.contributions(), [id(0), id(1)]);
    let answer = [5, 6, 7, 8, 9, 6, 7];
    let expected = index.spans(&answer, &everything()).unwrap();
    assert!(!expected.is_empty());
    // However many threads build and ask, file and spans are the same.
    for threads in [1, 2, 7] {
        let work = |_| (small().as_bytes().to_vec(), mapped.spans(&answer, &everything()).unwrap());
        let results: Vec<_> = std::thread::scope(|scope| {
            let spawned: Vec<_> = (0..threads).map(|t| scope.spawn(move || work(t))).collect();
            spawned.into_iter().map(|t| t.join().unwrap()).collect()
        });
        for (bytes, spans) in results {
            assert_eq!(bytes, index.as_bytes());
            assert_eq!(spans, expected);
        }
    }
    let gone = SpanIndex::open(&folder.path().join("none"));
    assert!(matches!(gone, Err(IndexError::Io { .. })));
}

#[test]
fn every_kind_of_corruption_has_its_error() {
    let good = small().as_bytes().to_vec();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spans.idx");
    for length in 0..good.len() {
        std::fs::write(&path, &good[..length]).unwrap();
        let found = SpanIndex::open(&path).err();
        assert!(matches!(found, Some(IndexError::Truncated { .. })), "{length}: {found:?}");
    }
    let mut long = good.clone();
    long.push(0);
    assert_eq!(SpanIndex::from_bytes(long).err(), Some(IndexError::TooLong(1)));

    let altered = |at: usize, with: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    let error = |bytes: Vec<u8>| SpanIndex::from_bytes(bytes).unwrap_err();
    assert_eq!(error(altered(0, b"X")), IndexError::Magic("a span index"));
    assert_eq!(error(altered(8, &[2])), IndexError::Version { found: 2, known: 1 });
    assert!(matches!(error(altered(10, &[1])), IndexError::Corrupt(_)), "reserved");
    assert!(matches!(error(altered(12, &[0; 4])), IndexError::Size { .. }), "no records");
    assert!(matches!(error(altered(12, &[200])), IndexError::Corrupt(_)), "too many records");
    assert!(matches!(error(altered(20, &[255; 4])), IndexError::Size { .. }), "places");
    assert_eq!(error(altered(HEADER + 3, &[9])), IndexError::Digest);
    assert_eq!(error(altered(DIGEST.start, &[9])), IndexError::Digest);

    // Whoever forges the digest too is found out by the structure.
    let forged = |at: usize, with: &[u8]| {
        let mut bytes = altered(at, with);
        let domain = b"tributary/span-index/1";
        let mut hash = Sha256::new();
        hash.update((domain.len() as u64).to_le_bytes());
        hash.update(domain);
        hash.update(&bytes[..DIGEST.start]);
        hash.update(&bytes[HEADER..]);
        let digest: [u8; 32] = hash.finalize().into();
        bytes[DIGEST].copy_from_slice(&digest);
        error(bytes)
    };
    let starts = HEADER + 2 * 32;
    let owners = starts + 4 * 4;
    let text = owners + 4 * 4;
    let places = 4 + 6 + 3 + 4;
    let order = text + 4 * places;
    assert_eq!(order + 4 * places, good.len());
    assert_eq!(forged(HEADER, &id(1)), IndexError::DuplicateContribution(1));
    assert!(matches!(forged(starts + 4, &[4]), IndexError::Corrupt(_)), "start");
    let unknown = IndexError::UnknownContribution { row: 1, contribution: 2 };
    assert_eq!(forged(owners + 4, &[2]), unknown);
    assert!(matches!(forged(text, &[255; 4]), IndexError::Corrupt(_)), "one more separator");
    let last = order - 4;
    assert!(matches!(forged(last, &[1, 0, 0, 0]), IndexError::Corrupt(_)), "not closed");
    let first: [u8; 4] = good[order..order + 4].try_into().unwrap();
    let second: [u8; 4] = good[order + 4..order + 8].try_into().unwrap();
    assert!(matches!(forged(order, &second), IndexError::Corrupt(_)), "twice");
    assert!(matches!(forged(order, &[200, 0, 0, 0]), IndexError::Corrupt(_)), "no place");
    let swapped = [second, first].concat();
    assert_eq!(forged(order, &swapped), IndexError::Unsorted(1));
    assert!(matches!(forged(text, &[99, 0, 0, 0]), IndexError::Unsorted(_)), "another token");
}

#[test]
fn bad_records_are_refused() {
    assert!(matches!(SpanBuilder::new(vec![]).err(), Some(IndexError::Size { .. })));
    let empty = SpanBuilder::new(vec![id(0)]).unwrap().build();
    assert!(matches!(empty.err(), Some(IndexError::Size { .. })));
    let mut builder = SpanBuilder::new(vec![id(0)]).unwrap();
    let unknown = IndexError::UnknownContribution { row: 0, contribution: 1 };
    assert_eq!(builder.push(1, &[1]), Err(unknown));
    builder.push(0, &[1]).unwrap();
    assert_eq!(builder.push(0, &[1, u32::MAX]), Err(IndexError::Separator(1)));
    // Even records without a token make an index.
    builder.push(0, &[]).unwrap();
    let twice = SpanBuilder::new(vec![id(0); 2]).map(|mut b| {
        b.push(0, &[1]).unwrap();
        b.build().err()
    });
    assert_eq!(twice.unwrap(), Some(IndexError::DuplicateContribution(1)));
    assert_eq!(builder.build().unwrap().records(), 2);
}
