//! Who may speak as whom: the table from tokens to runs.
//!
//! A run that has ended stays known: its children may go on reading, and what they write is refused as FENCED, which is
//! another answer than that to a token nobody ever had.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::rc::Rc;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::supervisor::{Requester, RunId};

/// How many ended runs stay known. A crash loop must not fill the memory; nobody reads for that many runs after its own.
const ENDED_KEPT: usize = 10_000;

/// What the driver knows of a run it is about to spawn.
#[derive(Clone)]
pub struct Identity {
    /// The secret the run is given in COPO_TOKEN.
    pub token: String,
    /// The run.
    pub run: RunId,
    /// Internal name of its instance: what its records are `sent_by`.
    pub internal_name: String,
    /// May it control others?
    pub control: bool,
    /// The user it runs as, where that is not the orchestrator's own.
    pub uid: Option<u32>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token stays out: what is printed ends up in logs.
        let Self { token: _, run, internal_name, control, uid } = self;
        f.debug_struct("Identity")
            .field("run", run)
            .field("internal_name", internal_name)
            .field("control", control)
            .field("uid", uid)
            .finish_non_exhaustive()
    }
}

/// A run whose token has been shown, shared by all its connections.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) run: RunId,
    pub(super) internal_name: String,
    pub(super) control: bool,
    pub(super) uid: Option<u32>,
    fenced: Cell<bool>,
    /// When it is asked to stop: the time it is killed.
    killed_at: Cell<Option<Instant>>,
}

impl Admitted {
    /// Has the run ended?
    pub(super) fn is_fenced(&self) -> bool {
        self.fenced.get()
    }

    /// From here on the run is asked to stop, and is killed at `at`.
    pub(super) fn ask_to_stop(&self, at: Instant) {
        self.killed_at.set(Some(at));
    }

    /// When the run is killed, if it is asked to stop.
    pub(super) fn killed_at(&self) -> Option<Instant> {
        self.killed_at.get()
    }
}

/// Who speaks on a connection.
#[derive(Debug, Clone)]
pub(super) enum Speaker {
    /// A person: the name with its `@`.
    Person(String),
    /// A run, or one of its children.
    Run(Rc<Admitted>),
}

impl Speaker {
    /// What its records are `sent_by`.
    pub(super) fn sent_by(&self) -> &str {
        match self {
            Self::Person(name) => name,
            Self::Run(run) => &run.internal_name,
        }
    }

    /// What a client id is bound to: it outlives the orchestrator, so it holds no secret.
    pub(super) fn binding(&self) -> String {
        match self {
            Self::Person(name) => name.clone(),
            Self::Run(run) => run.run.to_string(),
        }
    }

    /// As the supervisor names it.
    pub(super) fn requester(&self) -> Requester {
        match self {
            Self::Person(_) => Requester::Person,
            Self::Run(run) => Requester::Run(run.run),
        }
    }

    /// The run, if it is one.
    pub(super) fn run(&self) -> Option<&Rc<Admitted>> {
        match self {
            Self::Person(_) => None,
            Self::Run(run) => Some(run),
        }
    }

    /// Has the run that speaks ended?
    pub(super) fn is_fenced(&self) -> bool {
        self.run().is_some_and(|run| run.is_fenced())
    }

    /// May it control others?
    pub(super) fn may_control(&self) -> bool {
        self.run().is_none_or(|run| run.control)
    }
}

/// All runs whose token is known.
#[derive(Debug, Default)]
pub(super) struct Identities {
    /// By the token's SHA-256: nobody can steer what a comparison of digests takes, so its time tells nothing of the token.
    by_token: HashMap<[u8; 32], Rc<Admitted>>,
    by_run: HashMap<RunId, [u8; 32]>,
    ended: VecDeque<RunId>,
}

impl Identities {
    /// From here on the identity's token is known.
    pub(super) fn admit(&mut self, identity: Identity) {
        let Identity { token, run, internal_name, control, uid } = identity;
        let digest = digest(&token);
        let admitted =
            Admitted { run, internal_name, control, uid, fenced: Cell::new(false), killed_at: Cell::new(None) };
        self.by_token.insert(digest, Rc::new(admitted));
        self.by_run.insert(run, digest);
    }

    /// The run a token belongs to, ended or not.
    pub(super) fn of_token(&self, token: &str) -> Option<Rc<Admitted>> {
        self.by_token.get(&digest(token)).cloned()
    }

    /// Does, or did, a run run as this user?
    pub(super) fn has_user(&self, uid: u32) -> bool {
        self.by_token.values().any(|run| run.uid == Some(uid))
    }

    /// A run by its id.
    pub(super) fn of_run(&self, run: RunId) -> Option<Rc<Admitted>> {
        self.by_run.get(&run).and_then(|digest| self.by_token.get(digest)).cloned()
    }

    /// The run has ended: its token writes nothing from here on. The oldest of very many ended ones are forgotten.
    pub(super) fn fence(&mut self, run: RunId) {
        let Some(admitted) = self.of_run(run) else { return };
        if admitted.fenced.replace(true) {
            return;
        }
        self.ended.push_back(run);
        if self.ended.len() > ENDED_KEPT
            && let Some(oldest) = self.ended.pop_front()
            && let Some(digest) = self.by_run.remove(&oldest)
        {
            self.by_token.remove(&digest);
        }
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::RunSeed;

    fn identity(run: RunId, token: &str) -> Identity {
        Identity { token: token.into(), run, internal_name: "a-1".into(), control: false, uid: None }
    }

    #[test]
    fn an_ended_run_is_known_and_fenced_and_a_stranger_is_unknown() {
        let mut identities = Identities::default();
        let run = RunSeed::new(1).next_id(0);
        identities.admit(identity(run, "secret"));
        assert!(!identities.of_token("secret").expect("known").is_fenced());

        identities.fence(run);

        assert!(identities.of_token("secret").expect("still known").is_fenced());
        assert!(identities.of_token("secre").is_none() && identities.of_token("").is_none());
    }

    #[test]
    fn of_very_many_ended_runs_the_oldest_are_forgotten() {
        let mut identities = Identities::default();
        let mut seed = RunSeed::new(1);
        for n in 0..=ENDED_KEPT {
            let run = seed.next_id(0);
            identities.admit(identity(run, &n.to_string()));
            identities.fence(run);
        }
        assert!(identities.of_token("0").is_none());
        assert!(identities.of_token("1").is_some());
        assert_eq!((identities.by_token.len(), identities.by_run.len()), (ENDED_KEPT, ENDED_KEPT));
    }

    #[test]
    fn a_token_is_not_printed() {
        let printed = format!("{:?}", identity(RunSeed::new(1).next_id(0), "secret"));
        assert!(!printed.contains("secret"), "{printed}");
    }
}
