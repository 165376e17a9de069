//! `--l1-rpc`, `--l1-agree`, `--l1-poll-ms`.

use std::time::Duration;

use tributary_node::l1::{Error, L1Params};

fn params(urls: &[&str], agree: Option<usize>, poll: u64) -> L1Params {
    L1Params {
        l1_rpc: urls.iter().map(|url| url.to_string()).collect(),
        l1_agree: agree,
        l1_poll_ms: poll,
    }
}

#[test]
fn the_majority_must_agree_unless_another_number_is_given() {
    let urls = ["http://a", "https://b/key", "ws://c:8546", "wss://d", "http://a:81"];
    for (count, majority) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
        let settings = params(&urls[..count], None, 100).check().expect("they are good");
        assert_eq!(settings.agree, majority, "of {count}");
        assert_eq!(settings.endpoints.len(), count);
        assert_eq!(settings.poll, Duration::from_millis(100));
    }
    let settings = params(&urls, Some(5), 100).check().expect("all may be asked for");
    assert_eq!(settings.agree, 5);
    assert!(params(&[], None, 100).check().expect("none is allowed").endpoints.is_empty());
}

#[test]
fn wrong_options_are_named() {
    let check = |params: L1Params| params.check().expect_err("something is wrong");
    assert!(matches!(check(params(&["eth"], None, 100)), Error::NotAUrl { place: 1, .. }));
    assert!(matches!(
        check(params(&["http://a", "ftp://b"], None, 100)),
        Error::Scheme { place: 2, scheme } if scheme == "ftp"
    ));
    assert!(matches!(
        check(params(&["http://a", "http://b", "http://a/"], None, 100)),
        Error::Twice { place: 3, earlier: 1 }
    ));
    for agree in [0, 3] {
        assert!(matches!(
            check(params(&["http://a", "http://b"], Some(agree), 100)),
            Error::AgreeRange { endpoints: 2, .. }
        ));
    }
    for poll in [0, 99, 600_001] {
        assert!(matches!(check(params(&["http://a"], None, poll)), Error::PollRange { .. }));
    }
}

#[test]
fn an_error_does_not_repeat_a_key() {
    let urls = ["http://a/secretkey", "http://a/secretkey"];
    let error = params(&urls, None, 100).check().expect_err("they are the same").to_string();
    assert!(!error.contains("secretkey"), "{error}");
}
