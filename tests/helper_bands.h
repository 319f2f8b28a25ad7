/* Random banded matrices, read back as dense ones, and the loop over every kernel set. */
#ifndef BLEMISH_HELPER_BANDS_H
#define BLEMISH_HELPER_BANDS_H

#include "engine/kernels.h"
#include "helper_numbers.h"

/* Random rows at random places, about a quarter of the weights 0. Freed with free_band. */
Band random_band(Random *r, size_t out, size_t in, size_t taps);
/* 1 to 4 taps on up to 9 columns. */
Band any_band(Random *r, size_t out);
void free_band(Band *band);
/* Element (row, column), for rows outside the matrix too: the zero padding. */
double band_at(const Band *band, ptrdiff_t row, size_t column);

size_t below(Random *r, size_t n);

/* Runs the check three times for each of several widths, odd ones and 1 among them, on every set. */
void for_every_set(void (*check)(const Kernels *k, Random *r, size_t w));

/* A cmocka test `name` out of check_<name>. */
#define EVERY_SET(name)                                                                                                \
    static void name(void **state) {                                                                                   \
        (void)state;                                                                                                   \
        for_every_set(check_##name);                                                                                   \
    }

#endif
