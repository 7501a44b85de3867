/* The actor in C: see README.md. */
#define _DEFAULT_SOURCE
#include <copo.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/wait.h>
#include <unistd.h>

static CopoClient *client;
static char **next_arg;

static char *next(void) {
    if (*next_arg == NULL) {
        fprintf(stderr, "actor: the verb wants an argument\n");
        exit(2);
    }
    return *next_arg++;
}

static void item(const CopoItem *item) {
    if (item->kind == COPO_ITEM_RECORD) {
        printf("record %s %s %.*s\n", item->record.sent_by, item->record.key, (int)item->record.udd_len,
               (const char *)item->record.udd_buff);
    } else if (item->kind == COPO_ITEM_REPORT) {
        printf("report %s %.*s\n", item->report.sent_by, (int)item->report.report_len,
               (const char *)item->report.report_buff);
    } else {
        printf("gap %" PRIu64 " %" PRIu64 "\n", item->gap.first, item->gap.last);
    }
    fflush(stdout);
}

static int32_t newest(const char *key) {
    CopoRecord *record;
    int32_t code = copo_udd_get(client, key, &record);
    if (code == COPO_ERROR_CODE_NOT_FOUND) {
        puts("none");
        return 0;
    }
    if (code != 0) return code;
    printf("record %s %s %.*s\n", record->sent_by, record->key, (int)record->udd_len, (const char *)record->udd_buff);
    copo_record_free(record);
    return 0;
}

/* Shows `count` items, or all up to the end when it is negative. */
static int32_t show(CopoSubscription *subscription, long count) {
    CopoItem got;
    int32_t code = 0;
    while (count != 0 && (code = copo_udd_next(subscription, -1, &got)) == 0) {
        item(&got);
        if (count > 0) count--;
    }
    copo_subscription_free(subscription);
    if (count < 0 && (code == COPO_ERROR_CODE_END || code == COPO_ERROR_CODE_STOPPING)) {
        puts("end");
        return 0;
    }
    return code;
}

static void from(CopoSubscribeOptions *options, const char *text) {
    if (strcmp(text, "first") == 0) {
        options->from = COPO_FROM_FIRST;
    } else if (strcmp(text, "new") != 0) {
        options->from = COPO_FROM_SEQ;
        options->start = strtoull(text, NULL, 10);
    }
}

static int32_t subscribe(const CopoSubscribeOptions *options, int is_said, long count) {
    CopoSubscription *subscription;
    int32_t code = copo_udd_subscribe(client, options, &subscription);
    if (code != 0) return code;
    if (is_said) {
        puts("following");
        fflush(stdout);
    }
    return show(subscription, count);
}

static int32_t send_many(const char *key, long count) {
    char data[32];
    for (long i = 0; i < count; i++) {
        int length = snprintf(data, sizeof data, "%ld", i);
        int32_t code = copo_udd_send_key(client, key, data, (size_t)length);
        if (code != 0) return code;
    }
    return 0;
}

static int32_t send_zeros(const char *key, size_t size) {
    void *zeros = calloc(size, 1);
    int32_t code = copo_udd_send_key(client, key, zeros, size);
    free(zeros);
    return code;
}

static int32_t send_if(const char *key, const char *data, uint64_t expected) {
    CopoSend send;
    uint64_t seq;
    memset(&send, 0, sizeof send);
    send.key = key;
    send.data = data;
    send.len = strlen(data);
    send.has_expect_seq = true;
    send.expect_seq = expected;
    int32_t code = copo_udd_send_with(client, &send, &seq);
    if (code == 0) printf("seq %" PRIu64 "\n", seq);
    return code;
}

static int32_t fill(void) {
    int32_t code;
    while ((code = copo_udd_try_send_key(client, "fill", "x", 1)) == 0) {}
    if (code != COPO_ERROR_CODE_WOULD_BLOCK) return code;
    puts("full");
    return 0;
}

static int32_t headers(void) {
    CopoStrings *headers;
    int32_t code = copo_udd_headers(client, &headers);
    if (code != 0) return code;
    printf("headers ");
    for (size_t i = 0; i < headers->len; i++) printf("%s%s", i == 0 ? "" : ",", headers->items[i]);
    puts("");
    copo_strings_free(headers);
    return 0;
}

static int32_t set_headers(char *text) {
    const char *names[64];
    size_t count = 0;
    for (char *name = strtok(text, ","); name != NULL && count < 64; name = strtok(NULL, ",")) names[count++] = name;
    return copo_udd_set_headers(client, names, count);
}

static int32_t connect_to(const char *socket, const char *token) {
    CopoConnectOptions options;
    memset(&options, 0, sizeof options);
    options.socket = socket;
    options.token = token;
    options.name = "actor";
    return copo_connect_with(&options, &client);
}

static int32_t next_timeout(int64_t timeout) {
    CopoSubscription *subscription;
    CopoItem got;
    int32_t code = copo_udd_subscribe(client, NULL, &subscription);
    if (code != 0) return code;
    code = copo_udd_next(subscription, timeout, &got);
    copo_subscription_free(subscription);
    return code;
}

/* A child that sends by the handle it inherited, and ends. */
static int32_t fork_send(const char *key, const char *data) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        uint64_t seq;
        _exit(copo_udd_send_sync_key(client, key, data, strlen(data), &seq));
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return COPO_ERROR_CODE_INTERNAL;
    return WEXITSTATUS(status);
}

static int32_t wait_stop(void) {
    int32_t code = copo_stop_wait(client, -1);
    if (code == 0) puts("stopping");
    return code;
}

static int32_t wait_file(const char *path) {
    struct timespec pause = {0, 5000000};
    while (access(path, F_OK) != 0) nanosleep(&pause, NULL);
    return 0;
}

static int32_t touch(const char *path) {
    FILE *file = fopen(path, "w");
    return file == NULL || fclose(file) != 0 ? COPO_ERROR_CODE_INTERNAL : 0;
}

static int is(const char *verb, const char *name) { return strcmp(verb, name) == 0; }

static int32_t perform(const char *verb) {
    CopoSubscribeOptions options;
    uint64_t seq;
    memset(&options, 0, sizeof options);
    if (is(verb, "wait-file")) return wait_file(next());
    if (is(verb, "touch")) return touch(next());
    if (is(verb, "connect")) {
        const char *socket = next();
        return connect_to(socket, next());
    }
    if (client == NULL) {
        int32_t code = copo_connect(&client);
        if (code != 0) {
            while (*next_arg != NULL) next_arg++;
            return code;
        }
    }
    if (is(verb, "send") || is(verb, "send-sync")) {
        const char *key = next(), *data = next();
        if (is(verb, "send")) return copo_udd_send_key(client, key, data, strlen(data));
        int32_t code = copo_udd_send_sync_key(client, key, data, strlen(data), &seq);
        if (code == 0) printf("seq %" PRIu64 "\n", seq);
        return code;
    }
    if (is(verb, "fork-send")) {
        const char *key = next();
        return fork_send(key, next());
    }
    if (is(verb, "send-many")) {
        const char *key = next();
        return send_many(key, strtol(next(), NULL, 10));
    }
    if (is(verb, "send-zeros")) {
        const char *key = next();
        return send_zeros(key, strtoul(next(), NULL, 10));
    }
    if (is(verb, "send-if")) {
        const char *key = next(), *data = next();
        return send_if(key, data, strtoull(next(), NULL, 10));
    }
    if (is(verb, "fill")) return fill();
    if (is(verb, "flush")) return copo_flush(client, -1);
    if (is(verb, "ready")) return copo_ready(client);
    if (is(verb, "close")) return copo_client_close(client);
    if (is(verb, "get")) return newest(next());
    if (is(verb, "newest")) return newest(NULL);
    if (is(verb, "follow") || is(verb, "drain")) {
        from(&options, next());
        options.key_pattern = next();
        options.no_follow = is(verb, "drain");
        return subscribe(&options, 0, options.no_follow ? -1 : strtol(next(), NULL, 10));
    }
    if (is(verb, "follow-until-stop")) {
        options.from = COPO_FROM_FIRST;
        options.key_pattern = next();
        return subscribe(&options, 1, -1);
    }
    if (is(verb, "reports")) {
        options.from = COPO_FROM_FIRST;
        options.reports = options.no_records = true;
        return subscribe(&options, 0, strtol(next(), NULL, 10));
    }
    if (is(verb, "next-timeout")) return next_timeout(strtol(next(), NULL, 10));
    if (is(verb, "headers")) return headers();
    if (is(verb, "set-headers")) return set_headers(next());
    if (is(verb, "report")) {
        const char *data = next();
        return copo_meta_report(client, data, strlen(data));
    }
    if (is(verb, "wait-stop")) return wait_stop();
    fprintf(stderr, "actor: it does not know %s\n", verb);
    exit(2);
}

int main(int argc, char **argv) {
    (void)argc;
    next_arg = argv + 1;
    while (*next_arg != NULL) {
        int32_t code = perform(next());
        if (code != 0) printf("error %" PRId32 "\n", code);
        fflush(stdout);
    }
    copo_client_free(client);
    return 0;
}
