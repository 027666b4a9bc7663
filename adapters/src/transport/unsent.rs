//! How much the system keeps unsent for a TCP connection.

/// Bytes that the system takes beyond those it can send at once.
const UNSENT: u32 = 16 << 10;

/// Limits how much the system keeps unsent, on Linux (`TCP_NOTSENT_LOWAT`).
///
/// A ping leaves behind what was written before it, and so does a Close frame. Without the limit that may be
/// megabytes, which a slow peer takes minutes to receive. With it, a transport that was full and takes more
/// proves that the peer receives. It is no error if the system refuses.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn limit_unsent(stream: &impl std::os::fd::AsFd) {
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) const fn limit_unsent<S>(_: &S) {}
