//! How one peer stands with this node: reachable or not, welcome or not, dialled or not.
//!
//! *Invariants.* The core sees `Up` and `Down` alternate, and sees every interruption, even
//! one that was over before it looked. An offender stays away for a time that doubles with
//! each offence.
//!
//! *Deliberately absent:* clocks and sockets; callers pass the time.

use std::time::Duration;

use tokio::time::Instant;

use super::bounds::Timing;

/// Whether a peer is reachable, and what the core knows of that.
#[derive(Debug, Default)]
pub(super) struct Link {
    up: bool,
    told: bool,
    /// It went down since the core was told that it is up.
    fell: bool,
}

/// What the core must be told next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Up,
    Down,
}

impl Link {
    pub(super) const fn is_up(&self) -> bool {
        self.up
    }

    /// Whether the core believes that it is down, and is right.
    pub(super) const fn is_settled_down(&self) -> bool {
        !self.up && !self.told
    }

    pub(super) const fn rise(&mut self) {
        self.up = true;
    }

    /// Gives whether it was up.
    pub(super) const fn fall(&mut self) -> bool {
        let was_up = self.up;
        self.up = false;
        self.fell = self.told;
        was_up
    }

    pub(super) const fn has_news(&self) -> bool {
        self.fell || self.told != self.up
    }

    pub(super) const fn take_news(&mut self) -> Option<News> {
        if self.told && (self.fell || !self.up) {
            (self.told, self.fell) = (false, false);
            Some(News::Down)
        } else if self.up && !self.told {
            self.told = true;
            Some(News::Up)
        } else {
            None
        }
    }
}

/// What a peer did, and how long it is kept away for it.
#[derive(Debug, Default)]
pub(super) struct Standing {
    offences: u32,
    last: Option<Instant>,
    away_until: Option<Instant>,
}

impl Standing {
    /// Notes an offence; gives how long the peer is kept away.
    pub(super) fn offend(&mut self, now: Instant, timing: &Timing) -> Duration {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) >= timing.forgive) {
            self.offences = 0;
        }
        let (first, longest) = timing.away;
        let away = doubled(first, self.offences).min(longest);
        self.offences = self.offences.saturating_add(1);
        (self.last, self.away_until) = (Some(now), Some(now + away));
        away
    }

    pub(super) const fn away_until(&self) -> Option<Instant> {
        self.away_until
    }

    /// Whether the peer may come back now; says so once.
    pub(super) fn returns(&mut self, now: Instant) -> bool {
        self.away_until.take_if(|until| *until <= now).is_some()
    }
}

/// When a peer is dialled.
#[derive(Debug)]
pub(super) struct Dialling {
    attempts: u32,
    at: Instant,
    busy: bool,
}

impl Dialling {
    pub(super) const fn new(now: Instant) -> Self {
        Self { attempts: 0, at: now, busy: false }
    }

    /// When to dial; not while that goes on.
    pub(super) const fn due(&self) -> Option<Instant> {
        if self.busy { None } else { Some(self.at) }
    }

    pub(super) const fn begin(&mut self) {
        self.busy = true;
    }

    /// A dial led to a connection, or was not needed.
    pub(super) const fn end(&mut self) {
        self.busy = false;
    }

    /// Whether operators should hear of the last failure: after a few, and then now and
    /// again.
    pub(super) const fn is_worth_telling(&self) -> bool {
        self.attempts == 4 || self.attempts.is_multiple_of(64)
    }

    /// A dial failed, or what it led to was over too soon. `jitter` is between 0 and 255,
    /// for up to a quarter of the pause.
    pub(super) fn fail(&mut self, now: Instant, jitter: u8, timing: &Timing) {
        let (first, longest) = timing.redial;
        let pause = doubled(first, self.attempts).min(longest);
        self.busy = false;
        self.attempts = self.attempts.saturating_add(1);
        self.at = now + pause.saturating_sub(pause / 4 * u32::from(jitter) / 255);
    }

    /// The last connection is gone. If it lived longer than the longest pause, the count
    /// begins anew: a peer that takes connections only to close them is not rushed.
    pub(super) fn lost(&mut self, now: Instant, lived: Duration, jitter: u8, timing: &Timing) {
        if lived >= timing.redial.1 {
            self.attempts = 0;
        }
        let busy = self.busy;
        self.fail(now, jitter, timing);
        self.busy = busy;
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_sees_every_interruption_once() {
        let mut link = Link::default();
        assert_eq!(link.take_news(), None);
        link.rise();
        link.rise();
        assert_eq!((link.take_news(), link.take_news()), (Some(News::Up), None));
        assert!(link.fall());
        link.rise();
        assert!(link.fall());
        link.rise();
        assert_eq!(
            [link.take_news(), link.take_news(), link.take_news()],
            [Some(News::Down), Some(News::Up), None]
        );
        assert!(link.fall() && !link.fall() && link.has_news());
        assert_eq!((link.take_news(), link.has_news()), (Some(News::Down), false));
        assert!(link.is_settled_down());
        // What the core never saw begin, it need not see end.
        link.rise();
        assert!(link.fall() && !link.has_news());
    }

    #[test]
    fn offenders_stay_away_longer_each_time_until_it_is_forgotten() {
        let (mut standing, timing, mut now) = (Standing::default(), Timing::default(), Instant::now());
        for seconds in [5, 10, 20, 40, 60, 60] {
            assert_eq!(standing.offend(now, &timing), Duration::from_secs(seconds));
            assert!(!standing.returns(now + Duration::from_secs(seconds - 1)));
            now += Duration::from_secs(seconds);
            assert!(standing.returns(now) && !standing.returns(now));
        }
        now += timing.forgive;
        assert_eq!(standing.offend(now, &timing), Duration::from_secs(5));
    }

    #[test]
    fn dials_back_off_to_a_limit_with_jitter() {
        let (timing, now) = (Timing::default(), Instant::now());
        let mut dialling = Dialling::new(now);
        assert_eq!(dialling.due(), Some(now));
        for ms in [250, 500, 1000, 2000, 4000, 5000, 5000] {
            dialling.begin();
            assert_eq!(dialling.due(), None);
            dialling.fail(now, 0, &timing);
            assert_eq!(dialling.due(), Some(now + Duration::from_millis(ms)));
        }
        dialling.fail(now, 255, &timing);
        assert_eq!(dialling.due(), Some(now + Duration::from_millis(3750)));
        dialling.lost(now, Duration::from_secs(1), 0, &timing);
        assert_eq!(dialling.due(), Some(now + Duration::from_secs(5)));
        dialling.lost(now, Duration::from_secs(5), 0, &timing);
        assert_eq!(dialling.due(), Some(now + Duration::from_millis(250)));
    }
}
