/* Reference files (../shared/golden): tensors as floats, NCHW turned into this program's NHWC. */
#ifndef HELPER_GOLDEN_H
#define HELPER_GOLDEN_H

#include "store/store.h"

/* Opens SHARED_DIR/golden/name; prints why and returns 0 where it is absent, so that the test can skip. */
int golden_open(TensorFile *file, const char *name);
/* Values of a tensor, which must exist; the caller frees with array_free. */
float *golden_values(const TensorFile *file, const char *name, size_t *count);
/* The same of an (N, C, H, W) tensor as (N, H, W, C). shape gets N, C, H, W. */
float *golden_nhwc(const TensorFile *file, const char *name, size_t shape[4]);
/* Largest |a - b|. */
double largest_difference(const float *a, const float *b, size_t n);
double largest_magnitude(const float *a, size_t n);

#endif
