/* polygon_fill against its definition: a pixel's centre inside by the even-odd rule, in whole numbers. */
#include "image/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Corners are whole eighths of a pixel, so that the definition is exact. */
enum { EIGHTHS = 8, SIDE_MAX = 24, CORNERS_MAX = 40 };
typedef struct Corner {
    int64_t x, y;
} Corner;

/* 1 inside, 0 outside, -1 where the centre lies on an edge, which rounding may put on either side. */
static int inside(const Corner *c, size_t n, size_t px, size_t py) {
    const int64_t x = EIGHTHS * (int64_t)px + EIGHTHS / 2, y = EIGHTHS * (int64_t)py + EIGHTHS / 2;
    int crossings = 0;
    for (size_t i = 0; i < n; i++) {
        const Corner a = c[i], b = c[(i + 1) % n];
        if ((a.y > y) == (b.y > y)) continue; /* as in the half-open rows: a corner at the height counts as above not */
        /* The side of the edge that the centre lies on. */
        int64_t side = (x - a.x) * (b.y - a.y) - (y - a.y) * (b.x - a.x);
        if (b.y < a.y) side = -side;
        if (side == 0) return -1;
        crossings += side > 0;
    }
    return crossings % 2;
}

static void compare(const Corner *c, size_t n, size_t width, size_t height, size_t *set, size_t *clear) {
    double points[2 * CORNERS_MAX];
    uint8_t mask[SIDE_MAX * SIDE_MAX] = {0};
    Error e = {0};
    for (size_t i = 0; i < n; i++) {
        points[2 * i] = (double)c[i].x / EIGHTHS;
        points[2 * i + 1] = (double)c[i].y / EIGHTHS;
    }
    assert_int_equal(polygon_fill(points, n, mask, height, width, &e), BLEMISH_OK);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            const int expected = inside(c, n, x, y);
            if (expected >= 0) assert_int_equal(mask[y * width + x], expected);
            *set += expected == 1;
            *clear += expected == 0;
        }
    for (size_t i = width * height; i < sizeof mask; i++) assert_int_equal(mask[i], 0);
}

/* Self-crossing ones, far outside, with level and doubled edges. */
static void random_polygons(void **state) {
    (void)state;
    Random r = random_new(7, 0);
    size_t set = 0, clear = 0;
    for (int round = 0; round < 20000; round++) {
        const size_t width = 1 + random_below(&r, SIDE_MAX), height = 1 + random_below(&r, SIDE_MAX);
        const size_t n = 3 + random_below(&r, round % 10 ? 6 : CORNERS_MAX - 3);
        const uint32_t margin = round % 3 ? 2 : 200;
        Corner c[CORNERS_MAX];
        for (size_t i = 0; i < n; i++) {
            c[i].x = (int64_t)random_below(&r, EIGHTHS * ((uint32_t)width + 2 * margin)) - EIGHTHS * (int64_t)margin;
            c[i].y = (int64_t)random_below(&r, EIGHTHS * ((uint32_t)height + 2 * margin)) - EIGHTHS * (int64_t)margin;
            if (round % 4 == 1) c[i].x &= ~7, c[i].y &= ~7; /* on pixel borders */
            if (round % 4 == 2 && i && random_below(&r, 2)) c[i].y = c[i - 1].y;
            if (round % 4 == 3 && i && random_below(&r, 3) == 0) c[i] = c[i - 1];
        }
        compare(c, n, width, height, &set, &clear);
    }
    assert_true(set > 100000 && clear > 100000);
}

static void known_shapes(void **state) {
    (void)state;
    Error e = {0};
    uint8_t mask[5 * 6] = {0};
    const double square[] = {1, 1, 4, 1, 4, 3, 1, 3}; /* the pixels 1 to 3 by 1 to 2 and no more */
    const uint8_t expected[5 * 6] = {0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0};
    assert_int_equal(polygon_fill(square, 4, mask, 5, 6, &e), BLEMISH_OK);
    assert_memory_equal(mask, expected, sizeof mask);
    /* A second polygon is added, not taken away; one without area, or without a centre, adds nothing. */
    assert_int_equal(polygon_fill(square, 4, mask, 5, 6, &e), BLEMISH_OK);
    const double line[] = {0, 0, 5, 5, 0, 0}, crumb[] = {0.6, 0.6, 0.9, 0.6, 0.9, 0.9};
    assert_int_equal(polygon_fill(line, 3, mask, 5, 6, &e), BLEMISH_OK);
    assert_int_equal(polygon_fill(crumb, 3, mask, 5, 6, &e), BLEMISH_OK);
    assert_memory_equal(mask, expected, sizeof mask);
    /* The whole picture, from as far as is allowed. */
    const double all[] = {-POLYGON_FAR, -POLYGON_FAR, POLYGON_FAR,  -POLYGON_FAR,
                          POLYGON_FAR,  POLYGON_FAR,  -POLYGON_FAR, POLYGON_FAR};
    assert_int_equal(polygon_fill(all, 4, mask, 5, 6, &e), BLEMISH_OK);
    for (size_t i = 0; i < sizeof mask; i++) assert_int_equal(mask[i], 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_polygons), cmocka_unit_test(known_shapes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
