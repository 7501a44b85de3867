//! The async face (feature `tokio`): the same verbs as futures, and a subscription as a `Stream`.
//!
//! Thin: sends and requests are the callback forms of [`Client`] behind a oneshot channel, so nothing blocks the runtime
//! and there is no thread beside the client's own. A subscription is read by a thread of its own, which hands the items
//! over through a bounded channel: a reader that falls behind stops it, and the orchestrator's cursor waits.

use std::pin::Pin;
use std::task::{Context, Poll};

use copo_proto::v1::{UddRecord, request, response};
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};

use crate::client::Client;
use crate::error::{Error, Result};
use crate::item::Item;
use crate::link;
use crate::options::{ConnectOptions, Send, SubscribeOptions};
use crate::subscription::Stopper;
use crate::v1::{self, ErrorCode};

/// How many items the reading thread may be ahead.
const AHEAD: usize = 256;

/// A [`Client`] whose verbs are futures. Cheap to clone. Dropping a future does not take back what it sent.
#[derive(Debug, Clone)]
pub struct AsyncClient {
    client: Client,
}

impl From<Client> for AsyncClient {
    fn from(client: Client) -> Self {
        Self { client }
    }
}

impl AsyncClient {
    /// As [`Client::connect`].
    pub async fn connect() -> Result<Self> {
        Self::connect_with(Client::options()).await
    }

    /// As [`ConnectOptions::connect`].
    pub async fn connect_with(options: ConnectOptions) -> Result<Self> {
        off_the_runtime(move || options.connect()).await.map(Self::from)
    }

    /// The client underneath, for what has no async form because it never waits.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// As [`Client::udd_send`].
    pub async fn udd_send(&self, data: &[u8]) -> Result<()> {
        self.udd_send_key("", data).await
    }

    /// As [`Client::udd_send_key`].
    pub async fn udd_send_key(&self, key: &str, data: &[u8]) -> Result<()> {
        self.with_room(|| self.client.try_udd_send_key(key, data)).await
    }

    /// As [`Client::udd_send_key_sync`].
    pub async fn udd_send_acked(&self, key: &str, data: &[u8]) -> Result<u64> {
        let mut acked = None;
        self.with_room(|| {
            let (tx, rx) = oneshot::channel();
            acked = Some(rx);
            self.client.udd_send_acked(key, data, Box::new(move |seq| drop(tx.send(seq))))
        })
        .await?;
        answer_of(acked).await
    }

    /// As [`Client::send_sync`], on a thread that may block.
    pub async fn send_sync(&self, send: &Send<'_>) -> Result<u64> {
        let (client, key, data) = (self.client.clone(), send.key.to_owned(), send.data.to_vec());
        let (expect_seq, timeout) = (send.expect_seq, send.timeout);
        off_the_runtime(move || client.send_sync(&Send { key: &key, data: &data, expect_seq, timeout })).await
    }

    /// As [`Client::meta_report`].
    pub async fn meta_report(&self, data: &[u8]) -> Result<()> {
        self.with_room(|| self.client.try_meta_report(data)).await
    }

    /// As [`Client::flush`].
    pub async fn flush(&self) -> Result<()> {
        let (tx, rx) = oneshot::channel();
        self.client.on_flushed(Box::new(move |flushed| drop(tx.send(flushed))));
        answer_of(Some(rx)).await
    }

    /// As [`Client::udd_get`].
    pub async fn udd_get(&self, key: Option<&str>) -> Result<Option<UddRecord>> {
        let (client, key) = (self.client.clone(), key.map(str::to_owned));
        off_the_runtime(move || client.udd_get(key.as_deref())).await
    }

    /// As [`Client::ready`].
    pub async fn ready(&self) -> Result<()> {
        self.call(request::Kind::Ready(v1::Ready {})).await.map(drop)
    }

    /// As [`Client::call`], without a timeout: drop the future instead.
    pub async fn call(&self, request: request::Kind) -> Result<response::Kind> {
        let (tx, rx) = oneshot::channel();
        self.client.on_response(request, Box::new(move |answer| drop(tx.send(answer))));
        answer_of(Some(rx)).await
    }

    /// Waits until this run is asked to stop; for a person, for ever.
    pub async fn stopped(&self) -> Result<()> {
        let (tx, rx) = oneshot::channel();
        self.client.on_stop(Box::new(move || drop(tx.send(Ok(())))))?;
        answer_of(Some(rx)).await
    }

    /// As [`Client::udd_subscribe`].
    pub async fn udd_subscribe(&self, options: &SubscribeOptions) -> Result<AsyncSubscription> {
        let (client, options) = (self.client.clone(), options.clone());
        let subscription = off_the_runtime(move || client.udd_subscribe(&options)).await?;
        let stopper = subscription.stopper();
        let (tx, items) = mpsc::channel(AHEAD);
        let read = move || {
            for item in subscription {
                if tx.blocking_send(item).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("copo-subscription".into());
        thread.spawn(read).map_err(|why| {
            Error::new(ErrorCode::Internal, format!("cannot start a thread for the subscription: {why}"))
        })?;
        Ok(AsyncSubscription { items, stopper })
    }

    /// As [`Client::close`].
    pub async fn close(&self) -> Result<()> {
        let client = self.client.clone();
        off_the_runtime(move || client.close()).await
    }

    /// Tries until there is room.
    async fn with_room(&self, mut send: impl FnMut() -> Result<()>) -> Result<()> {
        loop {
            match send() {
                Err(error) if error.code() == ErrorCode::WouldBlock => {
                    let (tx, rx) = oneshot::channel();
                    self.client.on_window(Box::new(move |room| drop(tx.send(room))));
                    answer_of(Some(rx)).await?;
                }
                sent => return sent,
            }
        }
    }
}

async fn answer_of<T>(answer: Option<oneshot::Receiver<Result<T>>>) -> Result<T> {
    match answer {
        Some(answer) => answer.await.unwrap_or_else(|_| Err(link::closed())),
        None => Err(link::closed()),
    }
}

async fn off_the_runtime<T: std::marker::Send + 'static>(
    work: impl FnOnce() -> Result<T> + std::marker::Send + 'static,
) -> Result<T> {
    let failed = |why| Error::new(ErrorCode::Internal, format!("cannot wait on another thread: {why}"));
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

/// A subscription as a [`Stream`]; ends with END, STOPPING or when it is dropped. Other errors are items.
#[derive(Debug)]
pub struct AsyncSubscription {
    items: mpsc::Receiver<Result<Item>>,
    stopper: Stopper,
}

impl AsyncSubscription {
    /// The next item, or `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Item>> {
        self.items.recv().await
    }
}

impl Stream for AsyncSubscription {
    type Item = Result<Item>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.poll_recv(context)
    }
}

impl Drop for AsyncSubscription {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}
