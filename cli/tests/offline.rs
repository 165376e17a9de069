//! The command as a person types it, where no node is needed: output, JSON and exit codes.

use assert_cmd::Command;
use serde_json::Value;
use std::{fs, path::Path};
use tributary_client::{
    primitives::{ContributionId, DatanetId},
    shards::{RecordProof, Shard},
    Home,
};

const DONE: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const NOT_FOUND: i32 = 3;
const UNREACHABLE: i32 = 4;

/// What a run left behind.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    /// The one object on standard output.
    fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

struct Person {
    folder: tempfile::TempDir,
}

impl Person {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
        for name in ["NODE", "STORE", "KEY", "PASSWORD", "LOG"] {
            command.env_remove(format!("TRIBUTARY_{name}"));
        }
        command.env("TRIBUTARY_HOME", self.path().join("home"));
        command
    }

    fn finish(mut command: Command) -> Run {
        let output = command.output().unwrap();
        Run {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn run(&self, args: &[&str]) -> Run {
        let mut command = self.command();
        command.args(args);
        Self::finish(command)
    }
}

/// A port on which nobody listens.
fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_key_is_made_listed_exported_and_deleted() {
    let anna = Person::new();
    let made = anna.run(&["key", "new", "anna", "--json"]);
    assert_eq!(made.code, DONE, "{}", made.stderr);
    let made = made.json();
    let words = made["words"].as_str().unwrap();
    assert_eq!(words.split(' ').count(), 12);
    assert_eq!(made["protection"], "file");

    let list = anna.run(&["key", "list", "--json"]).json();
    assert_eq!(list["keys"][0]["address"], made["address"]);
    let shown = anna.run(&["key", "show", "anna"]);
    assert!(shown.stdout.contains(made["address"].as_str().unwrap()));
    assert!(!shown.stdout.contains(words));
    assert_eq!(anna.run(&["key", "export", "anna"]).stdout.trim(), words);

    // The words make the same key on another machine.
    let ben = Person::new();
    let mut import = ben.command();
    import.args(["key", "import", "anna", "--json"]).write_stdin(format!("{words}\n"));
    assert_eq!(Person::finish(import).json()["address"], made["address"]);

    assert_eq!(anna.run(&["key", "new", "anna"]).code, FAILED);
    let refused = anna.run(&["key", "delete", "anna"]);
    assert_eq!(refused.code, USAGE);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    assert_eq!(anna.run(&["key", "delete", "anna", "--yes"]).code, DONE);
    assert_eq!(anna.run(&["key", "show", "anna"]).code, NOT_FOUND);
    assert!(anna.run(&["key", "list"]).stdout.contains("tributary key new"));
}

#[test]
fn a_password_opens_and_a_wrong_one_does_not() {
    let anna = Person::new();
    let with = |password: &str, args: &[&str]| {
        let mut command = anna.command();
        command.args(args).env("TRIBUTARY_PASSWORD", password);
        Person::finish(command)
    };
    assert_eq!(with("right", &["key", "new"]).code, DONE);
    let shown = anna.run(&["key", "show", "--json"]).json();
    assert_eq!((&shown["protection"], &shown["name"]), (&"password".into(), &"default".into()));
    assert_eq!(with("right", &["key", "export", "default"]).code, DONE);
    let wrong = with("wrong", &["key", "export", "default", "--json"]);
    assert_eq!(wrong.code, FAILED);
    assert_eq!(wrong.json()["error"]["kind"], "failed");
    assert!(wrong.stderr.contains("password"), "{}", wrong.stderr);
    let none = anna.run(&["key", "export", "default"]);
    assert_eq!(none.code, FAILED);
    assert!(none.stderr.contains("TRIBUTARY_PASSWORD"), "{}", none.stderr);
}

#[test]
fn development_names_need_an_explicit_uri() {
    let anna = Person::new();
    let alice = anna.run(&["key", "import", "alice", "--uri", "//Alice", "--json"]);
    assert_eq!(alice.json()["address"], "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
    assert_eq!(anna.run(&["key", "import", "x", "--uri", "not words"]).code, USAGE);
    assert_eq!(anna.run(&["key", "new", "../up"]).code, USAGE);
}

#[test]
fn a_bad_shard_is_refused_with_its_line_before_anything_is_sent() {
    let anna = Person::new();
    let file = anna.path().join("records.jsonl");
    // The node's address leads nowhere: the file is looked at first.
    let node = format!("ws://127.0.0.1:{}", closed_port());
    let push =
        || anna.run(&["datanet", "push", "net", file.to_str().unwrap(), "--node", &node, "--json"]);
    let missing = push();
    assert_eq!(missing.code, NOT_FOUND);
    assert_eq!(missing.json()["error"]["kind"], "not_found");
    for (content, reason) in [
        ("", "no records"),
        ("{\"text\":\"a\"}\nnot json\n", "line 2: it is not JSON"),
        ("{\"text\":\"a\"}\n{\"prompt\":\"b\"}\n", "line 2: it has no `completion`"),
        ("{\"text\":\"a\"}\n\n{\"text\":\"b\"}\n", "line 2: it is blank"),
    ] {
        fs::write(&file, content).unwrap();
        let bad = push();
        assert_eq!(bad.code, USAGE, "{content}");
        let message = bad.json()["error"]["message"].as_str().unwrap().to_string();
        assert!(message.contains(reason), "{content}: {message}");
        assert!(bad.stderr.contains(reason));
    }
    // Nothing was made on the way: no key, no seed.
    assert_eq!(anna.run(&["key", "list", "--json"]).json()["keys"], Value::Array(vec![]));
    assert_eq!(fs::read_dir(anna.path().join("home/shards")).unwrap().count(), 0);
}

#[test]
fn a_node_that_does_not_answer_is_tried_again_and_then_named() {
    let anna = Person::new();
    let node = format!("ws://127.0.0.1:{}", closed_port());
    let started = std::time::Instant::now();
    let run = anna.run(&["supply", "--node", &node, "--json"]);
    assert_eq!(run.code, UNREACHABLE);
    assert!(started.elapsed().as_secs() >= 5, "it gave up after {:?}", started.elapsed());
    let json = run.json();
    assert_eq!(
        (&json["error"]["kind"], &json["error"]["exit_code"]),
        (&"unreachable".into(), &4.into())
    );
    let message = json["error"]["message"].as_str().unwrap();
    assert!(message.contains(&node) && message.contains("--node"), "{message}");

    let bad = anna.run(&["supply", "--node", "http://127.0.0.1:9944"]);
    assert_eq!(bad.code, USAGE);
    assert!(bad.stderr.contains("ws://"), "{}", bad.stderr);
}

#[test]
fn a_store_that_cannot_be_reached_is_named() {
    let anna = Person::new();
    let model = anna.path().join("model");
    fs::create_dir(&model).unwrap();
    let store = anna.path().join("file/store");
    fs::write(anna.path().join("file"), "").unwrap();
    let add = |folder: &Path| {
        anna.run(&[
            "model",
            "add-base",
            folder.to_str().unwrap(),
            "--name",
            "tiny",
            "--uri",
            "//Alice",
            "--store",
            store.to_str().unwrap(),
        ])
    };
    let empty = add(&model);
    assert_eq!(empty.code, USAGE);
    assert!(empty.stderr.contains("config.json"), "{}", empty.stderr);
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::write(model.join(file), "{}").unwrap();
    }
    let unreachable = add(&model);
    assert_eq!(unreachable.code, UNREACHABLE, "{}", unreachable.stderr);
    assert!(unreachable.stderr.contains("cannot be reached"), "{}", unreachable.stderr);
}

#[test]
fn a_record_is_proven_without_a_node() {
    let anna = Person::new();
    let file = anna.path().join("records.jsonl");
    fs::write(&file, "{\"text\":\"one\"}\n{\"text\":\"two\"}\n{\"text\":\"three\"}\n").unwrap();
    let book = Home::open(Some(anna.path().join("home"))).unwrap().shards();
    let shard = Shard::read(&file).unwrap();
    let seed = book.seed_for(&shard, &file, "payout", DatanetId(0)).unwrap();
    let mut kept = book.get(&shard.content()).unwrap().unwrap();
    kept.contribution = Some(ContributionId(12));
    book.put(&kept).unwrap();

    let run = anna.run(&["contribution", "prove", "12", "1", "--json"]);
    assert_eq!(run.code, DONE, "{}", run.stderr);
    let json = run.json();
    let proof: RecordProof = serde_json::from_value(json["proof"].clone()).unwrap();
    assert_eq!(proof.record, "{\"text\":\"two\"}");
    assert!(proof.holds(&shard.root(&seed)));
    assert!(!run.stdout.contains("three"), "another record is shown");

    assert_eq!(anna.run(&["contribution", "prove", "12", "3"]).code, NOT_FOUND);
    assert_eq!(anna.run(&["contribution", "prove", "13", "0"]).code, NOT_FOUND);
    // A file that was changed meanwhile is not what was pushed, and the store does not have it.
    fs::write(&file, "{\"text\":\"other\"}\n").unwrap();
    assert_eq!(anna.run(&["contribution", "prove", "12", "1"]).code, NOT_FOUND);
}

#[test]
fn mistakes_on_the_command_line_are_usage_errors() {
    let anna = Person::new();
    for args in [
        &["no-such-command"][..],
        &["transfer", "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY", "much"],
        &["transfer", "nobody", "1"],
        &["transfer", "nobody", "2000000000"],
        &["train"],
        &["train", "net", "--base", "tiny", "--rank", "0", "--uri", "//Alice"],
        &["train", "net", "--base", "tiny", "--targets", "x", "--uri", "//Alice"],
        &["datanet", "create", "net", "--policy", "curated", "--uri", "//Alice"],
        &["tx", "submit", "0xzz", "--uri", "//Alice"],
        &["key", "list", "--key", "a", "--uri", "//Alice"],
    ] {
        let run = anna.run(args);
        assert_eq!(run.code, USAGE, "{args:?}: {}", run.stderr);
        assert!(!run.stderr.is_empty());
    }
    // A key that is not there is not found, and the way to one is shown.
    let run = anna.run(&["transfer", "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY", "1"]);
    assert_eq!(run.code, NOT_FOUND);
    assert!(run.stderr.contains("tributary key new default"), "{}", run.stderr);
}

#[test]
fn files_to_verify_are_looked_at_first() {
    let anna = Person::new();
    let file = anna.path().join("receipt.json");
    let verify = || anna.run(&["verify", "receipt", file.to_str().unwrap()]);
    assert_eq!(verify().code, NOT_FOUND);
    fs::write(&file, "nonsense").unwrap();
    assert_eq!(verify().code, USAGE);
    fs::write(&file, "{}").unwrap();
    let run = verify();
    assert_eq!(run.code, USAGE);
    assert!(run.stderr.contains("not a receipt"), "{}", run.stderr);
}

#[test]
fn help_shows_the_exit_codes_and_shells_get_completions() {
    let anna = Person::new();
    let help = anna.run(&["--help"]).stdout;
    for text in ["Exit codes:", "  5  the chain or a worker refused", "TRIBUTARY_NODE"] {
        assert!(help.contains(text), "{text}");
    }
    for (shell, text) in
        [("bash", "_tributary"), ("zsh", "#compdef tributary"), ("fish", "complete -c tributary")]
    {
        let run = anna.run(&["completions", shell]);
        assert_eq!(run.code, DONE);
        assert!(run.stdout.contains(text), "{shell}");
    }
    // Completions open nothing: no folder is made for them.
    assert!(!anna.path().join("home").exists());
}
