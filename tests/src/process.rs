//! A running program, ended when its guard is dropped.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until;

/// A program that a test started.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Process {
    /// Starts a program without input. What it logs goes to the end of `NAME.log` in
    /// `folder`. Its output must be read if it is more than a few lines.
    ///
    /// # Errors
    /// If the log cannot be created or the program cannot be started.
    pub fn start(mut command: Command, name: &str, folder: &Path) -> io::Result<Self> {
        let log = folder.join(name).with_extension("log");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(OpenOptions::new().create(true).append(true).open(&log)?);
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().map(BufReader::new).expect("its output was asked for");
        Ok(Self { child, stdout, log })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its output, without the line's end; `None` once the program has
    /// closed it. Waits for it.
    ///
    /// # Errors
    /// If the output cannot be read or is not UTF-8.
    pub fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        Ok(Some(line))
    }

    /// What it has logged so far, to show when a test fails.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn log(&self) -> io::Result<String> {
        fs::read_to_string(&self.log)
    }

    /// How it has ended, if it has.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// If it cannot be waited for.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn wait(mut self) -> io::Result<ExitStatus> {
        until("a process ends", || self.child.try_wait().transpose())
    }

    /// Asks it to stop, as an operator would (SIGTERM), and waits until it has.
    ///
    /// # Errors
    /// If it cannot be signalled or waited for.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        if self.child.try_wait()?.is_none() {
            // Not reaped yet, so the id is still its own.
            kill_process(self.pid(), Signal::TERM)?;
        }
        self.wait()
    }

    /// Takes the processor from it, as a machine that hangs would (SIGSTOP). Its
    /// connections stand and nobody answers on them.
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub fn pause(&self) -> io::Result<()> {
        Ok(kill_process(self.pid(), Signal::STOP)?)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub fn resume(&self) -> io::Result<()> {
        Ok(kill_process(self.pid(), Signal::CONT)?)
    }

    /// Ends it at once, as a crash would (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// If it cannot be ended or waited for.
    pub fn kill(mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    fn pid(&self) -> Pid {
        pid(self.child.id())
    }
}

/// A process id as the system takes it.
///
/// # Panics
/// For what is the id of no process.
#[must_use]
pub fn pid(id: u32) -> Pid {
    let id = i32::try_from(id).expect("process ids are positive i32");
    Pid::from_raw(id).expect("no process has id 0")
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended before; then there is nothing to do.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn shell(script: &str, folder: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(command, "shell", folder).expect("a shell starts")
    }

    #[test]
    fn output_comes_line_by_line_and_the_rest_is_logged() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = shell("echo one; echo two; echo why >&2; exit 3", folder.path());
        assert_eq!(process.line().expect("UTF-8").as_deref(), Some("one"));
        assert_eq!(process.line().expect("UTF-8").as_deref(), Some("two"));
        assert_eq!(process.line().expect("closed"), None);
        let log = folder.path().join("shell.log");
        assert_eq!(process.wait().expect("ends").code(), Some(3));
        assert_eq!(fs::read_to_string(log).expect("a log"), "why\n");
    }

    #[test]
    fn stopping_asks_and_killing_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let polite = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done";
        let mut process = shell(polite, folder.path());
        assert_eq!(process.line().expect("UTF-8").as_deref(), Some("ready"));
        assert!(process.ended().expect("its own child").is_none());
        assert_eq!(process.stop().expect("stops").code(), Some(5));
        let process = shell(polite, folder.path());
        assert_eq!(process.kill().expect("ends").signal(), Some(Signal::KILL.as_raw()));
    }

    #[test]
    fn a_dropped_guard_ends_its_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let process = shell("echo ready; exec sleep 600", folder.path());
        let pid = process.pid();
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err(), "gone, and reaped");
    }
}
