/* The lifting and segmentation kernels against their definitions, with every band read as a dense matrix. */
#include "engine/kernels.h"
#include "helper_bands.h"

#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- lifting --------------------------------------------------------------------------------------------- */

typedef struct Maps {
    Band y[2], x[2];
    float *data[2];
    size_t stride[2], floats[2], scratch, c0;
} Maps;

static Maps random_maps(Random *r, size_t h, size_t w) {
    Maps m = {.c0 = below(r, 40)};
    for (int i = 0; i < 2; i++) {
        m.y[i] = any_band(r, h);
        m.x[i] = any_band(r, w);
        m.stride[i] = m.c0 + LIFT_BLOCK + below(r, 30);
        m.floats[i] = m.y[i].in * m.x[i].in * m.stride[i] - (m.stride[i] - m.c0 - LIFT_BLOCK);
        m.data[i] = random_floats(r, m.floats[i]);
        if (m.x[i].in * LIFT_BLOCK > m.scratch) m.scratch = m.x[i].in * LIFT_BLOCK;
    }
    return m;
}

static void free_maps(Maps *m) {
    for (int i = 0; i < 2; i++) {
        free_band(&m->y[i]);
        free_band(&m->x[i]);
        free(m->data[i]);
    }
}

static void lift_row_twin(const Maps *m, size_t count, size_t y, size_t w, Sum *out) {
    for (size_t k = 0; k < count; k++)
        for (size_t i = 0; i < m->y[k].in; i++)
            for (size_t j = 0; j < m->x[k].in; j++)
                for (size_t x = 0; x < w; x++) {
                    double weight = band_at(&m->y[k], (ptrdiff_t)y, i) * band_at(&m->x[k], (ptrdiff_t)x, j);
                    const float *pixel = m->data[k] + (i * m->x[k].in + j) * m->stride[k] + m->c0;
                    for (size_t c = 0; c < LIFT_BLOCK && weight != 0; c++)
                        sum_add(&out[x * LIFT_BLOCK + c], weight * (double)pixel[c]);
                }
}

static void project_row_twin(const Maps *m, size_t map, size_t y, size_t w, const float *g, Sum *data) {
    for (size_t i = 0; i < m->y[map].in; i++)
        for (size_t j = 0; j < m->x[map].in; j++)
            for (size_t x = 0; x < w; x++) {
                double weight = band_at(&m->y[map], (ptrdiff_t)y, i) * band_at(&m->x[map], (ptrdiff_t)x, j);
                Sum *pixel = data + (i * m->x[map].in + j) * m->stride[map] + m->c0;
                for (size_t c = 0; c < LIFT_BLOCK && weight != 0; c++)
                    sum_add(&pixel[c], weight * (double)g[x * LIFT_BLOCK + c]);
            }
}

static void check_lift_row(const Kernels *k, Random *r, size_t w) {
    const size_t h = 1 + below(r, 9), n = w * LIFT_BLOCK;
    Maps m = random_maps(r, h, w);
    const LiftMap maps[2] = {{m.data[0], m.stride[0], &m.y[0], &m.x[0], 0},
                             {m.data[1], m.stride[1], &m.y[1], &m.x[1], 0}};
    float *scratch = random_floats(r, m.scratch);
    for (size_t count = 1; count <= 2; count++) {
        const size_t y = below(r, h);
        float *out = random_floats(r, n);
        Sum *want = new_sums(NULL, n);
        lift_row_twin(&m, count, y, w, want);
        k->lift_row(maps, count, y, m.c0, scratch, out);
        assert_sums("lift_row", out, want, n);
        free(out);
        free(want);
    }
    free(scratch);
    free_maps(&m);
}

static void check_project_row(const Kernels *k, Random *r, size_t w) {
    const size_t h = 1 + below(r, 9), y = below(r, h), count = 1 + below(r, 2);
    Maps m = random_maps(r, h, w);
    const LiftGrad grads[2] = {{m.data[0], m.stride[0], &m.y[0], &m.x[0]}, {m.data[1], m.stride[1], &m.y[1], &m.x[1]}};
    float *scratch = random_floats(r, m.scratch), *g = random_floats(r, w * LIFT_BLOCK);
    for (size_t i = 0; i < 2; i++) {
        Sum *want = new_sums(m.data[i], m.floats[i]);
        if (i < count) project_row_twin(&m, i, y, w, g, want);
        float *before = copy_floats(m.data[i], m.floats[i]);
        k->project_row(grads, count, y, m.c0, scratch, g);
        assert_sums("project_row", m.data[i], want, m.floats[i]);
        memcpy(m.data[i], before, m.floats[i] * sizeof(float));
        free(want);
        free(before);
    }
    free(scratch);
    free(g);
    free_maps(&m);
}

/* ---- segmentation head ----------------------------------------------------------------------------------- */

typedef struct Seg {
    float *scale, *shift, *out, *mean, *inv_std, *row, *dm;
    SegBlock block;
} Seg;

/* No y is within rounding of 0, where the derivative's sign would depend on it; channels 0 to 2 have y exactly 0. */
static Seg random_seg(Random *r, size_t w) {
    Seg s = {random_floats(r, LIFT_BLOCK), random_floats(r, LIFT_BLOCK),  random_floats(r, LIFT_BLOCK),
             random_floats(r, LIFT_BLOCK), random_floats(r, LIFT_BLOCK),  random_floats(r, w * LIFT_BLOCK),
             random_floats(r, w),          {NULL, NULL, NULL, NULL, NULL}};
    s.scale[0] = s.shift[0] = 0;
    s.scale[1] = 0.5f, s.shift[1] = 0.25f;
    s.scale[2] = -2.0f, s.shift[2] = 0.5f;
    for (size_t c = 0; c < LIFT_BLOCK; c++) s.inv_std[c] = 0.1f + fabsf(s.inv_std[c]) * 10;
    for (size_t x = 0; x < w; x++) {
        float *v = s.row + x * LIFT_BLOCK;
        v[1] = -0.5f;
        v[2] = 0.25f;
        for (size_t c = 3; c < LIFT_BLOCK; c++)
            while (fabsf(s.scale[c] * v[c] + s.shift[c]) < 1e-5f) v[c] = random_signed(r);
    }
    s.block = (SegBlock){s.scale, s.shift, s.out, s.mean, s.inv_std};
    return s;
}

static void free_seg(Seg *s) {
    float *all[] = {s->scale, s->shift, s->out, s->mean, s->inv_std, s->row, s->dm};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* One pre-activation: y after BatchNorm, the magnitudes it came from, x_hat, LeakyReLU and its derivative. */
typedef struct SegPoint {
    double y, size, x_hat, leaky, slope;
} SegPoint;

static SegPoint seg_point(const Seg *s, size_t x, size_t c) {
    const double v = (double)s->row[x * LIFT_BLOCK + c], scale = (double)s->scale[c], shift = (double)s->shift[c];
    SegPoint p = {.y = scale * v + shift, .size = fabs(scale * v) + fabs(shift)};
    p.x_hat = (v - (double)s->mean[c]) * (double)s->inv_std[c];
    p.slope = p.y > 0 ? 1 : 0.2;
    p.leaky = p.slope * p.y;
    return p;
}

static void check_seg_dot(const Kernels *k, Random *r, size_t w) {
    Seg s = random_seg(r, w);
    float *m = random_floats(r, w);
    Sum *want = new_sums(m, w);
    for (size_t x = 0; x < w; x++)
        for (size_t c = 0; c < LIFT_BLOCK; c++) {
            SegPoint p = seg_point(&s, x, c);
            double out = (double)s.out[c];
            sum_add_sized(&want[x], out * p.leaky, fabs(out) * p.size);
        }
    k->seg_dot(s.row, w, &s.block, m);
    assert_sums("seg_dot", m, want, w);
    free(m);
    free(want);
    free_seg(&s);
}

/* Lifts any number of blocks of both maps, of which the rows above those read are left out. */
static void check_seg_map_row(const Kernels *k, Random *r, size_t w) {
    const size_t h = 1 + below(r, 9), y = below(r, h), channels = LIFT_BLOCK * (1 + below(r, 3));
    Band yb[2] = {any_band(r, h), any_band(r, h)}, xb[2] = {any_band(r, w), any_band(r, w)};
    float *data[2], *shift = random_floats(r, channels), *out = random_floats(r, channels);
    LiftMap maps[2];
    for (int i = 0; i < 2; i++) {
        const size_t stride = channels + below(r, 30), top = below(r, yb[i].first[y] + 1);
        data[i] = random_floats(r, yb[i].in * xb[i].in * stride);
        maps[i] = (LiftMap){data[i] + top * xb[i].in * stride, stride, &yb[i], &xb[i], top};
    }
    float *scratch = random_floats(r, 16 * w + LIFT_BLOCK * (xb[0].in + xb[1].in)), *m = random_floats(r, w);
    Sum *want = new_sums(NULL, w);
    for (size_t x = 0; x < w; x++)
        for (size_t c = 0; c < channels; c++) {
            double v = (double)shift[c], size = fabs(v);
            for (int map = 0; map < 2; map++)
                for (size_t p = 0; p < yb[map].in * xb[map].in; p++) {
                    const size_t i = p / xb[map].in, j = p % xb[map].in;
                    const double weight = band_at(&yb[map], (ptrdiff_t)y, i) * band_at(&xb[map], (ptrdiff_t)x, j);
                    const double term = weight != 0 ? weight * (double)data[map][p * maps[map].stride + c] : 0;
                    v += term;
                    size += fabs(term);
                }
            sum_add_sized(&want[x], (double)out[c] * (v > 0 ? v : 0.2 * v), fabs((double)out[c]) * size);
        }
    k->seg_map_row(maps, y, channels, shift, out, scratch, m);
    assert_sums("seg_map_row", m, want, w);
    for (int i = 0; i < 2; i++) {
        free(data[i]);
        free_band(&yb[i]);
        free_band(&xb[i]);
    }
    free(shift), free(out), free(scratch), free(m), free(want);
}

static void check_column_stats(const Kernels *k, Random *r, size_t n) {
    const size_t channels = 16 * (1 + below(r, 8));
    float *rows = random_floats(r, n * channels), *center = random_floats(r, channels);
    float *sum = random_floats(r, channels), *square = random_floats(r, channels);
    Sum *want_sum = new_sums(sum, channels), *want_square = new_sums(square, channels);
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < channels; c++) {
            double d = (double)rows[i * channels + c] - (double)center[c];
            sum_add(&want_sum[c], d);
            sum_add(&want_square[c], d * d);
        }
    k->column_stats(rows, n, channels, center, sum, square);
    assert_sums("column_stats: sum", sum, want_sum, channels);
    assert_sums("column_stats: square", square, want_square, channels);
    free(rows), free(center), free(sum), free(square), free(want_sum), free(want_square);
}

static void check_seg_grad_sums(const Kernels *k, Random *r, size_t w) {
    Seg s = random_seg(r, w);
    float *sums = random_floats(r, 3 * LIFT_BLOCK);
    Sum *want = new_sums(sums, 3 * LIFT_BLOCK);
    for (size_t x = 0; x < w; x++)
        for (size_t c = 0; c < LIFT_BLOCK; c++) {
            SegPoint p = seg_point(&s, x, c);
            const double dm = (double)s.dm[x], dy = dm * (double)s.out[c] * p.slope;
            sum_add(&want[c], dy);
            sum_add(&want[LIFT_BLOCK + c], dy * p.x_hat);
            sum_add_sized(&want[2 * LIFT_BLOCK + c], dm * p.leaky, fabs(dm) * p.size);
        }
    k->seg_grad_sums(s.row, w, &s.block, s.dm, sums);
    assert_sums("seg_grad_sums", sums, want, 3 * LIFT_BLOCK);
    free(sums), free(want);
    free_seg(&s);
}

static void check_seg_grad_row(const Kernels *k, Random *r, size_t w) {
    Seg s = random_seg(r, w);
    float *mean_dy = random_floats(r, LIFT_BLOCK), *mean_dy_xhat = random_floats(r, LIFT_BLOCK);
    Sum *want = new_sums(NULL, w * LIFT_BLOCK);
    for (size_t x = 0; x < w; x++)
        for (size_t c = 0; c < LIFT_BLOCK; c++) {
            SegPoint p = seg_point(&s, x, c);
            Sum *sum = &want[x * LIFT_BLOCK + c];
            const double scale = (double)s.scale[c];
            sum_add(sum, scale * (double)s.dm[x] * (double)s.out[c] * p.slope);
            sum_add(sum, -scale * (double)mean_dy[c]);
            sum_add(sum, -scale * p.x_hat * (double)mean_dy_xhat[c]);
        }
    k->seg_grad_row(s.row, w, &s.block, s.dm, mean_dy, mean_dy_xhat);
    assert_sums("seg_grad_row", s.row, want, w * LIFT_BLOCK);
    free(mean_dy), free(mean_dy_xhat), free(want);
    free_seg(&s);
}

EVERY_SET(lift_row)
EVERY_SET(project_row)
EVERY_SET(seg_dot)
EVERY_SET(seg_map_row)
EVERY_SET(column_stats)
EVERY_SET(seg_grad_sums)
EVERY_SET(seg_grad_row)

static void the_fastest_set_is_the_last(void **state) {
    (void)state;
    assert_string_equal(kernels_at(0)->name, "base");
    size_t count = 0;
    while (kernels_at(count)) count++;
    assert_ptr_equal(kernels(), kernels_at(count - 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fastest_set_is_the_last),
        cmocka_unit_test(lift_row),
        cmocka_unit_test(project_row),
        cmocka_unit_test(seg_dot),
        cmocka_unit_test(seg_map_row),
        cmocka_unit_test(column_stats),
        cmocka_unit_test(seg_grad_sums),
        cmocka_unit_test(seg_grad_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
