//! Servers: accepting, opening handshakes, handlers, shutdown, and messages for many.
//!
//! The functions `serve` of the runtimes are built from this, which knows no runtime: give [`Serve`] a
//! [`Listener`], a [`Timer`](crate::Timer) and a way to spawn, and it serves on yours.
//!
//! - Every connection is one future, spawned where the caller says. None waits for another.
//! - Everything that a client can hold is limited: the time for its handshake, how many handshakes and
//!   connections there are at once, and how much waits to be sent to it. A handshake whose request is
//!   incomplete gives way to others, so that no address locks out others.
//! - Whatever a handler does, its connection is closed with a code that says how it ended.
//! - Nothing is logged: [`Serve::on_event`] reports what to log, [`ServerHandle::snapshot`] what to
//!   measure.

mod addresses;
mod admission;
mod bind;
mod broadcast;
mod builder;
mod connection;
mod drain;
mod handle;
mod handshakes;
mod lifetime;
mod outcome;
mod proxies;
mod registry;
mod request;
mod room;
mod server;
mod slot;
mod socket;
mod woken;

pub use sansock_core::handshake::{
    HostList, Hosts, InvalidHost, InvalidOrigin, OriginList, OriginProblem, Origins,
};

pub use admission::Admission;
pub use bind::Serves;
pub use broadcast::{Broadcast, broadcast};
pub use builder::{ChooseOrigins, Listen, Serve};
pub use drain::Draining;
pub use handle::{Handle, OverflowPolicy, Push};
pub use outcome::{AnyEvent, HandlerError, Outcome, ServerEvent};
pub use registry::Snapshot;
pub use request::{HandshakeDecision, IncomingRequest};
pub use room::Room;
pub use server::{Acceptor, Runs, Server, ServerHandle};
pub use socket::Socket;

pub use crate::driver::RateLimit;
pub use crate::error::{InvalidNetwork, ProxyProtocolError};
pub use crate::transport::{Accepted, Listener, Peer, Proxied};
