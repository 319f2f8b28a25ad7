/* engine: oneDNN primitives, matrix products and the vector kernels. Nothing else knows oneDNN or instruction sets.
 * Activations are NHWC: pixels are rows, channels are contiguous. */
#ifndef BLEMISH_ENGINE_H
#define BLEMISH_ENGINE_H

#include "base/base.h"

/* ---- onednn.c ------------------------------------------------------------------------------------------- */
typedef struct Engine Engine;

/* threads 0: one per core this process may run on, by its affinity and its container's CPU quota. Errors: ARGUMENT
 * (threads is not 0 to ENGINE_THREADS_MAX), MEMORY, INTERNAL. */
#define ENGINE_THREADS_MAX 1024
BlemishStatus engine_open(Engine **out, int threads, Error *e);
void engine_close(Engine *engine);
int engine_threads(const Engine *engine);
int engine_threads_default(void); /* what threads 0 gives */

/* Work of the engine's primitives is counted in `profile`, the caller's, until another one or NULL is set. */
void engine_set_profile(Engine *engine, Profile *profile);
Profile *engine_profile(const Engine *engine);
/* profile_lap of the engine's profile. */
void engine_lap(const Engine *engine, const char *stage);

/* oneDNN and OpenMP take their thread count from a per-thread setting; every entry point from outside brackets its
 * work with these two, so that the caller's own setting survives. */
int engine_enter(const Engine *engine);
void engine_leave(int before);
/* Inside a parallel region: this thread's number, below engine_threads. */
int engine_thread_index(void);

/* What an activation is stored as. */
typedef enum Element { ELEMENT_F32, ELEMENT_BF16, ELEMENT_U8, ELEMENT_S8 } Element;
size_t element_size(Element type);

/* A convolution on NHWC with everything fused that follows it in a ResNet. */
typedef struct ConvShape {
    size_t batch, height, width, in, out; /* input pixels; input and output channels */
    size_t kernel, stride, padding;
    bool add; /* dst += before the ReLU: dst already holds the residual */
    bool relu;
    /* Of src and dst: F32 to F32, BF16 (weights rounded to it, sums in fp32) to BF16 or F32, or, by conv_open_int8, U8
     * or S8 to any of both or F32. */
    Element from, to;
    Element added;   /* int8: what the residual is, U8 or S8 */
    float add_scale; /* int8: units of dst that a unit of the residual is */
    /* Not 0: src and dst are so many parts of this shape one behind the other, each computed by one thread alone. What
     * that thread then makes of its part is in its own cache. */
    size_t parts;
} ConvShape;

typedef struct Conv Conv;
/* weight is (out, in, kernel, kernel), bias (out) or NULL; both are copied. */
BlemishStatus conv_open(Conv **out, Engine *engine, const ConvShape *shape, const float *weight, const float *bias,
                        Error *e);
/* The same of integers: dst = scale[o] * (sum of products) + bias[o] (+ add_scale * dst), through the ReLU, rounded to
 * the nearest and saturated. scale and bias (out) are in units of dst, scale not 0; both and weight are copied. */
BlemishStatus conv_open_int8(Conv **out, Engine *engine, const ConvShape *shape, const int8_t *weight,
                             const float *scale, const float *bias, Error *e);
/* src (batch, height, width, in) -> dst (batch, out_height, out_width, out); scratch holds conv_scratch bytes. */
BlemishStatus conv_run(Conv *conv, const void *src, void *dst, void *scratch, Error *e);
/* One part of those that the shape has, in a parallel region; src and dst are the part's, scratch is that of all. Only
 * part 0 counts work. */
BlemishStatus conv_run_part(Conv *conv, size_t part, const void *src, void *dst, void *scratch, Error *e);
size_t conv_scratch(const Conv *conv);
void conv_close(Conv *conv);
size_t conv_out_size(size_t in, size_t kernel, size_t stride, size_t padding);

/* Max pooling 3x3, stride 2, padding 1 (ResNet's stem): (batch, height, width, channels) NHWC. */
typedef struct Pool Pool;
BlemishStatus pool_open(Pool **out, Engine *engine, Element type, size_t batch, size_t height, size_t width,
                        size_t channels, Error *e);
BlemishStatus pool_run(Pool *pool, const void *src, void *dst, void *scratch, Error *e);
size_t pool_scratch(const Pool *pool);
void pool_close(Pool *pool);

/* C (m, n) = op(A) op(B), or C += with `add`; row-major with leading dimensions, op is transposition where ta / tb.
 * Through oneDNN's matmul, whose primitives the engine keeps by shape: use few shapes. (dnnl_sgemm would need none, but
 * in 2.6 its AVX-512 kernels point the stack pointer outside the stack: a signal handler that runs then corrupts the
 * heap.) m and n are not 1: oneDNN 3.7 misreads a single row or column that has a stride. Inside engine_enter. */
BlemishStatus gemm(Engine *engine, bool ta, bool tb, size_t m, size_t n, size_t k, const float *a, size_t lda,
                   const float *b, size_t ldb, bool add, float *c, size_t ldc, Error *e);
/* The same of bfloat16 matrices, with fp32 sums. */
BlemishStatus gemm_bf16(Engine *engine, bool ta, bool tb, size_t m, size_t n, size_t k, const uint16_t *a, size_t lda,
                        const uint16_t *b, size_t ldb, bool add, float *c, size_t ldc, Error *e);
/* Whether this processor multiplies bfloat16 (AVX512_BF16 or AMX). */
bool engine_has_bf16(void);
/* Whether products of bytes are exact. On x86-64 without VNNI they are added in pairs that saturate at 16 bits. */
bool engine_has_int8(void);

/* peak.c: see blemish_peak_measure. */
BlemishStatus peak_measure(int threads, BlemishPeak *peak, Error *e);

/* "2.6.3": the oneDNN that runs. */
void engine_library_version(char text[32]);

#endif
