//! Micro-benchmarks of the context, without a socket: `cargo bench -p copo-orchestrator`.
//!
//! encode and append (a record's frame is composed into the segment, once), fan-out (what each reader is handed), recovery
//! (what a start reads back). Throughput is in bytes of `udd_buff`, or of segments for recovery.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use copo_orchestrator::context::{Body, ClientId, Context, Cursor, Send};
use copo_orchestrator::plan::{ContextSpec, Durability, Retain, WhenFull};
use copo_proto::v1;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const CLIENT: ClientId = [1; 16];
/// Microseconds since the Unix epoch; any time will do.
const NOW: u64 = 1_000_000_000;
/// What a session hands over at once, at most, is about this much.
const BATCH_BYTES: usize = 64 * 1024;

fn spec(durability: Durability, bytes: u64) -> ContextSpec {
    ContextSpec {
        headers: None,
        durability,
        retain: Retain { records: u64::MAX, bytes, age: Duration::from_secs(86_400), keys: 10_000, reports: 100_000 },
        when_full: WhenFull::Trim,
        wait_limit: Duration::from_secs(5),
        max_record: 64 << 20,
    }
}

fn open(folder: &Path, durability: Durability, bytes: u64) -> Context {
    let mut context = Context::open(folder, &spec(durability, bytes), "boot", NOW).expect("a context opens");
    context.join(&CLIENT, "bench", NOW).expect("a client joins");
    context
}

/// A publisher that numbers what it sends.
struct Publisher {
    data: Vec<u8>,
    batch: usize,
    sent: u64,
}

impl Publisher {
    fn new(size: usize) -> Self {
        Self { data: vec![7; size], batch: (BATCH_BYTES / size).max(1), sent: 0 }
    }

    fn publish(&mut self, context: &mut Context) {
        let body = Body::Udd { key: "", data: &self.data, expect_seq: None };
        let sends: Vec<Send<'_>> =
            (1..=self.batch as u64).map(|next| Send { number: self.sent + next, body }).collect();
        let published = context.publish(NOW, &CLIENT, "bench-1", &sends);
        assert!(published.refused.is_none() && published.appended, "{published:?}");
        self.sent += self.batch as u64;
    }
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    for size in [128, 4096, 1 << 20] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut context = open(folder.path(), Durability::Crash, 256 << 20);
        let mut publisher = Publisher::new(size);
        group.throughput(Throughput::Bytes((publisher.batch * size) as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| b.iter(|| publisher.publish(&mut context)));
    }
    group.finish();
}

fn cursor(context: &mut Context) -> Cursor {
    let from = Some(v1::subscribe::From::First(true));
    let request = v1::Subscribe { records: true, from, ..v1::Subscribe::default() };
    context.subscribe(NOW, &request).expect("a subscription").0
}

fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out");
    let (size, retained) = (128, 16 << 20);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut context = open(folder.path(), Durability::Crash, 256 << 20);
    let mut publisher = Publisher::new(size);
    while publisher.sent as usize * size < retained {
        publisher.publish(&mut context);
    }
    for readers in [1, 8] {
        group.throughput(Throughput::Bytes(readers * publisher.sent * size as u64));
        group.bench_function(BenchmarkId::from_parameter(readers), |b| {
            b.iter(|| {
                for _ in 0..readers {
                    let mut cursor = cursor(&mut context);
                    while !black_box(context.read(NOW, &mut cursor, BATCH_BYTES)).slices.is_empty() {}
                }
            });
        });
    }
    group.finish();
}

fn recovery(c: &mut Criterion) {
    let mut group = c.benchmark_group("recovery");
    group.sample_size(10);
    for (size, mebibytes) in [(128, 64), (4096, 256)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut context = open(folder.path(), Durability::Crash, 4 << 30);
        let mut publisher = Publisher::new(size);
        while publisher.sent as usize * size < mebibytes << 20 {
            publisher.publish(&mut context);
        }
        context.close();
        drop(context);
        group.throughput(Throughput::Bytes(publisher.sent * size as u64));
        group.bench_function(BenchmarkId::new(format!("{size} B"), format!("{mebibytes} MiB")), |b| {
            b.iter(|| {
                let context = open(folder.path(), Durability::Crash, 4 << 30);
                assert!(context.head() >= publisher.sent);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, append, fan_out, recovery);
criterion_main!(benches);
