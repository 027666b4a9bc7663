//! What the compiler answers to mistakes: see `tests/messages.rs`.
