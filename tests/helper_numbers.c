#include "helper_numbers.h"

#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void assert_sums(const char *what, const float *got, const Sum *want, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double tolerance = want[i].terms ? (double)(want[i].terms + SUM_OWN_ROUNDINGS) * 0x1p-24 * want[i].size : 0;
        if (!(fabs((double)got[i] - want[i].value) <= tolerance)) /* also where got is NaN */
            fail_msg("%s: at %zu of %zu: found %.9g, expected %.9g +- %.3g", what, i, n, (double)got[i], want[i].value,
                     tolerance);
    }
}

static void *allocate(size_t n, size_t size) {
    void *p = calloc(n, size);
    assert_non_null(p);
    return p;
}

float random_signed(Random *r) {
    return 2 * random_float(r) - 1;
}

float *zero_floats(size_t n) {
    return allocate(n, sizeof(float));
}

float *random_floats(Random *r, size_t n) {
    float *p = zero_floats(n);
    for (size_t i = 0; i < n; i++) p[i] = random_signed(r);
    return p;
}

float *copy_floats(const float *values, size_t n) {
    float *p = zero_floats(n);
    memcpy(p, values, n * sizeof *p);
    return p;
}

Sum *new_sums(const float *start, size_t n) {
    Sum *p = allocate(n, sizeof *p);
    for (size_t i = 0; start && i < n; i++) p[i] = sum_from((double)start[i]);
    return p;
}
