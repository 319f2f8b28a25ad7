#include "helper_bands.h"

#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

size_t below(Random *r, size_t n) {
    return random_below(r, (uint32_t)n);
}

Band random_band(Random *r, size_t out, size_t in, size_t taps) {
    Band band = {.out = out, .in = in, .taps = taps, .weight = random_floats(r, out * taps)};
    band.first = calloc(out, sizeof *band.first);
    assert_non_null(band.first);
    for (size_t i = 0; i < out; i++) band.first[i] = below(r, in - taps + 1);
    for (size_t i = 0; i < out * taps; i++)
        if (below(r, 4) == 0) band.weight[i] = 0;
    return band;
}

Band any_band(Random *r, size_t out) {
    size_t taps = 1 + below(r, 4);
    return random_band(r, out, taps + below(r, 6), taps);
}

void free_band(Band *band) {
    free(band->first);
    free(band->weight);
}

double band_at(const Band *band, ptrdiff_t row, size_t column) {
    if (row < 0 || (size_t)row >= band->out) return 0;
    size_t first = band->first[row];
    return column >= first && column < first + band->taps
               ? (double)band->weight[(size_t)row * band->taps + column - first]
               : 0;
}

void for_every_set(void (*check)(const Kernels *k, Random *r, size_t w)) {
    static const size_t widths[] = {1, 2, 3, 5, 16, 19, 33};
    for (size_t i = 0; kernels_at(i); i++) {
        Random r = random_new(1, i);
        for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
            for (int repeat = 0; repeat < 3; repeat++) check(kernels_at(i), &r, widths[j]);
    }
}
