//! soketto, with its extension as a handshake would have set it up: it knows no context takeover. To inflate,
//! it needs flate2 before 1.1.10, which the others do not allow.

use std::hint::black_box;

use soketto::connection::Builder;
use soketto::extension::{Extension, Param, deflate::Deflate};
use soketto::{Mode, Sender};

use crate::json::Rounds;
use crate::{Cell, Mock, Operation, Run, block_on};

pub fn prepare(cell: &Cell, mock: Mock, messages: Vec<String>) -> Option<Run> {
    let mut deflate = Deflate::new(Mode::Server);
    let parameters = ["server_no_context_takeover", "client_no_context_takeover"];
    deflate
        .configure(&parameters.map(Param::new))
        .expect("configured");
    let mut builder = Builder::new(mock, Mode::Server);
    builder.add_extensions([Box::new(deflate) as Box<dyn Extension + Send>]);
    let (sender, _) = builder.finish();
    match cell.operation {
        Operation::Send => Some(send(sender, messages)),
        Operation::Recv => None,
    }
}

fn send(mut sender: Sender<Mock>, messages: Vec<String>) -> Run {
    let mut messages = Rounds::<String>::of(messages);
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                let message = black_box(messages.turn());
                sender.send_text(message).await.expect("sent");
                sender.flush().await.expect("flushed");
            }
        });
    })
}
