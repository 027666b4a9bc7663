//! Which proxy is used: URLs, and the variables of an environment.

use std::collections::BTreeMap;
use std::error::Error as _;

use sansock::core::handshake::{Uri, UriError};
use sansock::proxy::{Proxy, ProxyError};
use sansock_tests::table::rows;

fn parse(url: &str) -> Result<String, ProxyError> {
    Proxy::parse(url).map(|proxy| proxy.to_string())
}

/// The proxy for a URL, with these variables.
#[track_caller]
fn chosen(url: &str, variables: &[(&str, &str)]) -> Option<String> {
    let proxy = from(url, variables).unwrap();
    proxy.map(|proxy| proxy.to_string())
}

fn from(url: &str, variables: &[(&str, &str)]) -> Result<Option<Proxy>, ProxyError> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    let uri: Uri = url.parse().unwrap();
    Proxy::from_variables(&uri, |name| variables.get(name).map(ToString::to_string))
}

/// Whether the list exempts the host of a URL.
#[track_caller]
fn exempts(list: &str, url: &str) -> bool {
    let variables = [("all_proxy", "http://proxy"), ("no_proxy", list)];
    chosen(url, &variables).is_none()
}

#[test]
fn urls_have_a_scheme_a_host_and_perhaps_a_port() {
    for (url, expected) in [
        ("http://proxy", "http://proxy:80"),
        ("http://proxy/", "http://proxy:80"),
        ("HTTP://Proxy:3128/", "http://proxy:3128"),
        ("proxy:3128", "http://proxy:3128"),
        ("proxy", "http://proxy:80"),
        ("socks5://127.0.0.1", "socks5://127.0.0.1:1080"),
        ("socks5h://[::1]:9050", "socks5h://[::1]:9050"),
        ("socks5h://[::1]", "socks5h://[::1]:1080"),
        ("http://[fe80::1%25eth0]", "http://[fe80::1%25eth0]:80"),
        ("socks5://proxy:80", "socks5://proxy:80"),
        ("socks5://proxy:443", "socks5://proxy:443"),
        ("socks5://proxy:", "socks5://proxy:1080"),
        ("http://user:pass%2Fword@proxy:1", "http://proxy:1"),
        ("http://us@er:p@proxy:1", "http://proxy:1"),
        ("http://user@proxy:1", "http://proxy:1"),
        ("https://proxy", "https://proxy:443"),
        ("HTTPS://proxy:80/", "https://proxy:80"),
        ("socks4://proxy", "socks4://proxy:1080"),
        ("socks4a://user@[::1]:1", "socks4a://[::1]:1"),
        ("socks://127.0.0.1:1080/", "socks5h://127.0.0.1:1080"),
        ("Socks://proxy", "socks5h://proxy:1080"),
    ] {
        assert_eq!(parse(url).as_deref(), Ok(expected), "{url}");
    }
    assert!(parse("socks5h://proxy").is_ok());
    let resolves = |url: &str| Proxy::parse(url).unwrap().resolves_names();
    for scheme in ["http", "https", "socks4a", "socks5h", "socks"] {
        assert!(resolves(&format!("{scheme}://a")), "{scheme}");
    }
    assert!(!resolves("socks4://a") && !resolves("socks5://a"));
    let uses_tls = |url: &str| Proxy::parse(url).unwrap().uses_tls();
    assert!(uses_tls("https://a"));
    assert!(!uses_tls("http://a") && !uses_tls("socks5h://a") && !uses_tls("a"));
}

#[test]
fn other_urls_are_refused() {
    for (url, error) in [
        ("socks6://proxy", ProxyError::Scheme("socks6".into())),
        ("FTP://proxy", ProxyError::Scheme("FTP".into())),
        (
            "quic+x-1.0://proxy",
            ProxyError::Scheme("quic+x-1.0".into()),
        ),
        ("://proxy", ProxyError::Scheme(String::new())),
        // It may be the password.
        ("user:secret://proxy", ProxyError::Scheme(String::new())),
        ("http://proxy/path", ProxyError::UrlPath),
        ("http://proxy?", ProxyError::UrlPath),
        ("http://proxy#a", ProxyError::UrlPath),
        ("http://", UriError::Host.into()),
        ("", UriError::Host.into()),
        ("http://proxy:99999", UriError::Port.into()),
        ("http://pro\r\nxy", UriError::Character { offset: 8 }.into()),
        ("http://[::1", UriError::Host.into()),
    ] {
        assert_eq!(parse(url), Err(error), "{url}");
    }
}

#[test]
fn each_scheme_has_its_variables_and_the_first_decides() {
    let all = [
        ("ws_proxy", "http://ws"),
        ("wss_proxy", "http://wss"),
        ("socks_proxy", "socks5://socks"),
        ("https_proxy", "http://https"),
        ("http_proxy", "http://http"),
        ("all_proxy", "http://all"),
    ];
    let order = |url, expected: &[&str]| {
        for (index, host) in expected.iter().enumerate() {
            let hidden = &expected[..index];
            let rest = all.iter().filter(|(_, value)| {
                !hidden
                    .iter()
                    .any(|host| value.ends_with(&format!("/{host}")))
            });
            let rest: Vec<_> = rest.copied().collect();
            let proxy = from(url, &rest).unwrap().unwrap();
            assert_eq!(proxy.host(), *host);
        }
    };
    order("wss://a/", &["wss", "socks", "https", "all"]);
    order("ws://a/", &["ws", "socks", "https", "http", "all"]);
    assert_eq!(
        chosen(
            "wss://a/",
            &[("http_proxy", "http://b"), ("ws_proxy", "http://c")]
        ),
        None
    );
    assert_eq!(chosen("ws://a/", &[("wss_proxy", "http://b")]), None);
    assert_eq!(chosen("ws://a/", &[]), None);
}

#[test]
fn lower_case_hides_upper_case() {
    let both = [("https_proxy", "http://low"), ("HTTPS_PROXY", "http://up")];
    assert_eq!(chosen("wss://a/", &both).as_deref(), Some("http://low:80"));
    assert_eq!(
        chosen("wss://a/", &both[1..]).as_deref(),
        Some("http://up:80")
    );
    let empty = [
        ("https_proxy", " "),
        ("HTTPS_PROXY", "http://up"),
        ("ALL_PROXY", "http://all"),
    ];
    assert_eq!(chosen("wss://a/", &empty).as_deref(), Some("http://all:80"));
    let exempt = [("NO_PROXY", "a"), ("ALL_PROXY", "http://all")];
    assert_eq!(chosen("wss://a/", &exempt), None);
    let not_exempt = [
        ("no_proxy", ""),
        ("NO_PROXY", "a"),
        ("ALL_PROXY", "http://all"),
    ];
    assert!(chosen("wss://a/", &not_exempt).is_some());
}

#[test]
fn a_cgi_program_does_not_heed_what_its_client_can_set() {
    let upper = [("HTTP_PROXY", "http://forged"), ("REQUEST_METHOD", "GET")];
    assert_eq!(chosen("ws://a/", &upper), None);
    assert!(chosen("ws://a/", &upper[..1]).is_some());
    let lower = [("http_proxy", "http://proxy"), ("REQUEST_METHOD", "GET")];
    assert!(chosen("ws://a/", &lower).is_some());
    let other = [("HTTPS_PROXY", "http://proxy"), ("REQUEST_METHOD", "GET")];
    assert!(chosen("ws://a/", &other).is_some());
}

#[test]
fn a_socks_proxy_written_as_http_speaks_socks() {
    let variables = [("SOCKS_PROXY", "http://proxy:9050")];
    assert_eq!(
        chosen("ws://a/", &variables).as_deref(),
        Some("socks5h://proxy:9050")
    );
    let variables = [("socks_proxy", "user:password@proxy:1")];
    assert_eq!(
        chosen("ws://a/", &variables).as_deref(),
        Some("socks5h://proxy:1")
    );
    let variables = [("socks_proxy", "socks4://proxy")];
    assert_eq!(
        chosen("ws://a/", &variables).as_deref(),
        Some("socks4://proxy:1080")
    );
    let variables = [("ALL_PROXY", "socks://127.0.0.1:1080/")];
    assert_eq!(
        chosen("wss://a/", &variables).as_deref(),
        Some("socks5h://127.0.0.1:1080")
    );
    let variables = [("socks_proxy", "socks5://proxy")];
    assert_eq!(
        chosen("ws://a/", &variables).as_deref(),
        Some("socks5://proxy:1080")
    );
}

#[test]
fn a_variable_that_is_no_url_is_named() {
    let error = from("wss://a/", &[("HTTPS_PROXY", "socks6://proxy")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "HTTPS_PROXY holds no URL of a proxy: \
         scheme of a proxy must be http, https, socks4, socks4a, socks5 or socks5h; got \"socks6\""
    );
    assert!(error.source().is_none());
    let error = from("wss://a/", &[("all_proxy", "http://proxy:port")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "all_proxy holds no URL of a proxy: invalid URL of a proxy"
    );
    let cause = error.source().unwrap();
    assert_eq!(cause.to_string(), UriError::Port.to_string());
    let error = from("wss://a/", &[("all_proxy", "user:secret://proxy")]).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    // One that is not asked for does no harm.
    assert!(from("wss://a/", &[("http_proxy", "nonsense://")]).is_ok());
    let exempt = [("all_proxy", "nonsense://"), ("no_proxy", "a")];
    assert_eq!(from("wss://a/", &exempt), Ok(None));
}

/// The table that `tests/proxies/no_proxy` compares with curl.
#[test]
fn no_proxy_is_understood_as_curl_documents_it() {
    let rows = rows("proxies/no_proxy.csv");
    for row in &rows {
        let (list, url, line) = (row.get("no_proxy"), row.get("url"), row.line);
        // International names need a feature, with which the tests in `proxy/environment.rs` run.
        if list.is_ascii() && url.is_ascii() {
            let exempt = row.get("exempt") == "yes";
            assert_eq!(exempts(list, url), exempt, "line {line}: {list:?} {url}");
        }
    }
    for exempt in ["yes", "no"] {
        let count = rows.iter().filter(|row| row.get("exempt") == exempt);
        assert!(count.count() > 25, "both answers are in the table");
    }
}

#[test]
fn names_are_exempt_with_all_below_them() {
    for entry in [
        "example.com",
        ".example.com",
        "*.example.com",
        "EXAMPLE.com",
        "example.com.",
    ] {
        assert!(exempts(entry, "ws://example.com/"), "{entry}");
        assert!(exempts(entry, "ws://a.b.Example.com/"), "{entry}");
        assert!(exempts(entry, "ws://example.com./"), "{entry}");
        assert!(!exempts(entry, "ws://badexample.com/"), "{entry}");
        assert!(!exempts(entry, "ws://example.com.evil/"), "{entry}");
        assert!(!exempts(entry, "ws://com/"), "{entry}");
    }
}

#[test]
fn lists_are_separated_by_commas_and_spaces() {
    for list in ["a,b", "a, b", " a b ", ",,b,", "a\tb", "a,b:80", "*"] {
        assert!(exempts(list, "ws://b/"), "{list:?}");
    }
    for list in ["", ",", "a", ".", "*.", "b/", "/", "*b", "**"] {
        assert!(!exempts(list, "ws://bb/"), "{list:?}");
    }
}

#[test]
fn an_entry_with_a_port_is_for_that_port() {
    assert!(exempts("a:80", "ws://a/"));
    assert!(!exempts("a:80", "wss://a/"));
    assert!(exempts("a:443", "wss://b.a/"));
    assert!(exempts("127.0.0.1:80", "ws://127.0.0.1/"));
    assert!(!exempts("127.0.0.1:81", "ws://127.0.0.1/"));
    assert!(exempts("[::1]:80", "ws://[::1]/"));
    assert!(!exempts("[::1]:81", "ws://[::1]/"));
    assert!(!exempts("a:port", "ws://a/"));
}

#[test]
fn addresses_and_networks_are_exempt() {
    for (entry, inside, outside) in [
        ("127.0.0.1", "ws://127.0.0.1/", "ws://127.0.0.2/"),
        ("::1", "ws://[::1]/", "ws://[::2]/"),
        ("[::1]", "ws://[0:0:0:0:0:0:0:1]/", "ws://[::]/"),
        ("10.0.0.0/8", "ws://10.255.255.255/", "ws://11.0.0.0/"),
        ("10.1.2.3/8", "ws://10.0.0.1/", "ws://9.1.2.3/"),
        (
            "192.168.1.128/25",
            "ws://192.168.1.128/",
            "ws://192.168.1.127/",
        ),
        ("192.168.1.1/32", "ws://192.168.1.1/", "ws://192.168.1.0/"),
        ("0.0.0.0/0", "ws://1.2.3.4/", "ws://[::1]/"),
        ("::/0", "ws://[::1]/", "ws://1.2.3.4/"),
        ("fe80::/10", "ws://[febf::1]/", "ws://[fec0::1]/"),
        (
            "2001:db8::1/128",
            "ws://[2001:db8::1]/",
            "ws://[2001:db8::]/",
        ),
        (
            "10.0.0.0/8",
            "ws://[::ffff:10.0.0.1]/",
            "ws://[::ffff:11.0.0.1]/",
        ),
        ("127.0.0.1", "ws://[::ffff:127.0.0.1]/", "ws://a/"),
    ] {
        assert!(exempts(entry, inside), "{entry} {inside}");
        assert!(!exempts(entry, outside), "{entry} {outside}");
    }
    // Neither is a part of an address a domain, nor do malformed networks cover anything.
    for entry in [
        "0.0.1",
        ".1",
        "1",
        "127.0.0.1/33",
        "127.0.0.1/-1",
        "127.0.0.1/",
        "/8",
        "127/8",
        "a/8",
    ] {
        assert!(!exempts(entry, "ws://127.0.0.1/"), "{entry}");
        assert!(!exempts(entry, "ws://a.b/"), "{entry}");
    }
}
