//! A server for production, behind reverse proxies or not: limits for each client, certificates that are replaced
//! without a restart, a health check, and a drain before it stops.
//!
//! ```text
//! cargo run --example deployed -- [OPTIONS] ADDR
//!
//!   --tls CHAIN KEY     TLS, by files in PEM; they are read again at SIGHUP
//!   --host NAME         a host to answer for, such as chat.example.com (default: every host)
//!   --proxy NETWORK     reverse proxies that name their clients in headers, such as 10.0.0.0/8
//!   --balancer NETWORK  load balancers that name their clients by the PROXY protocol
//!   --drain SECONDS     how long clients have to move to another server (default: 30)
//! ```
//!
//! SIGTERM or Ctrl-C drains the server: the health check answers 503, and clients are closed with 1001 one after the
//! other. A second one shuts it down at once.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use async_signal::{Signal, Signals};
use futures_lite::StreamExt;
use futures_lite::future::or;
use sansock::core::handshake::StatusCode;
use sansock::serve::{Origins, RateLimit, ServerHandle};
use sansock::smol::{HandshakeDecision, IncomingRequest, Listen, Socket, serve};
use sansock::tls::ServerTls;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

struct Options {
    address: String,
    tls: Option<Certificates>,
    hosts: Vec<String>,
    proxies: Vec<String>,
    balancers: Vec<String>,
    drain: Duration,
}

fn main() -> Outcome {
    let options = match parse(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}; see the head of this example for its options");
            std::process::exit(2);
        }
    };
    async_io::block_on(run(&options))
}

fn parse(arguments: impl Iterator<Item = OsString>) -> Outcome<Options> {
    use lexopt::{Arg, Parser, ValueExt};
    let mut parser = Parser::from_args(arguments);
    let mut options = Options {
        address: String::new(),
        tls: None,
        hosts: Vec::new(),
        proxies: Vec::new(),
        balancers: Vec::new(),
        drain: Duration::from_secs(30),
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("tls") => {
                let (chain, key) = (parser.value()?.into(), parser.value()?.into());
                options.tls = Some(Certificates { chain, key });
            }
            Arg::Long("host") => options.hosts.push(parser.value()?.string()?),
            Arg::Long("proxy") => options.proxies.push(parser.value()?.string()?),
            Arg::Long("balancer") => options.balancers.push(parser.value()?.string()?),
            Arg::Long("drain") => options.drain = Duration::from_secs(parser.value()?.parse()?),
            Arg::Value(address) if options.address.is_empty() => {
                options.address = address.string()?;
            }
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => {
                return Err(argument.unexpected().into());
            }
        }
    }
    match options.address.is_empty() {
        true => Err("an address is missing".into()),
        false => Ok(options),
    }
}

async fn run(options: &Options) -> Outcome {
    let tls = options.tls.as_ref().map(Certificates::load).transpose()?;
    let mut listen = Listen::from(options.address.as_str());
    if !options.balancers.is_empty() {
        listen = Listen::proxy_protocol(listen, &options.balancers);
    }
    if let Some(tls) = &tls {
        listen = Listen::tls(listen, tls.clone());
    }

    let hosts = match options.hosts.is_empty() {
        true => vec!["*".to_owned()],
        false => options.hosts.clone(),
    };
    let server = serve(listen, echo)
        .origins(Origins::SameHost)
        .hosts(hosts)
        .trusted_proxies(&options.proxies)
        .process_request(async |request: IncomingRequest| check_health(request))
        // No client can take all places, or all of the processor.
        .max_connections_per_address(100)
        .rate_limit(RateLimit::new().messages(50, 200).bytes(1 << 20, 4 << 20))
        // Clients that are gone or idle give their place back; the others move to other servers in time.
        .idle_timeout(Duration::from_secs(15 * 60))
        .max_age(Duration::from_secs(12 * 60 * 60))
        .max_age_jitter(Duration::from_secs(60 * 60))
        .on_event(|event| eprintln!("{event}"))
        .bind()
        .await?;

    let scheme = if tls.is_some() { "wss" } else { "ws" };
    for address in server.local_addresses() {
        println!("listening on {scheme}://{address}/");
    }
    let handle = server.handle();
    let certificates = options.tls.as_ref().zip(tls.as_ref());
    let signals = Signals::new([Signal::Hup, Signal::Term, Signal::Int])?;
    let obeying = obey(signals, &handle, certificates, options.drain);
    or(server.run(), obeying).await;
    println!("stopped: {:?}", handle.snapshot());
    Ok(())
}

/// Answers what load balancers ask. While the server drains, it answers every request with 503 itself.
fn check_health(request: IncomingRequest) -> HandshakeDecision {
    match request.path() {
        "/healthz" => request.reject(StatusCode::OK, "ok\n"),
        _ => request.accept(),
    }
}

async fn echo(mut ws: Socket) -> sansock::Result<()> {
    println!("{} has connected", ws.peer());
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    ws.close_result()
}

/// Does what signals say, until the server has stopped.
async fn obey(
    mut signals: Signals,
    server: &ServerHandle,
    certificates: Option<(&Certificates, &ServerTls)>,
    drain: Duration,
) {
    let mut draining = false;
    while let Some(Ok(signal)) = signals.next().await {
        match (signal, certificates) {
            (Signal::Hup, Some((files, tls))) => match files.reload(tls) {
                Ok(()) => println!("new handshakes use the new certificates"),
                Err(error) => eprintln!("the old certificates stay in use: {error}"),
            },
            (Signal::Hup, None) => eprintln!("there are no certificates to read again"),
            _ if draining => server.shutdown(),
            _ => {
                println!("draining");
                draining = true;
                // The first third is for the load balancer, to see that the health check fails.
                server.drain(drain, drain * 2 / 3);
            }
        }
    }
    server.stopped().await;
}

/// Where the certificates are.
struct Certificates {
    chain: PathBuf,
    key: PathBuf,
}

impl Certificates {
    fn load(&self) -> Outcome<ServerTls> {
        Ok(ServerTls::from_pem(
            fs::read(&self.chain)?,
            fs::read(&self.key)?,
        )?)
    }

    fn reload(&self, tls: &ServerTls) -> Outcome {
        Ok(tls.reload(fs::read(&self.chain)?, fs::read(&self.key)?)?)
    }
}
