//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;
use sansock::ClientOptions;
use sansock::core::handshake::Headers;
use sansock::proxy::Proxy;

pub(crate) const HELP: &str = "\
Sends the lines of standard input to a WebSocket server, and prints what comes back.

usage: cli [OPTIONS] URL

  -H, --header 'NAME: VALUE'  sends a header with the request; may be repeated
  -s, --subprotocol NAME      offers a subprotocol; may be repeated, the preferred one first
  -o, --origin ORIGIN         sends this Origin, as a page of there would
  -u, --user USER:PASSWORD    sends credentials (Basic)
  -p, --proxy URL             connects through this proxy: http://, https://, socks5h:// or socks4a://;
                              without it, through that of the environment (HTTPS_PROXY and so on)
      --no-proxy              connects through none
      --ca FILE               trusts the certificates in this file (PEM) instead of the system's
  -k, --insecure              accepts whatever certificate the server has
  -L, --redirects N           follows so many redirects (default: 0)
      --timeout SECONDS       how long it may take to connect, in all (default: 10; 0: any time)
  -c, --compress              offers compression (permessage-deflate)
  -b, --binary                sends the lines as binary messages; in a pipe, prints those that come
                              as they are
      --commands              obeys commands even where the input is no terminal
      --wait SECONDS          waits so long after the end of the input before it closes
      --max-size BYTES        the largest message to receive (default: 16 MiB)
      --ping SECONDS          how often to ping the server (default: 20; 0: never)
  -q, --quiet                 prints messages only
  -h, --help                  prints this

Commands, in a terminal:

  /binary HEX                 sends these bytes as a binary message
  /ping                       pings the server, and tells the round trip
  /close [CODE [REASON]]      closes the connection; so does the end of the input
  /help                       lists the commands
  //TEXT                      sends text that begins with a slash

A binary message that comes is printed as the command that would send it.

Exit status: 0 the connection was closed, by this side or by the server with 1000, 1001 or no code;
1 it was lost, or closed with another code; 2 a mistake in the command line or in the input; 3 the
server could not be reached, or TLS failed; 4 it answered, but did not open a WebSocket.
";

pub(crate) const COMMANDS: &str = "/binary HEX, /ping, /close [CODE [REASON]], /help, //TEXT";

pub(crate) struct Options {
    pub(crate) url: String,
    pub(crate) client: ClientOptions,
    /// And the password.
    pub(crate) user: Option<(String, String)>,
    /// What the environment says, unless the command line says something else.
    pub(crate) proxy: Option<Option<Proxy>>,
    /// Files of certificates.
    pub(crate) roots: Vec<PathBuf>,
    pub(crate) insecure: bool,
    pub(crate) redirects: u32,
    pub(crate) timeout: Option<Duration>,
    pub(crate) compress: bool,
    pub(crate) binary: bool,
    pub(crate) commands: bool,
    pub(crate) quiet: bool,
    pub(crate) wait: Option<Duration>,
    pub(crate) max_size: usize,
    pub(crate) ping_interval: Option<Duration>,
}

impl Options {
    /// Returns `None` where only help is asked for.
    pub(crate) fn parse(mut arguments: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut options = Self {
            url: String::new(),
            client: ClientOptions::new().user_agent("sansock-cli"),
            user: None,
            proxy: None,
            roots: Vec::new(),
            insecure: false,
            redirects: 0,
            timeout: Some(Duration::from_secs(10)),
            compress: false,
            binary: false,
            commands: false,
            quiet: false,
            wait: None,
            max_size: 16 << 20,
            ping_interval: Some(Duration::from_secs(20)),
        };
        let (mut headers, mut subprotocols) = (Headers::new(), Vec::new());
        while let Some(argument) = arguments.next()? {
            match argument {
                Short('H') | Long("header") => add_header(&mut headers, &value(&mut arguments)?)?,
                Short('s') | Long("subprotocol") => subprotocols.push(value(&mut arguments)?),
                Short('o') | Long("origin") => {
                    options.client = options.client.origin(value(&mut arguments)?);
                }
                Short('u') | Long("user") => options.user = Some(user(&value(&mut arguments)?)),
                Short('p') | Long("proxy") => {
                    let proxy = Proxy::parse(&value(&mut arguments)?);
                    options.proxy = Some(Some(proxy.map_err(|error| error.to_string())?));
                }
                Long("no-proxy") => options.proxy = Some(None),
                Long("ca") => options.roots.push(arguments.value()?.into()),
                Short('k') | Long("insecure") => options.insecure = true,
                Short('L') | Long("redirects") => options.redirects = arguments.value()?.parse()?,
                Long("timeout") => options.timeout = unless_zero(seconds(&mut arguments)?),
                Short('c') | Long("compress") => options.compress = true,
                Short('b') | Long("binary") => options.binary = true,
                Long("commands") => options.commands = true,
                Long("wait") => options.wait = Some(seconds(&mut arguments)?),
                Long("max-size") => options.max_size = arguments.value()?.parse()?,
                Long("ping") => options.ping_interval = unless_zero(seconds(&mut arguments)?),
                Short('q') | Long("quiet") => options.quiet = true,
                Short('h') | Long("help") => return Ok(None),
                Value(url) if options.url.is_empty() => options.url = url.string()?,
                Short(_) | Long(_) | Value(_) => return Err(argument.unexpected()),
            }
        }
        if options.url.is_empty() {
            return Err("a URL is missing".into());
        }
        options.client = options.client.headers(headers).subprotocols(subprotocols);
        Ok(Some(options))
    }
}

fn value(arguments: &mut lexopt::Parser) -> Result<String, lexopt::Error> {
    arguments.value()?.string()
}

fn seconds(arguments: &mut lexopt::Parser) -> Result<Duration, lexopt::Error> {
    let seconds = arguments.value()?.parse::<f64>()?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string().into())
}

fn unless_zero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

fn add_header(headers: &mut Headers, line: &str) -> Result<(), lexopt::Error> {
    let Some((name, value)) = line.split_once(':') else {
        return Err(format!("{line:?} is not a header: it needs a colon").into());
    };
    let added = headers.append(name, value.trim());
    added.map_err(|error| error.to_string().into())
}

fn user(text: &str) -> (String, String) {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    (user.into(), password.into())
}
