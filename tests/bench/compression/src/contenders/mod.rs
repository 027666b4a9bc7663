//! One module a library. To add one: write a module with a function that prepares a cell, and name it here
//! with what its connection agrees on.

mod sansock;
mod sockudo;
mod soketto;
mod yawc;
mod zlib;

use crate::json::messages;
use crate::wire::Wire;
use crate::{Agreement, Cell, Mock, Run};

/// A library in one configuration.
pub struct Contender {
    pub name: &'static str,
    /// The level, window and context, for people.
    pub settings: &'static str,
    agreement: Agreement,
    prepare: fn(&Cell, Mock, Vec<String>) -> Option<Run>,
}

const fn takeover(window_bits: u8) -> Agreement {
    Agreement {
        window_bits,
        takeover: true,
    }
}

const NO_TAKEOVER: Agreement = Agreement {
    window_bits: 15,
    takeover: false,
};

/// In the order of the table. First as each library is by default, then at equal settings.
pub const CONTENDERS: &[Contender] = &[
    Contender {
        name: "sansock",
        settings: "default: level 4, 12 bits",
        agreement: takeover(12),
        prepare: |cell, mock, messages| {
            Some(sansock::prepare(cell, mock, messages, sansock::DEFAULT))
        },
    },
    Contender {
        name: "sansock-quiet",
        settings: "the same, quiet for a second after each message",
        agreement: takeover(12),
        prepare: |cell, mock, messages| Some(sansock::prepare_quiet(cell, &mock, messages)),
    },
    Contender {
        name: "soketto",
        settings: "default: level 1, no context takeover",
        agreement: NO_TAKEOVER,
        prepare: soketto::prepare,
    },
    Contender {
        name: "sockudo-ws",
        settings: "dedicated: level 6, 15 bits",
        agreement: takeover(15),
        prepare: |cell, mock, messages| Some(sockudo::prepare(cell, mock, messages, None)),
    },
    Contender {
        name: "yawc",
        settings: "balanced: level 6, 15 bits",
        agreement: takeover(15),
        prepare: |cell, mock, messages| Some(yawc::prepare(cell, mock, messages, None)),
    },
    Contender {
        name: "zlib-rs/4/12",
        settings: "the compressor alone: level 4, 12 bits",
        agreement: takeover(12),
        prepare: |cell, mock, messages| {
            Some(zlib::prepare(cell, &mock, messages, (4, 6, takeover(12))))
        },
    },
    Contender {
        name: "sockudo-ws/4/12",
        settings: "level 4, 12 bits",
        agreement: takeover(12),
        prepare: |cell, mock, messages| Some(sockudo::prepare(cell, mock, messages, Some((4, 12)))),
    },
    Contender {
        name: "yawc/4/12",
        settings: "level 4, 12 bits",
        agreement: takeover(12),
        prepare: |cell, mock, messages| Some(yawc::prepare(cell, mock, messages, Some((4, 12)))),
    },
    Contender {
        name: "sansock/6/15",
        settings: "level 6, 15 bits",
        agreement: takeover(15),
        prepare: |cell, mock, messages| Some(sansock::prepare(cell, mock, messages, (6, 8, 15))),
    },
    Contender {
        name: "zlib-rs/6/15",
        settings: "the compressor alone: level 6, 15 bits",
        agreement: takeover(15),
        prepare: |cell, mock, messages| {
            Some(zlib::prepare(cell, &mock, messages, (6, 8, takeover(15))))
        },
    },
    Contender {
        name: "sansock/6/12",
        settings: "level 6, 12 bits",
        agreement: takeover(12),
        prepare: |cell, mock, messages| Some(sansock::prepare(cell, mock, messages, (6, 6, 12))),
    },
];

impl Contender {
    /// Returns the contender of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        CONTENDERS.iter().find(|contender| contender.name == name)
    }

    /// Returns the transport of a cell.
    #[must_use]
    pub fn mock(&self, cell: &Cell) -> Mock {
        Mock::new(Wire::of(&messages(cell.size), self.agreement))
    }

    /// Prepares a cell; `None` where the library does not offer it.
    #[must_use]
    pub fn prepare(&self, cell: &Cell, mock: Mock) -> Option<Run> {
        (self.prepare)(cell, mock, messages(cell.size))
    }
}
