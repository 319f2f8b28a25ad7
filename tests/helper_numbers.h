/* Reference sums in double that carry their own tolerance, and exactly sized random arrays. */
#ifndef BLEMISH_HELPER_NUMBERS_H
#define BLEMISH_HELPER_NUMBERS_H

#include "base/base.h"

/* A sum of `terms` products in double, with the sum of their magnitudes. In float arithmetic, whatever its order and
 * whether or not it fuses multiply and add, every term passes at most `terms` additions and a few roundings of its own
 * (SUM_OWN_ROUNDINGS), each of relative size 2^-24 at most; so the error is below
 * (terms + SUM_OWN_ROUNDINGS) * 2^-24 * size. A sum of no terms must be exact. */
typedef struct Sum {
    double value, size;
    size_t terms;
} Sum;
#define SUM_OWN_ROUNDINGS 8

static inline Sum sum_from(double start) {
    return (Sum){start, start < 0 ? -start : start, 0};
}
static inline void sum_add_sized(Sum *s, double term, double size) {
    s->value += term;
    s->size += size;
    s->terms++;
}
static inline void sum_add(Sum *s, double term) {
    sum_add_sized(s, term, term < 0 ? -term : term);
}

/* Fails the test, naming `what` and the index, where got[i] is further from want[i] than float arithmetic explains. */
void assert_sums(const char *what, const float *got, const Sum *want, size_t n);

/* malloc-owned, so that a sanitizer sees the first float past the end; never NULL. Uniform in [-1, 1). */
float *random_floats(Random *r, size_t n);
float *zero_floats(size_t n);
float *copy_floats(const float *values, size_t n);
Sum *new_sums(const float *start, size_t n); /* from start, or 0 where it is NULL */
float random_signed(Random *r);

#endif
