/* Pictures of 128x128 a second on all cores: of each family, of all in turn, and with defects.
 * cmake --build --preset release --target bench_surfaces && build/release/bench_surfaces */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 1024 };

static double rate(const BlemishSurfaceSettings *s, const int32_t *defects, uint8_t *rgb, uint8_t *masks) {
    static uint64_t numbers[COUNT];
    double best = 0;
    for (size_t i = 0; i < COUNT; i++) numbers[i] = i;
    for (int round = 0; round < 3; round++) {
        const double start = now_seconds();
        if (blemish_surface_images(s, COUNT, numbers, numbers, defects, rgb, masks, NULL)) exit(1);
        const double now = COUNT / (now_seconds() - start);
        if (now > best) best = now;
    }
    return best;
}

int main(void) {
    BlemishSurfaceSettings s;
    blemish_surface_defaults(&s);
    const size_t pixels = s.width * s.height;
    uint8_t *rgb = malloc(3 * COUNT * pixels), *masks = malloc(COUNT * pixels);
    int32_t defects[COUNT];
    size_t kinds = 0;
    if (rgb == NULL || masks == NULL) return 1;
    while (blemish_surface_defect(kinds)) kinds++;
    for (size_t i = 0; i < COUNT; i++) defects[i] = (int32_t)(i % kinds);
    for (size_t i = 0; blemish_surface_family(i); i++) {
        s.families = (uint64_t)1 << i;
        printf("%-11s %6.0f%s", blemish_surface_family(i), rate(&s, NULL, rgb, masks), i % 4 == 3 ? "\n" : "   ");
    }
    s.families = 0;
    printf("\nall families in turn: %.0f pictures a second on %d threads, ", rate(&s, NULL, rgb, masks),
           blemish_threads_default());
    printf("with a defect and its mask: %.0f (best of three)\n", rate(&s, defects, rgb, masks));
    free(rgb);
    free(masks);
    return 0;
}
