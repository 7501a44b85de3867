use super::*;

const REPORTS: u64 = 3000;

fn skipped(n: u64) -> v1::Facts {
    let event = v1::EventKind::Skipped.into();
    // Large enough that together they need several segments.
    v1::Facts { event, reason: Some(format!("{n:0>4000}")), ..Default::default() }
}

/// The numbers among the newest thousand reports.
fn numbers(app: &App) -> Vec<u64> {
    let document: serde_json::Value = serde_json::from_slice(&app.hub.reports_json()).expect("JSON");
    let reports = document["reports"].as_array().expect("an array").iter();
    reports.filter_map(|report| report["facts"]["reason"].as_str()?.parse().ok()).collect()
}

#[test]
fn what_happens_while_the_disk_is_full_is_reported_in_order_once_there_is_room() {
    with(ContextSpec { durability: Durability::Crash, ..spec() }, Limits::default(), |app| async move {
        app.hub.limit_disk(Some(0));
        (0..REPORTS).for_each(|n| app.hub.report(skipped(n)));
        let found_room = numbers(&app).last().copied();
        assert!(found_room < Some(REPORTS - 1), "all found room: {found_room:?}");

        app.hub.limit_disk(None);
        app.hub.report(skipped(REPORTS));

        while numbers(&app).last() != Some(&REPORTS) {
            app.hub.reports_changed().await;
        }
        assert_eq!(numbers(&app), (REPORTS + 1 - 1000..=REPORTS).collect::<Vec<_>>());
    });
}

#[test]
fn what_waits_for_room_at_the_end_is_reported_if_there_is_any() {
    with(ContextSpec { durability: Durability::Crash, ..spec() }, Limits::default(), |app| async move {
        app.hub.limit_disk(Some(0));
        (0..REPORTS).for_each(|n| app.hub.report(skipped(n)));
        app.hub.limit_disk(None);

        app.hub.close().await;

        assert_eq!(numbers(&app).last(), Some(&(REPORTS - 1)));
    });
}
