//! What is measured, and its name on the command line.

use std::str::FromStr;

use crate::payload::Content;

/// How the bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// The server sends back the bytes as they come: a floor.
    Raw,
    WebSocket,
    /// WebSocket with permessage-deflate.
    Deflate,
}

#[derive(Debug)]
pub enum Cell {
    Echo(Load),
    /// With the messages a second.
    Latency(Load, f64),
    Idle(Load),
    Handshake(usize),
    Broadcast(Load),
}

#[derive(Debug)]
pub struct Load {
    pub content: Content,
    pub connections: usize,
    /// Messages that are under way on a connection.
    pub depth: usize,
    /// Bytes of payload.
    pub size: usize,
}

impl FromStr for Wire {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "raw" => Ok(Self::Raw),
            "websocket" => Ok(Self::WebSocket),
            "deflate" => Ok(Self::Deflate),
            _ => Err(format!("{name} is none of raw, websocket, deflate")),
        }
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let parts: Vec<&str> = name.split('/').collect();
        match parts[..] {
            ["echo", content, numbers] => Ok(Self::Echo(load(content, numbers)?)),
            ["latency", content, numbers, rate] => {
                Ok(Self::Latency(load(content, numbers)?, number(rate)?))
            }
            ["idle", content, numbers] => Ok(Self::Idle(load(content, numbers)?)),
            ["handshake", count] => Ok(Self::Handshake(number(count)?)),
            ["broadcast", content, numbers] => Ok(Self::Broadcast(load(content, numbers)?)),
            _ => Err(format!("{name} is no cell")),
        }
    }
}

/// Reads CONNECTIONSxSIZE or CONNECTIONSxDEPTHxSIZE.
fn load(content: &str, numbers: &str) -> Result<Load, String> {
    let content = content.parse()?;
    let numbers: Result<Vec<usize>, String> = numbers.split('x').map(number).collect();
    let (connections, depth, size) = match numbers?[..] {
        [connections, size] => (connections, 1, size),
        [connections, depth, size] => (connections, depth, size),
        _ => return Err("numbers are CONNECTIONSxSIZE or CONNECTIONSxDEPTHxSIZE".into()),
    };
    if connections == 0 || depth == 0 || size == 0 {
        return Err("nothing can be 0".into());
    }
    Ok(Load {
        content,
        connections,
        depth,
        size,
    })
}

fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word} is no number"))
}
