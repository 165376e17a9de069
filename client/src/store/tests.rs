use super::*;

fn folder_store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("file://{}/store", folder.path().display())).unwrap();
    (folder, store)
}

fn blob(folder: &tempfile::TempDir, digest: &Digest) -> PathBuf {
    folder.path().join("store/sha256").join(digest_hex(digest))
}

#[tokio::test]
async fn what_is_put_comes_back_and_putting_twice_changes_nothing() {
    let (_folder, on_disk) = folder_store();
    for store in [on_disk, Store::open("memory://").unwrap()] {
        let digest = store.put(b"a record".to_vec()).await.unwrap();
        assert_eq!(store.put(b"a record".to_vec()).await.unwrap(), digest);
        assert_eq!(digest, digest_of(b"a record"));
        assert_eq!(store.get(&digest).await.unwrap(), b"a record");
        assert!(store.exists(&digest).await.unwrap());
    }
}

#[tokio::test]
async fn a_damaged_blob_is_never_returned_and_putting_it_again_heals_it() {
    let (folder, store) = folder_store();
    let digest = store.put(b"0123456789".to_vec()).await.unwrap();
    std::fs::write(blob(&folder, &digest), b"0123456780").unwrap();
    let actual = digest_of(b"0123456780");
    assert!(
        matches!(store.get(&digest).await, Err(StoreError::WrongDigest { actual: a, .. }) if a == actual)
    );
    let to = folder.path().join("copy");
    assert!(matches!(store.get_file(&digest, &to, 100).await, Err(StoreError::WrongDigest { .. })));
    assert!(!to.exists());
    // Nothing half-written is left beside it.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    store.put(b"0123456789".to_vec()).await.unwrap();
    assert_eq!(store.get(&digest).await.unwrap(), b"0123456789");
}

#[tokio::test]
async fn missing_large_and_unreachable_are_told_apart() {
    let (folder, store) = folder_store();
    let nothing = digest_of(b"nothing");
    assert!(
        matches!(store.get(&nothing).await, Err(StoreError::NotFound { digest, .. }) if digest == nothing)
    );
    assert!(!store.exists(&nothing).await.unwrap());
    let digest = store.put(vec![1; 100]).await.unwrap();
    assert!(matches!(
        store.get_limited(&digest, 99).await,
        Err(StoreError::TooLarge { bytes: 100, max: 99, .. })
    ));
    std::fs::remove_dir_all(folder.path().join("store")).unwrap();
    assert!(matches!(store.get(&digest).await, Err(StoreError::Unreachable { .. })));
    assert!(matches!(store.exists(&digest).await, Err(StoreError::Unreachable { .. })));
    std::fs::write(folder.path().join("file"), b"").unwrap();
    let under_a_file = format!("file://{}/file/store", folder.path().display());
    assert!(matches!(Store::open(&under_a_file), Err(StoreError::Unreachable { .. })));
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_is_unreachable() {
    // Bind and drop a port, so that nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let store = Store::open_with(
        "s3://bucket/some/prefix",
        &[
            ("aws_endpoint", endpoint.as_str()),
            ("aws_allow_http", "true"),
            ("aws_region", "us-east-1"),
            ("aws_access_key_id", "id"),
            ("aws_secret_access_key", "secret"),
        ],
    )
    .unwrap();
    let error = store.get(&digest_of(b"x")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    assert!(matches!(store.put(b"x".to_vec()).await, Err(StoreError::Unreachable { .. })));
}

#[test]
fn urls_that_name_no_store_are_refused() {
    for url in ["", "ftp://host/x", "file://relative"] {
        assert!(matches!(Store::open(url), Err(StoreError::BadUrl { .. })), "{url}");
    }
    assert!(matches!(
        Store::open_with("s3://b", &[("no_such_setting", "1")]),
        Err(StoreError::BadUrl { .. })
    ));
}

#[test]
fn digests_are_read_in_every_form() {
    let digest = digest_of(b"hello world");
    // Base32 of 0x01 (version), 0x55 (raw), 0x12 0x20 (sha2-256, 32 bytes) and the digest.
    let cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    assert_eq!(cid_of(&digest), cid);
    for text in [cid.to_string(), digest_hex(&digest), format!("0x{}", digest_hex(&digest))] {
        assert_eq!(parse_digest(&text).unwrap(), digest);
    }
    for bad in ["", "12", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", &"g".repeat(64)] {
        assert!(matches!(parse_digest(bad), Err(StoreError::BadDigest(_))), "{bad}");
    }
}

#[tokio::test]
async fn folders_go_in_and_out() {
    let (folder, store) = folder_store();
    let model = folder.path().join("model");
    std::fs::create_dir_all(model.join("deep/.cache")).unwrap();
    std::fs::write(model.join("config.json"), b"{}").unwrap();
    // Larger than a writer's buffer, so that the parts of an upload are joined.
    std::fs::write(model.join("deep/weights.bin"), vec![7; 11 << 20]).unwrap();
    std::fs::write(model.join(".hidden"), b"no").unwrap();
    std::fs::write(model.join("deep/.cache/x"), b"no").unwrap();
    let digest = store.put_folder(FolderKind::Model, &model).await.unwrap();
    assert_eq!(store.put_folder(FolderKind::Model, &model).await.unwrap(), digest);
    let copy = folder.path().join("copy");
    let manifest = store.get_folder(&digest, &copy).await.unwrap();
    let paths: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["config.json", "deep/weights.bin"]);
    assert_eq!(manifest.bytes(), 2 + (11 << 20));
    assert_eq!(std::fs::read(copy.join("deep/weights.bin")).unwrap(), vec![7; 11 << 20]);
    // A damaged file of the copy is replaced.
    std::fs::write(copy.join("config.json"), b"[]").unwrap();
    store.get_folder(&digest, &copy).await.unwrap();
    assert_eq!(std::fs::read(copy.join("config.json")).unwrap(), b"{}");
}

#[tokio::test]
async fn manifests_that_would_leave_the_folder_are_refused() {
    let (folder, store) = folder_store();
    let file = store.put(b"x".to_vec()).await.unwrap();
    let entry =
        |path: &str| format!(r#"{{"path":"{path}","digest":"{}","bytes":1}}"#, digest_hex(&file));
    let outside = folder.path().join("evil");
    for files in [
        entry("../evil"),
        entry(&outside.display().to_string()),
        entry("a/../../evil"),
        entry(""),
        format!("{},{}", entry("a"), entry("a")),
        String::new(),
    ] {
        let json = format!(r#"{{"kind":"adapter","files":[{files}]}}"#);
        let digest = store.put(json.into_bytes()).await.unwrap();
        let error = store.get_folder(&digest, &folder.path().join("copy")).await.unwrap_err();
        assert!(matches!(error, StoreError::BadManifest { .. }), "{files}: {error}");
    }
    assert!(!outside.exists());
    assert!(matches!(store.manifest(&file).await, Err(StoreError::BadManifest { .. })));
    // A manifest that lies about a size.
    let json = format!(
        r#"{{"kind":"adapter","files":[{{"path":"a","digest":"{}","bytes":2}}]}}"#,
        digest_hex(&file)
    );
    let digest = store.put(json.into_bytes()).await.unwrap();
    assert!(matches!(
        store.get_folder(&digest, &folder.path().join("copy")).await,
        Err(StoreError::BadManifest { .. })
    ));
}
