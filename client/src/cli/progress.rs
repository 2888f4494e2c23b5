//! Progress of what takes long, on stderr and only if that is a terminal.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often the spinner turns, so that a silent node looks different from a stopped tool.
const TICK: Duration = Duration::from_millis(120);

/// A line that tells how far something is; it disappears with its end.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Starts a line; `NO_COLOR` and redirected output are respected.
    pub(super) fn start() -> Self {
        if !stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}");
        bar.set_style(style.expect("the template is a constant"));
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Says how far it is.
    pub(super) fn say(&self, text: String) {
        self.0.set_message(text);
    }

    /// How many of something came to pass in a second so far.
    pub(super) fn rate(&self, count: u64) -> u64 {
        let ms = self.0.elapsed().as_millis().max(1);
        u64::try_from(u128::from(count) * 1_000 / ms).unwrap_or(u64::MAX)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
