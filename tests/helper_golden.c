#include "helper_golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

int golden_open(TensorFile *file, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/golden/%s", SHARED_DIR, name);
    if (access(path, R_OK) != 0) {
        print_message("skipped: %s is not there\n", path);
        return 0;
    }
    Error e = {0};
    if (tensor_file_open(file, path, &e)) fail_msg("%s", e.text);
    return 1;
}

float *golden_values(const TensorFile *file, const char *name, size_t *count) {
    Error e = {0};
    const Tensor *t = tensor_file_find(file, name);
    if (t == NULL) fail_msg("%s: no tensor '%s'", file->path, name);
    float *values = array_new(t->count, sizeof *values, &e);
    assert_non_null(values);
    tensor_to_f32(t, values);
    if (count) *count = t->count;
    return values;
}

float *golden_nhwc(const TensorFile *file, const char *name, size_t shape[4]) {
    Error e = {0};
    size_t count;
    float *nchw = golden_values(file, name, &count), *out = array_new(count, sizeof *out, &e);
    const Tensor *t = tensor_file_find(file, name);
    assert_int_equal(t->rank, 4);
    for (size_t i = 0; i < 4; i++) shape[i] = t->shape[i];
    const size_t c = shape[1], pixels = shape[2] * shape[3];
    for (size_t i = 0; i < count; i++) {
        const size_t n = i / (c * pixels), channel = i / pixels % c, pixel = i % pixels;
        out[(n * pixels + pixel) * c + channel] = nchw[i];
    }
    array_free(nchw);
    return out;
}

double largest_difference(const float *a, const float *b, size_t n) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) worst = fmax(worst, isnan(a[i]) ? INFINITY : fabs((double)a[i] - (double)b[i]));
    return worst;
}

double largest_magnitude(const float *a, size_t n) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)a[i]));
    return worst;
}
