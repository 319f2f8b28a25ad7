#include "net/net.h"

#include <math.h>
#include <string.h>

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

void fill_tensor(const char *name, size_t rank, const size_t *shape, float *out) {
    uint64_t hash = fnv1a64(name, strlen(name), FNV1A64_BASIS);
    size_t count = 1, fan_in = 1;
    for (size_t i = 0; i < rank; i++) count *= shape[i];
    for (size_t i = 1; i < rank; i++) fan_in *= shape[i];
    bool around_one = rank <= 1 && (ends_with(name, "running_var") || ends_with(name, ".weight"));
    float scale = (float)sqrt(3.0 / (double)fan_in); /* rounded once, as the reference does */
    for (size_t i = 0; i < count; i++) {
        uint64_t z = mix64(hash + i + 0x9e3779b97f4a7c15ull);
        float u = (float)((double)(z >> 40) / 0x1p23 - 1.0);
        out[i] = around_one ? 1.0f + u / 2.0f : rank <= 1 ? u / 10.0f : u * scale;
    }
}
