// The roles of `copo bench udd --sdk c`: says "ready", waits for a line, works, prints one JSON object.
#define _POSIX_C_SOURCE 200809L
#include <copo.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// Without anything for so long, what is missing will not come; for so long a subscriber that has all looks for more.
enum { SILENCE_MS = 60000, AFTERMATH_MS = 100, STAMP = 20 };

static struct {
    const char *socket;
    uint64_t count, size, rate, id, publishers, window;
    bool keys;
} work;

static uint64_t clock_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t now(void) { return clock_ns(CLOCK_MONOTONIC); }

static void check(int32_t code) {
    if (code != 0) {
        fprintf(stderr, "%s\n", copo_last_error_message());
        exit(1);
    }
}

static void stand_by(void) {
    char line[16];
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) exit(1);
}

static void put(unsigned char *data, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) data[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t take(const unsigned char *data, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)data[i] << (8 * i);
    return value;
}

static void pace(uint64_t start, uint64_t number) {
    if (work.rate == 0) return;
    uint64_t at = start + (number * work.publishers + work.id) * 1000000000u / work.rate, time = now();
    if (at <= time) return;
    struct timespec left = {(time_t)((at - time) / 1000000000u), (long)((at - time) % 1000000000u)};
    nanosleep(&left, NULL);
}

static void publish(CopoClient *client) {
    size_t size = work.size > STAMP ? work.size : STAMP;
    unsigned char *data = calloc(1, size);
    char keys[16][16];
    for (int i = 0; i < 16; i++) snprintf(keys[i], sizeof keys[i], "bench/%d", i);
    stand_by();
    uint64_t start = now(), seq;
    for (uint64_t number = 0; number < work.count; number++) {
        pace(start, number);
        put(data, work.id, 4);
        put(data + 4, number, 8);
        put(data + 12, work.rate > 0 ? now() : start, 8);
        if (work.window == 1) check(copo_udd_send_sync(client, data, size, &seq));
        else if (work.keys) check(copo_udd_send_key(client, keys[number % 16], data, size));
        else check(copo_udd_send(client, data, size));
    }
    check(copo_flush(client, -1));
    printf("{\"start\":%" PRIu64 ",\"end\":%" PRIu64 ",\"cpu\":%" PRIu64 "}\n", start, now(), clock_ns(CLOCK_PROCESS_CPUTIME_ID));
    free(data);
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void follow(CopoClient *client) {
    CopoSubscription *records;
    CopoSubscribeOptions options = {0};
    if (work.keys) options.key_pattern = "bench/*";
    check(copo_udd_subscribe(client, &options, &records));
    uint64_t *expected = calloc(work.publishers, sizeof *expected), *latencies = calloc(work.count + 1, sizeof *latencies);
    uint64_t received = 0, timed = 0, lost = 0, duplicated = 0, reordered = 0, end = 0;
    stand_by();
    for (;;) {
        CopoItem item;
        int32_t code = copo_udd_next(records, received < work.count ? SILENCE_MS : AFTERMATH_MS, &item);
        if (code == COPO_ERROR_CODE_TIMED_OUT) break;
        check(code);
        if (item.kind == COPO_ITEM_GAP) lost += item.gap.last - item.gap.first + 1;
        if (item.kind != COPO_ITEM_RECORD) continue;
        const unsigned char *data = item.record.udd_buff;
        received++;
        uint64_t publisher = take(data, 4), number = take(data + 4, 8);
        if (publisher >= work.publishers) reordered++;
        else if (number >= expected[publisher]) {
            lost += number - expected[publisher];
            expected[publisher] = number + 1;
        } else if (number + 1 == expected[publisher]) duplicated++;
        else reordered++;
        if (work.rate > 0 && timed < work.count) latencies[timed++] = now() - take(data + 12, 8);
        if (received == work.count) end = now();
    }
    qsort(latencies, timed, sizeof *latencies, by_size);
    uint64_t missing = received < work.count ? work.count - received : 0, at[3] = {500, 990, 999};
    for (int i = 0; i < 3; i++) {
        uint64_t place = (timed * at[i] + 999) / 1000;
        at[i] = timed ? latencies[place ? place - 1 : 0] : 0;
    }
    printf("{\"end\":%" PRIu64 ",\"cpu\":%" PRIu64 ",\"received\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"duplicated\":%" PRIu64
           ",\"reordered\":%" PRIu64 ",\"latencies\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]}\n",
           end ? end : now(), clock_ns(CLOCK_PROCESS_CPUTIME_ID), received, lost > missing ? lost : missing, duplicated,
           reordered, at[0], at[1], at[2]);
    copo_subscription_free(records);
    free(expected);
    free(latencies);
}

int main(int argc, char **argv) {
    for (int i = 2; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--keys") == 0) {
            work.keys = true;
            continue;
        }
        const char *value = i + 1 < argc ? argv[++i] : "";
        uint64_t number = strtoull(value, NULL, 10);
        if (strcmp(name, "--socket") == 0) work.socket = value;
        if (strcmp(name, "--count") == 0) work.count = number;
        if (strcmp(name, "--size") == 0) work.size = number;
        if (strcmp(name, "--rate") == 0) work.rate = number;
        if (strcmp(name, "--id") == 0) work.id = number;
        if (strcmp(name, "--publishers") == 0) work.publishers = number;
        if (strcmp(name, "--window") == 0) work.window = number;
    }
    CopoConnectOptions options = {0};
    options.socket = work.socket;
    options.token = "";
    options.name = "bench";
    CopoClient *client;
    check(copo_connect_with(&options, &client));
    if (argc > 1 && strcmp(argv[1], "subscriber") == 0) follow(client);
    else publish(client);
    copo_client_free(client);
    return 0;
}
