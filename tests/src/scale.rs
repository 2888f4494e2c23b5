//! How much a test does: enough to catch a mistake every time, or everything that the
//! promise says.
//!
//! `SYNGRAPH_TEST_FULL=1` asks for everything. Otherwise a shortened test says so in a line
//! that begins with `shortened:`.

/// Whether tests do everything.
#[must_use]
pub fn is_full() -> bool {
    std::env::var_os("SYNGRAPH_TEST_FULL").is_some_and(|value| value != "0")
}

/// The figure that a promise names, or a smaller one.
#[must_use]
pub fn scaled(what: &str, promised: u64, short: u64) -> u64 {
    if is_full() {
        return promised;
    }
    eprintln!("shortened: {what}: {short} instead of {promised}; SYNGRAPH_TEST_FULL=1 asks for all");
    short
}

/// Says a figure that was measured on the way. It is no verdict: benches give those.
pub fn tell(what: &str, figure: impl std::fmt::Display) {
    eprintln!("measured: {what}: {figure}");
}
