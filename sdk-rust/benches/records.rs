//! Micro-benchmarks of what the SDK does with one record, without a socket: `cargo bench -p copo-sdk`.
//!
//! encode (a send's frame is written into the outgoing chunk), decode (a record is found in what a subscription has read),
//! each beside the generated code. A round is 64 KiB of frames; throughput is in records.

use std::hint::black_box;

use copo::RecordRef;
use copo_proto::record::Framed;
use copo_proto::v1::{Request, ServerMessage, UddRecord, UddSend, request, server_message};
use copo_proto::{Message, frame};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use encode::Body;

/// The SDK keeps it to itself. It brings its unit tests along.
#[path = "../src/session/encode.rs"]
#[allow(dead_code, unused_imports)]
mod encode;

/// What one write or read takes.
const CHUNK: usize = 64 * 1024;
const SHAPES: [(&str, usize); 4] = [("", 20), ("", 128), ("sensors/berlin", 128), ("", 4096)];

fn name(key: &str, size: usize) -> String {
    if key.is_empty() { format!("{size} B") } else { format!("{size} B with a key") }
}

fn encoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    for (key, size) in SHAPES {
        let data = vec![7; size];
        let count = (CHUNK / (size + key.len() + 20)) as u64;
        let mut chunk = Vec::with_capacity(2 * CHUNK);
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new("sdk", name(key, size)), |b| {
            b.iter(|| {
                chunk.clear();
                for number in 1_000_000..1_000_000 + count {
                    black_box(Body::Udd { key, data: &data, expect_seq: None }).encode(number, &mut chunk);
                }
                black_box(chunk.len())
            });
        });
        group.bench_function(BenchmarkId::new("generated", name(key, size)), |b| {
            b.iter(|| {
                chunk.clear();
                for number in 1_000_000..1_000_000 + count {
                    let (key, udd_buff) = (black_box(key).to_owned(), black_box(&data).clone().into());
                    let send = UddSend { number, key, udd_buff, expect_seq: None };
                    frame::encode(&Request { id: 0, kind: Some(request::Kind::UddSend(send)) }, &mut chunk);
                }
                black_box(chunk.len())
            });
        });
    }
    group.finish();
}

/// What a subscription has read, and how many records that is.
fn read_from_the_line(key: &str, size: usize) -> (Vec<u8>, u64) {
    let (mut stream, mut seq) = (Vec::new(), 0);
    while stream.len() < CHUNK {
        seq += 1;
        let (sent_by, udd_buff) = ("station-1".to_owned(), vec![7; size].into());
        let record = UddRecord { seq, sent_time: 1_800_000_000_000_000, sent_by, key: key.to_owned(), udd_buff };
        frame::encode(&ServerMessage { kind: Some(server_message::Kind::Record(record)) }, &mut stream);
    }
    (stream, seq)
}

fn decoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for (key, size) in SHAPES {
        let (stream, count) = read_from_the_line(key, size);
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new("in one look", name(key, size)), |b| {
            b.iter(|| {
                let mut rest = black_box(stream.as_slice());
                while let Some(record) = Framed::read(rest, usize::MAX) {
                    rest = &rest[black_box(record).length..];
                }
            });
        });
        group.bench_function(BenchmarkId::new("borrowed", name(key, size)), |b| {
            b.iter(|| each_message(black_box(&stream), |message| drop(black_box(RecordRef::read(message)))));
        });
        group.bench_function(BenchmarkId::new("generated", name(key, size)), |b| {
            b.iter(|| each_message(black_box(&stream), |message| drop(black_box(ServerMessage::decode(message)))));
        });
    }
    group.finish();
}

fn each_message(mut rest: &[u8], mut take: impl FnMut(&[u8])) {
    while let Ok(frame::Head::Whole { prefix, length }) = frame::peek(rest, usize::MAX) {
        take(&rest[prefix..prefix + length]);
        rest = &rest[prefix + length..];
    }
}

criterion_group!(benches, encoding, decoding);
criterion_main!(benches);
