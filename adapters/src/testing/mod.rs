//! What applications use to test their code without waiting: a clock that is moved by hand.

pub mod clock;
