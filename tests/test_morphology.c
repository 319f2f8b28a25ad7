#include "image/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 40, MOST = SIDE * SIDE };

typedef struct Mask {
    size_t height, width;
    uint8_t pixels[MOST];
} Mask;

/* Random sizes and densities, and the shapes that break labelling and distance transforms. */
static Mask make_mask(Random *r, int kind) {
    Mask m = {.height = 1 + random_below(r, SIDE), .width = 1 + random_below(r, SIDE)};
    float density = random_float(r);
    for (size_t y = 0; y < m.height; y++)
        for (size_t x = 0; x < m.width; x++) {
            uint8_t *p = &m.pixels[y * m.width + x];
            switch (kind % 8) {
            case 0:
                *p = 0;
                break;
            case 1:
                *p = 1;
                break;
            case 2:
                *p = (x + y) % 2 == 0;
                break; /* joined only by corners */
            case 3:
                *p = x % 2 == 0 || (y == m.height - 1);
                break; /* a comb: columns join in the last row */
            case 4:
                *p = y % 4 == 0 || x == (y % 8 < 4 ? m.width - 1 : 0);
                break; /* a snake */
            case 5:
                *p = !(x == m.width / 2 && y == m.height / 3);
                break; /* one background pixel */
            default:
                *p = random_float(r) < density;
                break;
            }
        }
    return m;
}

/* Definition: spread a label over all 8-neighbours until nothing changes. */
static uint32_t flood(const Mask *m, uint32_t *labels) {
    uint32_t count = 0;
    memset(labels, 0, MOST * sizeof *labels);
    for (size_t start = 0; start < m->height * m->width; start++) {
        if (!m->pixels[start] || labels[start]) continue;
        labels[start] = ++count;
        for (bool changed = true; changed;) {
            changed = false;
            for (size_t y = 0; y < m->height; y++)
                for (size_t x = 0; x < m->width; x++) {
                    if (!m->pixels[y * m->width + x] || labels[y * m->width + x]) continue;
                    for (size_t v = y ? y - 1 : 0; v <= y + 1 && v < m->height; v++)
                        for (size_t u = x ? x - 1 : 0; u <= x + 1 && u < m->width; u++)
                            if (labels[v * m->width + u] == count) labels[y * m->width + x] = count;
                    changed = changed || labels[y * m->width + x];
                }
        }
    }
    return count;
}

static void components_are_floods(void **state) {
    (void)state;
    Error e = {0};
    Random r = random_new(21, 0);
    for (int i = 0; i < 200; i++) {
        Mask m = make_mask(&r, i);
        uint32_t found[MOST], expected[MOST], count = 99;
        assert_int_equal(mask_components(m.pixels, m.height, m.width, found, &count, &e), BLEMISH_OK);
        assert_int_equal(count, flood(&m, expected));
        assert_memory_equal(found, expected, m.height * m.width * sizeof *found);
    }
}

static void dilation_is_the_square(void **state) {
    (void)state;
    Error e = {0};
    Random r = random_new(22, 0);
    const size_t sizes[] = {1, 3, 7, 25, 79, 81, 1001};
    for (int i = 0; i < 210; i++) {
        Mask m = make_mask(&r, i);
        uint8_t found[MOST];
        size_t size = sizes[(size_t)i % (sizeof sizes / sizeof *sizes)], radius = size / 2;
        assert_int_equal(mask_dilate_square(m.pixels, m.height, m.width, size, found, &e), BLEMISH_OK);
        for (size_t y = 0; y < m.height; y++)
            for (size_t x = 0; x < m.width; x++) {
                uint8_t any = 0;
                for (size_t v = y > radius ? y - radius : 0; v <= y + radius && v < m.height; v++)
                    for (size_t u = x > radius ? x - radius : 0; u <= x + radius && u < m.width; u++)
                        any |= m.pixels[v * m.width + u];
                assert_int_equal(found[y * m.width + x], any);
            }
    }
    uint8_t one = 1, out;
    assert_int_equal(mask_dilate_square(&one, 1, 1, 4, &out, &e), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(mask_dilate_square(&one, 1, 1, SIZE_MAX, &out, &e), BLEMISH_OK);
    assert_int_equal(out, 1);
}

/* Squared distances are whole numbers, so the transform must match to the last bit. */
static float nearest_background(const Mask *m, size_t y, size_t x) {
    long best = -1;
    for (size_t v = 0; v < m->height; v++)
        for (size_t u = 0; u < m->width; u++) {
            long dy = (long)v - (long)y, dx = (long)u - (long)x, square = dy * dy + dx * dx;
            if (!m->pixels[v * m->width + u] && (best < 0 || square < best)) best = square;
        }
    return best < 0 ? FLT_MAX : (float)sqrt((double)best);
}

static void distance_is_exact(void **state) {
    (void)state;
    Error e = {0};
    Random r = random_new(23, 0);
    for (int i = 0; i < 120; i++) {
        Mask m = make_mask(&r, i);
        float found[MOST];
        assert_int_equal(mask_distance(m.pixels, m.height, m.width, found, &e), BLEMISH_OK);
        for (size_t y = 0; y < m.height; y++)
            for (size_t x = 0; x < m.width; x++) assert_true(found[y * m.width + x] == nearest_background(&m, y, x));
    }
}

/* Far larger than the brute force can do, with a distance that is known: from one corner. */
static void distance_is_exact_far_away(void **state) {
    (void)state;
    Error e = {0};
    const size_t height = 700, width = 3000;
    uint8_t *mask = malloc(height * width);
    float *found = malloc(height * width * sizeof *found);
    assert_true(mask && found);
    memset(mask, 1, height * width);
    mask[0] = 0;
    assert_int_equal(mask_distance(mask, height, width, found, &e), BLEMISH_OK);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) assert_true(found[y * width + x] == (float)sqrt((double)(y * y + x * x)));
    free(mask);
    free(found);
}

static void weights_are_spec_6(void **state) {
    (void)state;
    Error e = {0};
    Random r = random_new(24, 0);
    for (int i = 0; i < 120; i++) {
        Mask m = make_mask(&r, i);
        uint32_t labels[MOST];
        float found[MOST], largest[MOST + 1] = {0}, distance[MOST];
        assert_int_equal(mask_distance_weights(m.pixels, m.height, m.width, found, &e), BLEMISH_OK);
        flood(&m, labels);
        for (size_t k = 0; k < m.height * m.width; k++) {
            distance[k] = nearest_background(&m, k / m.width, k % m.width);
            if (labels[k]) largest[labels[k]] = fmaxf(largest[labels[k]], distance[k]);
        }
        for (size_t k = 0; k < m.height * m.width; k++) {
            double share = labels[k] ? (double)distance[k] / (double)largest[labels[k]] : 0;
            double expected = labels[k] ? share * share * 3 : 1;
            assert_true(fabs((double)found[k] - expected) < 1e-6); /* three float roundings of at most 3 */
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(components_are_floods), cmocka_unit_test(dilation_is_the_square),
        cmocka_unit_test(distance_is_exact),     cmocka_unit_test(distance_is_exact_far_away),
        cmocka_unit_test(weights_are_spec_6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
