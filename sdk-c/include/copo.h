/*
 * copo.h: the Copo SDK for C.
 *
 * What holds for every function:
 *
 * - Returns. Every function returns int32_t: 0 (COPO_ERROR_CODE_OK) or a CopoErrorCode. Exempt are those that cannot
 *   fail: the free functions (void), `copo_error_name` and `copo_last_error_message` (strings). A sentence for people about
 *   the newest failure on this thread is `copo_last_error_message()`.
 * - Outputs are the last parameters. They are written only when 0 is returned, and may not be NULL.
 * - Ownership shows in the type. `T **out` gives a handle or a struct that is yours until you give it to its free
 *   function, exactly once; free functions take NULL and do nothing. `const T *` is borrowed for the call, `T *` is a
 *   handle that the call uses and does not keep.
 * - NULL. Where NULL has a meaning, the function says so; anywhere else it gives COPO_ERROR_CODE_INVALID_ARGUMENT. Data
 *   of length 0 may be NULL.
 * - Strings are UTF-8 and NUL-terminated, in and out. Data is a pointer and a length in bytes, and is copied before
 *   the call returns.
 * - Borrowed results (the strings and data in a CopoItem) are valid until the next call with that subscription, its
 *   free included.
 * - Threads. A CopoClient may be used by any number of threads at once; one thread frees it, when no other uses it
 *   any more. A CopoSubscription is used by one thread at a time; only `copo_subscription_stop` may be called at any
 *   time by any thread, until it is freed.
 * - Fork. After fork() the child may go on using both: its CopoClient becomes a client of its own at its first use, its
 *   CopoSubscription connects anew from its place. What the parent had sent stays the parent's.
 * - Exit. Leaving the process without `copo_flush`, `copo_client_close` or `copo_client_free` may lose what was sent last.
 * - Signals. No handler is installed and no signal mask changed; SIGPIPE is not raised by what happens here. No
 *   function may be called from a signal handler. A signal does not cut a wait short: use a timeout.
 * - Times are microseconds since the Unix epoch; timeouts are int64_t milliseconds, negative meaning for ever.
 * - Numbers once given are never given another meaning; structs with `reserved` must be zeroed before use.
 * - Stop. When this run is asked to stop, calls that wait at that moment return COPO_ERROR_CODE_STOPPING, and so does
 *   `copo_udd_next` from then on. Sends and `copo_flush` go on working, so that the last records can be sent.
 *
 * Made by cbindgen from the sources of sdk-c: COPO_BLESS=1 cargo test -p copo-c --test header
 */

#ifndef COPO_H
#define COPO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A CopoItem that is a record.
#define COPO_ITEM_RECORD 1

// A CopoItem that is a report.
#define COPO_ITEM_REPORT 2

// A CopoItem that is a gap.
#define COPO_ITEM_GAP 3

// Begin with the next record that comes.
#define COPO_FROM_NEW 0

// Begin with the oldest that is still there.
#define COPO_FROM_FIRST 1

// Begin with the seq in `start`.
#define COPO_FROM_SEQ 2

// Begin with the first one at or after the time in `start`.
#define COPO_FROM_TIME 3

// Why something failed: one number for every language. Numbers 1 to 5 are also the exit codes of the command line.
enum CopoErrorCode
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Nothing failed.
    COPO_ERROR_CODE_OK = 0,
    // Something inside went wrong; the message says what.
    COPO_ERROR_CODE_INTERNAL = 1,
    // An argument is not usable: NULL, not UTF-8, out of range, not of the right form.
    COPO_ERROR_CODE_INVALID_ARGUMENT = 2,
    // What was asked of a process needs it to run, and it does not.
    COPO_ERROR_CODE_NOT_RUNNING = 3,
    // No process, group or record of that name.
    COPO_ERROR_CODE_NOT_FOUND = 4,
    // There is no orchestrator to talk to.
    COPO_ERROR_CODE_NO_ORCHESTRATOR = 5,
    // The time given for the call is over; nothing was undone.
    COPO_ERROR_CODE_TIMED_OUT = 6,
    // The window of unacknowledged sends is full and the call was not to wait.
    COPO_ERROR_CODE_WOULD_BLOCK = 7,
    // This run was asked to stop: calls that wait return this, iterators end.
    COPO_ERROR_CODE_STOPPING = 8,
    // The run this client's token belongs to has ended: it can no longer write.
    COPO_ERROR_CODE_FENCED = 9,
    // There is no room to store the record; the window is kept and sent again when there is.
    COPO_ERROR_CODE_NO_SPACE = 10,
    // The client was away for more than 24 hours: what it had sent can no longer be told from what it had not.
    COPO_ERROR_CODE_EXPIRED = 11,
    // The record or frame is larger than the orchestrator takes.
    COPO_ERROR_CODE_TOO_LARGE = 12,
    // The key is not of the form of a key, or the pattern not of that of a pattern.
    COPO_ERROR_CODE_INVALID_KEY = 13,
    // The peer is another user, or the token belongs to no run.
    COPO_ERROR_CODE_UNAUTHORIZED = 14,
    // This run may not do that: it needs `control = true`.
    COPO_ERROR_CODE_FORBIDDEN = 15,
    // The orchestrator does not know this request, or no common protocol version exists.
    COPO_ERROR_CODE_UNSUPPORTED = 16,
    // What came over the connection is no frame or not the message expected there.
    COPO_ERROR_CODE_MALFORMED = 17,
    // What was asked collides with what is: a run is already under way, the newest record of the key is another one.
    COPO_ERROR_CODE_CONFLICT = 18,
    // The handle is closed, or its connection ended before the answer came.
    COPO_ERROR_CODE_CLOSED = 19,
    // Another connection took over this client's id.
    COPO_ERROR_CODE_REPLACED = 20,
    // There is nothing more: the subscription has delivered all it was asked for.
    COPO_ERROR_CODE_END = 21,
    // The log was damaged at that place; what is missing was reported.
    COPO_ERROR_CODE_DAMAGED = 22,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum CopoErrorCode CopoErrorCode;
#else
typedef int32_t CopoErrorCode;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What the orchestrator reports: the lifecycle of processes and of itself.
enum CopoEventKind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Not set.
    COPO_EVENT_KIND_UNSPECIFIED = 0,
    // A run is about to be spawned.
    COPO_EVENT_KIND_STARTING = 1,
    // A run's program runs.
    COPO_EVENT_KIND_STARTED = 2,
    // A run is ready.
    COPO_EVENT_KIND_READY = 3,
    // A run was not ready in time, or is no longer.
    COPO_EVENT_KIND_NOT_READY = 4,
    // A run's main process has ended.
    COPO_EVENT_KIND_EXITED = 5,
    // A run could not be spawned.
    COPO_EVENT_KIND_SPAWN_FAILED = 6,
    // The next run starts after a delay.
    COPO_EVENT_KIND_BACKOFF = 7,
    // A run was asked to stop.
    COPO_EVENT_KIND_STOPPING = 8,
    // A process is stopped: its whole group is gone.
    COPO_EVENT_KIND_STOPPED = 9,
    // A process has finished with success.
    COPO_EVENT_KIND_FINISHED = 10,
    // A process has finished without success.
    COPO_EVENT_KIND_FAILED = 11,
    // A trigger fired and no run was started.
    COPO_EVENT_KIND_SKIPPED = 12,
    // A run that outlived its orchestrator is supervised again.
    COPO_EVENT_KIND_ADOPTED = 13,
    // The configuration was read anew.
    COPO_EVENT_KIND_CONFIG = 14,
    // The headers of the user-defined data changed.
    COPO_EVENT_KIND_HEADERS = 15,
    // A part of the stored log is damaged; the reason names it.
    COPO_EVENT_KIND_DAMAGED = 16,
    // The orchestrator has started.
    COPO_EVENT_KIND_ORCHESTRATOR_STARTED = 17,
    // The orchestrator is about to end.
    COPO_EVENT_KIND_ORCHESTRATOR_STOPPED = 18,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum CopoEventKind CopoEventKind;
#else
typedef int32_t CopoEventKind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Why there is a gap.
enum CopoGapCause
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Not set.
    COPO_GAP_CAUSE_UNSPECIFIED = 0,
    // Retention removed the Seqs first to last before they were read.
    COPO_GAP_CAUSE_TRIMMED = 1,
    // The log is another one than the cursor's: reading goes on from its first record.
    COPO_GAP_CAUSE_LOG_REPLACED = 2,
    // The Seqs first to last are damaged.
    COPO_GAP_CAUSE_DAMAGED = 3,
    // Everything was purged.
    COPO_GAP_CAUSE_PURGED = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum CopoGapCause CopoGapCause;
#else
typedef int32_t CopoGapCause;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A client of the orchestrator. Any number of threads may use it at once.
typedef struct CopoClient CopoClient;

// A subscription: a place in the log that moves on with `copo_udd_next`. One thread at a time.
typedef struct CopoSubscription CopoSubscription;

// How to connect. Zero it first; what is left 0 or NULL comes from the environment (COPO_SOCKET, COPO_TOKEN) or is the
// default.
typedef struct {
    // Path of the socket, on Windows the name of the pipe; NULL: COPO_SOCKET.
    const char *socket;
    // The token of the run that speaks; NULL: COPO_TOKEN. "" for a person.
    const char *token;
    // Without a token: who is speaking; records are then sent by "@<name>". NULL: a default.
    const char *name;
    // How long connecting may take, in milliseconds; 0 or less: 5 s.
    int64_t timeout_ms;
    // Zero.
    uint64_t reserved[4];
} CopoConnectOptions;

// A list of strings, owned: free it with `copo_strings_free`.
typedef struct {
    // How many.
    size_t len;
    // The strings, in order; NULL when there are none.
    const char *const *items;
} CopoStrings;

// One record of the user-defined data.
typedef struct {
    // Its place in the one sequence that records and reports share; rising, from 1.
    uint64_t seq;
    // When the orchestrator took it.
    uint64_t sent_time;
    // Internal name of the process that sent it, or "@name" for a person.
    const char *sent_by;
    // Its key; "" is none.
    const char *key;
    // What the sender gave.
    const void *udd_buff;
    // Bytes in udd_buff.
    size_t udd_len;
} CopoRecord;

// One record to send, with everything that can be said about it. Zero it first.
typedef struct {
    // Its key; NULL or "": none.
    const char *key;
    // Its data.
    const void *data;
    // Bytes in data.
    size_t len;
    // Append only if `expect_seq` is the seq of the newest record of the key (0: if there is none).
    bool has_expect_seq;
    // That seq.
    uint64_t expect_seq;
    // How long to wait, in milliseconds; 0 or less: as long as it takes.
    int64_t timeout_ms;
    // Zero.
    uint64_t reserved[4];
} CopoSend;

// What to follow. Zero it first; all zero is: every record, from the next one on, for ever.
typedef struct {
    // COPO_FROM_NEW, COPO_FROM_FIRST, COPO_FROM_SEQ or COPO_FROM_TIME.
    uint32_t from;
    // The seq or the time where to begin.
    uint64_t start;
    // With COPO_FROM_SEQ: the 16 bytes that name the log the seq belongs to; NULL: the present one.
    const uint8_t *log_id;
    // Which records: a key, in which "*" is any one segment and "**" any number of them; NULL: all.
    const char *key_pattern;
    // Leave out records; only together with `reports`.
    bool no_records;
    // Give reports too.
    bool reports;
    // End at the newest that is there now, instead of waiting for more.
    bool no_follow;
    // End after this seq; 0: never.
    uint64_t to;
    // Zero.
    uint64_t reserved[4];
} CopoSubscribeOptions;

// What the orchestrator reports about a process or itself. Strings that mean nothing there are NULL.
typedef struct {
    // What happened, a CopoEventKind; 0 in a report that a process or person sent.
    int32_t event;
    // Is exit_code set?
    bool has_exit_code;
    // Exit code of the run's main process.
    int32_t exit_code;
    // Process id of the run's main process; 0: absent.
    uint32_t pid;
    // Name of the process as configured.
    const char *process;
    // Internal name of the instance.
    const char *internal_name;
    // RunId of the run.
    const char *run;
    // Name of the signal that ended the run's main process, such as "SIGKILL".
    const char *signal;
    // Why, in words.
    const char *reason;
} CopoFacts;

// One report about the application.
typedef struct {
    // Its place in the one sequence that records and reports share.
    uint64_t seq;
    // When the orchestrator took it.
    uint64_t report_time;
    // Internal name of the process that sent it, "@name" for a person, or "orchestrator".
    const char *sent_by;
    // What the sender gave; from the orchestrator a sentence for people.
    const void *report_buff;
    // Bytes in report_buff.
    size_t report_len;
    // What happened, typed.
    CopoFacts facts;
} CopoReport;

// Tells a reader that it was not given what it asked for.
typedef struct {
    // Why, a CopoGapCause.
    int32_t cause;
    // First seq passed over; 0 where the log is another one.
    uint64_t first;
    // Last seq passed over; 0 where the log is another one.
    uint64_t last;
    // The 16 bytes that name the log read from here on.
    uint8_t log_id[16];
} CopoGap;

// What a subscription gives next. Only the struct that `kind` names is set; the others are zero.
typedef struct {
    // COPO_ITEM_RECORD, COPO_ITEM_REPORT or COPO_ITEM_GAP.
    uint32_t kind;
    // The record.
    CopoRecord record;
    // The report.
    CopoReport report;
    // The gap.
    CopoGap gap;
} CopoItem;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// A sentence for people about the newest failure on this thread: "cannot <do> <what>: <why>"; "" before the first.
// It is valid until the next call of this library on this thread that fails, and never NULL.
const char *copo_last_error_message(void);

// The name of an error's number, such as "TIMED_OUT"; NULL for a number that is none. It is valid for ever.
const char *copo_error_name(int32_t code);

// Frees a client; NULL is left alone. Waits until all that was sent is acknowledged, at most 5 s (1 s while there is no
// connection); `copo_client_close` before it tells whether all was.
void copo_client_free(CopoClient *client);

// Ends and frees a subscription; NULL is left alone.
void copo_subscription_free(CopoSubscription *subscription);

// Connects as the environment says (COPO_SOCKET, COPO_TOKEN: set for every process the orchestrator starts).
// COPO_ERROR_CODE_NO_ORCHESTRATOR, at once, when there is none. Free the client with `copo_client_free`.
int32_t copo_connect(CopoClient **out);

// Connects as told. Free the client with `copo_client_free`.
int32_t copo_connect_with(const CopoConnectOptions *options, CopoClient **out);

// Waits until all that was sent is acknowledged: stored as durably as configured. Gives the first error of what was
// sent since the last such call.
int32_t copo_flush(CopoClient *client, int64_t timeout_ms);

// Flushes, for at most 5 s, and ends the connection: gives the first error of what was sent, COPO_ERROR_CODE_TIMED_OUT
// when not all was acknowledged in time. The client is closed in any case and still to be freed.
int32_t copo_client_close(CopoClient *client);

// Frees what a `CopoStrings **out` gave; NULL is left alone.
void copo_strings_free(CopoStrings *strings);

// Frees a record that `copo_udd_get` gave; NULL is left alone. Not for the records in a CopoItem, which are borrowed.
void copo_record_free(CopoRecord *record);

// Sends one record, pipelined: returns when it is on its way, not when it is stored (`copo_flush` waits for that, and the
// first error of an earlier send is given by a later call). Waits while the window of unacknowledged sends is full.
int32_t copo_udd_send(CopoClient *client, const void *data, size_t len);

// As `copo_udd_send`, with a key: "/"-separated segments of [A-Za-z0-9._~-]+, at most 255 bytes; "" is none.
int32_t copo_udd_send_key(CopoClient *client, const char *key, const void *data, size_t len);

// As `copo_udd_send`, but gives COPO_ERROR_CODE_WOULD_BLOCK, having sent nothing, where that would wait.
int32_t copo_udd_try_send(CopoClient *client, const void *data, size_t len);

// As `copo_udd_send_key`, but gives COPO_ERROR_CODE_WOULD_BLOCK, having sent nothing, where that would wait.
int32_t copo_udd_try_send_key(CopoClient *client, const char *key, const void *data, size_t len);

// Sends one record and waits until it is stored as durably as configured; gives its seq.
int32_t copo_udd_send_sync(CopoClient *client, const void *data, size_t len, uint64_t *seq);

// As `copo_udd_send_sync`, with a key.
int32_t copo_udd_send_sync_key(CopoClient *client, const char *key, const void *data, size_t len, uint64_t *seq);

// Sends one record as told. With `seq` NULL it is pipelined as by `copo_udd_send`; else waits until it is stored, as
// `copo_udd_send_sync` does, and then COPO_ERROR_CODE_CONFLICT tells that `expect_seq` did not hold.
int32_t copo_udd_send_with(CopoClient *client, const CopoSend *send, uint64_t *seq);

// The newest record of a key, or with NULL the newest of all; COPO_ERROR_CODE_NOT_FOUND when there is none. Free it with
// `copo_record_free`.
int32_t copo_udd_get(CopoClient *client, const char *key, CopoRecord **out);

// The headers: the names of the fields of a record, for people and programs that read them. Free them with
// `copo_strings_free`.
int32_t copo_udd_headers(CopoClient *client, CopoStrings **out);

// Replaces the headers by the `len` strings behind `headers`.
int32_t copo_udd_set_headers(CopoClient *client, const char *const *headers, size_t len);

// Follows the log; NULL for `options` is all zero. Free the subscription with `copo_subscription_free`.
int32_t copo_udd_subscribe(CopoClient *client, const CopoSubscribeOptions *options, CopoSubscription **out);

// Waits for the next item. COPO_ERROR_CODE_TIMED_OUT when none came in time (0: do not wait), COPO_ERROR_CODE_END when all
// that was asked for was given, COPO_ERROR_CODE_STOPPING when this run was asked to stop, COPO_ERROR_CODE_CLOSED after
// `copo_subscription_stop`. A gap is an item of its own: it tells what could not be given.
int32_t copo_udd_next(CopoSubscription *subscription, int64_t timeout_ms, CopoItem *out);

// Ends the subscription from any thread: a `copo_udd_next` that waits returns COPO_ERROR_CODE_CLOSED. It is still to be
// freed.
int32_t copo_subscription_stop(const CopoSubscription *subscription);

// Where the log stood when the subscription began: the seq of its newest record or report, and the 16 bytes that name
// it. With a seq, they are the cursor to come back with.
int32_t copo_subscription_log(CopoSubscription *subscription, uint64_t *head, uint8_t *log_id);

// Sends a report, pipelined like a record and in order with them.
int32_t copo_meta_report(CopoClient *client, const void *data, size_t len);

// Tells that this run is ready (`ready = "sdk"` in copo.toml waits for it).
int32_t copo_ready(CopoClient *client);

// Was this run asked to stop? From the first call on the run is told by this event and gets the signal only after half
// the grace.
int32_t copo_stop_requested(CopoClient *client, bool *out);

// Waits until this run is asked to stop: 0 when it is, COPO_ERROR_CODE_TIMED_OUT when the time is over first.
int32_t copo_stop_wait(CopoClient *client, int64_t timeout_ms);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* COPO_H */
