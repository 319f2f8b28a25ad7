/* The classification kernels against their definitions, with every band read as a dense matrix. */
#include "engine/kernels.h"
#include "helper_bands.h"

#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- lifting the 25 channel mixes ------------------------------------------------------------------------ */

/* into[0 .. 127] += weight * from[0 .. 127], a zero weight being no term. */
static void add_channels(Sum *into, double weight, const float *from) {
    for (size_t c = 0; c < CLS_CHANNELS && weight != 0; c++) sum_add(&into[c], weight * (double)from[c]);
}

/* Row or column that tap number `tap` of output `at` reads: -2 .. 2 around it, maybe outside. */
static ptrdiff_t shifted(size_t at, size_t tap) {
    return (ptrdiff_t)at + (ptrdiff_t)tap - 2;
}

static void check_cls_x(const Kernels *k, Random *r, size_t w) {
    Band x = any_band(r, w);
    const size_t nz = x.in * CLS_TAPS * CLS_CHANNELS, nt = CLS_SIDE * w * CLS_CHANNELS;
    float *z = random_floats(r, nz), *t = random_floats(r, nt), *lifted = random_floats(r, nt);
    float *projected = random_floats(r, nz);
    Sum *want_t = new_sums(NULL, nt), *want_z = new_sums(NULL, nz);
    for (size_t j = 0; j < x.in; j++)
        for (size_t u = 0; u < CLS_SIDE; u++)
            for (size_t v = 0; v < CLS_SIDE; v++)
                for (size_t o = 0; o < w; o++) {
                    double weight = band_at(&x, shifted(o, v), j);
                    size_t at_z = (j * CLS_TAPS + u * CLS_SIDE + v) * CLS_CHANNELS, at_t = (u * w + o) * CLS_CHANNELS;
                    add_channels(want_t + at_t, weight, z + at_z);
                    add_channels(want_z + at_z, weight, t + at_t);
                }
    for (size_t u = 0; u < CLS_SIDE; u++) {
        float *row = lifted + u * w * CLS_CHANNELS;
        k->cls_lift_x(z + u * CLS_ROW_MIXES, CLS_TAPS * CLS_CHANNELS, &x, row);
    }
    k->cls_project_x(t, &x, projected);
    assert_sums("cls_lift_x", lifted, want_t, nt);
    assert_sums("cls_project_x", projected, want_z, nz);
    free(z), free(t), free(lifted), free(projected), free(want_t), free(want_z);
    free_band(&x);
}

/* What d gets through the band from its rows t. */
static void add_cls_y(const Band *band, const float *t, size_t y, size_t rows, size_t w, Sum *d) {
    const size_t n = w * CLS_CHANNELS;
    for (size_t u = 0; u < CLS_SIDE; u++)
        for (size_t l = 0; l < band->in * rows; l++)
            for (size_t x = 0; x < w; x++)
                add_channels(d + l % rows * n + x * CLS_CHANNELS, band_at(band, shifted(y + l % rows, u), l / rows),
                             t + l / rows * CLS_SIDE * n + u * n + x * CLS_CHANNELS);
}

/* A ring that holds no row but those that are read, which lie in it as they come. */
static ClsMap ring_of(const Band *band, const float *t, size_t y, size_t rows, size_t w, float **ring) {
    const size_t row = CLS_SIDE * w * CLS_CHANNELS;
    size_t lowest = band->in, end = 0;
    for (size_t o = y > 2 ? y - 2 : 0; o < band->out && o < y + rows + 2; o++) {
        lowest = band->first[o] < lowest ? band->first[o] : lowest;
        end = band->first[o] + band->taps > end ? band->first[o] + band->taps : end;
    }
    *ring = zero_floats((end - lowest) * row);
    for (size_t i = lowest; i < end; i++) memcpy(*ring + i % (end - lowest) * row, t + i * row, row * sizeof **ring);
    return (ClsMap){*ring, end - lowest, band};
}

static void check_cls_y(const Kernels *k, Random *r, size_t w, const Band bands[2]) {
    const Band band = bands[0], second = bands[1];
    const size_t h = band.out, n = w * CLS_CHANNELS, nt = band.in * CLS_SIDE * n;
    const size_t y = below(r, h), rows = 1 + below(r, h - y < CLS_ROWS ? h - y : CLS_ROWS), i = below(r, band.in);
    float *t = random_floats(r, nt), *t2 = random_floats(r, second.in * CLS_SIDE * n), *d = random_floats(r, h * n);
    float *base = random_floats(r, rows * n), *out = random_floats(r, rows * n), *low = random_floats(r, CLS_SIDE * n);
    float *rings[2];
    const ClsMap maps[2] = {ring_of(&bands[0], t, y, rows, w, &rings[0]),
                            ring_of(&bands[1], t2, y, rows, w, &rings[1])};
    Sum *want = new_sums(NULL, rows * n), *want_low = new_sums(NULL, CLS_SIDE * n);
    add_cls_y(&band, t, y, rows, w, want);
    add_cls_y(&second, t2, y, rows, w, want);
    for (size_t u = 0; u < CLS_SIDE; u++)
        for (size_t x = 0; x < w; x++) {
            const size_t at = u * n + x * CLS_CHANNELS;
            for (size_t o = 0; o < h; o++)
                add_channels(want_low + at, band_at(&band, shifted(o, u), i), d + o * n + x * CLS_CHANNELS);
        }
    k->cls_lift_y(maps, y, rows, w, NULL, out);
    assert_sums("cls_lift_y", out, want, rows * n);
    for (size_t at = 0; at < rows * n; at++) sum_add(&want[at], (double)base[at]);
    k->cls_lift_y(maps, y, rows, w, base, out);
    assert_sums("cls_lift_y with a base", out, want, rows * n);
    k->cls_project_y(d, &band, i, w, low);
    assert_sums("cls_project_y", low, want_low, CLS_SIDE * n);
    free(t), free(t2), free(d), free(base), free(out), free(low), free(want), free(want_low);
    free(rings[0]), free(rings[1]);
}

/* ---- the map's channel ------------------------------------------------------------------------------------ */

static void check_cls_map_row(const Kernels *k, Random *r, size_t w) {
    const size_t h = 1 + below(r, 8), y = below(r, h), n = w * CLS_CHANNELS;
    float *m = random_floats(r, h * w), *weight = random_floats(r, CLS_TAPS * CLS_CHANNELS), *d = random_floats(r, n);
    Sum *want = new_sums(d, n);
    for (size_t x = 0; x < w; x++)
        for (size_t u = 0; u < CLS_SIDE; u++)
            for (size_t v = 0; v < CLS_SIDE; v++) {
                ptrdiff_t i = shifted(y, u), j = shifted(x, v);
                if (i < 0 || j < 0 || i >= (ptrdiff_t)h || j >= (ptrdiff_t)w) continue;
                double value = (double)m[(size_t)i * w + (size_t)j];
                add_channels(want + x * CLS_CHANNELS, value, weight + (u * CLS_SIDE + v) * CLS_CHANNELS);
            }
    k->cls_map_row(m, h, w, y, weight, d);
    assert_sums("cls_map_row", d, want, n);
    free(m), free(weight), free(d), free(want);
}

static void check_cls_map_grads(const Kernels *k, Random *r, size_t w) {
    const size_t h = 1 + below(r, 8), y = below(r, h), n = w * CLS_CHANNELS, taps = CLS_TAPS * CLS_CHANNELS;
    float *m = random_floats(r, h * w), *weight = random_floats(r, taps), *d = random_floats(r, n);
    float *dm = random_floats(r, h * w), *dweight = random_floats(r, taps);
    Sum *want_m = new_sums(dm, h * w), *want_weight = new_sums(dweight, taps);
    for (size_t x = 0; x < w; x++)
        for (size_t u = 0; u < CLS_SIDE; u++)
            for (size_t v = 0; v < CLS_SIDE; v++) {
                ptrdiff_t i = shifted(y, u), j = shifted(x, v);
                if (i < 0 || j < 0 || i >= (ptrdiff_t)h || j >= (ptrdiff_t)w) continue;
                const size_t at = (size_t)i * w + (size_t)j, tap = (u * CLS_SIDE + v) * CLS_CHANNELS;
                add_channels(want_weight + tap, (double)m[at], d + x * CLS_CHANNELS);
                for (size_t c = 0; c < CLS_CHANNELS; c++)
                    sum_add(&want_m[at], (double)weight[tap + c] * (double)d[x * CLS_CHANNELS + c]);
            }
    k->cls_map_grad_weight(m, h, w, y, d, dweight);
    k->cls_map_grad_map(d, h, w, y, weight, dm);
    assert_sums("cls_map_grad_weight", dweight, want_weight, taps);
    assert_sums("cls_map_grad_map", dm, want_m, h * w);
    free(m), free(weight), free(d), free(dm), free(dweight), free(want_m), free(want_weight);
}

/* ---- single noisy pixels --------------------------------------------------------------------------------- */

/* Every output pixel that reads input (y, x) through some tap. */
static void check_cls_scatter(const Kernels *k, Random *r, size_t w) {
    const size_t h = 1 + below(r, 8), y = below(r, h), x = below(r, w), n = h * w * CLS_CHANNELS;
    const size_t c0 = 16 * below(r, 8), count = 16 * (1 + below(r, 8 - c0 / 16));
    float *mix = random_floats(r, CLS_TAPS * CLS_CHANNELS), *d = random_floats(r, n);
    float *gathered = random_floats(r, CLS_TAPS * CLS_CHANNELS);
    Sum *want = new_sums(d, n), *want_gathered = new_sums(NULL, CLS_TAPS * CLS_CHANNELS);
    for (size_t p = 0; p < h * w; p++)
        for (size_t tap = 0; tap < CLS_TAPS; tap++) {
            if (shifted(p / w, tap / CLS_SIDE) != (ptrdiff_t)y || shifted(p % w, tap % CLS_SIDE) != (ptrdiff_t)x)
                continue;
            for (size_t c = 0; c < CLS_CHANNELS; c++) {
                want_gathered[tap * CLS_CHANNELS + c] = sum_from((double)d[p * CLS_CHANNELS + c]);
                if (c >= c0 && c < c0 + count)
                    sum_add(&want[p * CLS_CHANNELS + c], (double)mix[tap * CLS_CHANNELS + c]);
            }
        }
    k->cls_gather(d, sizeof *d, h, w, y, x, gathered);
    k->cls_scatter(mix, h, w, y, x, c0, count, d);
    assert_sums("cls_gather", gathered, want_gathered, CLS_TAPS * CLS_CHANNELS);
    assert_sums("cls_scatter", d, want, n);
    free(mix), free(d), free(gathered), free(want), free(want_gathered);
}

/* ---- activation and pooling ------------------------------------------------------------------------------ */

/* Multiples of 1/8 in [-1, 1]: their products and sums are exact, so that equal maxima are common and certain. */
static float *random_eighths(Random *r, size_t n) {
    float *p = random_floats(r, n);
    for (size_t i = 0; i < n; i++) p[i] = roundf(p[i] * 8) / 8;
    return p;
}

typedef struct Pooled {
    size_t n;
    float *rows, *scale, *shift, *max, *sum, *ties;
} Pooled;

static Pooled random_pooled(Random *r, size_t n, float *(*values)(Random *, size_t)) {
    Pooled p = {n,
                values(r, n * CLS_CHANNELS),
                values(r, CLS_CHANNELS),
                values(r, CLS_CHANNELS),
                zero_floats(CLS_CHANNELS),
                random_floats(r, CLS_CHANNELS),
                zero_floats(CLS_CHANNELS)};
    return p;
}

static void free_pooled(Pooled *p) {
    free(p->rows), free(p->scale), free(p->shift), free(p->max), free(p->sum), free(p->ties);
}

static void pool_in_two_calls(const Kernels *k, Random *r, Pooled *p) {
    const size_t first = below(r, p->n + 1);
    k->cls_pool(p->rows, first, p->scale, p->shift, p->max, p->sum, p->ties);
    k->cls_pool(p->rows + first * CLS_CHANNELS, p->n - first, p->scale, p->shift, p->max, p->sum, p->ties);
}

static double activation(const Pooled *p, size_t i, size_t c) {
    return fmax((double)p->scale[c] * (double)p->rows[i * CLS_CHANNELS + c] + (double)p->shift[c], 0);
}

static void check_cls_pool(const Kernels *k, Random *r, size_t n) {
    Pooled p = random_pooled(r, n, random_eighths);
    Sum *want = new_sums(p.sum, CLS_CHANNELS);
    for (size_t c = 0; c < CLS_CHANNELS; c++) {
        p.max[c] = c % 2 ? -INFINITY : 0.5f; /* nothing yet, and a maximum that other pixels had */
        p.ties[c] = c % 2 ? 0 : 3;
    }
    pool_in_two_calls(k, r, &p);
    for (size_t c = 0; c < CLS_CHANNELS; c++) {
        double max = c % 2 ? -INFINITY : 0.5, ties = 0;
        for (size_t i = 0; i < n; i++) {
            max = fmax(max, activation(&p, i, c));
            sum_add(&want[c], activation(&p, i, c));
        }
        for (size_t i = 0; i < n; i++) ties += activation(&p, i, c) == max;
        if (c % 2 == 0 && max == 0.5) ties += 3;
        assert_true((double)p.max[c] == max);
        assert_true((double)p.ties[c] == ties);
    }
    assert_sums("cls_pool", p.sum, want, CLS_CHANNELS);
    free(want);
    free_pooled(&p);
}

static void check_cls_grads(const Kernels *k, Random *r, size_t n) {
    Pooled p = random_pooled(r, n, random_eighths);
    pool_in_two_calls(k, r, &p);
    float *mean = random_floats(r, CLS_CHANNELS), *inv_std = random_floats(r, CLS_CHANNELS);
    float *dmax = random_floats(r, CLS_CHANNELS), *dmean = random_floats(r, CLS_CHANNELS);
    float *mean_dy = random_floats(r, CLS_CHANNELS), *mean_dy_xhat = random_floats(r, CLS_CHANNELS);
    float *sums = random_floats(r, 2 * CLS_CHANNELS);
    Sum *want = new_sums(sums, 2 * CLS_CHANNELS), *want_rows = new_sums(NULL, n * CLS_CHANNELS);
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < CLS_CHANNELS; c++) {
            const double y = activation(&p, i, c), scale = (double)p.scale[c];
            const double x_hat = ((double)p.rows[i * CLS_CHANNELS + c] - (double)mean[c]) * (double)inv_std[c];
            const double from_max = y > 0 && y == (double)p.max[c] ? (double)dmax[c] : 0;
            const double from_mean = y > 0 ? (double)dmean[c] : 0;
            Sum *row = &want_rows[i * CLS_CHANNELS + c];
            sum_add(row, scale * from_max);
            sum_add(row, scale * from_mean);
            sum_add(row, -scale * (double)mean_dy[c]);
            sum_add(row, -scale * x_hat * (double)mean_dy_xhat[c]);
            sum_add(&want[c], from_max);
            sum_add(&want[c], from_mean);
            sum_add(&want[CLS_CHANNELS + c], from_max * x_hat);
            sum_add(&want[CLS_CHANNELS + c], from_mean * x_hat);
        }
    const ClsBlock block = {p.scale, p.shift, mean, inv_std, p.max, dmax, dmean};
    k->cls_grad_sums(p.rows, n, &block, sums);
    k->cls_grad_rows(p.rows, n, &block, mean_dy, mean_dy_xhat);
    assert_sums("cls_grad_sums", sums, want, 2 * CLS_CHANNELS);
    assert_sums("cls_grad_rows", p.rows, want_rows, n * CLS_CHANNELS);
    free(mean), free(inv_std), free(dmax), free(dmean), free(mean_dy), free(mean_dy_xhat), free(sums);
    free(want), free(want_rows);
    free_pooled(&p);
}

/* The backward kernels must find exactly the pixels that the forward one counted, on numbers that do round: with
 * gradient 1 for each maximum alone and a BatchNorm that passes it on, both return the count. */
static void check_cls_maxima_are_found_again(const Kernels *k, Random *r, size_t n) {
    Pooled p = random_pooled(r, n, random_floats);
    pool_in_two_calls(k, r, &p);
    float *zeros = zero_floats(CLS_CHANNELS), *ones = zero_floats(CLS_CHANNELS), *sums = zero_floats(2 * CLS_CHANNELS);
    for (size_t c = 0; c < CLS_CHANNELS; c++) ones[c] = 1;
    const ClsBlock block = {p.scale, p.shift, zeros, zeros, p.max, ones, zeros};
    k->cls_grad_sums(p.rows, n, &block, sums);
    k->cls_grad_rows(p.rows, n, &block, zeros, zeros);
    for (size_t c = 0; c < CLS_CHANNELS; c++) {
        double found = 0;
        for (size_t i = 0; i < n; i++) found += p.rows[i * CLS_CHANNELS + c] != 0.0f;
        assert_true((double)sums[c] == (p.max[c] > 0 ? (double)p.ties[c] : 0));
        assert_true(found == (double)sums[c]);
    }
    free(zeros), free(ones), free(sums);
    free_pooled(&p);
}

/* ---- every set ------------------------------------------------------------------------------------------- */

static void check_cls_any_y(const Kernels *k, Random *r, size_t w) {
    Band bands[2] = {any_band(r, 1 + below(r, 9))};
    bands[1] = any_band(r, bands[0].out);
    check_cls_y(k, r, w, bands);
    free_band(&bands[0]), free_band(&bands[1]);
}

static void cls_y_takes_the_most_taps(void **state) {
    (void)state;
    for (size_t i = 0; kernels_at(i); i++) {
        Random r = random_new(2, i);
        Band most = random_band(&r, 7, BAND_TAPS_MAX + 2, BAND_TAPS_MAX);
        check_cls_y(kernels_at(i), &r, 2, (Band[]){most, most});
        free_band(&most);
    }
}

EVERY_SET(cls_x)
EVERY_SET(cls_any_y)
EVERY_SET(cls_map_row)
EVERY_SET(cls_map_grads)
EVERY_SET(cls_scatter)
EVERY_SET(cls_pool)
EVERY_SET(cls_grads)
EVERY_SET(cls_maxima_are_found_again)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cls_x),       cmocka_unit_test(cls_any_y),     cmocka_unit_test(cls_y_takes_the_most_taps),
        cmocka_unit_test(cls_map_row), cmocka_unit_test(cls_map_grads), cmocka_unit_test(cls_scatter),
        cmocka_unit_test(cls_pool),    cmocka_unit_test(cls_grads),     cmocka_unit_test(cls_maxima_are_found_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
