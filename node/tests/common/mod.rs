//! Starts the node's binary and talks to it over HTTP.

#![allow(dead_code)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{mpsc, Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::{json, Value};

/// How long a node may take to start: it compiles the runtime first, which a busy machine does
/// slowly.
const START_LIMIT: Duration = Duration::from_secs(240);

/// The node's binary, ready to be given arguments.
pub fn node() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tributary-node"))
}

/// Runs the binary to its end.
pub fn run(args: &[&str]) -> Output {
    node().args(args).output().expect("the binary runs")
}

/// The folder with the committed specifications.
pub fn chain_specs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../chain-specs")
}

/// A running node, stopped when it goes out of scope.
pub struct Running {
    child: Child,
    rpc: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Running {
    /// Starts a node on free ports and waits until its log says where the RPC is.
    pub fn start(args: &[&str]) -> Self {
        let mut child = node()
            .args(["--rpc-port", "0", "--port", "0", "--no-prometheus", "--no-telemetry"])
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let log = BufReader::new(child.stderr.take().expect("it is piped"));
        let (send, receive) = mpsc::channel();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        // Reads to the end, since a node whose log nobody reads comes to a halt.
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if let Some(address) = rpc_address(&line) {
                    let _ = send.send(address);
                }
                kept.lock().expect("nobody panicked").push(line);
            }
        });
        match receive.recv_timeout(START_LIMIT) {
            Ok(rpc) => Self { child, rpc, log: lines },
            Err(_) => {
                let _ = child.kill();
                panic!("the log named no RPC address within {START_LIMIT:?}");
            }
        }
    }

    /// Calls a method; `Err` holds the error object of the answer.
    pub fn call(&self, method: &str, params: Value) -> Result<Value, Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.rpc).expect("the RPC listens");
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.rpc,
            body.len(),
        )
        .expect("the RPC takes requests");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the RPC answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer has a body");
        let mut answer: Value = serde_json::from_str(body).expect("the body is JSON");
        match answer.get_mut("error") {
            Some(error) => Err(error.take()),
            None => Ok(answer["result"].take()),
        }
    }

    /// The lines of the log that contain `text`.
    pub fn logged(&self, text: &str) -> Vec<String> {
        let log = self.log.lock().expect("nobody panicked");
        log.iter().filter(|line| line.contains(text)).cloned().collect()
    }

    /// Waits until a line of the log contains `text`, and returns it.
    pub fn wait_for_log(&self, text: &str, limit: Duration) -> String {
        let start = Instant::now();
        loop {
            match self.logged(text).into_iter().next() {
                Some(line) => return line,
                None => assert!(start.elapsed() < limit, "the log never said `{text}`"),
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// The number of the block that `method` names.
    pub fn height(&self, method: &str) -> Option<u64> {
        self.number_of(&self.call(method, json!([])).ok()?)
    }

    /// The number of the block with this hash.
    pub fn number_of(&self, hash: &Value) -> Option<u64> {
        let header = self.call("chain_getHeader", json!([hash])).ok()?;
        u64::from_str_radix(header["number"].as_str()?.trim_start_matches("0x"), 16).ok()
    }

    /// Waits until the block that `method` names has at least this number.
    pub fn wait_for(&self, method: &str, height: u64, limit: Duration) -> u64 {
        let start = Instant::now();
        loop {
            match self.height(method) {
                Some(now) if now >= height => return now,
                now => assert!(start.elapsed() < limit, "{method}: {now:?} instead of {height}"),
            }
            thread::sleep(Duration::from_millis(500));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `… Running JSON-RPC server: addr=127.0.0.1:40123,[::1]:40123` gives the first address.
fn rpc_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("Running JSON-RPC server: addr=")?;
    rest.split(',').next()?.trim().parse().ok()
}
