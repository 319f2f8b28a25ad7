#include "base/base.h"

#include <math.h>

void philox4x32(uint64_t key, uint64_t counter_high, uint64_t counter_low, uint32_t out[4]) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = (uint32_t)counter_low, c1 = (uint32_t)(counter_low >> 32);
    uint32_t c2 = (uint32_t)counter_high, c3 = (uint32_t)(counter_high >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)c0 * 0xD2511F53u, p1 = (uint64_t)c2 * 0xCD9E8D57u;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

Random random_new(uint64_t key, uint64_t stream) { return (Random){.key = key, .stream = stream}; }

uint32_t random_u32(Random *r) {
    uint32_t words[4];
    philox4x32(r->key, r->stream, r->position >> 2, words);
    return words[r->position++ & 3];
}

float random_float(Random *r) { return (float)(random_u32(r) >> 8) * 0x1p-24f; }

uint32_t random_below(Random *r, uint32_t n) {
    uint32_t reject = (uint32_t)(-n) % n; /* 2^32 mod n: the lowest values that would be drawn once too often */
    for (;;) {
        uint64_t product = (uint64_t)random_u32(r) * n;
        if ((uint32_t)product >= reject) return (uint32_t)(product >> 32);
    }
}

float random_normal(Random *r) {
    float u = (float)((random_u32(r) >> 8) + 1) * 0x1p-24f; /* (0, 1]: log is finite */
    float v = random_float(r);
    return sqrtf(-2.0f * logf(u)) * cosf(6.28318530718f * v);
}

void random_shuffle(Random *r, size_t *items, size_t n) {
    for (size_t i = n; i > 1; i--) {
        size_t j = random_below(r, (uint32_t)i);
        size_t swap = items[i - 1];
        items[i - 1] = items[j];
        items[j] = swap;
    }
}

uint64_t mix64(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

uint64_t fnv1a64(const void *bytes, size_t length, uint64_t basis) {
    const unsigned char *b = bytes;
    for (size_t i = 0; i < length; i++) basis = (basis ^ b[i]) * 0x100000001b3ull;
    return basis;
}
