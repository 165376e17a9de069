use super::*;
use std::{fs, os::unix::fs::PermissionsExt};

fn store() -> (tempfile::TempDir, KeyStore) {
    let folder = tempfile::tempdir().unwrap();
    let keys = KeyStore::new(folder.path().join("keys"));
    (folder, keys)
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_key_with_a_password_opens_with_it_alone() {
    let (folder, keys) = store();
    let (key, words) = keys.create("anna", Some("correct horse")).unwrap();
    assert_eq!(keys.load("anna", Some("correct horse")).unwrap().account(), key.account());
    assert_eq!(Key::from_uri(&words).unwrap().account(), key.account());
    assert_eq!(words.split(' ').count(), 12);
    assert!(
        matches!(keys.load("anna", Some("wrong")), Err(KeyError::WrongPassword(n)) if n == "anna")
    );
    assert!(matches!(keys.load("anna", None), Err(KeyError::PasswordNeeded(_))));
    let path = folder.path().join("keys/anna.json");
    assert_eq!(mode(&path), 0o600);
    assert!(!folder.path().join("keys/anna.secret").exists());
    let text = fs::read_to_string(path).unwrap();
    assert!(words.split(' ').all(|word| !text.contains(&format!(" {word} "))));
    assert_eq!(keys.info("anna").unwrap().protection, Protection::Password);
}

#[test]
fn a_key_without_a_password_opens_with_the_secret_beside_it() {
    let (folder, keys) = store();
    let (key, _) = keys.create("payout", None).unwrap();
    let secret = folder.path().join("keys/payout.secret");
    assert_eq!(mode(&secret), 0o600);
    assert_eq!(keys.load("payout", None).unwrap().account(), key.account());
    // A password given for nothing does no harm.
    assert_eq!(keys.load("payout", Some("unused")).unwrap().account(), key.account());
    fs::write(&secret, hex::encode([7; 32])).unwrap();
    assert!(matches!(keys.load("payout", None), Err(KeyError::SecretMissing { .. })));
    fs::remove_file(&secret).unwrap();
    assert!(matches!(keys.load("payout", None), Err(KeyError::SecretMissing { .. })));
}

#[test]
fn files_that_others_can_read_are_refused() {
    let (folder, keys) = store();
    keys.create("open", None).unwrap();
    for file in ["open.json", "open.secret"] {
        let path = folder.path().join("keys").join(file);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(
            matches!(keys.load("open", None), Err(KeyError::TooOpen { mode: 0o644, .. })),
            "{file}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    keys.load("open", None).unwrap();
}

#[test]
fn names_are_taken_once_and_are_file_names() {
    let (_folder, keys) = store();
    let (first, _) = keys.create("twice", None).unwrap();
    assert!(matches!(keys.create("twice", None), Err(KeyError::Exists(_))));
    assert!(matches!(keys.import("twice", "//Bob", None), Err(KeyError::Exists(_))));
    assert_eq!(keys.load("twice", None).unwrap().account(), first.account());
    for bad in ["", "../up", "a/b", "a b", "ä", &"x".repeat(65)] {
        assert!(matches!(keys.create(bad, None), Err(KeyError::BadName(_))), "{bad}");
    }
}

#[test]
fn imported_keys_are_those_of_their_secret() {
    let (_folder, keys) = store();
    keys.import("alice", "//Alice", None).unwrap();
    let info = keys.info("alice").unwrap();
    // The address that every Substrate tool shows for //Alice.
    assert_eq!(info.address, "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
    assert_eq!(keys.export("alice", None).unwrap().as_str(), "//Alice");
    assert!(matches!(keys.import("x", "not a phrase", None), Err(KeyError::BadSecret)));
    assert_eq!(keys.list().unwrap().len(), 1);
    keys.delete("alice").unwrap();
    assert!(keys.list().unwrap().is_empty());
    assert!(matches!(keys.delete("alice"), Err(KeyError::NotFound { .. })));
    assert!(matches!(keys.load("alice", None), Err(KeyError::NotFound { .. })));
}

#[test]
fn a_changed_file_is_not_taken_for_another_account() {
    let (folder, keys) = store();
    keys.import("alice", "//Alice", Some("p")).unwrap();
    let path = folder.path().join("keys/alice.json");
    let bob = Key::from_uri("//Bob").unwrap().address();
    let text =
        fs::read_to_string(&path).unwrap().replace(&keys.info("alice").unwrap().address, &bob);
    fs::write(&path, text).unwrap();
    assert!(matches!(keys.load("alice", Some("p")), Err(KeyError::WrongPassword(_))));
    fs::write(&path, "{").unwrap();
    assert!(matches!(keys.load("alice", Some("p")), Err(KeyError::BadFile { .. })));
}

#[test]
fn addresses_are_read_in_both_forms() {
    let alice = Key::from_uri("//Alice").unwrap();
    assert_eq!(parse_address(&alice.address()).unwrap(), alice.account());
    let hex = format!("0x{}", hex::encode::<&[u8]>(alice.account().as_ref()));
    assert_eq!(parse_address(&hex).unwrap(), alice.account());
    for bad in ["", "0x12", "5Grwva", "alice"] {
        assert!(matches!(parse_address(bad), Err(KeyError::BadAddress(_))), "{bad}");
    }
}
