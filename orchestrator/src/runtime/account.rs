//! Users and groups as the system knows them: names to numbers.

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;

use crate::plan::Account;

/// As whom a program is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub uid: u32,
    pub gid: u32,
    /// All its groups, `gid` among them.
    pub groups: Vec<u32>,
    /// What HOME, USER and SHELL are to say, where the system knows the user.
    pub person: Option<Person>,
}

/// What the system knows of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub name: String,
    pub home: String,
    pub shell: String,
}

/// Whom `user` and `group` mean; `None` when that is who we are.
///
/// # Errors
/// In words: there is no such user or group, or only root could become it.
pub(super) fn credentials(user: Option<&Account>, group: Option<&Account>) -> Result<Option<Credentials>, String> {
    if user.is_none() && group.is_none() {
        return Ok(None);
    }
    let (own_uid, own_gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let known = match user {
        Some(Account::Name(name)) => Some(
            by_name(name)
                .map_err(|why| format!("user {name}: {why}"))?
                .ok_or_else(|| format!("no user is named {name}"))?,
        ),
        Some(Account::Id(id)) => by_id(*id).map_err(|why| format!("user {id}: {why}"))?,
        None => by_id(own_uid).map_err(|why| format!("user {own_uid}: {why}"))?,
    };
    let uid = match user {
        Some(Account::Id(id)) => *id,
        Some(Account::Name(_)) | None => known.as_ref().map_or(own_uid, |known| known.uid),
    };
    let gid = match (group, &known) {
        (Some(group), _) => gid_of(group)?,
        (None, Some(known)) => known.gid,
        (None, None) => return Err(format!("the system does not know user {uid}, nor its group: set group as well")),
    };
    if own_uid != 0 {
        let is_own = uid == own_uid && gid == own_gid;
        let wanted = || format!("only root can start it as uid {uid}, gid {gid}; this is uid {own_uid}, gid {own_gid}");
        return if is_own { Ok(None) } else { Err(wanted()) };
    }
    let groups = known.as_ref().map_or_else(|| vec![gid], |known| groups_of(&known.person.name, gid));
    let person = known.filter(|_| user.is_some()).map(|known| known.person);
    Ok(Some(Credentials { uid, gid, groups, person }))
}

struct Known {
    uid: u32,
    gid: u32,
    person: Person,
}

fn by_name(name: &str) -> io::Result<Option<Known>> {
    let name = CString::new(name)?;
    // SAFETY: `name` is a C string that outlives the call; the other pointers are those that `entry` hands out.
    let found =
        entry(|entry, buffer, len, found| unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer, len, found) });
    found.map(|found| found.map(|(entry, _buffer)| known(&entry)))
}

fn by_id(uid: u32) -> io::Result<Option<Known>> {
    // SAFETY: the pointers are those that `entry` hands out.
    let found = entry(|entry, buffer, len, found| unsafe { libc::getpwuid_r(uid, entry, buffer, len, found) });
    found.map(|found| found.map(|(entry, _buffer)| known(&entry)))
}

fn known(entry: &libc::passwd) -> Known {
    let text = |text: *const c_char| {
        if text.is_null() {
            return String::new();
        }
        // SAFETY: the fields of an entry are C strings in its buffer, which the caller still holds.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    };
    let person = Person { name: text(entry.pw_name), home: text(entry.pw_dir), shell: text(entry.pw_shell) };
    Known { uid: entry.pw_uid, gid: entry.pw_gid, person }
}

fn gid_of(group: &Account) -> Result<u32, String> {
    let name = match group {
        Account::Id(id) => return Ok(*id),
        Account::Name(name) => name,
    };
    let text = CString::new(name.as_str()).map_err(|error| format!("group {name}: {error}"))?;
    // SAFETY: `text` is a C string that outlives the call; the other pointers are those that `entry` hands out.
    let found =
        entry(|entry, buffer, len, found| unsafe { libc::getgrnam_r(text.as_ptr(), entry, buffer, len, found) });
    let found: Option<(libc::group, _)> = found.map_err(|error| format!("group {name}: {error}"))?;
    found.map(|(entry, _buffer)| entry.gr_gid).ok_or_else(|| format!("no group is named {name}"))
}

/// Asks for an entry with a buffer that is large enough, and returns both: the entry's texts lie in the buffer.
fn entry<T: Copy>(
    ask: impl Fn(*mut T, *mut c_char, usize, *mut *mut T) -> c_int,
) -> io::Result<Option<(T, Vec<c_char>)>> {
    let mut buffer: Vec<c_char> = vec![0; 1024];
    loop {
        let mut entry = MaybeUninit::<T>::uninit();
        let mut found: *mut T = std::ptr::null_mut();
        match ask(entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found) {
            0 if found.is_null() => return Ok(None),
            // SAFETY: the call says that it has filled the entry.
            0 => return Ok(Some((unsafe { entry.assume_init() }, buffer))),
            libc::ERANGE if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            libc::EINTR => {}
            // What some systems say of a name that is not there.
            libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM => return Ok(None),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// All groups of a user, `gid` among them.
#[allow(clippy::unnecessary_cast, reason = "macOS counts groups in another type")]
fn groups_of(name: &str, gid: u32) -> Vec<u32> {
    // What the platform counts groups in.
    #[cfg(target_vendor = "apple")]
    type Number = c_int;
    #[cfg(not(target_vendor = "apple"))]
    type Number = libc::gid_t;
    let Ok(name) = CString::new(name) else { return vec![gid] };
    let mut groups: Vec<Number> = vec![0; 64];
    loop {
        let mut count = c_int::try_from(groups.len()).unwrap_or(c_int::MAX);
        // SAFETY: `groups` has room for `count` numbers, and `name` outlives the call.
        let all = unsafe { libc::getgrouplist(name.as_ptr(), gid as Number, groups.as_mut_ptr(), &raw mut count) };
        if all >= 0 {
            groups.truncate(usize::try_from(count).unwrap_or(0));
            return groups.into_iter().map(|group| group as u32).collect();
        }
        if groups.len() >= 1 << 16 {
            return vec![gid];
        }
        groups.resize(groups.len() * 4, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_by_name_and_number_and_strangers_are_told() {
        let root = by_name("root").expect("asked").expect("there is one");
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(by_id(0).expect("asked").expect("there is one").person, root.person);
        let name = |name: &str| Account::Name(name.to_owned());
        assert_eq!(credentials(None, None), Ok(None));
        assert_eq!(credentials(Some(&name("no-such")), None), Err("no user is named no-such".to_owned()));
        assert_eq!(credentials(None, Some(&name("no-such"))), Err("no group is named no-such".to_owned()));
        let why = credentials(Some(&Account::Id(4_000_000)), None).expect_err("it has no group");
        assert!(why.contains("set group as well"), "{why}");
    }

    #[test]
    fn only_root_becomes_another() {
        let asked = credentials(Some(&Account::Id(4_000_000)), Some(&Account::Id(4_000_001)));
        if rustix::process::geteuid().is_root() {
            let expected = Credentials { uid: 4_000_000, gid: 4_000_001, groups: vec![4_000_001], person: None };
            assert_eq!(asked, Ok(Some(expected)));
        } else {
            assert!(asked.is_err_and(|why| why.starts_with("only root can start it as uid 4000000")));
        }
    }
}
