//! The one timer: sleeps until the supervisor's next deadline, by whichever clock comes first.
//!
//! Where the system can tell that the wall clock was set (Linux), nothing wakes up in between; elsewhere a look each minute
//! notices it, and only while a deadline by the wall clock is pending.

use std::future::pending;
use std::time::Duration;

use super::clock::Clock;
use crate::supervisor::Deadline;

/// The timer of the driver.
pub(super) struct Timer {
    clock: Clock,
    mono: Option<Duration>,
    wall: WallTimer,
}

impl Timer {
    pub(super) fn new(clock: Clock) -> std::io::Result<Self> {
        Ok(Self { clock, mono: None, wall: WallTimer::new()? })
    }

    pub(super) fn set(&mut self, deadline: Option<Deadline>) {
        self.mono = deadline.and_then(|deadline| deadline.mono);
        self.wall.set(deadline.and_then(|deadline| deadline.wall));
    }

    /// Until the deadline has come, or may have.
    pub(super) async fn reached(&mut self) {
        let mono = async {
            match self.mono {
                Some(mono) => tokio::time::sleep_until(self.clock.instant(mono).into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = mono => {}
            () = self.wall.reached() => {}
        }
    }
}

#[cfg(target_os = "linux")]
use linux::WallTimer;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::OwnedFd;

    use rustix::io::Errno;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// A timer of the kernel's on the wall clock, which also fires when that clock is set.
    pub struct WallTimer {
        timer: AsyncFd<OwnedFd>,
        armed: Option<u64>,
    }

    impl WallTimer {
        pub fn new() -> io::Result<Self> {
            let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            // SAFETY: an OwnedFd names the same open descriptor for as long as it lives.
            let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
            Ok(Self { timer, armed: None })
        }

        /// Arms it for a time in microseconds since the Unix epoch.
        pub fn set(&mut self, at: Option<u64>) {
            if self.armed == at {
                return;
            }
            // A time of zero would disarm it; 1 µs past the epoch is past just as well.
            let time = at.map_or(Timespec::default(), |at| {
                let at = at.max(1);
                let seconds = i64::try_from(at / 1_000_000).unwrap_or(i64::MAX);
                Timespec { tv_sec: seconds, tv_nsec: (at % 1_000_000 * 1000).cast_signed() }
            });
            let spec = Itimerspec { it_interval: Timespec::default(), it_value: time };
            let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
            match timerfd_settime(self.timer.get_ref(), flags, &spec) {
                // The clock was set between the last wakeup and now; the timer is armed all the same.
                Ok(_) | Err(Errno::CANCELED) => self.armed = at,
                Err(error) => tracing::error!("cannot set the timer: {error}"),
            }
        }

        /// Until it has fired, or the clock was set.
        pub async fn reached(&mut self) {
            loop {
                let Ok(mut ready) = self.timer.readable().await else { return std::future::pending().await };
                match rustix::io::read(self.timer.get_ref(), &mut [0_u8; 8]) {
                    Err(Errno::AGAIN | Errno::INTR) => ready.clear_ready(),
                    Ok(_) | Err(_) => break,
                }
            }
            // Either way it counts down no more: it is to be armed anew.
            self.armed = None;
        }
    }
}

#[cfg(not(target_os = "linux"))]
use elsewhere::WallTimer;

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::io;
    use std::time::Duration;

    use crate::runtime::clock;

    /// How long a set clock may go unnoticed.
    const LOOK: Duration = Duration::from_secs(60);

    /// Sleeps towards a time of the wall clock, with a look at it in between.
    pub struct WallTimer {
        at: Option<u64>,
    }

    impl WallTimer {
        pub fn new() -> io::Result<Self> {
            Ok(Self { at: None })
        }

        /// Arms it for a time in microseconds since the Unix epoch.
        pub fn set(&mut self, at: Option<u64>) {
            self.at = at;
        }

        /// Until the time may have come.
        pub async fn reached(&mut self) {
            let Some(at) = self.at else { return std::future::pending().await };
            tokio::time::sleep(Duration::from_micros(at.saturating_sub(clock::wall())).min(LOOK)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    fn on_a_runtime<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test)
    }

    #[test]
    fn it_wakes_at_the_deadline_of_either_clock_and_not_before() {
        on_a_runtime(async {
            let clock = Clock::start();
            let mut timer = Timer::new(clock).expect("made");
            let hour = Duration::from_secs(3600);
            let soon = Duration::from_millis(20);

            let wall = clock::wall() + 20_000;
            timer.set(Some(Deadline { mono: Some(clock.now().mono + hour), wall: Some(wall) }));
            timer.reached().await;
            assert!(clock::wall() >= wall);

            let mono = clock.now().mono + soon;
            timer.set(Some(Deadline { mono: Some(mono), wall: Some(clock::wall() + 3_600_000_000) }));
            timer.reached().await;
            assert!(clock.now().mono >= mono);
        });
    }

    #[test]
    fn a_wall_deadline_that_is_past_is_reached_and_none_never_is() {
        on_a_runtime(async {
            let mut timer = Timer::new(Clock::start()).expect("made");
            timer.set(Some(Deadline { mono: None, wall: Some(0) }));
            timer.reached().await;
            // Again, after it has fired.
            timer.set(Some(Deadline { mono: None, wall: Some(0) }));
            timer.reached().await;

            timer.set(Some(Deadline { mono: None, wall: None }));
            assert!(tokio::time::timeout(Duration::from_millis(50), timer.reached()).await.is_err());
            timer.set(None);
            assert!(tokio::time::timeout(Duration::from_millis(50), timer.reached()).await.is_err());
        });
    }
}
