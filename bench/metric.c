/* Time and memory of the pixel metrics, then of their intervals over 1000 resamples, on a test set of 500 maps of
 * 256x256, half of them with a defect: cmake --build --preset release --target bench_metric &&
 * build/release/bench_metric */
#include "metric/interval.h"

#include <math.h>
#include <stdio.h>
#include <sys/resource.h>

enum { MAPS = 500, SIDE = 256, PIXELS = SIDE * SIDE };

/* Noise and, in every second map, a brighter disc that its mask marks. */
static void make_map(Random *r, const float *noise, size_t index, float *map, uint8_t *mask) {
    const float *from = noise + random_below(r, PIXELS);
    const float level = random_float(r) - 6, stretch = 1 + 0.001f * (float)index, radius = 5 + 25 * random_float(r);
    const float cx = 30 + 190 * random_float(r), cy = 30 + 190 * random_float(r);
    for (int i = 0; i < PIXELS; i++) {
        mask[i] = index % 2 && hypotf((float)(i % SIDE) - cx, (float)(i / SIDE) - cy) < radius;
        map[i] = 1 / (1 + expf(-stretch * (from[i] + level + 5 * (float)mask[i])));
    }
}

typedef struct Clock {
    double wall, cpu, since, cpu_since;
} Clock;

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void clock_start(Clock *c) {
    c->since = now_seconds();
    c->cpu_since = cpu_seconds();
}

static void clock_stop(Clock *c) {
    c->wall += now_seconds() - c->since;
    c->cpu += cpu_seconds() - c->cpu_since;
}

int main(void) {
    Error e = {0};
    PixelRanking r;
    PixelHistograms h;
    PixelIntervals v;
    Random random = random_new(1, 0);
    struct rusage u;
    static float noise[2 * PIXELS], map[PIXELS];
    static uint8_t mask[PIXELS];
    Clock metrics = {0}, intervals = {0};
    static double resampled[4 * 1000];
    const Bootstrap bootstrap = {0.95, 1000, 0};
    for (int i = 0; i < 2 * PIXELS; i++) noise[i] = random_normal(&random);
    if (pixel_ranking_open(&r, MAPS, (size_t)MAPS * SIDE * SIDE, (size_t)SIDE * SIDE, &e)) return puts(e.text), 1;
    for (size_t i = 0; i < MAPS; i++) {
        make_map(&random, noise, i, map, mask);
        clock_start(&metrics);
        if (pixel_ranking_add(&r, map, i % 2 ? mask : NULL, SIDE, SIDE, &e)) return puts(e.text), 1;
        clock_stop(&metrics);
    }
    clock_start(&intervals);
    if (pixel_histograms_open(&h, &r, &e)) return puts(e.text), 1;
    clock_stop(&intervals);
    clock_start(&metrics);
    const PixelMetrics m = pixel_ranking_metrics(&r);
    clock_stop(&metrics);
    clock_start(&intervals);
    if (bootstrap_pixel_values(&bootstrap, &h, &m, resampled, &e) || bootstrap_pixels(&bootstrap, resampled, &v, &e))
        return puts(e.text), 1;
    clock_stop(&intervals);
    getrusage(RUSAGE_SELF, &u);
    printf("P-AUROC %.6f, AP-loc %.6f, AUPRO %.6f: %.2f s, %.2f processor seconds\n", m.p_auroc, m.ap_loc, m.aupro,
           metrics.wall, metrics.cpu);
    printf("AUPRO %.6f to %.6f: %.2f s, %.2f processor seconds; %ld MiB in all\n", v.aupro.low, v.aupro.high,
           intervals.wall, intervals.cpu, u.ru_maxrss >> 10);
    pixel_histograms_close(&h);
    pixel_ranking_close(&r);
    return 0;
}
