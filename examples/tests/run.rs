//! Every example runs to its end and says what it should.

use std::env::consts::EXE_SUFFIX;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sansock::serve::Origins;
use sansock::smol::{Listen, Socket, serve};
use sansock::tls::ServerTls;

/// An example that cargo has built beside this test.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(|deps| deps.parent()).unwrap();
    Command::new(folder.join("examples").join(format!("{name}{EXE_SUFFIX}")))
}

/// What a successful example has printed.
#[track_caller]
fn printed(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    std::str::from_utf8(&output.stdout).unwrap()
}

#[track_caller]
fn assert_prints(name: &str, lines: &[&str]) {
    let output = example(name).output().unwrap();
    let printed = printed(&output);
    for line in lines {
        assert!(printed.contains(line), "{line:?} is missing in\n{printed}");
    }
}

#[test]
fn echo() {
    assert_prints(
        "echo",
        &[
            r#"text came back: Some(Text("hello"))"#,
            r#"binary came back: Some(Binary(b"\x01\x02\x03"))"#,
            r#"fragments came back: Some(Text("in three fragments"))"#,
            "1 MiB came back: true",
            "ping took",
            "server: received 1000 (OK) that is all",
            "client: closed",
        ],
    );
}

#[test]
fn sans_io() {
    assert_prints(
        "sans_io",
        &[
            "client: 101 Switching Protocols",
            r#"server: Text("hello")"#,
            r#"client: Text("hello")"#,
            "client: Close",
        ],
    );
}

#[test]
fn async_executor() {
    assert_prints(
        "async_executor",
        &[
            r#"subprotocol Some("echo")"#,
            r#"came back: Some(Text("hello"))"#,
        ],
    );
}

#[test]
fn own_executor() {
    assert_prints(
        "own_executor",
        &[
            r#"client: Some(Text("hello")) came back"#,
            "client: ping took",
            "server: closed",
            "client: closed",
        ],
    );
}

/// A text reaches the connections of all threads, and the end of the process closes them all.
#[cfg(unix)]
#[test]
fn threads() {
    for (more, servers) in [
        (&["--threads", "2"][..], 1),
        (&["--threads", "2", "--executor-per-thread"], 2),
    ] {
        let arguments = [&["127.0.0.1:0"][..], more].concat();
        let mut server = Server::start("threads", &arguments);
        let url = format!("ws://{}/", server.address);
        assert_eq!(cli(&["--binary", &url], "a\nb\n").1, "ab");
        let mut talkers = Vec::new();
        for number in 0..8 {
            let text = format!("talker {number}");
            talkers.push(Talker::start(&url, &text));
            for talker in &mut talkers {
                talker.hears(&text);
            }
        }

        server.signal("-INT");
        let opened = (0..servers).map(|_| {
            let line = server.next_line();
            let count = line.split(' ').nth(2).map(str::parse::<u32>);
            count
                .and_then(Result::ok)
                .unwrap_or_else(|| panic!("{line}"))
        });
        assert_eq!(opened.sum::<u32>(), 9);
        let end = server.lines.recv_timeout(PATIENCE);
        assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected));
        assert!(server.process.wait().unwrap().success());
        for mut talker in talkers {
            assert!(talker.process.wait().unwrap().success());
        }
    }
}

#[test]
fn client_and_server() {
    let mut server = Server::start("server", &["127.0.0.1:0"]);
    converse(&format!("ws://{}/", server.address));
    assert!(server.next_line().contains("received 1000 (OK)"));
}

#[test]
fn hyper() {
    assert_prints(
        "hyper",
        &[
            "client: 200 OK, with permessage-deflate",
            "client: HTTP/2.0: 200 OK: The WebSocket is at /echo",
            r#"client: came back over HTTP/2: Some(Text("first"))"#,
            r#"client: came back over HTTP/2: Some(Text("second"))"#,
            "client: HTTP/1.1: 200 OK: The WebSocket is at /echo",
            "client: 101 Switching Protocols, with permessage-deflate",
            r#"client: came back over HTTP/1.1: Some(Text("hello"))"#,
            "client: closed",
        ],
    );
}

#[test]
fn hyper_serves_http_and_websockets_on_one_port() {
    let mut server = Server::start("hyper", &["127.0.0.1:0"]);
    serves_both(&mut server);
}

#[test]
fn axum() {
    assert_prints(
        "axum",
        &[
            "client: connected, with permessage-deflate",
            r#"client: came back: Some(Text("hello"))"#,
            "client: ping took",
            "client: closed",
        ],
    );
}

#[test]
fn axum_serves_http_and_websockets_on_one_port() {
    let mut server = Server::start("axum", &["127.0.0.1:0"]);
    serves_both(&mut server);
}

/// A quarter of a gigabyte passes through a process that may have an eighth of that.
#[cfg(unix)]
#[test]
fn relay() {
    let limited = r#"ulimit -v 32768 && exec "$0" 256"#;
    let output = Command::new("sh")
        .args(["-c", limited])
        .arg(example("relay").get_program())
        .output()
        .unwrap();
    let printed = printed(&output);
    let all = "268435456 of 268435456 bytes arrived as they were sent";
    assert!(printed.contains(all), "{printed}");
}

#[test]
fn load() {
    let server = Server::start("server", &["127.0.0.1:0"]);
    let url = format!("ws://{}/", server.address);
    for more in [
        &["--depth", "2", "--text"][..],
        &["--rate", "100", "--compress"],
    ] {
        let mut command = example("load");
        let command = command.args([&url, "--connections", "3", "--seconds", "1.1"]);
        let output = command.args(more).output().unwrap();
        let printed = printed(&output);
        let words: Vec<_> = printed.split_whitespace().collect();
        assert_ne!(words.first(), Some(&"0"), "{printed}");
        assert_eq!(words.get(1), Some(&"answers,"), "{printed}");
        assert!(printed.contains("\nlatency: p50 "), "{printed}");
        let progress = String::from_utf8_lossy(&output.stderr);
        assert!(
            progress.contains("3 of 3 connections are open"),
            "{progress}"
        );
        assert!(progress.contains("3 open\n"), "{progress}");
    }
}

#[test]
fn load_tells_failure_by_its_exit_status() {
    for (arguments, status, word) in [
        (
            &["ws://127.0.0.1:1/", "--seconds", "0.1"][..],
            1,
            "10 times: ",
        ),
        (&["ws://127.0.0.1:1/", "--rate", "0"], 2, "usage: "),
        (&[], 2, "usage: "),
    ] {
        let output = example("load").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn cli_in_a_pipe() {
    let server = Server::start("server", &["127.0.0.1:0"]);
    let url = format!("ws://{}/", server.address);
    let one_line = "x".repeat(200_000);
    for (arguments, input, output) in [
        // Lines are messages, whatever is in them, and every answer is printed before the end.
        (&[][..], "zwölf\n\n/ping\r\nlast", "zwölf\n\n/ping\nlast\n"),
        (&["--compress", "--wait", "0.1"], "a\nb\n", "a\nb\n"),
        (&["--ping", "0"], &one_line, &format!("{one_line}\n")),
        (&["--binary"], "a\nb\n", "ab"),
        (&[], "", ""),
        (
            &["--commands"],
            "/binary 00 fF\n//x\n/ping\n/close 4000 bye\nlate\n",
            "/binary 00ff\n/x\n",
        ),
    ] {
        let (ended, printed, said) = cli(&[arguments, &[&url]].concat(), input);
        assert_eq!(printed, output, "{said}");
        assert_eq!(ended, Some(0), "{said}");
        assert!(said.contains("then received"), "{said}");
    }
    let (_, _, said) = cli(&["--commands", &url], "/ping\n/close 4000 bye\n");
    assert!(said.contains("pong after "), "{said}");
    assert!(said.contains("sent 4000 (private use) bye"), "{said}");
    assert!(said.contains("last round trip"), "{said}");
    assert_eq!(cli(&["--quiet", &url], "a\n").2, "");
}

#[test]
fn cli_tells_failure_by_its_exit_status() {
    let server = Server::start("hyper", &["127.0.0.1:0"]);
    let url = format!("ws://{}/echo", server.address);
    let nowhere = format!("ws://{}/nowhere", server.address);
    for (arguments, status, word) in [
        (
            &["--max-size", "9", &url[..]][..],
            1,
            "(1009): message of 22 bytes exceeds",
        ),
        (&[], 2, "a URL is missing"),
        (&["--no-such-option"], 2, "--no-such-option"),
        (&["--header", "no colon", &url], 2, "colon"),
        (&["--header", "Upgrade: x", &url], 2, "Upgrade"),
        (&["htp://127.0.0.1/"], 2, "scheme"),
        (&["--commands", &url], 2, "there is no command /no"),
        (&["ws://127.0.0.1:1/"], 3, "refused"),
        (&[&nowhere], 4, "| There is nothing here"),
        (&["--origin", "http://elsewhere", &url], 4, "403"),
        (
            &[
                "--origin",
                &format!("http://{}", server.address),
                "-s",
                "chat",
                &url,
            ],
            0,
            "sent 1000",
        ),
    ] {
        let (ended, _, said) = cli(arguments, "/no, ten bytes or more\n");
        assert_eq!(ended, Some(status), "{arguments:?} {said}");
        assert!(said.contains(word), "{word:?} is missing in {said}");
    }
}

#[test]
fn cli_over_tls() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let tls = ServerTls::from_pem(&certificate, key).unwrap();
    let (sender, port) = mpsc::channel();
    // It ends with the process.
    thread::spawn(move || {
        async_io::block_on(async {
            let echo = async |mut ws: Socket| -> sansock::Result<()> {
                while let Some(message) = ws.recv().await? {
                    ws.send(message).await?;
                }
                Ok(())
            };
            let server = serve(Listen::tls("127.0.0.1:0", tls), echo);
            let server = server.origins(Origins::SameHost).bind().await.unwrap();
            let address = server.local_addresses().next().unwrap();
            sender.send(address.port()).unwrap();
            server.await;
        });
    });
    let port = port.recv_timeout(PATIENCE).unwrap();
    let root = std::env::temp_dir().join(format!("root-{port}.pem"));
    std::fs::write(&root, certificate).unwrap();
    let (secure, plain) = (
        format!("wss://localhost:{port}/"),
        format!("ws://localhost:{port}/"),
    );
    let root_argument = root.to_str().unwrap();
    let direct = "--no-proxy";
    for (arguments, status, word) in [
        (&[direct, &secure[..]][..], 3, "certificate"),
        (&[direct, "--insecure", &secure], 0, "sent 1000"),
        (&[direct, "--ca", root_argument, &secure], 0, "sent 1000"),
        (
            &[direct, "--ca", "/no/such/file", &secure],
            2,
            "No such file",
        ),
        (&[direct, &plain], 4, "TLS"),
        (
            &["--proxy", "http://127.0.0.1:1", "--insecure", &secure],
            3,
            "127.0.0.1:1",
        ),
        (
            &["--proxy", "ftp://127.0.0.1", &secure],
            2,
            "scheme of a proxy",
        ),
    ] {
        let (ended, printed, said) = cli(arguments, "hello\n");
        assert_eq!(ended, Some(status), "{arguments:?} {said}");
        assert!(said.contains(word), "{word:?} is missing in {said}");
        assert_eq!(printed, if status == 0 { "hello\n" } else { "" });
    }
    std::fs::remove_file(root).unwrap();
}

#[test]
fn cli_notices_that_the_server_has_gone() {
    let server = Server::start("server", &["127.0.0.1:0"]);
    let mut client = example("cli")
        .arg(format!("ws://{}/", server.address))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    input.write_all(b"here\n").unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(client.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "here\n");
    drop(server);
    assert_eq!(client.wait().unwrap().code(), Some(1));
}

/// On a terminal, which `script` makes, there are commands, and what comes is marked. One Ctrl-D, which
/// `script` makes of the end of its input, ends it.
#[cfg(target_os = "linux")]
#[test]
fn cli_on_a_terminal() {
    let server = Server::start("server", &["127.0.0.1:0"]);
    let cli = example("cli");
    let command = format!("{:?} ws://{}/", cli.get_program(), server.address);
    let said = |input| {
        let mut script = Command::new("timeout");
        script.args(["30", "script", "--quiet", "--return", "--command"]);
        let (ended, printed, _) = run(script.args([&command, "/dev/null"]), input);
        assert_eq!(ended, Some(0), "{printed}");
        printed
    };
    let printed = said("hello\n/binary 1b\n/nonsense\n/close 4000 done\n");
    for part in [
        "* connected in ",
        "> ",
        "< hello\x1b",
        "< /binary 1b\x1b",
        "* there is no command",
        "* sent 4000 (private use) done; then received",
    ] {
        assert!(printed.contains(part), "{part:?} is missing in {printed:?}");
    }
    let printed = said("hello\n");
    assert!(
        printed.contains("* sent 1000 (OK); then received"),
        "{printed:?}"
    );
}

/// Runs the command line client with this input. Returns its exit status and both its outputs.
#[track_caller]
fn cli(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    run(example("cli").args(arguments), input)
}

#[track_caller]
fn run(command: &mut Command, input: &str) -> (Option<i32>, String, String) {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    // Whoever does not read it may have ended before it is written.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
    let output = process.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn chat() {
    let server = Server::start("chat", &["127.0.0.1:0"]);
    let page = server.exchange(&get("/", &[]), b"");
    assert!(page.starts_with("HTTP/1.1 200 OK"), "{page}");
    assert!(page.contains("<title>Chat</title>"), "{page}");
    for (path, headers, status) in [
        ("/nowhere", &[][..], "404"),
        ("/rooms/", &ASK, "404"),
        ("/rooms/lobby", &[], "426"),
        (
            "/rooms/lobby",
            &[&ASK[..], &["Origin: http://elsewhere"]].concat(),
            "403",
        ),
    ] {
        let answer = server.exchange(&get(path, headers), b"");
        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    }

    let room = |name| format!("ws://{}/rooms/{name}", server.address);
    let mut alice = Talker::start(&room("lobby"), "alice");
    alice.hears("alice is here");
    let mut carol = Talker::start(&room("attic"), "carol");
    carol.hears("carol is here");
    let mut bob = Talker::start(&room("lobby"), "bob");
    bob.hears("bob is here");
    alice.hears("bob is here");
    bob.says("hello");
    for talker in [&mut alice, &mut bob] {
        talker.hears("bob: hello");
    }
    bob.goes();
    alice.hears("bob has left");
    alice.goes();
    carol.goes();
}

#[test]
fn prometheus() {
    let server = Server::start("prometheus", &["127.0.0.1:0"]);
    let url = format!("ws://{}/", server.address);
    assert_eq!(cli(&[&url], "hello\n").1, "hello\n");
    assert_eq!(cli(&["--commands", &url], "/close 4000\n").0, Some(0));
    assert_eq!(cli(&[&format!("{url}nowhere")], "").0, Some(4));
    let mut alice = Talker::start(&url, "alice");
    alice.hears("alice");

    // The server may take note of an end a moment after the client has seen it.
    let mut page = String::new();
    for _ in 0..100 {
        page = server.exchange(&get("/metrics", &[]), b"");
        if page.contains("closed_total{code=\"4000\"} 1\n") {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert!(
        page.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{page}"
    );
    let (_, text) = page.split_once("\r\n\r\n").unwrap();
    for line in [
        "# TYPE websocket_connections gauge",
        "websocket_connections 1",
        "websocket_handshakes 1",
        "# HELP websocket_opened_total Connections opened.",
        "# TYPE websocket_opened_total counter",
        "websocket_opened_total 3",
        "websocket_rejected_total{status=\"404\"} 1",
        "websocket_closed_total{code=\"1000\"} 1",
        "websocket_closed_total{code=\"4000\"} 1",
        "websocket_handlers_failed_total 0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is missing in\n{text}"
        );
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let value = line
            .rsplit(' ')
            .next()
            .and_then(|value| value.parse::<u64>().ok());
        assert!(value.is_some(), "{line}");
    }
    alice.goes();
}

/// Behind a load balancer that names its clients: the health check, the hosts, and the drain.
#[test]
fn deployed_behind_a_load_balancer() {
    let arguments = [
        "--balancer",
        "127.0.0.1",
        "--host",
        "127.0.0.1",
        "--drain",
        "3",
        "127.0.0.1:0",
    ];
    let mut server = Server::start("deployed", &arguments);
    let line = "PROXY TCP4 203.0.113.7 203.0.113.1 5000 80\r\n";
    let health = |server: &Server| {
        let request = get("/healthz", &["Connection: close"]);
        let answer = server.exchange(&format!("{line}{request}"), b"");
        answer.split(' ').nth(1).map(str::to_owned)
    };
    assert_eq!(health(&server).as_deref(), Some("200"));
    let elsewhere = get("/", &ASK).replace("Host: 127.0.0.1", "Host: rebound.example");
    let answer = server.exchange(&format!("{line}{elsewhere}"), b"");
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");

    let mut client = TcpStream::connect(&server.address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("{line}{}", get("/", &ASK));
    client.write_all(request.as_bytes()).unwrap();
    let connected = server.next_line();
    assert!(connected.contains("203.0.113.7:5000"), "{connected}");

    server.signal("-TERM");
    assert_eq!(server.next_line(), "draining");
    assert_eq!(health(&server).as_deref(), Some("503"));
    let mut received = Vec::new();
    while !received.ends_with(b"\x88\x02\x03\xe9") {
        let mut byte = [0];
        assert_eq!(client.read(&mut byte).unwrap(), 1, "{received:?}");
        received.extend(byte);
    }
    client.write_all(b"\x88\x82\0\0\0\0\x03\xe9").unwrap();
    let stopped = server.next_line();
    assert!(stopped.starts_with("stopped: "), "{stopped}");
    assert!(server.process.wait().unwrap().success());
}

#[test]
fn deployed_reads_new_certificates() {
    let folder = std::env::temp_dir().join(format!("deployed-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let [chain, key, old, new] =
        ["chain", "key", "old", "new"].map(|name| folder.join(name).to_str().unwrap().to_owned());
    let issue = |copy: &str| {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        for (file, pem) in [
            (&chain[..], certified.cert.pem()),
            (copy, certified.cert.pem()),
            (&key, certified.signing_key.serialize_pem()),
        ] {
            std::fs::write(file, pem).unwrap();
        }
    };
    issue(&old);
    let mut server = Server::start("deployed", &["--tls", &chain, &key, "127.0.0.1:0"]);
    let url = format!(
        "wss://{}/",
        server.address.replace("127.0.0.1", "localhost")
    );
    let trusting = |root: &str| cli(&["--no-proxy", "--ca", root, &url], "hello\n").0;
    assert_eq!(trusting(&old), Some(0));
    server.next_line();

    issue(&new);
    server.signal("-HUP");
    assert_eq!(
        server.next_line(),
        "new handshakes use the new certificates"
    );
    assert_eq!(trusting(&new), Some(0));
    assert_eq!(trusting(&old), Some(3));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Somebody at the command line.
struct Talker {
    process: Child,
    heard: mpsc::Receiver<String>,
}

impl Talker {
    #[track_caller]
    fn start(url: &str, name: &str) -> Self {
        let mut command = example("cli");
        let command = command.args(["--quiet", url]).stdin(Stdio::piped());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let heard = lines(process.stdout.take().unwrap());
        let mut talker = Self { process, heard };
        talker.says(name);
        talker
    }

    #[track_caller]
    fn says(&mut self, text: &str) {
        let input = self.process.stdin.as_mut().unwrap();
        input.write_all(format!("{text}\n").as_bytes()).unwrap();
    }

    #[track_caller]
    fn hears(&mut self, text: &str) {
        assert_eq!(self.heard.recv_timeout(PATIENCE).as_deref(), Ok(text));
    }

    #[track_caller]
    fn goes(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
}

/// What the servers do that leave HTTP to others.
#[track_caller]
fn serves_both(server: &mut Server) {
    let page = server.exchange(&get("/", &["Connection: close"]), b"");
    assert!(page.starts_with("HTTP/1.1 200 OK"), "{page}");
    assert!(page.ends_with("The WebSocket is at /echo\n"), "{page}");
    for (path, headers, status) in [
        ("/nowhere", &["Connection: close"][..], "404"),
        ("/echo", &["Connection: close"], "426"),
        (
            "/echo",
            &[&ASK[..], &["Origin: http://elsewhere"]].concat(),
            "403",
        ),
    ] {
        let answer = server.exchange(&get(path, headers), b"");
        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    }

    converse(&format!("ws://{}/echo", server.address));
    assert!(server.next_line().contains("received 1000 (OK)"));

    // A message, and a Close frame, that came with the request and so went through HTTP's hands.
    let frames = b"\x81\x82\x01\x02\x03\x04\x69\x6b\x88\x82\0\0\0\0\x03\xe8";
    let answer = server.exchange(&get("/echo", &ASK), frames);
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(
        answer.ends_with("\\x81\\x02hi\\x88\\x02\\x03\\xe8"),
        "{answer}"
    );
}

const ASK: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

fn get(path: &str, headers: &[&str]) -> String {
    let headers = headers.join("\r\n");
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n\r\n")
}

/// Two lines go through the client to the server and back.
#[track_caller]
fn converse(url: &str) {
    let mut client = example("client")
        .arg(url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    let mut output = BufReader::new(client.stdout.take().unwrap());
    input.write_all("zwölf\nBoxkämpfer\n".as_bytes()).unwrap();
    for sent in ["zwölf\n", "Boxkämpfer\n"] {
        let mut came = String::new();
        output.read_line(&mut came).unwrap();
        assert_eq!(came, sent);
    }
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert!(client.wait().unwrap().success());
}

/// How long anything is waited for that should come at once. A bound, not a measure.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads lines as they come, so that whoever waits for one does not wait for ever.
fn lines(output: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        lines
            .take_while(|line| sender.send(line.clone()).is_ok())
            .count()
    });
    receiver
}

/// An example that serves for as long as the test lasts.
struct Server {
    process: Child,
    lines: mpsc::Receiver<String>,
    /// From the line that says where it listens.
    address: String,
}

impl Server {
    #[track_caller]
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = example(name);
        let command = command.args(arguments).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = lines(process.stdout.take().unwrap());
        let mut server = Self {
            process,
            lines,
            address: String::new(),
        };
        let listening = server.next_line();
        let address = listening
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        server.address = address.unwrap_or_else(|| panic!("{listening}")).into();
        server
    }

    #[track_caller]
    fn next_line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    #[track_caller]
    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let kill = Command::new("kill").args([name, &id]).status();
        assert!(kill.unwrap().success());
    }

    /// Sends a request and what follows it in one write, and returns all that comes, escaped where it
    /// is not text.
    #[track_caller]
    fn exchange(&self, request: &str, then: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(&[request.as_bytes(), then].concat())
            .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        match String::from_utf8(answer) {
            Ok(text) => text,
            Err(error) => error.as_bytes().escape_ascii().to_string(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
