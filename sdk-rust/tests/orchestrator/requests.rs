//! What the stand-in answers.

use std::os::unix::net::UnixStream;

use copo::v1::server_message::Kind;
use copo::v1::{self, ErrorCode, UddRecord, request, response, subscribe};

use super::{State, message, say};

pub(super) fn answer(state: &mut State, stream: &mut UnixStream, id: u64, kind: request::Kind) -> bool {
    state.requests.push(kind.clone());
    if state.behaviour.is_deaf {
        return true;
    }
    let answer = match kind {
        request::Kind::UddGet(get) => {
            let is_it = |record: &UddRecord| get.key.as_deref().is_none_or(|key| record.key == key);
            let found = state.log.iter().rev().find(|(record, is_report)| !is_report && is_it(record));
            found.map_or_else(
                || response::Kind::Error(v1::Error { code: ErrorCode::NotFound.into(), message: "none".into() }),
                |(record, _)| response::Kind::Record(record.clone()),
            )
        }
        request::Kind::UddHeaders(_) => {
            response::Kind::Headers(v1::Headers { headers: vec!["a".into()], ..v1::Headers::default() })
        }
        request::Kind::WatchStop(_) => {
            state.watchers.push(stream.try_clone().expect("cloned"));
            response::Kind::Done(v1::Done {})
        }
        request::Kind::Subscribe(subscribe) => return begin(state, stream, id, &subscribe),
        request::Kind::Status(_) => response::Kind::Error(v1::Error {
            code: ErrorCode::Forbidden.into(),
            message: "cannot tell: forbidden".into(),
        }),
        _ => response::Kind::Done(v1::Done {}),
    };
    say(stream, Kind::Response(v1::Response { id, kind: Some(answer) }));
    true
}

fn begin(state: &mut State, stream: &mut UnixStream, id: u64, wanted: &v1::Subscribe) -> bool {
    state.subscribes.push(wanted.clone());
    let head = state.log.len() as u64;
    let log_id: Vec<u8> = vec![state.log_id; 16];
    let subscribed = v1::Subscribed { log_id: log_id.clone().into(), head };
    say(stream, Kind::Response(v1::Response { id, kind: Some(response::Kind::Subscribed(subscribed)) }));
    let mut from = match wanted.from {
        Some(subscribe::From::First(_) | subscribe::From::Time(_)) => 1,
        Some(subscribe::From::Seq(seq)) => seq,
        Some(subscribe::From::New(_)) | None => head + 1,
    };
    if !wanted.log_id.is_empty() && wanted.log_id != log_id {
        from = 1;
        let cause = v1::gap::Cause::LogReplaced.into();
        say(stream, Kind::Gap(v1::Gap { cause, first: 0, last: 0, log_id: log_id.into() }));
    }
    std::mem::take(&mut state.before).into_iter().for_each(|kind| say(stream, kind));
    for (record, is_report) in state.log.iter().filter(|(record, _)| record.seq >= from) {
        say(stream, message(record, *is_report, wanted.reports));
    }
    if wanted.no_follow {
        say(stream, Kind::End(v1::End { code: 0 }));
        return false;
    }
    state.subscribers.push((stream.try_clone().expect("cloned"), wanted.reports));
    true
}
