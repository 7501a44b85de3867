"""The actor in Python: see README.md."""

import os
import sys
import time

import copo

client = None
args = sys.argv[1:]


def say(line):
    print(line, flush=True)


def take():
    return args.pop(0)


def place(text):
    return int(text) if text.isdigit() else text


def say_item(item):
    if isinstance(item, copo.Record):
        say(f"record {item.sent_by} {item.key} {item.udd_buff.decode()}")
    elif isinstance(item, copo.Report):
        say(f"report {item.sent_by} {item.report_buff.decode()}")
    else:
        say(f"gap {item.first} {item.last}")


def show(items, count):
    for _ in range(count):
        say_item(items.next())


def show_to_the_end(items):
    for item in items:
        say_item(item)
    say("end")


def newest(key):
    record = client.udd_get(key)
    if record is None:
        say("none")
    else:
        say_item(record)


def connect():
    global client
    client = copo.connect(take(), token=take(), name="actor")


def send():
    key = take()
    client.udd_send(take(), key)


def send_many():
    key = take()
    for i in range(int(take())):
        client.udd_send(str(i), key=key)


def send_zeros():
    key = take()
    client.udd_send(bytes(int(take())), key)


def send_sync():
    key = take()
    say(f"seq {client.udd_send_sync(take(), key)}")


def send_if():
    key, data = take(), take()
    say(f"seq {client.udd_send_sync(data, key, expect_seq=int(take()))}")


def fork_send():
    """A child that sends by the handle it inherited, and ends."""
    key, data = take(), take()
    child = os.fork()
    if child == 0:
        try:
            client.udd_send_sync(data, key)
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(child, 0)[1] != 0:
        say("the child failed")


def fill():
    try:
        while True:
            client.try_udd_send(b"x", "fill")
    except copo.WouldBlockError:
        say("full")


def follow():
    items = client.udd_subscribe(from_=place(take()), key_pattern=take())
    show(items, int(take()))


def drain():
    show_to_the_end(client.udd_subscribe(from_=place(take()), key_pattern=take(), follow=False))


def follow_until_stop():
    items = client.udd_subscribe(take(), from_="first")
    say("following")
    show_to_the_end(items)


def reports():
    show(client.udd_subscribe(from_="first", records=False, reports=True), int(take()))


def next_timeout():
    client.udd_subscribe().next(timeout=int(take()) / 1000)


def wait_stop():
    client.wait_stop()
    say("stopping")


def wait_file():
    path = take()
    while not os.path.exists(path):
        time.sleep(0.005)


def touch():
    open(take(), "w").close()


VERBS = {
    "send": send,
    "send-many": send_many,
    "send-zeros": send_zeros,
    "send-sync": send_sync,
    "send-if": send_if,
    "fork-send": fork_send,
    "fill": fill,
    "flush": lambda: client.flush(),
    "ready": lambda: client.ready(),
    "close": lambda: client.close(),
    "get": lambda: newest(take()),
    "newest": lambda: newest(None),
    "follow": follow,
    "drain": drain,
    "follow-until-stop": follow_until_stop,
    "reports": reports,
    "next-timeout": next_timeout,
    "headers": lambda: say(f"headers {','.join(client.udd_headers())}"),
    "set-headers": lambda: client.udd_set_headers(take().split(",")),
    "report": lambda: client.meta_report(take()),
    "wait-stop": wait_stop,
}
LOCAL = {"connect": connect, "wait-file": wait_file, "touch": touch}

while args:
    verb = take()
    try:
        if verb in LOCAL:
            LOCAL[verb]()
            continue
        if client is None:
            client = copo.connect()
        VERBS[verb]()
    except copo.Error as error:
        say(f"error {int(error.code)}")
        if client is None:
            break
