#include "base/base.h"

#include <inttypes.h>
#include <limits.h>

int cores_of_quota(const char *text) {
    int64_t quota, period;
    if (sscanf(text, "%" SCNd64 " %" SCNd64, &quota, &period) != 2 || quota <= 0 || period <= 0) return 0;
    int64_t cores = quota / period + (quota % period != 0);
    return cores > INT_MAX ? 0 : (int)cores;
}

/* The first line of a file, without its end; empty where there is none. */
static void read_line(const char *path, char line[64]) {
    FILE *file = fopen(path, "re");
    if (file == NULL || fscanf(file, "%63[^\n]", line) != 1) line[0] = '\0';
    if (file) fclose(file);
}

int cores_limit(int cores) {
    char quota[64], period[64], text[132];
    read_line("/sys/fs/cgroup/cpu.max", text); /* version 2 of control groups */
    if (text[0] == '\0') {
        read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota);
        read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period);
        snprintf(text, sizeof text, "%s %s", quota, period);
    }
    const int most = cores_of_quota(text);
    return most > 0 && most < cores ? most : cores;
}
