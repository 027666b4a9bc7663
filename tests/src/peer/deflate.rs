//! The compression that a peer was asked for: the one place to configure it.

use sansock::Config;
use sansock::core::deflate::Deflate;

use super::Outcome;

/// Returns the configuration with these parameters of permessage-deflate; `None` is no compression.
pub(crate) fn configured(config: Config, params: Option<&str>) -> Outcome<Config> {
    let Some(params) = params else {
        return Ok(config);
    };
    let params = params
        .split(';')
        .map(str::trim)
        .filter(|param| !param.is_empty());
    let mut deflate = Deflate::new().threshold(0);
    for param in params {
        let (name, value) = param.split_once('=').unwrap_or((param, ""));
        let bits = || value.parse();
        deflate = match name {
            "server_no_context_takeover" => deflate.server_no_context_takeover(),
            "client_no_context_takeover" => deflate.client_no_context_takeover(),
            "server_max_window_bits" => deflate.server_max_window_bits(bits()?),
            "client_max_window_bits" if value.is_empty() => deflate,
            "client_max_window_bits" => deflate.client_max_window_bits(bits()?),
            other => return Err(format!("--deflate: no parameter is called {other:?}").into()),
        };
    }
    Ok(config.deflate(deflate))
}
