//! The async face against a stand-in orchestrator.
#![cfg(all(unix, feature = "tokio"))]

mod orchestrator;

use copo::aio::AsyncClient;
use copo::v1::ErrorCode;
use copo::{From, Item, SubscribeOptions};
use orchestrator::{Behaviour, Orchestrator};

#[tokio::test(flavor = "current_thread")]
async fn verbs_are_futures_and_a_subscription_a_stream() {
    let orchestrator = Orchestrator::start_with(Behaviour { window: Some((4, 1 << 20)), ..Behaviour::default() });
    let client = AsyncClient::connect_with(orchestrator.options().token("secret")).await.expect("connected");
    for n in 0..100u8 {
        client.udd_send(&[n]).await.expect("sent");
    }
    client.flush().await.expect("flushed");
    assert_eq!(client.udd_send_acked("k", b"v").await, Ok(101));
    let newest = client.udd_get(Some("k")).await.expect("answered").expect("there");
    assert_eq!(newest.seq, 101);
    client.ready().await.expect("done");

    let mut subscription =
        client.udd_subscribe(&SubscribeOptions::default().from(From::First)).await.expect("subscribed");
    for n in 0..100u8 {
        let Some(Ok(Item::Record(record))) = subscription.next().await else { panic!("no record") };
        assert_eq!(record.udd_buff[..], [n]);
    }
    let stopped = client.stopped();
    orchestrator.request_stop();
    assert!(matches!(subscription.next().await, Some(Ok(Item::Record(record))) if record.seq == 101));
    assert_eq!(subscription.next().await, None);
    orchestrator.until("watched", |state| !state.requests.is_empty());
    drop(stopped);
    client.close().await.expect("closed");
    assert_eq!(client.udd_send(b"x").await.expect_err("closed").code(), ErrorCode::Closed);
}
