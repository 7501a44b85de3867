//! The loopback ports of instances: each has one as long as it is there, and no two have the same.
//!
//! A port is found by binding it and letting it go again, so that between then and the program's own bind somebody else may
//! take it: the program fails then, its restart policy starts it anew, and it gets another one.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};

use super::spawn::SpawnError;
use crate::plan::Port;

/// How often the system is asked for any free port before giving up: it may name one that is given already.
const TRIES: usize = 100;

/// The ports given so far, by internal name.
#[derive(Debug, Default)]
pub(super) struct Ports {
    given: HashMap<String, (Option<u16>, u16)>,
}

impl Ports {
    /// The port of an instance: the one it has, if that is still free and what is asked for, else another.
    pub(super) fn give(&mut self, internal_name: &str, asked: &Port) -> Result<u16, SpawnError> {
        if let Some((base, port)) = self.given.get(internal_name)
            && *base == asked.base
            && is_free(*port)
        {
            return Ok(*port);
        }
        self.given.remove(internal_name);
        let port = match asked.base {
            Some(base) => (base..=u16::MAX).find(|port| !self.is_given(*port) && is_free(*port)),
            None => (0..TRIES).find_map(|_| any_free().filter(|port| !self.is_given(*port))),
        };
        let port = port.ok_or_else(|| {
            let from = asked.base.map(|base| format!(" from {base} on")).unwrap_or_default();
            SpawnError { reason: format!("no port is free{from}"), is_final: false }
        })?;
        self.note(internal_name, asked.base, port);
        Ok(port)
    }

    /// An instance has this port.
    pub(super) fn note(&mut self, internal_name: &str, base: Option<u16>, port: u16) {
        self.given.insert(internal_name.to_owned(), (base, port));
    }

    /// The port an instance has.
    pub(super) fn of(&self, internal_name: &str) -> Option<u16> {
        self.given.get(internal_name).map(|(_, port)| *port)
    }

    /// The instance is no more.
    pub(super) fn forget(&mut self, internal_name: &str) {
        self.given.remove(internal_name);
    }

    fn is_given(&self, port: u16) -> bool {
        self.given.values().any(|(_, given)| *given == port)
    }
}

/// Nobody listens on it. (A connection that waits for its end is no hindrance: the standard library sets SO_REUSEADDR.)
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn any_free() -> Option<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    listener.local_addr().ok().map(|address| address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> Port {
        Port { env: "PORT".to_owned(), base: None }
    }

    #[test]
    fn an_instance_keeps_its_port_and_no_other_gets_it() {
        let mut ports = Ports::default();
        let first = ports.give("a-1", &any()).expect("a port");
        let others: Vec<u16> = (0..50).map(|n| ports.give(&format!("b-{n}"), &any()).expect("a port")).collect();
        assert!(!others.contains(&first));
        assert_eq!(ports.give("a-1", &any()).ok(), Some(first));
        assert_eq!(ports.of("a-1"), Some(first));
        ports.forget("a-1");
        assert_eq!(ports.of("a-1"), None);
    }

    #[test]
    fn one_that_is_taken_is_passed_over_and_given_up() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let base = taken.local_addr().expect("an address").port();
        let mut ports = Ports::default();
        let asked = Port { env: "PORT".to_owned(), base: Some(base) };
        let given = ports.give("a-1", &asked).expect("a port");
        assert!(given > base);
        assert!(ports.give("a-2", &asked).expect("a port") > given);

        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, given)).expect("it is free");
        assert_ne!(ports.give("a-1", &asked).ok(), Some(given), "somebody else has it by now");
        drop(held);
    }
}
