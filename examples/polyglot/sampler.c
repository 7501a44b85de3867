/* Samples this machine's live figures and publishes them with copo_udd_send_key(), several times a second:
 *
 *   machine/cpu      per cent of all processors' time spent busy   (/proc/stat)
 *   machine/memory   per cent of memory in use                     (/proc/meminfo)
 *   machine/disk     KiB per second read and written               (/proc/diskstats)
 *
 * Where there is no /proc, machine/load is published instead (getloadavg). A record is {"value":…,"unit":"…"}. */
#define _DEFAULT_SOURCE
#define _DARWIN_C_SOURCE
#include <copo.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct cpu { unsigned long long busy, total; };
struct disk { unsigned long long sectors; };

static int read_cpu(struct cpu *cpu) {
    unsigned long long user, nice, system, idle, iowait, irq, softirq, steal;
    FILE *file = fopen("/proc/stat", "r");
    if (file == NULL) return 0;
    int found = fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &iowait, &irq,
                       &softirq, &steal);
    fclose(file);
    if (found != 8) return 0;
    cpu->busy = user + nice + system + irq + softirq + steal;
    cpu->total = cpu->busy + idle + iowait;
    return 1;
}

static int read_memory(double *percent) {
    char line[256];
    unsigned long long total = 0, available = 0;
    FILE *file = fopen("/proc/meminfo", "r");
    if (file == NULL) return 0;
    while (fgets(line, sizeof line, file) != NULL) {
        sscanf(line, "MemTotal: %llu", &total);
        sscanf(line, "MemAvailable: %llu", &available);
    }
    fclose(file);
    if (total == 0) return 0;
    *percent = 100.0 * (double)(total - available) / (double)total;
    return 1;
}

/* Sums whole disks only: a partition's name ends in a digit and repeats its disk's figures. */
static int read_disk(struct disk *disk) {
    char line[512], name[64];
    unsigned long long read_sectors, written_sectors;
    FILE *file = fopen("/proc/diskstats", "r");
    if (file == NULL) return 0;
    disk->sectors = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%*u %*u %63s %*u %*u %llu %*u %*u %*u %llu", name, &read_sectors, &written_sectors) != 3) continue;
        size_t length = strlen(name);
        int is_partition = (strncmp(name, "sd", 2) == 0 || strncmp(name, "vd", 2) == 0) && name[length - 1] >= '0' &&
                           name[length - 1] <= '9';
        if (is_partition || strncmp(name, "loop", 4) == 0 || strncmp(name, "ram", 3) == 0) continue;
        disk->sectors += read_sectors + written_sectors;
    }
    fclose(file);
    return 1;
}

/* Stops the program when the run is asked to stop, or when the orchestrator refuses what it is given. */
static void must(int32_t code, const char *what) {
    if (code == COPO_ERROR_CODE_OK) return;
    if (code == COPO_ERROR_CODE_STOPPING) exit(0);
    fprintf(stderr, "sampler: cannot %s: %s\n", what, copo_last_error_message());
    exit(1);
}

static void publish(CopoClient *client, const char *key, double value, const char *unit) {
    char record[96];
    int length = snprintf(record, sizeof record, "{\"value\":%.3f,\"unit\":\"%s\"}", value, unit);
    must(copo_udd_send_key(client, key, record, (size_t)length), "publish a figure");
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void sample(CopoClient *client, struct cpu *cpu, struct disk *disk, double *last) {
    struct cpu cpu_now;
    struct disk disk_now;
    double memory, load, now = seconds_now();
    int is_linux = read_cpu(&cpu_now);
    if (is_linux && cpu_now.total > cpu->total) {
        double share = (double)(cpu_now.busy - cpu->busy) / (double)(cpu_now.total - cpu->total);
        publish(client, "machine/cpu", 100.0 * share, "%");
        *cpu = cpu_now;
    }
    if (read_memory(&memory)) publish(client, "machine/memory", memory, "%");
    if (read_disk(&disk_now) && now > *last) {
        double kib = (double)(disk_now.sectors - disk->sectors) / 2.0;
        publish(client, "machine/disk", kib / (now - *last), "KiB/s");
        *disk = disk_now;
    }
    if (!is_linux && getloadavg(&load, 1) == 1) publish(client, "machine/load", load, "1");
    *last = now;
}

static long interval_ms(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--interval-ms") == 0) return strtol(argv[i + 1], NULL, 10);
    }
    return 1000;
}

int main(int argc, char **argv) {
    CopoClient *client = NULL;
    struct cpu cpu = {0, 0};
    struct disk disk = {0};
    int32_t stopped;
    long interval = interval_ms(argc, argv);

    must(copo_connect(&client), "connect");
    read_cpu(&cpu);
    read_disk(&disk);
    double last = seconds_now();
    must(copo_ready(client), "say that it is ready");
    const char *text = "sampling this machine";
    must(copo_meta_report(client, text, strlen(text)), "report");
    /* Waits for the interval, or for the stop request, whichever comes first. */
    while ((stopped = copo_stop_wait(client, interval)) == COPO_ERROR_CODE_TIMED_OUT) {
        sample(client, &cpu, &disk, &last);
    }
    must(stopped, "wait");
    must(copo_client_close(client), "flush");
    copo_client_free(client);
    return 0;
}
