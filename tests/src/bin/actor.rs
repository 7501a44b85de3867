//! The actor in Rust: see `tests/actors/README.md`.

use std::io::Write;
use std::time::Duration;

use copo::{Client, ErrorCode, From, Item, Result, SubscribeOptions, Subscription};

fn main() {
    let mut actor = Actor { client: None };
    let mut args = std::env::args().skip(1);
    while let Some(verb) = args.next() {
        let is_local = ["connect", "wait-file", "touch"].contains(&verb.as_str());
        if let Err(error) = if is_local { Ok(()) } else { actor.client().map(drop) } {
            // Without a client the other verbs, and their arguments, mean nothing.
            return say(&format!("error {}", error.code() as i32));
        }
        if let Err(error) = actor.perform(&verb, &mut || args.next().expect("the verb's argument")) {
            say(&format!("error {}", error.code() as i32));
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("stdout is open");
}

struct Actor {
    client: Option<Client>,
}

impl Actor {
    fn client(&mut self) -> Result<&Client> {
        if self.client.is_none() {
            self.client = Some(Client::connect()?);
        }
        Ok(self.client.as_ref().expect("it was just made"))
    }

    fn perform(&mut self, verb: &str, next: &mut dyn FnMut() -> String) -> Result<()> {
        match verb {
            "connect" => {
                let options = Client::options().socket(next()).token(next()).name("actor");
                self.client = Some(options.connect()?);
            }
            "send" => self.client()?.udd_send_key(&next(), next().as_bytes())?,
            "send-many" => {
                let (key, count) = (next(), next().parse::<u32>().expect("a count"));
                (0..count).try_for_each(|i| self.client()?.udd_send_key(&key, i.to_string().as_bytes()))?;
            }
            "send-zeros" => self.client()?.udd_send_key(&next(), &vec![0; next().parse().expect("a size")])?,
            "send-sync" => say(&format!("seq {}", self.client()?.udd_send_key_sync(&next(), next().as_bytes())?)),
            "send-if" => {
                let (key, data, seq) = (next(), next(), next().parse().expect("a seq"));
                let send = copo::Send { key: &key, data: data.as_bytes(), expect_seq: Some(seq), timeout: None };
                say(&format!("seq {}", self.client()?.send_sync(&send)?));
            }
            "fill" => self.fill()?,
            "flush" => self.client()?.flush()?,
            "ready" => self.client()?.ready()?,
            "close" => self.client()?.close()?,
            "get" => self.newest(Some(&next()))?,
            "newest" => self.newest(None)?,
            "follow" => {
                let options = SubscribeOptions::default().from(from(&next())).key_pattern(next());
                show(&mut self.client()?.udd_subscribe(&options)?, next().parse().expect("a count"))?;
            }
            "drain" => {
                let options = SubscribeOptions::default().from(from(&next())).key_pattern(next()).no_follow();
                show_to_the_end(self.client()?.udd_subscribe(&options)?)?;
            }
            "follow-until-stop" => {
                let options = SubscribeOptions::default().from(From::First).key_pattern(next());
                let subscription = self.client()?.udd_subscribe(&options)?;
                say("following");
                show_to_the_end(subscription)?;
            }
            "reports" => {
                let options = SubscribeOptions::default().from(From::First).reports(true);
                show(&mut self.client()?.udd_subscribe(&options)?, next().parse().expect("a count"))?;
            }
            "next-timeout" => {
                let wait = Duration::from_millis(next().parse().expect("milliseconds"));
                self.client()?.udd_subscribe(&SubscribeOptions::default())?.next(Some(wait)).map(drop)?;
            }
            "headers" => say(&format!("headers {}", self.client()?.udd_headers()?.join(","))),
            "set-headers" => {
                let headers: Vec<String> = next().split(',').map(str::to_owned).collect();
                self.client()?.udd_set_headers(&headers)?;
            }
            "report" => self.client()?.meta_report(next().as_bytes())?,
            "wait-stop" => {
                self.client()?.wait_stop(None)?;
                say("stopping");
            }
            "wait-file" => wait_file(&next()),
            "touch" => std::fs::write(next(), "").expect("the file can be written"),
            other => panic!("the actor does not know {other}"),
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        loop {
            match self.client()?.try_udd_send_key("fill", b"x") {
                Ok(()) => {}
                Err(error) if error.code() == ErrorCode::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        say("full");
        Ok(())
    }

    fn newest(&mut self, key: Option<&str>) -> Result<()> {
        match self.client()?.udd_get(key)? {
            Some(record) => say_item(&Item::Record(record)),
            None => say("none"),
        }
        Ok(())
    }
}

fn from(text: &str) -> From {
    match text {
        "first" => From::First,
        "new" => From::New,
        seq => From::Seq(seq.parse().expect("a seq")),
    }
}

fn show(subscription: &mut Subscription, count: usize) -> Result<()> {
    (0..count).try_for_each(|_| subscription.next(None).map(|item| say_item(&item)))
}

fn show_to_the_end(subscription: Subscription) -> Result<()> {
    for item in subscription {
        say_item(&item?);
    }
    say("end");
    Ok(())
}

fn say_item(item: &Item) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match item {
        Item::Record(record) => say(&format!("record {} {} {}", record.sent_by, record.key, text(&record.udd_buff))),
        Item::Report(report) => say(&format!("report {} {}", report.sent_by, text(&report.report_buff))),
        Item::Gap(gap) => say(&format!("gap {} {}", gap.first, gap.last)),
    }
}

fn wait_file(path: &str) {
    while !std::path::Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}
