//! The client that goes through a proxy.

use std::time::Duration;

use futures_lite::future;
use sansock::Message;
use sansock::core::Closed;
use sansock::core::handshake::Uri;
use sansock::proxy::Proxy;
use sansock::tls::ClientTls;

use super::runtime::{self, Timer};
use super::{Arguments, Outcome, check};

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    arguments.allow(&["--proxy", "--proxy-roots"])?;
    let [url] = arguments.positional()[..] else {
        return Err("usage: proxy-peer URL [--proxy PROXY] [--proxy-roots FILE]".into());
    };
    let uri = url.parse::<Uri>()?;
    let proxy = match arguments.option("--proxy") {
        Some(proxy) => Some(proxy.parse()?),
        None => Proxy::from_environment(&uri)?,
    };
    let tls = match arguments.option("--proxy-roots") {
        Some(path) => ClientTls::new().roots_pem(std::fs::read(path)?)?,
        None => ClientTls::new(),
    };
    let conversation = converse(url, proxy.as_ref(), tls);
    runtime::block_on(future::or(conversation, async {
        Timer::after(Duration::from_secs(10)).await;
        Err("it takes too long".into())
    }))
}

async fn converse(url: &str, proxy: Option<&Proxy>, tls: ClientTls) -> Outcome {
    let connect = sansock::smol::connect(url).proxy(proxy.cloned());
    let mut socket = connect.proxy_tls(tls).await?;
    match proxy {
        Some(proxy) => println!("THROUGH {proxy}"),
        None => println!("DIRECT"),
    }
    for message in [Message::text("hällo"), Message::binary(vec![7; 1 << 19])] {
        socket.send(&message).await?;
        let came = socket.recv().await?;
        check(came == Some(message), || "another message came back".into())?;
    }
    socket.close(1000, "").await?;
    let is_clean = socket.closed().is_some_and(Closed::is_clean);
    check(is_clean, || "the end was not clean".into())
}
