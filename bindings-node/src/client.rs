//! The SDK's Client for JavaScript.

use std::time::Duration;

use napi::bindgen_prelude::{AsyncTask, Buffer, Function, Object, Uint8Array};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi::{Env, Result};
use napi_derive::napi;

use crate::promise::{Blocking, Settle, blocking, promise, to_js};
use crate::subscription::NativeSubscription;

/// How to connect; what is absent is taken from the environment.
#[napi(object)]
pub struct ConnectOptions {
    /// Path of the Server; default: COPO_SOCKET.
    pub socket: Option<String>,
    /// Token of the run; default: COPO_TOKEN.
    pub token: Option<String>,
    /// Who speaks when there is no token.
    pub name: Option<String>,
    /// Most unacknowledged sends.
    pub window: Option<u32>,
    /// Most bytes of unacknowledged sends.
    pub window_bytes: Option<f64>,
}

/// A record as `uddGet` gives it.
#[napi(object)]
pub struct Newest {
    /// Its place in the sequence.
    pub seq: f64,
    /// Microseconds since the Unix epoch.
    pub sent_time: f64,
    /// Internal name of the sender.
    pub sent_by: String,
    /// Its key.
    pub key: String,
    /// What the sender gave.
    pub udd_buff: Buffer,
}

impl From<copo::UddRecord> for Newest {
    fn from(record: copo::UddRecord) -> Self {
        Self {
            // Seqs and microseconds stay below 2^53 for centuries.
            seq: record.seq as f64,
            sent_time: record.sent_time as f64,
            sent_by: record.sent_by,
            key: record.key,
            udd_buff: Buffer::from(record.udd_buff.to_vec()),
        }
    }
}

/// One client of the orchestrator.
#[napi]
pub struct NativeClient {
    client: copo::Client,
}

/// Connects; waits on libuv's pool.
#[napi(ts_return_type = "Promise<NativeClient>")]
pub fn connect(options: ConnectOptions) -> AsyncTask<Blocking<NativeClient>> {
    blocking(move || {
        let mut connect = copo::Client::options().name("node").sdk(concat!("node/", env!("CARGO_PKG_VERSION")));
        if let Some(socket) = options.socket {
            connect = connect.socket(socket);
        }
        if let Some(token) = options.token {
            connect = connect.token(token);
        }
        if let Some(name) = options.name {
            connect = connect.name(name);
        }
        if options.window.is_some() || options.window_bytes.is_some() {
            connect =
                connect.window(options.window.unwrap_or(u32::MAX), options.window_bytes.map_or(u64::MAX, |b| b as u64));
        }
        connect.connect().map(|client| NativeClient { client })
    })
}

#[napi]
impl NativeClient {
    /// Sends if there is room in the window: true when accepted, false when it is full.
    #[napi]
    pub fn try_udd_send(&self, data: &[u8], key: String) -> Result<bool> {
        match self.client.try_udd_send_key(&key, data) {
            Ok(()) => Ok(true),
            Err(error) if error.code() == copo::ErrorCode::WouldBlock => Ok(false),
            Err(error) => Err(to_js(error)),
        }
    }

    /// As `tryUddSend`, without a key: a string less to carry over.
    #[napi]
    pub fn try_udd_send_plain(&self, data: &[u8]) -> Result<bool> {
        match self.client.try_udd_send(data) {
            Ok(()) => Ok(true),
            Err(error) if error.code() == copo::ErrorCode::WouldBlock => Ok(false),
            Err(error) => Err(to_js(error)),
        }
    }

    /// Sends, waiting for room on libuv's pool.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn udd_send(&self, data: Uint8Array, key: String) -> AsyncTask<Blocking<()>> {
        let (client, data) = (self.client.clone(), data.to_vec());
        blocking(move || client.udd_send_key(&key, &data))
    }

    /// Sends; the promise gives the seq once it is stored.
    #[napi(ts_return_type = "Promise<number>")]
    pub fn udd_send_acked<'env>(&self, env: &'env Env, data: &[u8], key: String) -> Result<Object<'env>> {
        promise(env, |settle: Settle<f64>| {
            // The SDK calls back exactly once when it accepted the send; else the error is ours to deliver.
            let settle = std::sync::Arc::new(std::sync::Mutex::new(Some(settle)));
            let settle_once = move |result: copo::Result<u64>| {
                let taken = settle.lock().ok().and_then(|mut settle| settle.take());
                if let Some(settle) = taken {
                    settle(result.map(|seq| seq as f64));
                }
            };
            let on_acked = settle_once.clone();
            if let Err(error) = self.client.udd_send_acked(&key, data, Box::new(on_acked)) {
                settle_once(Err(error));
            }
        })
    }

    /// Sends with a condition on the key's newest record, on libuv's pool; the promise gives the seq.
    #[napi(ts_return_type = "Promise<number>")]
    pub fn udd_send_if(&self, data: Uint8Array, key: String, expect_seq: f64) -> AsyncTask<Blocking<f64>> {
        let (client, data) = (self.client.clone(), data.to_vec());
        blocking(move || {
            let send = copo::Send { key: &key, data: &data, expect_seq: Some(expect_seq as u64), timeout: None };
            client.send_sync(&send).map(|seq| seq as f64)
        })
    }

    /// Waits until all sends are acknowledged.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn flush<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        promise(env, |settle: Settle<()>| self.client.on_flushed(settle))
    }

    /// The newest record, of a key or of all; undefined when there is none.
    #[napi(ts_return_type = "Promise<Newest | null>")]
    pub fn udd_get(&self, key: Option<String>) -> AsyncTask<Blocking<Option<Newest>>> {
        let client = self.client.clone();
        blocking(move || client.udd_get(key.as_deref()).map(|record| record.map(Newest::from)))
    }

    /// The headers.
    #[napi(ts_return_type = "Promise<string[]>")]
    pub fn udd_headers(&self) -> AsyncTask<Blocking<Vec<String>>> {
        let client = self.client.clone();
        blocking(move || client.udd_headers())
    }

    /// Replaces the headers.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn udd_set_headers(&self, headers: Vec<String>) -> AsyncTask<Blocking<()>> {
        let client = self.client.clone();
        blocking(move || client.udd_set_headers(&headers))
    }

    /// Sends a report; waits for room on libuv's pool.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn meta_report(&self, data: Uint8Array) -> AsyncTask<Blocking<()>> {
        let (client, data) = (self.client.clone(), data.to_vec());
        blocking(move || client.meta_report(&data))
    }

    /// Says that the run is ready.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn ready(&self) -> AsyncTask<Blocking<()>> {
        let client = self.client.clone();
        blocking(move || client.ready())
    }

    /// Calls `listener` once when the run is asked to stop. It does not keep the process alive.
    #[napi(ts_args_type = "listener: () => void", ts_return_type = "Promise<void>")]
    pub fn on_stop(&self, listener: Function<(), ()>) -> Result<AsyncTask<Blocking<()>>> {
        let call = listener.build_threadsafe_function().weak::<true>().build()?;
        let client = self.client.clone();
        Ok(blocking(move || {
            client.on_stop(Box::new(move || {
                call.call((), ThreadsafeFunctionCallMode::NonBlocking);
            }))
        }))
    }

    /// Follows the log; waits for the subscription on libuv's pool.
    #[napi(ts_return_type = "Promise<NativeSubscription>")]
    pub fn udd_subscribe(&self, options: SubscribeOptions) -> AsyncTask<Blocking<NativeSubscription>> {
        let client = self.client.clone();
        blocking(move || client.udd_subscribe(&options.into()).map(NativeSubscription::start))
    }

    /// Waits until all is acknowledged (at most `timeout_ms`), then closes.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn close(&self, timeout_ms: Option<u32>) -> AsyncTask<Blocking<()>> {
        let client = self.client.clone();
        blocking(move || match timeout_ms {
            Some(ms) => client.close_timeout(Duration::from_millis(ms.into())),
            None => client.close(),
        })
    }

    /// Internal name of the process, or "@name".
    #[napi(getter)]
    pub fn internal_name(&self) -> String {
        self.client.internal_name()
    }

    /// RunId; null for a person.
    #[napi(getter)]
    pub fn run(&self) -> Option<String> {
        self.client.run()
    }
}

/// What to follow.
#[napi(object)]
pub struct SubscribeOptions {
    /// "first", or absent: new; with a seq or a time, those.
    pub first: Option<bool>,
    /// From this seq.
    pub seq: Option<f64>,
    /// From this time, microseconds since the Unix epoch.
    pub since: Option<f64>,
    /// The log that `seq` belongs to.
    pub log_id: Option<Uint8Array>,
    /// Key pattern.
    pub key: Option<String>,
    /// Deliver records.
    pub records: bool,
    /// Deliver reports.
    pub reports: bool,
    /// End after this seq.
    pub to: Option<f64>,
    /// Go on after the head found when subscribing.
    pub follow: bool,
}

impl From<SubscribeOptions> for copo::SubscribeOptions {
    fn from(asked: SubscribeOptions) -> Self {
        let from = match (asked.seq, asked.since, asked.first) {
            (Some(seq), _, _) => copo::From::Seq(seq as u64),
            (None, Some(since), _) => copo::From::Time(since as u64),
            (None, None, Some(true)) => copo::From::First,
            (None, None, Some(false) | None) => copo::From::New,
        };
        let mut options = Self::default().from(from).records(asked.records).reports(asked.reports);
        if let Some(log_id) = asked.log_id {
            options = options.log_id(log_id.to_vec());
        }
        if let Some(pattern) = asked.key {
            options = options.key_pattern(pattern);
        }
        if let Some(to) = asked.to {
            options = options.to(to as u64);
        }
        if asked.follow { options } else { options.no_follow() }
    }
}
