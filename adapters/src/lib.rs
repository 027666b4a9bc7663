//! WebSockets for every runtime that speaks futures-io.
