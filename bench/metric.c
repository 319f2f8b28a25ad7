/* Time and memory of the pixel metrics on a test set of 500 maps of 256x256, half of them with a defect:
 *   cmake --build --preset release --target bench_metric && build/release/bench_metric */
#include "metric/pixels.h"

#include <math.h>
#include <stdio.h>
#include <sys/resource.h>

enum { MAPS = 500, SIDE = 256, PIXELS = SIDE * SIDE };

static double cpu_seconds(const struct rusage *u) {
    return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
           1e-6 * (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec);
}

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

int main(void) {
    Error e = {0};
    PixelRanking r;
    Random random = random_new(1, 0);
    struct rusage before, after;
    static float noise[2 * PIXELS], map[PIXELS];
    static uint8_t mask[PIXELS];
    double wall = 0, cpu = 0;
    for (int i = 0; i < 2 * PIXELS; i++) noise[i] = random_normal(&random);
    if (pixel_ranking_open(&r, MAPS, SIDE, SIDE, &e)) return puts(e.text), 1;
    for (size_t i = 0; i <= MAPS; i++) {
        if (i < MAPS) make_map(&random, noise, i, map, mask);
        PixelMetrics m;
        const double start = now_seconds();
        getrusage(RUSAGE_SELF, &before);
        if (i == MAPS)
            m = pixel_ranking_metrics(&r);
        else if (pixel_ranking_add(&r, map, i % 2 ? mask : NULL, &e))
            return puts(e.text), 1;
        getrusage(RUSAGE_SELF, &after);
        wall += now_seconds() - start;
        cpu += cpu_seconds(&after) - cpu_seconds(&before);
        if (i == MAPS)
            printf("P-AUROC %.6f, AP-loc %.6f, AUPRO %.6f: %.2f s, %.2f processor seconds, %ld MiB in all\n", m.p_auroc,
                   m.ap_loc, m.aupro, wall, cpu, after.ru_maxrss >> 10);
    }
    pixel_ranking_close(&r);
    return 0;
}
