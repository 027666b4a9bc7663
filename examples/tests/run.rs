//! Every example runs to its end and says what it should.

use std::env::consts::EXE_SUFFIX;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

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
            r#"101 Switching Protocols, subprotocol Some("echo")"#,
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

#[test]
fn client_and_server() {
    let mut server = example("server")
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let listening = lines.next().unwrap().unwrap();
    let url = listening.strip_prefix("listening on ").unwrap();

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

    let closed = lines.next().unwrap().unwrap();
    assert!(closed.contains("received 1000 (OK)"), "{closed}");
    server.kill().unwrap();
    server.wait().unwrap();
}
